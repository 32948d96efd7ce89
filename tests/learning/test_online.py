"""Online training: gradients worked out by hand, memory that does not grow, and what cannot be traced."""

import copy
import weakref

import pytest
import torch
from torch import nn

from compare import assert_close
from spikeloom import functional, layer, learning, neuron, surrogate
from spikeloom.errors import ShapeError, SpikeloomError

TAU = 3.0


def drive(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64) * 3


def lif(**settings):
    return neuron.LIFNode(
        TAU, v_reset=None, detach_reset=True, surrogate_function=surrogate.ATan(), **settings
    )


SYNAPSES = {
    "linear": (lambda: layer.Linear(5, 4, bias=False), (3, 5)),
    "conv1d": (lambda: layer.Conv1d(2, 3, 3, bias=False), (3, 2, 7)),
    "conv2d": (lambda: layer.Conv2d(2, 4, 3, padding=1, stride=2, groups=2, bias=False), (3, 2, 6, 6)),
    "conv3d": (lambda: layer.Conv3d(1, 2, 2, bias=False), (3, 1, 3, 3, 3)),
    "standardised": (lambda: layer.WSLinear(5, 4, bias=False), (3, 5)),
    "one sign": (lambda: layer.constrain_sign(layer.Linear(5, 4, bias=False)), (3, 5)),
}


def train(net, x, targets):
    """The gradients of a loss at every step, step by step."""
    for step, target in zip(x, targets, strict=True):
        (net(step) * target).sum().backward()
    gradients = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    functional.reset_net(net)
    return gradients


@pytest.mark.parametrize("name", SYNAPSES)
@pytest.mark.parametrize("decay_input", [True, False])
def test_ottt_of_one_layer_is_the_gradient_through_time(name, decay_input):
    """With a soft reset that is detached, the potential is a leaky sum of inputs: traces miss nothing."""
    make, shape = SYNAPSES[name]
    net = nn.Sequential(make().double(), lif(decay_input=decay_input))
    x = drive(8, *shape)
    with torch.no_grad():
        targets = [torch.randn_like(net(step)) for step in x]
        functional.reset_net(net)
    loss = sum((net(step) * target).sum() for step, target in zip(x, targets, strict=True))
    expected = torch.autograd.grad(loss, list(net.parameters()))
    functional.reset_net(net)
    for reference, got in zip(expected, train(learning.OTTT(net), x, targets), strict=True):
        assert_close("gradient", reference, got)


def by_hand(w1, w2, x, targets, traces):
    """Two layers of LIF neurons (soft reset), the surrogate ATan: the equations of OTTT and SLTT."""
    keep, slope = 1 - 1 / TAU, lambda u: 1 / (1 + (torch.pi * u) ** 2)
    v1 = v2 = torch.zeros(())
    a0 = a1 = torch.zeros(())
    g1, g2 = torch.zeros_like(w1), torch.zeros_like(w2)
    for step, target in zip(x, targets, strict=True):
        u1 = keep * v1 + step @ w1.T / TAU
        s1 = (u1 >= 1).double()
        u2 = keep * v2 + s1 @ w2.T / TAU
        s2 = (u2 >= 1).double()
        v1, v2 = u1 - s1, u2 - s2
        a0, a1 = (keep * a0 + step, keep * a1 + s1) if traces else (step, s1)
        d2 = target * slope(u2 - 1) / TAU
        d1 = d2 @ w2 * slope(u1 - 1) / TAU
        g1, g2 = g1 + d1.T @ a0, g2 + d2.T @ a1
    return g1, g2


@pytest.mark.parametrize("kind", [learning.OTTT, learning.SLTT])
def test_two_layers_by_hand(kind):
    torch.manual_seed(0)
    net = nn.Sequential(layer.Linear(5, 6, bias=False), lif(), layer.Linear(6, 3, bias=False), lif()).double()
    with torch.no_grad():
        for index in (0, 2):
            net[index].weight.copy_(net[index].weight.abs() * 3)
    x, targets = drive(10, 4, 5), drive(10, 4, 3, seed=1) - 1.5
    expected = by_hand(net[0].weight.detach(), net[2].weight.detach(), x, targets, kind is learning.OTTT)
    for reference, got in zip(expected, train(kind(net), x, targets), strict=True):
        assert reference.abs().max() > 0.1
        assert_close("gradient", reference, got)


def test_sltt_is_what_detaching_by_hand_gives():
    net = nn.Sequential(layer.Linear(5, 4), lif(), layer.Linear(4, 2)).double()
    x, targets = drive(6, 3, 5), drive(6, 3, 2, seed=1)
    for step, target in zip(x, targets, strict=True):
        functional.detach_net(net)
        (net(step) * target).sum().backward()
    expected = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    functional.reset_net(net)
    for reference, got in zip(expected, train(learning.SLTT(net), x, targets), strict=True):
        assert torch.equal(reference, got)


def test_a_readout_has_no_trace_and_other_leaks_have_their_own():
    """IF neurons forget nothing; a layer without neurons behind it remembers nothing."""
    net = nn.Sequential(layer.Linear(3, 3, bias=False), neuron.IFNode(), layer.Linear(3, 1, bias=False))
    ottt = learning.OTTT(net)
    x = torch.rand(4, 2, 3)
    spikes = []
    hook = net[2].register_forward_pre_hook(lambda _module, inputs: spikes.append(inputs[0].detach()))
    for step in x:
        ottt(step).sum().backward()
    hook.remove()
    assert_close("IF", x.sum(0), ottt.traces["0"])
    assert_close("readout", spikes[-1], ottt.traces["2"])
    functional.reset_net(ottt)
    assert ottt.traces == {}


def test_leaks_of_learned_and_of_given_time_constants():
    x = torch.rand(3, 2, 3)
    for node, tau, leak in (
        (neuron.ParametricLIFNode(4.0), None, 0.75),
        (neuron.NonSpikingLIFNode(5.0), None, 0.8),
        (neuron.ALIFNode(), 10.0, 0.9),
        (neuron.LIFNode(2.0), 10.0, 0.9),
    ):
        ottt = learning.OTTT(nn.Sequential(layer.Linear(3, 2), node), tau)
        for step in x:
            ottt(step).sum().backward()
        assert_close("trace", x[2] + leak * x[1] + leak**2 * x[0], ottt.traces["0"])


def peak_of_saved_tensors(step, num_steps):
    """The most bytes that autograd holds at once, over ``num_steps`` steps."""
    held = peak = 0

    class Box:
        def __init__(self, tensor):
            self.tensor = tensor

    def release(size):
        nonlocal held
        held -= size

    def pack(tensor):
        nonlocal held, peak
        box, size = Box(tensor), tensor.numel() * tensor.element_size()
        weakref.finalize(box, release, size)
        held += size
        peak = max(peak, held)
        return box

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda box: box.tensor):
        step(num_steps)
    return peak


@pytest.mark.parametrize("kind", [learning.OTTT, learning.SLTT])
def test_memory_does_not_grow_with_time(kind):
    net = nn.Sequential(
        layer.Conv2d(1, 4, 3), lif(backend="torch"), nn.Flatten(), layer.Linear(64, 3), lif(backend="torch")
    )
    online = kind(net)

    def step_by_step(num_steps):
        for x in torch.rand(num_steps, 2, 1, 6, 6):
            online(x).mean().backward()
        functional.reset_net(online)

    def through_time(num_steps):
        sum(net(x).mean() for x in torch.rand(num_steps, 2, 1, 6, 6)).backward()
        functional.reset_net(net)

    assert peak_of_saved_tensors(step_by_step, 4) == peak_of_saved_tensors(step_by_step, 64) > 0
    assert peak_of_saved_tensors(through_time, 64) > 10 * peak_of_saved_tensors(through_time, 4)


@pytest.mark.parametrize("kind", [learning.OTTT, learning.SLTT])
@pytest.mark.parametrize("every_step", [False, True])
def test_it_learns_with_any_optimiser(kind, every_step):
    """Which of three inputs is on, from noise; stepping after each time step, or once per sequence."""
    torch.manual_seed(0)
    net = nn.Sequential(layer.Linear(3, 20), neuron.LIFNode(), layer.Linear(20, 3))
    online, optimizer = kind(net), torch.optim.Adam(net.parameters(), lr=0.02)
    loss = torch.tensor(0.0)
    for _ in range(40):
        label = torch.randint(3, (32,))
        optimizer.zero_grad()
        for _t in range(5):
            output = online(2 * torch.eye(3)[label] + torch.rand(32, 3))
            loss = nn.functional.cross_entropy(output, label)
            (loss / 5).backward()
            if every_step:
                optimizer.step()
                optimizer.zero_grad()
        if not every_step:
            optimizer.step()
        functional.reset_net(online)
    assert loss < 0.3


def test_without_gradients_it_is_the_network():
    net = nn.Sequential(layer.Linear(3, 2), neuron.LIFNode())
    ottt = learning.OTTT(net).eval()
    x = torch.rand(5, 4, 3) * 4
    with torch.inference_mode():
        expected = [net(step) for step in x]
        functional.reset_net(net)
        assert all(torch.equal(one, ottt(step)) for one, step in zip(expected, x, strict=True))
    assert ottt.traces == {}


def test_a_copy_is_traced_too():
    net = nn.Sequential(layer.Linear(3, 2, bias=False), lif()).double()
    ottt = learning.OTTT(net)
    twin = copy.deepcopy(ottt)
    x, targets = drive(5, 2, 3), drive(5, 2, 2, seed=1)
    for one, two in zip(train(ottt, x, targets), train(twin, x, targets), strict=True):
        assert torch.equal(one, two)


def test_frozen_layers_are_left_alone():
    net = nn.Sequential(layer.Linear(3, 3), neuron.LIFNode(), layer.Linear(3, 2))
    net[0].requires_grad_(False)
    ottt = learning.OTTT(net)
    for step in torch.rand(3, 2, 3):
        ottt(step).sum().backward()
    assert net[0].weight.grad is None
    assert net[2].weight.grad is not None
    net[0].bias.requires_grad_(True)
    ottt(torch.rand(2, 3)).sum().backward()
    assert net[0].weight.grad is None
    assert net[0].bias.grad is not None


def test_a_step_that_is_computed_again_is_traced_once():
    net = nn.Sequential(layer.Linear(3, 2, bias=False), lif()).double()
    ottt = learning.OTTT(net)
    x, targets = drive(5, 2, 3), drive(5, 2, 2, seed=1)
    (expected,) = train(ottt, x, targets)
    for step, target in zip(x, targets, strict=True):
        (functional.checkpoint(ottt, step) * target).sum().backward()
    assert_close("gradient", expected, net[0].weight.grad)


@pytest.mark.parametrize("kind", [learning.OTTT, learning.SLTT])
def test_a_network_that_went_to_multi_step_mode_is_refused(kind):
    net = nn.Sequential(layer.Linear(3, 2), neuron.LIFNode())
    online = kind(net)
    functional.set_step_mode(net, "m")
    with pytest.raises(ValueError, match=r"`step_mode` of Linear '0' must be 's'"):
        online(torch.rand(4, 2, 3))


def test_what_cannot_be_traced_is_refused():
    circular = nn.Sequential(layer.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), lif())
    with pytest.raises(SpikeloomError, match="does not save its input as it is"):
        learning.OTTT(circular)(torch.rand(1, 1, 5, 5))
    assert not circular[0]._forward_hooks
    learning.SLTT(circular)(torch.rand(1, 1, 5, 5)).sum().backward()
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(SpikeloomError, match="autocast"):
        learning.OTTT(nn.Sequential(layer.Linear(3, 2), lif()))(torch.rand(1, 3))
    shared = layer.Linear(3, 3)
    with pytest.raises(SpikeloomError, match="runs twice in a time step"):
        learning.OTTT(nn.Sequential(shared, lif(), shared, lif()))(torch.rand(1, 3))


def test_wrong_arguments():
    net = nn.Sequential(layer.Linear(3, 2), neuron.LIFNode(step_mode="m"))
    with pytest.raises(ValueError, match=r"`step_mode` of LIFNode '1' must be 's'"):
        learning.SLTT(net)
    with pytest.raises(ValueError, match="`tau`"):
        learning.OTTT(nn.Linear(1, 1), 0.5)
    net = learning.OTTT(nn.Sequential(layer.Linear(3, 2), neuron.ALIFNode()))
    net(torch.rand(2, 3))
    with pytest.raises(ValueError, match=r"leak of ALIFNode .*OTTT\(net, tau=\.\.\.\)"):
        net(torch.rand(2, 3))
    net = learning.OTTT(nn.Sequential(layer.Linear(3, 2), neuron.LIFNode(torch.tensor([2.0, 3.0]))))
    net(torch.rand(2, 3))
    with pytest.raises(ValueError, match="not one number"):
        net(torch.rand(2, 3))
    net = learning.OTTT(nn.Sequential(layer.Linear(3, 2), neuron.LIFNode()))
    net(torch.rand(2, 3))
    with pytest.raises(ShapeError, match="batch of another size"):
        net(torch.rand(1, 3))
