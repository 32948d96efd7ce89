"""How the sizes of the Triton kernels matter: steps of a chunk, warps of a program, neurons of a thread.

    python benchmarks/tune_triton.py

Each neuron and length is run with all of CONFIGURATIONS, several calls one after the other, and the device's
own clock says how long they took: what Python needs to launch a kernel is hidden behind the one before, other
than in bench_gpu.py, which waits for each call. "Of copy speed" is as there. A CUDA device is needed.
"""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import bench_gpu
import measure
from measure import BOTH, FORWARD, Row, from_reset, modes

NEURONS = {"LIF": bench_gpu.leaky, "two memories": lambda: measure.two_memories("triton")}
CASES = tuple((name, kind) for kind in ("float32", "bfloat16") for name in NEURONS)
PROCESSES = 12  # that compile, before one measures


@dataclass(frozen=True)
class Configuration:
    """Sizes of a kernel."""

    chunk: int
    warps: int
    width: int

    def use(self) -> None:
        """Let all kernels that follow have these sizes."""
        from spikeloom.loom import select, triton_loop, triton_run

        triton_loop.CHUNKS = (self.chunk,)
        triton_run.WARPS, triton_run.THREADS, triton_run.PROGRAMS = self.warps, 32 * self.warps, 0
        triton_run.width = lambda *_: self.width
        select._woven.clear()


CONFIGURATIONS = [
    *(Configuration(chunk, 4, width) for chunk in (2, 4, 8) for width in (2, 4, 8)),
    *(Configuration(chunk, warps, 4) for chunk in (4, 8) for warps in (2, 8)),
    Configuration(6, 4, 4),
    Configuration(4, 8, 8),
]


def compile_all(configuration: Configuration) -> None:
    """Compile what a configuration needs into Triton's cache."""
    import torch

    configuration.use()
    for name, kind in CASES:
        x = torch.rand(configuration.chunk, 64, device="cuda", dtype=getattr(torch, kind))
        for run in modes(from_reset(NEURONS[name]()), x, x).values():
            run()


def rows(num_values: int, times: tuple[int, ...]) -> list[Row]:
    """The parts of copy speed of every neuron, length and configuration."""
    import torch

    found, settings = [], bench_gpu.Settings()
    for name, kind in CASES:
        for steps in times:
            x = (2 * torch.rand(steps, num_values // steps, device="cuda")).to(getattr(torch, kind))
            gradient, copied = torch.randn_like(x), torch.empty_like(x)
            copy = bench_gpu.queued(lambda x=x, copied=copied: copied.copy_(x), settings)
            for configuration in CONFIGURATIONS:
                if configuration.chunk > steps:
                    continue
                configuration.use()
                neuron = NEURONS[name]()
                runs = modes(from_reset(neuron), x, gradient)
                for mode in (FORWARD, BOTH):
                    floor = bench_gpu.floor(mode, x, neuron)
                    share = floor * copy / bench_gpu.queued(runs[mode], settings)
                    section = f"{name}, {kind}, T={steps}, {mode}"
                    found.append(Row(section, str(configuration), share, "of copy speed"))
                print(
                    f"{section[:-19]}: {configuration}",
                    *(f"{row.value:.2f}" for row in found[-2:]),
                    flush=True,
                )
    return found


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "tune_triton.json")
    options = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        parser.error("there is no CUDA device.")
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(compile_all, CONFIGURATIONS))
    settings = bench_gpu.Settings()
    about = {"machine": measure.machine(), "device": bench_gpu.device_of(settings)}
    about |= {"versions": measure.versions("torch", "triton")}
    measure.write(options.out, rows(settings.num_values, (4, 64, 256)), about)


if __name__ == "__main__":
    main()
