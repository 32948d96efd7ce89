"""The numbers that Triton makes are NumPy's: on a CUDA device, or under Triton's interpreter.

The interpreter has to be asked for before Triton is imported, so tests/loom/test_triton.py runs this file
in a process of its own.
"""

import importlib.util

import numpy as np
import pytest
import torch

from spikeloom.encoding import PoissonEncoder, SampleGenerator
from spikeloom.loom.select import interprets

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or not (interprets() or torch.cuda.is_available()),
    reason="needs Triton, and a CUDA device or TRITON_INTERPRET=1 (as loom/test_triton.py sets it)",
)
DEVICE = "cpu" if interprets() else "cuda"
F32, F64 = torch.float32, torch.float64
NUMPY = {F32: np.float32, F64: np.float64}
needs_device = pytest.mark.skipif(DEVICE == "cpu", reason="needs a CUDA device")


@pytest.mark.parametrize(
    "draws",
    [
        [(1, 3, F32), (2, 5, F32)],
        [(1, 1, F32), (1, 1, F32), (1, 1, F32)],
        [(3, 7, F64), (1, 1, F64)],
        [(1, 3, F32), (2, 5, F64), (1, 1, F32), (3, 7, F32), (1, 2, F64), (2, 1, F32)],
        [(1, 1500, F32), (1, 0, F32), (2, 1025, F32)],
    ],
)
def test_the_numbers_are_those_of_numpy(draws):
    from spikeloom.encoding.philox import Place, uniform_numbers

    keys = [[0, 0], [2**64 - 1, 2**64 - 1], [2**63, 5], [7, 2**63 + 11]]
    streams = [np.random.Generator(np.random.Philox(key=np.array(key, np.uint64))) for key in keys]
    on_device, place = torch.from_numpy(np.array(keys, np.uint64).view(np.int64)).to(DEVICE), Place()
    for num_steps, count, dtype in draws:
        made = uniform_numbers(on_device, place, num_steps, count, dtype)
        place = place.after(num_steps * count, dtype)
        expected = np.stack([stream.random((num_steps, count), NUMPY[dtype]) for stream in streams], 1)
        np.testing.assert_array_equal(made.cpu().numpy(), expected)


def test_a_stream_can_be_long():
    """Beyond 2^31 words and numbers."""
    from spikeloom.encoding.philox import Place, uniform_numbers

    stream = np.random.Philox(key=3)
    stream.advance(2**33)  # blocks of four words
    key = torch.tensor([[3, 0]], device=DEVICE)
    made = uniform_numbers(key, Place(2**35), 1, 5, F64)
    np.testing.assert_array_equal(made.cpu().numpy()[0, 0], np.random.Generator(stream).random(5))


@needs_device
@pytest.mark.gpu
def test_a_generator_draws_the_same_on_any_device():
    """Also where it changes devices and types in between."""
    draws = [([4, 3], F32, "cuda"), ([4], F64, "cpu"), ([4, 2], F32, "cpu"), ([4, 5], F32, "cuda")]
    streams = [SampleGenerator(0, [4, 8, 15, 16], "poisson", 3) for _ in range(2)]
    for shape, dtype, device in draws:
        expected, made = (
            stream.rand_sequence(2, shape, on, dtype)
            for stream, on in zip(streams, ("cpu", device), strict=True)
        )
        assert made.device.type == device
        assert torch.equal(made.cpu(), expected)


@needs_device
@pytest.mark.gpu
def test_an_encoder_codes_the_same_on_any_device():
    x = torch.rand(3, 1, 28, 28)
    on_cpu, on_device = (
        PoissonEncoder(generator=SampleGenerator(0, [1, 2, 3])).encode(x.to(device), 20)
        for device in ("cpu", "cuda")
    )
    assert torch.equal(on_device.cpu(), on_cpu)


@needs_device
@pytest.mark.gpu
def test_where_triton_cannot_compile_the_cpu_draws(monkeypatch):
    from spikeloom.encoding import philox, random

    def fail(*_arguments):
        raise RuntimeError("no C compiler")

    monkeypatch.setattr(philox, "uniform_numbers", fail)
    monkeypatch.setattr(random, "_makes_on_device", True)
    first, expected = (SampleGenerator(0, [1, 2]).rand([2, 3], device) for device in ("cuda", "cpu"))
    assert torch.equal(first.cpu(), expected)
