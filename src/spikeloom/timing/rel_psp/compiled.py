"""Running the loops of ReL-PSP layers on tensors, in as many threads as PyTorch uses.

Results do not depend on their number: sums are cut by the sizes of the tensors alone.
"""

from pathlib import Path

import torch
from torch import Tensor

from spikeloom.loom.native import loops_of_file
from spikeloom.timing.rel_psp.geometry import Geometry

BLOCK = 64  # neurons of a linear layer that move together
PIECES = 32  # of the samples, so that threads that are held up do less
PARTIAL = 1 << 21  # numbers in the partial sums of a weight gradient: 8 MiB in float32


def first_crossing(
    times: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, threshold: float, T: float
) -> tuple[Tensor, Tensor]:
    """As the function of the same name in reference.py, bit by bit."""
    silent = times.masked_fill(times < 0, float("inf"))
    sorted_times, order = silent.sort(dim=1, stable=True)
    num_samples, neurons = len(times), weight.shape[1]
    out, slope = (times.new_empty(num_samples, geometry.positions, neurons) for _ in range(2))
    start = times.new_zeros(neurons) if bias is None else bias
    settings = torch.tensor([threshold, T], dtype=times.dtype, device="cpu")
    chunk, weight = -(-num_samples // PIECES), geometry.reversed_rows(weight)
    _run("forward", geometry, neurons, chunk, order, sorted_times, start, settings, weight, out, slope)
    return out, slope


def gradients(
    times: Tensor, weight: Tensor, geometry: Geometry, out: Tensor, scale: Tensor, wanted: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """As the function of the same name in reference.py; sums are rounded in another order."""
    num_samples, neurons = len(times), weight.shape[1]
    to_times = to_weight = None
    if wanted[0]:
        to_times = torch.empty_like(times)
        chunk, rows = -(-num_samples // PIECES), geometry.reversed_rows(weight)
        _run("time", geometry, neurons, chunk, times, out, scale, rows, to_times)
    if wanted[1]:
        pieces = min(max(1, PARTIAL // weight.numel()), PIECES, max(1, num_samples))
        chunk = max(1, -(-num_samples // pieces))
        partial = weight.new_zeros(pieces, *weight.shape)
        _run("weight", geometry, neurons, chunk, times, out, scale, partial)
        to_weight = partial[0]
        for part in partial[1:]:
            to_weight += part
        to_weight = geometry.reversed_rows(to_weight)
    return to_times, to_weight


def _run(name: str, geometry: Geometry, neurons: int, chunk: int, *tensors: Tensor) -> None:
    """Run a loop, in pieces of ``chunk`` samples; the gradient of times is not cut into blocks of neurons."""
    num_samples = len(tensors[0])
    block = min(BLOCK, neurons) if geometry.positions == 1 else neurons
    inputs = geometry.channels * geometry.pixels
    around = geometry.pixels, geometry.taps, geometry.positions
    sizes = torch.tensor([num_samples, chunk, neurons, block, inputs, *around], device="cpu")
    pieces = -(-num_samples // chunk) if num_samples else 0
    if name != "time":
        pieces *= -(-neurons // block)
    real = next(tensor.dtype for tensor in tensors if tensor.is_floating_point())
    arguments = (sizes, *geometry.runs(), *tensors)
    assert all(tensor.is_contiguous() for tensor in arguments)
    loops_of_file(Path(__file__).with_name("loops.py")).run_pieces(name, real, pieces, *arguments)
