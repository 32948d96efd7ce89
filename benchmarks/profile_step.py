"""Where the time of a training step of the recipe dspike goes on a GPU, and what cuDNN's own choice gains.

    python benchmarks/profile_step.py

Trains on random images, so that it needs no data: three epochs with a CUDA graph, without and with cuDNN
measuring which of its algorithms is fastest (torch.backends.cudnn.benchmark), then some eager steps under
PyTorch's profiler. Prints samples per second of each epoch, milliseconds of a replayed graph, and the kernels
that take longest. ``--quick`` runs the small network on whatever device there is, to see that it runs.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import measure
import torch
from torch.profiler import ProfilerActivity, profile

CLASSES, KERNELS, EAGER_STEPS = 10, 40, 5


def random_images(num_train: int, num_test: int) -> Any:
    """Something like CIFAR-10."""
    from spikeloom.data import Dataset

    generator = torch.Generator().manual_seed(0)

    def drawn(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
        return images, torch.randint(CLASSES, (count,), generator=generator)

    return Dataset("random", tuple("abcdefghij"), *drawn(num_train), *drawn(num_test))


def trainer(device: str, folder: Path, batch: int, quick: bool, **settings: Any) -> Any:
    """A training of the recipe as docs/deep-networks.md has it, on random images."""
    from spikeloom import data
    from spikeloom.recipe.dspike import DspikeRecipe
    from spikeloom.train.launch import build_seeded, make_fabric
    from spikeloom.train.loop import Trainer
    from spikeloom.train.run import Run

    recipe = DspikeRecipe(
        dataset="cifar10",
        net="spiking-resnet-mini-cifar" if quick else "spiking-resnet18-cifar",
        T=2,
        cutout=16,
        label_smoothing=0.1,
        adapt_weights=8,
        batch_size=batch,
    )
    images = random_images(4 * batch, batch) if quick else random_images(50_000, 10_000)
    data.load = lambda *_: images
    fabric = make_fabric(device, 1, "bf16-mixed")
    fabric.launch()
    run = Run.create(folder, "dspike", {})
    return Trainer(fabric, build_seeded(recipe.build, 0), run, batch_size=batch, **settings)


def replayed(graph: torch.cuda.CUDAGraph, times: int = 30) -> float:
    """Milliseconds that a graph takes."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    for _ in range(times):
        graph.replay()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / times


def kernels(one: Any, batch: int) -> None:
    """Print the kernels that take longest, of eager steps."""
    from spikeloom.train.interrupt import interrupt_noted

    on_gpu = one.fabric.device.type == "cuda"
    batches = list(torch.arange(batch).repeat(2 * EAGER_STEPS, 1))
    one.writer, one.counted = None, time.perf_counter()
    with interrupt_noted() as one.interrupt:
        for indices in batches[:EAGER_STEPS]:
            one.train_step(indices, indices)
        with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as recorded:
            for indices in batches[EAGER_STEPS:]:
                one.train_step(indices, indices)
    own = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    for event in sorted(recorded.key_averages(), key=lambda event: -getattr(event, own))[:KERNELS]:
        milliseconds = getattr(event, own) / 1000 / EAGER_STEPS
        print(f"{milliseconds:8.3f} ms  {event.count / EAGER_STEPS:6.1f} times  {event.key[:90]}")


def main() -> None:
    """Train, profile, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small network: does it run?")
    options = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    if not on_gpu and not options.quick:
        parser.error("there is no CUDA device. Use --quick to see whether the script runs.")
    device, batch = ("cuda" if on_gpu else "cpu"), (32 if options.quick else 250)
    print(measure.machine(), torch.cuda.get_device_name() if on_gpu else "no GPU", sep="\n")
    with tempfile.TemporaryDirectory() as folder:
        for number, chosen in enumerate((False, True)):
            torch.backends.cudnn.benchmark = chosen
            settings = {"epochs": 1 if options.quick else 3, "cuda_graph": on_gpu}
            one = trainer(device, Path(folder) / str(number), batch, options.quick, **settings)
            rates = [round(row["samples_per_second"]) for row in one.fit()]
            print(f"cudnn.benchmark={chosen}: {rates} samples per second")
            if one.graph:
                print(f"  a replayed graph: {replayed(one.graph.graph):.2f} ms")
        kernels(trainer(device, Path(folder) / "eager", batch, options.quick, epochs=1), batch)


if __name__ == "__main__":
    main()
