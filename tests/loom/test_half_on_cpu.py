"""Half input on a CPU: bfloat16 is read and written as it is, and computed in float32."""

import numpy as np
import pytest
import torch
from numba import njit

from loom.both import FUSED, assert_agree, assert_half_is_read, inputs, make
from spikeloom.loom import loops, numba_math
from spikeloom.neuron import LIFNode

every_neuron = pytest.mark.parametrize("name", FUSED)


@pytest.fixture
def given(monkeypatch):
    """The types of what loops are given."""
    types, forward = [], loops.NumbaLoops.forward
    monkeypatch.setattr(
        loops.NumbaLoops,
        "forward",
        lambda self, call, *rest: types.append(call.x.dtype) or forward(self, call, *rest),
    )
    return types


@every_neuron
def test_bfloat16_is_read_as_it_is(name, given):
    assert_half_is_read(make(name), inputs(name, 6, 7, 5).bfloat16(), "numba")
    assert given == [torch.bfloat16, torch.float32]


def test_float16_is_computed_in_float32_outside(given):
    output = make("LIFNode", backend="numba")(inputs("LIFNode", 4, 3, 5).half())
    assert output.dtype == torch.float16
    assert given == [torch.float32]


@pytest.mark.parametrize("shape", [(1, 1), (2, 63), (70, 500), (17, 5000), (3, 0)])
@pytest.mark.parametrize("threads", [1, 3])
def test_sizes(shape, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_half_is_read(make("ParametricLIFNode"), inputs("LIFNode", *shape).bfloat16(), "numba")
    finally:
        torch.set_num_threads(before)


def test_layouts_and_sequences_of_potentials():
    node = LIFNode(tau=3.0, step_mode="m", store_v_seq=True)
    x = inputs("LIFNode", 6, 3, 4, 5).bfloat16()
    for view in (lambda x: x, lambda x: x.transpose(2, 3), lambda x: x[::2], lambda x: x[..., ::2]):
        assert_agree(node, x, view=view, starts={"v": torch.rand(view(x).shape[1:])})
        found = node(view(x))
        assert found.dtype == torch.bfloat16
        assert {v.dtype for v in node.v_seq} == {torch.float32}
        node.reset()


def test_numbers_are_widened_and_rounded_as_pytorch_does():
    bits = np.random.default_rng(0).integers(0, 1 << 32, 1 << 20, dtype=np.uint32)
    halves = np.arange(1 << 16, dtype=np.uint32) << 16  # all of bfloat16, infinities and NaN too
    near = [halves + np.uint32(rest) for rest in (1, 0x7FFF, 0x8000, 0x8001, 0xFFFF)]
    bits = np.concatenate([bits, halves, *near])
    rounded, wide = np.empty(bits.shape, np.uint16), np.empty(bits.shape, np.float32)
    njit(lambda to, given: numba_math.narrow(to, given))(rounded, bits.view(np.float32))
    expected = torch.from_numpy(bits.view(np.float32)).bfloat16()
    got = torch.from_numpy(rounded.view(np.int16)).view(torch.bfloat16)
    is_nan = expected.isnan()
    assert torch.equal(got.isnan(), is_nan)
    assert torch.equal(got.view(torch.int16)[~is_nan], expected.view(torch.int16)[~is_nan])
    njit(lambda to, given: numba_math.widen(to, given))(wide, rounded)
    assert np.array_equal(wide.view(np.uint32), got.float().numpy().view(np.uint32))
