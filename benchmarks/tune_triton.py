"""How the sizes of the Triton kernels matter: steps of a chunk, warps of a program, neurons of a thread.

    python benchmarks/tune_triton.py

Each neuron and length is run with all of CONFIGURATIONS, several calls one after the other, and the device's
own clock says how long they took: what Python needs to launch a kernel is hidden behind the one before, other
than in bench_gpu.py, which waits for each call. "Of copy speed" is as there. A CUDA device is needed.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench_gpu
import measure
from measure import BOTH, FORWARD, Row, from_reset, modes

CALLS = 6
NEURONS = {"LIF": bench_gpu.leaky, "two memories": lambda: measure.two_memories("triton")}
CASES = (("LIF", "float32"), ("LIF", "bfloat16"), ("two memories", "float32"))


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
        triton_run.width = lambda _step, _wide: self.width
        select._woven.clear()


CONFIGURATIONS = [
    *(Configuration(4, warps, width) for warps in (1, 2, 4, 8) for width in (1, 2, 4, 8)),
    Configuration(2, 4, 4),
    Configuration(3, 4, 4),
    Configuration(8, 4, 1),
    Configuration(8, 4, 2),
]


def milliseconds(run: Callable[[], Any]) -> float:
    """What a call takes the device, of some that are put on its stream together."""
    import torch

    for _ in range(2):
        run()
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    for _ in range(CALLS):
        run()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / CALLS


def rows(num_values: int, times: tuple[int, ...]) -> list[Row]:
    """The parts of copy speed of every neuron, length and configuration."""
    import torch

    found = []
    for name, kind in CASES:
        for steps in times:
            x = (2 * torch.rand(steps, num_values // steps, device="cuda")).to(getattr(torch, kind))
            gradient, copied = torch.randn_like(x), torch.empty_like(x)
            copy = milliseconds(lambda x=x, copied=copied: copied.copy_(x))
            for configuration in CONFIGURATIONS:
                configuration.use()
                runs = modes(from_reset(NEURONS[name]()), x, gradient)
                for mode in (FORWARD, BOTH):
                    share = bench_gpu.MOVED[mode] * copy / milliseconds(runs[mode])
                    section = f"{name}, {kind}, T={steps}, {mode}"
                    found.append(Row(section, str(configuration), share, "of copy speed"))
                print(found[-2], found[-1], sep="\n", flush=True)
    return found


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "tune_triton.json")
    options = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        parser.error("there is no CUDA device.")
    settings = bench_gpu.Settings()
    about = {"machine": measure.machine(), "device": bench_gpu.device_of(settings)}
    about |= {"versions": measure.versions("torch", "triton")}
    measure.write(options.out, rows(settings.num_values, (4, 64, 256)), about)


if __name__ == "__main__":
    main()
