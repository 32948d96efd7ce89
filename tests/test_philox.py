"""The numbers that compiled code makes are NumPy's: on the CPU, on a CUDA device, under Triton's interpreter.

The interpreter has to be asked for before Triton is imported, so tests/loom/test_triton.py runs this file
in a process of its own.
"""

import importlib
import importlib.util

import numpy as np
import pytest
import torch

from spikeloom.encoding import PoissonEncoder, SampleGenerator, random
from spikeloom.encoding.philox import Place
from spikeloom.loom.backends import interprets

HAS_TRITON = importlib.util.find_spec("triton") is not None
needs_triton = pytest.mark.skipif(
    not HAS_TRITON or not (interprets() or torch.cuda.is_available()),
    reason="needs Triton, and a CUDA device or TRITON_INTERPRET=1 (as loom/test_triton.py sets it)",
)
needs_device = pytest.mark.skipif(
    not HAS_TRITON or interprets() or not torch.cuda.is_available(), reason="needs Triton and a CUDA device"
)
over_compilers = pytest.mark.parametrize(
    ("compiler", "device"),
    [("numba", "cpu"), pytest.param("triton", "cpu" if interprets() else "cuda", marks=needs_triton)],
)
F32, F64 = torch.float32, torch.float64
NUMPY = {F32: np.float32, F64: np.float64}


def uniform_numbers(compiler, *arguments):
    return importlib.import_module(f"spikeloom.encoding.philox_{compiler}").uniform_numbers(*arguments)


@over_compilers
@pytest.mark.parametrize(
    "draws",
    [
        [(1, 3, F32), (2, 5, F32)],
        [(1, 1, F32), (1, 1, F32), (1, 1, F32)],
        [(3, 7, F64), (1, 1, F64)],
        [(1, 3, F32), (2, 5, F64), (1, 1, F32), (3, 7, F32), (1, 2, F64), (2, 1, F32)],
        [(1, 1500, F32), (1, 0, F32), (2, 1025, F32)],
        [(3, 2001, F32), (1, 1, F64), (4, 999, F32), (5, 1001, F64), (1, 2, F32)],
    ],
)
def test_the_numbers_are_those_of_numpy(compiler, device, draws):
    keys = [0, 2**128 - 1, (5 << 64) + 2**63, ((2**63 + 11) << 64) + 7]
    streams, place = [np.random.Generator(np.random.Philox(key=key)) for key in keys], Place()
    for num_steps, count, dtype in draws:
        made = uniform_numbers(compiler, keys, place, num_steps, count, dtype, device)
        place = place.after(num_steps * count, dtype)
        expected = np.stack([stream.random((num_steps, count), NUMPY[dtype]) for stream in streams], 1)
        np.testing.assert_array_equal(made.cpu().numpy(), expected)


@over_compilers
def test_a_stream_can_be_long(compiler, device):
    """Beyond 2^31 words and numbers."""
    stream = np.random.Philox(key=3)
    stream.advance(2**33)  # blocks of four words
    made = uniform_numbers(compiler, [3], Place(2**35), 1, 5, F64, device)
    np.testing.assert_array_equal(made.cpu().numpy()[0, 0], np.random.Generator(stream).random(5))


@over_compilers
@pytest.mark.parametrize("shape", [(2, 0, 3), (2, 3, 0)])
def test_there_may_be_none(compiler, device, shape):
    num_steps, samples, count = shape
    made = uniform_numbers(compiler, [0] * samples, Place(), num_steps, count, F32, device)
    assert made.shape == shape


def test_many_threads_make_the_same():
    keys, made = list(range(37)), []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            made.append(uniform_numbers("numba", keys, Place(), 3, 999, F32, "cpu"))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[0], made[2])


def test_numpy_and_compiled_code_take_turns(monkeypatch):
    """As a generator is asked for few numbers or many, and for other types."""
    many = random.COMPILED_FROM // 8
    draws = [(1, [4, 3], F32), (2, [4, many], F32), (1, [4, 3], F64), (1, [4], F32), (3, [4, many], F64)]
    mixed, by_numpy = (SampleGenerator(0, [4, 8, 15, 16], "poisson", 3) for _ in range(2))
    for T, shape, dtype in [*draws, *draws[::-1]]:
        made = mixed.rand_sequence(T, shape, dtype=dtype)
        with monkeypatch.context() as patch:
            patch.setattr(random, "_failed", {"numba"})
            assert torch.equal(made, by_numpy.rand_sequence(T, shape, dtype=dtype))


@pytest.mark.parametrize(
    ("compiler", "device"),
    [("numba", "cpu"), pytest.param("triton", "cuda", marks=[needs_device, pytest.mark.gpu])],
)
def test_where_nothing_can_be_compiled_numpy_draws(compiler, device, monkeypatch, caplog):
    shape = [2, random.COMPILED_FROM]
    expected = SampleGenerator(0, [1, 2]).rand(shape)

    def fail(*_arguments):
        raise RuntimeError("no C compiler")

    module = importlib.import_module(f"spikeloom.encoding.philox_{compiler}")
    monkeypatch.setattr(module, "uniform_numbers", fail)
    monkeypatch.setattr(random, "_failed", set())
    for _ in range(2):
        assert torch.equal(SampleGenerator(0, [1, 2]).rand(shape, device).cpu(), expected)
    assert caplog.messages == [
        f"Random numbers of samples are made by NumPy: {compiler.capitalize()} fails (no C compiler)."
    ]


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
