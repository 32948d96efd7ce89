"""Online training of whole sequences: the gradients of single steps, in compiled loops."""

import copy
import gc

import pytest
import torch
from torch import nn

from compare import assert_close
from spikeloom import encoding, functional, layer, learning, model, neuron, rnn, surrogate
from spikeloom.errors import ShapeError, SpikeloomError
from spikeloom.learning import ottt
from spikeloom.loom.fingerprint import look

KINDS = [learning.SLTT, learning.OTTT]


def drive(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64) * 3


def lif(kind=neuron.LIFNode, **settings):
    return kind(surrogate_function=surrogate.ATan(), **settings)


NETS = {
    "hard and soft resets": (
        lambda: [layer.Linear(5, 6), lif(tau=3.0), layer.Linear(6, 4), lif(v_reset=None), layer.Linear(4, 3)],
        (4, 5),
    ),
    "learned leaks": (
        lambda: [layer.Linear(5, 6), lif(neuron.ParametricLIFNode), layer.Linear(6, 3), lif(neuron.IFNode)],
        (4, 5),
    ),
    "convolutions": (
        lambda: [
            layer.Conv2d(2, 3, 3, stride=2, padding=1),
            lif(tau=3.0),
            layer.Conv2d(3, 2, 2),
            lif(),
            layer.Flatten(),
            layer.Linear(8, 3),
        ],
        (4, 2, 6, 6),
    ),
    "a readout that integrates": (
        lambda: [layer.Linear(5, 6), lif(), layer.Linear(6, 3), neuron.NonSpikingLIFNode(4.0)],
        (4, 5),
    ),
    "input that does not decay": (lambda: [layer.Linear(5, 6), lif(tau=3.0, decay_input=False)], (4, 5)),
}
ONLY_SLTT = {
    "other memories": (
        lambda: [
            layer.SynapseFilter(3.0, learnable=True),
            layer.Linear(5, 6),
            lif(),
            layer.LinearRecurrentContainer(lif(), 6, 6),
            layer.MultiStepContainer(nn.Linear(6, 6), lif(), step_mode="s"),
            layer.ElementWiseRecurrentContainer(lif(), torch.sub),
            layer.Linear(6, 3),
        ],
        (4, 5),
    ),
    "several memories": (lambda: [layer.Linear(5, 6), lif(neuron.CLIFNode), layer.Linear(6, 3)], (4, 5)),
}
CASES = [(kind, name) for kind in KINDS for name in NETS] + [(learning.SLTT, name) for name in ONLY_SLTT]


def made(name):
    make, shape = (NETS | ONLY_SLTT)[name]
    torch.manual_seed(0)
    net = nn.Sequential(*make()).double()
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() > 1:
                parameter.abs_()  # so that neurons fire
    functional.set_step_mode(net, "m")
    return net, drive(9, *shape)


def gradients(net):
    found = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    return found


def targets_of(net, x_seq):
    with torch.no_grad():
        output = net(x_seq)
    functional.reset_net(net)
    return drive(*output.shape, seed=1) - 1.5


def by_steps(kind, net, x_seq, targets):
    functional.set_step_mode(net, "s")
    online = kind(net)
    for x, target in zip(x_seq, targets, strict=True):
        (online(x) * target).sum().backward()
    functional.reset_net(online)
    functional.set_step_mode(net, "m")
    return gradients(net)


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_the_gradient_is_that_of_single_steps(kind, name, backend):
    net, x_seq = made(name)
    functional.set_backend(net, backend)
    targets = targets_of(net, x_seq)
    expected = by_steps(kind, net, x_seq, targets)
    (net(x_seq) * targets).sum().backward()
    functional.reset_net(net)
    through_time = gradients(net)
    online = kind(net)
    assert online.step_mode == "m"
    (online(x_seq) * targets).sum().backward()
    found = gradients(net)
    for reference, got in zip(expected, found, strict=True):
        assert_close("gradient", reference, got)
    assert any((one - other).abs().max() > 1e-3 for one, other in zip(found, through_time, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_memories_and_traces_pass_from_one_sequence_to_the_next(kind):
    net, x_seq = made("convolutions")
    targets = targets_of(net, x_seq)
    expected = by_steps(kind, net, x_seq, targets)
    online = kind(net)
    for part in (slice(0, 4), slice(4, 5), slice(5, 9)):
        (online(x_seq[part]) * targets[part]).sum().backward()
    for reference, got in zip(expected, gradients(net), strict=True):
        assert_close("gradient", reference, got)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_that_are_computed_again(kind):
    net, x_seq = made("convolutions")
    targets = targets_of(net, x_seq)
    expected = by_steps(kind, net, x_seq, targets)
    (functional.checkpoint_time(kind(net), x_seq, 4) * targets).sum().backward()
    for reference, got in zip(expected, gradients(net), strict=True):
        assert_close("gradient", reference, got)


@pytest.mark.parametrize("kind", KINDS)
def test_a_compiled_loop_runs_it(kind):
    """To the bits of the reference, as it does without."""
    net = nn.Sequential(layer.Linear(5, 6), lif(v_reset=None, detach_reset=True), layer.Linear(6, 3))
    functional.set_step_mode(net, "m")
    found = []
    for backend in ("numba", "torch"):
        functional.set_backend(net, backend)
        online = kind(net)
        online(drive(9, 4, 5).float()).square().sum().backward()
        functional.reset_net(online)
        found.append(gradients(net))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_the_network_by_itself_learns_through_time_again():
    net, x_seq = made("hard and soft resets")
    targets = targets_of(net, x_seq)
    (net(x_seq) * targets).sum().backward()
    functional.reset_net(net)
    expected = gradients(net)
    online = learning.SLTT(net)
    with pytest.raises(ShapeError):
        online(x_seq[..., :3])
    online(x_seq)
    functional.reset_net(net)
    (net(x_seq) * targets).sum().backward()
    assert all(torch.equal(one, other) for one, other in zip(expected, gradients(net), strict=True))


def test_a_loss_of_the_last_step_reaches_no_other():
    net, x_seq = made("a readout that integrates")
    x_seq.requires_grad_(True)
    learning.SLTT(net)(x_seq)[-1].sum().backward()
    assert x_seq.grad[-1].abs().max() > 0
    assert not x_seq.grad[:-1].any()


def test_layers_that_see_a_static_image_once_have_no_trace():
    layers = {
        "conv1": layer.Conv2d(1, 2, 3, padding=1),
        "sn1": lif(tau=4.0),
        "conv2": layer.Conv2d(2, 2, 3, padding=1),
        "sn2": lif(tau=4.0),
    }
    net = model.Network(layers, T=3)
    torch.nn.init.constant_(layers["conv1"].weight, 2.0)
    x, spikes, first = torch.rand(2, 1, 6, 6), [], []
    layers["sn1"].register_forward_hook(lambda _node, _inputs, output: spikes.append(output.detach()))
    for kind in KINDS:
        online = kind(net)
        online(x).sum().backward()
        first.append(layers["conv1"].weight.grad.clone())
        functional.reset_net(net)
        net.zero_grad()
    assert torch.equal(*first)
    assert list(online.traces) == ["conv2"]
    assert spikes[0][2].any()
    trace = spikes[0][2] + 0.75 * spikes[0][1] + 0.75**2 * spikes[0][0]
    assert_close("trace", trace, online.traces["conv2"])


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_potentials_that_are_stored_keep_their_gradient(backend):
    torch.manual_seed(0)
    net = nn.Sequential(layer.Linear(3, 2), lif(store_v_seq=True, backend=backend)).double()
    x_seq, found = drive(5, 4, 3), []
    for step_by_step in (True, False):
        functional.set_step_mode(net, "s" if step_by_step else "m")
        online = learning.SLTT(net)
        if step_by_step:
            for x in x_seq:
                online(x)
                net[1].v.sum().backward()
        else:
            online(x_seq)
            net[1].v_seq.sum().backward()
        functional.reset_net(online)
        found.append(gradients(net))
    for reference, got in zip(*found, strict=True):
        assert_close("gradient", reference, got)


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_layers_that_are_computed_again_within_it(backend):
    class Again(nn.Module):
        def forward(self, x):
            return functional.checkpoint(self.inner, x)

    torch.manual_seed(0)
    inner = nn.Sequential(
        layer.Linear(5, 6), lif(neuron.CLIFNode, backend=backend), layer.Linear(6, 3)
    ).double()
    functional.set_step_mode(inner, "m")
    x_seq = drive(6, 4, 5)
    learning.SLTT(inner)(x_seq).square().sum().backward()
    functional.reset_net(inner)
    expected = gradients(inner)
    again = Again()
    again.inner = inner
    learning.SLTT(again)(x_seq).square().sum().backward()
    for reference, got in zip(expected, gradients(inner), strict=True):
        assert_close("gradient", reference, got)


def test_traces_of_half_numbers_count_beyond_256():
    net = nn.Sequential(layer.Linear(1, 1, bias=False), lif(neuron.IFNode, v_threshold=1e9, v_reset=None))
    net.bfloat16()
    for step_mode, shape in (("m", (600, 1, 1)), ("s", (1, 1))):
        functional.set_step_mode(net, step_mode)
        online = learning.OTTT(net)
        for _ in range(1 if step_mode == "m" else 600):
            online(torch.ones(shape, dtype=torch.bfloat16))
        assert online.traces["0"].item() == 600
        functional.reset_net(online)


def test_nothing_is_left_to_the_garbage_collector():
    """It comes when it likes, and sequences are large."""

    def inputs():
        return {id(one) for one in gc.get_objects() if type(one) is ottt._Input}

    net, x_seq = made("convolutions")
    online = learning.OTTT(net)
    gc.collect()
    gc.disable()
    try:
        before = inputs()
        output = online(x_seq)
        assert len(inputs() - before) == 3
        output.sum().backward()
        del output
        assert inputs() <= before
    finally:
        gc.enable()


def test_a_copy_in_the_middle_of_a_call_is_not_cut():
    net = nn.Sequential(layer.Linear(3, 2), neuron.LIFNode())
    functional.set_step_mode(net, "m")
    copies, before = [], look(net[1])[0]
    net[1].register_forward_pre_hook(
        lambda node, _inputs: copies.append((copy.deepcopy(node), node.cuts_memories))
    )
    learning.SLTT(learning.SLTT(net))(torch.rand(4, 2, 3))
    assert copies[0][1]
    assert not copies[0][0].cuts_memories
    assert look(net[1])[0] == before  # the same compiled loops run it again


def test_sequences_of_any_memory_format():
    """Time last in memory, and channels last: the traced layers get the same numbers."""
    net, x_seq = made("convolutions")
    targets = targets_of(net, x_seq)
    expected = by_steps(learning.OTTT, net, x_seq, targets)
    last = x_seq.movedim(0, -1).contiguous().movedim(-1, 0)
    for given in (last, x_seq.flatten(0, 1).contiguous(memory_format=torch.channels_last).view_as(x_seq)):
        online = learning.OTTT(net)
        (online(given) * targets).sum().backward()
        functional.reset_net(online)
        for reference, got in zip(expected, gradients(net), strict=True):
            assert_close("gradient", reference, got)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (layer.Delay(2), "Delay '0'"),
        (neuron.PSN(4), "PSN '0'"),
        (neuron.SlidingPSN(2), "SlidingPSN '0'"),
        (layer.LearnableDelay(3, 2), "LearnableDelay '0'"),
        (layer.TemporalWiseAttention(4, reduction=2), "TemporalWiseAttention '0'"),
        (nn.LSTM(3, 2), "LSTM '0'"),
        (rnn.SpikingLSTM(3, 2, 1), "SpikingLSTM '0'"),
    ],
)
def test_what_looks_at_several_steps_is_refused(module, name):
    module.step_mode = "m"
    with pytest.raises(ValueError, match=f"{name} looks at several steps at once"):
        learning.SLTT(nn.Sequential(module, layer.Linear(2, 2, step_mode="m")))


def test_what_runs_step_by_step_is_not_refused():
    net = nn.Sequential(
        layer.MultiStepContainer(layer.Delay(2)),
        encoding.PoissonEncoder(step_mode="m"),
        layer.Dropout(step_mode="m"),
        layer.TemporalEffectiveBatchNorm1d(4, 3),
    )
    assert learning.SLTT(net)(torch.rand(4, 2, 3)).shape == (4, 2, 3)


def test_two_step_modes_are_refused():
    net = nn.Sequential(layer.Linear(3, 2, step_mode="m"), neuron.LIFNode(step_mode="m"))
    online = learning.SLTT(net)
    net[1].step_mode = "s"
    with pytest.raises(ValueError, match="`step_mode` of LIFNode '1' must be 'm'"):
        online(torch.rand(4, 2, 3))
    functional.set_step_mode(online, "s")
    assert online(torch.rand(2, 3)).shape == (2, 2)


def test_what_cannot_be_traced_over_time_is_refused():
    plain = learning.OTTT(nn.Sequential(nn.Linear(3, 2), neuron.LIFNode(step_mode="m")))
    with pytest.raises(SpikeloomError, match=r"Linear '0' does not take sequences.* layer\.Linear\("):
        plain(torch.rand(4, 2, 3))
    parallel = learning.OTTT(
        nn.Sequential(layer.SeqToANNContainer(nn.Linear(3, 2)), neuron.LIFNode(step_mode="m"))
    )
    with pytest.raises(SpikeloomError, match=r"Linear '0\.0' does not take sequences"):
        parallel(torch.rand(4, 2, 3))


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_an_input_that_changes_in_place_is_refused(step_mode):
    class Halved(nn.Module):
        def forward(self, x):
            y = self.linear(x)
            x.mul_(0.5)
            return y

    halved = Halved()
    halved.linear = layer.Linear(3, 2)
    functional.set_step_mode(halved, step_mode)
    with pytest.raises(SpikeloomError, match="input of layer 'linear' was changed in place"):
        learning.OTTT(halved)(torch.rand(4, 2, 3) if step_mode == "m" else torch.rand(2, 3)).sum().backward()
