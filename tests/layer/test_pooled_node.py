"""A neuron and its pooling in one loop give what one after the other gives."""

import copy
import pickle

import pytest
import torch
from torch import nn

from compare import assert_gradient, assert_same
from spikeloom import functional, layer, loom, monitor, neuron
from spikeloom.loom import loops
from spikeloom.surrogate import ATan

KINDS = {
    "LIFNode": neuron.LIFNode,
    "ParametricLIFNode": neuron.ParametricLIFNode,
    "IzhikevichNode": neuron.IzhikevichNode,
}
SHAPES = {  # T, N, C, H, W and the window
    "small": ((4, 3, 5, 8, 6), 2),
    "one channel": ((3, 2, 1, 6, 6), 3),
    "several blocks and threads": ((6, 5, 32, 28, 28), 2),
    "rows longer than a block": ((2, 1, 70, 4, 64), 4),
    "one step": ((1, 2, 3, 4, 4), 2),
}


@pytest.fixture
def pooled_alone(monkeypatch):
    """Counts how often pooling runs by itself."""
    calls, forward = [], layer.AvgPool2d.forward
    monkeypatch.setattr(layer.AvgPool2d, "forward", lambda self, x: calls.append(x.shape) or forward(self, x))
    return calls


def make(kind, window, backend="auto", **settings):
    net = layer.PooledNode(KINDS[kind](surrogate_function=ATan(), backend=backend, **settings), window)
    functional.set_step_mode(net, "m")
    return net


def sequence(shape, channels_last, dtype=torch.float32):
    x = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0)) * 2
    return (
        x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, shape[:2])
        if channels_last
        else x
    )


def strides(x):
    """Of dimensions of several entries; those of others mean nothing."""
    return [stride for stride, size in zip(x.stride(), x.shape, strict=True) if size > 1]


def results(net, x):
    leaf = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype).copy_(x).requires_grad_()
    output = net(leaf)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).bfloat16().to(x.dtype)
    (output * weights).sum().backward()
    found = {"output": output.detach(), "v": net[0].v.detach(), "gradient of x": leaf.grad}
    return found | {f"gradient of {name}": parameter.grad for name, parameter in net.named_parameters()}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("case", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_it_equals_the_neuron_and_then_the_pooling(kind, case, channels_last, pooled_alone):
    shape, window = SHAPES[case]
    x = sequence(shape, channels_last)
    expected = results(make(kind, window, "torch"), x)
    assert pooled_alone
    pooled_alone.clear()
    got = results(make(kind, window, "numba"), x)
    assert not pooled_alone, "the loop did not pool"
    assert strides(got["output"]) == strides(layer.AvgPool2d(window, step_mode="m")(x))
    for name, value in expected.items():
        if name in ("output", "v") or (window in (2, 4) and name == "gradient of x"):
            assert_same(name, value, got[name])  # a division by 4 or 16 does not round
        else:
            assert_gradient(name, value, got[name])


def test_in_double_precision():
    x = sequence((4, 2, 3, 6, 6), True, torch.float64)
    expected, got = (results(make("LIFNode", 3, backend), x) for backend in ("torch", "numba"))
    for name, value in expected.items():
        assert_gradient(name, value, got[name])


@pytest.mark.parametrize("block", [1, 1792, 5000])
def test_blocks_of_any_size_hold_whole_windows(monkeypatch, block):
    x = sequence((3, 4, 8, 12, 14), True)
    expected = results(make("LIFNode", 2, "torch"), x)
    monkeypatch.setattr(loops, "BLOCK", block)
    got = results(make("LIFNode", 2, "numba"), x)
    for name, value in expected.items():
        assert_same(name, value, got[name])


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_number_of_threads_changes_no_bit(threads):
    x = sequence((8, 6, 16, 14, 14), True)
    expected, before = results(make("LIFNode", 2, "torch"), x), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        got = results(make("LIFNode", 2, "numba"), x)
    finally:
        torch.set_num_threads(before)
    for name, value in expected.items():
        assert_same(name, value, got[name])


def test_what_cannot_be_one_loop_runs_one_after_the_other(pooled_alone):
    odd = sequence((2, 1, 2, 5, 7), False)
    assert make("LIFNode", 2)(odd).shape == (2, 1, 2, 2, 3)
    even = sequence((2, 1, 2, 4, 4), False)
    with loom.backend("torch"):
        make("LIFNode", 2)(even)
    single = layer.PooledNode(neuron.LIFNode(), 2)
    single(even[0])
    changed = make("LIFNode", 2)
    changed[1] = layer.AvgPool2d(2, stride=1, step_mode="m")
    assert changed(even).shape == (2, 1, 2, 3, 3)
    plain = make("LIFNode", 1)
    plain(even)
    assert len(pooled_alone) == 5


def test_a_view_of_another_layout_is_pooled_too():
    x = sequence((2, 3, 4, 6, 6), False).transpose(1, 2)  # neither contiguous nor channels last
    expected, got = (results(make("LIFNode", 2, backend), x) for backend in ("torch", "numba"))
    for name, value in expected.items():
        assert_same(name, value, got[name])


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("case", SHAPES)
def test_half_input_is_pooled_as_it_is(case, channels_last, pooled_alone):
    shape, window = SHAPES[case]
    x = sequence(shape, channels_last).bfloat16()
    expected = results(make("LIFNode", window, "numba"), x.float())  # the gradient is rounded for both
    got = results(make("LIFNode", window, "numba"), x)
    assert not pooled_alone
    assert got["output"].dtype == torch.bfloat16
    assert got["v"].dtype == torch.float32
    assert_same("output", expected["output"].bfloat16(), got["output"])
    assert_same("v", expected["v"], got["v"])
    assert_same("gradient of x", expected["gradient of x"].bfloat16(), got["gradient of x"])


def test_who_watches_the_neuron_sees_spikes(pooled_alone):
    net = make("LIFNode", 2)
    x = sequence((3, 2, 4, 8, 8), False)
    expected = net(x)
    functional.reset_net(net)
    assert not pooled_alone
    with monitor.OutputMonitor(net, neuron.BaseNode) as watch:
        got = net(x)
    assert watch.records[0].shape == x.shape
    assert set(watch.records[0].unique().tolist()) == {0.0, 1.0}
    assert_same("output", expected, got)
    functional.reset_net(net)
    assert net[0](x).shape == x.shape  # called alone, it is the neuron that it was


def test_the_sequence_of_potentials_is_whole():
    net, alone = make("LIFNode", 2, store_v_seq=True), make("LIFNode", 2, "torch", store_v_seq=True)
    x = sequence((3, 2, 4, 8, 8), True)
    net(x), alone(x)
    assert_same("v_seq", alone[0].v_seq, net[0].v_seq)


def test_a_saved_input_in_another_layout():
    """Hooks on saved tensors may give back other strides than they were given."""
    x = sequence((2, 3, 4, 6, 6), True)
    expected = results(make("LIFNode", 2, "torch"), x)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda saved: saved.clone().contiguous(), lambda saved: saved
    ):
        got = results(make("LIFNode", 2, "numba"), x)
    for name, value in expected.items():
        assert_same(name, value, got[name])


def test_it_is_copied_saved_and_moved_like_any_module():
    net = make("ParametricLIFNode", 2)
    twin = copy.deepcopy(net)
    x = sequence((2, 3, 4, 6, 6), True)
    assert_same("output", net(x), twin(x))
    assert set(net.state_dict()) == set(
        nn.Sequential(neuron.ParametricLIFNode(), nn.AvgPool2d(2)).state_dict()
    )


def test_who_watches_all_modules_sees_spikes():
    net, seen = make("LIFNode", 2), {}
    x = sequence((3, 2, 4, 8, 8), False)
    with nn.modules.module.register_module_forward_hook(
        lambda module, _input, output: seen.update({type(module).__name__: output.shape})
    ):
        net(x)
    assert seen["LIFNode"] == x.shape
    assert seen["AvgPool2d"] == (3, 2, 4, 4, 4)


@pytest.mark.parametrize("hook", ["register_full_backward_hook", "register_full_backward_pre_hook"])
@pytest.mark.parametrize("place", [0, 1])
def test_who_watches_gradients_of_either_sees_them(place, hook):
    net, seen = make("LIFNode", 2), []
    getattr(net[place], hook)(lambda *_: seen.append(place))
    net(sequence((3, 2, 4, 8, 8), False).requires_grad_()).sum().backward()
    assert seen == [place]


class Late(neuron.LIFNode):
    """Does something to its spikes before it gives them away."""

    def forward(self, x):
        return super().forward(x).cumsum(0).clamp(max=1)


def test_a_neuron_or_pooling_with_a_forward_of_its_own():
    x = sequence((5, 2, 4, 8, 8), False)
    patched, plain = make("LIFNode", 2), make("LIFNode", 2)
    forward = patched[0].forward
    patched[0].forward = lambda x: forward(x).cumsum(0).clamp(max=1)
    late = layer.PooledNode(Late(surrogate_function=ATan()), 2)
    functional.set_step_mode(late, "m")
    expected = layer.AvgPool2d(2, step_mode="m")(plain[0](x).cumsum(0).clamp(max=1))
    assert_same("patched", expected, patched(x))
    assert_same("of a subclass", expected, late(x))
    functional.reset_net(plain)
    plain[1].forward = lambda spikes: spikes * 2
    assert plain(x).shape == x.shape


def test_a_neuron_that_was_saved_before_there_were_windows():
    node = neuron.LIFNode(step_mode="m")
    node.__dict__.pop("_window", None)
    assert node(torch.ones(2, 3)).shape == (2, 3)


def test_a_copy_from_the_middle_of_a_call_is_a_neuron_by_itself():
    """As one that another thread saves during training."""
    net = make("LIFNode", 2)
    net[0].__dict__["_window"] = 2
    x = sequence((3, 2, 4, 8, 8), False)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert twin[0](x).shape == x.shape


def test_only_neurons_are_taken():
    with pytest.raises(TypeError, match="`neuron` must be a neuron"):
        layer.PooledNode(nn.ReLU(), 2)


def test_a_part_of_it_is_a_sequence():
    net = make("LIFNode", 2)
    assert type(net[:1]) is nn.Sequential
    assert list(net[1:]) == [net[1]]
    assert isinstance(net[0], neuron.LIFNode)
