"""Whole networks, event by event, against the networks themselves."""

import concurrent.futures
import copy
import pickle
import re

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from model import narrow
from spikeloom import ann2snn, functional, layer, model, neuron, profile
from spikeloom.errors import BackendError, ConversionError, ShapeError
from spikeloom.event import Runner
from spikeloom.event.calls import CURE
from spikeloom.memory import MemoryModule


def run(net, x):
    with torch.no_grad(), functional.fresh_state(net):
        return net(x)


def spiking(*modules):
    net = nn.Sequential(*modules)
    functional.set_step_mode(net, "m")
    return net.eval()


def spikes(*shape, rate=0.3, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator) < rate).to(dtype)


# The deepest have the blocks of the others.
@pytest.mark.parametrize("name", [name for name in model.MODELS.names() if not re.search("10[14]|152", name)])
def test_every_network(name):
    """In float64, in which rounding turns no spike."""
    torch.manual_seed(0)
    image = narrow.image_for(name)
    net = narrow.make_for_evaluation(name, image)
    if name.startswith("spikformer"):
        with pytest.raises(ConversionError, match=re.escape(CURE)):
            Runner(net, image.shape[1:], torch.float64)
        return
    runner = Runner(net, image.shape[1:], torch.float64)
    torch.testing.assert_close(runner(image.expand(narrow.T, *image.shape)), run(net, image))
    counted = profile.count(net, image, narrow.T)
    found = runner.report(narrow.N)
    rows = {row.name: row for row in counted.layers if row.input_rate is not None}
    assert {row.name for row in found.layers} == rows.keys()
    for row in found.layers:
        operations = rows[row.name].acs + rows[row.name].macs
        # A shortcut before the first neuron sees an image once; the network shows it to it at each step.
        assert row.operations in (operations, operations / narrow.T), row.name
        assert row.density == pytest.approx(rows[row.name].input_rate), row.name


NEURONS = {
    "IF": neuron.IFNode,
    "soft reset": lambda: neuron.LIFNode(v_reset=None),
    "threshold of each": lambda: neuron.IFNode(v_threshold=torch.linspace(0.5, 2, 20)),
    "parametric": neuron.ParametricLIFNode,
    "adaptive": neuron.AdaptiveLIFNode,
    "Izhikevich": neuron.IzhikevichNode,
    "current": neuron.CubaLIFNode,
    "symplectic": lambda: neuron.SEAdLIFNode(tau=2.0),
    "balanced": lambda: neuron.BalancedResonateAndFireNode(dt=0.1, v_threshold=0.5),
    "gated": neuron.GLIFNode,
    "ternary": neuron.TernaryLIFNode,
}


@pytest.mark.parametrize("name", NEURONS)
def test_neurons(name):
    torch.manual_seed(0)
    net = spiking(layer.Linear(30, 20), NEURONS[name](), layer.Linear(20, 5), neuron.LIFNode()).double()
    with torch.no_grad():
        net[0].weight.mul_(10), net[2].weight.mul_(10)
    x = spikes(12, 3, 30, dtype=torch.float64)
    expected = run(net, x)
    assert torch.equal(Runner(net, (30,), torch.float64)(x), expected)
    assert 0 < expected.mean() < 1


class Own(neuron.BaseNode):
    """A user's neuron."""

    def neuronal_charge(self, x):
        self.v = self.v * 0.75 + x


def test_a_neuron_of_ones_own_for_each_pixel():
    """Its parameter has a value for each channel, which lies elsewhere in memory than PyTorch has it."""
    torch.manual_seed(0)

    class Scaled(Own):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.linspace(0.5, 2, 4).view(4, 1, 1))

        def neuronal_charge(self, x):
            self.v = self.v * 0.75 + x * self.scale

    net = spiking(layer.Conv2d(2, 4, 3), Scaled(), layer.Flatten(), layer.Linear(4 * 5 * 6, 7)).double()
    x = spikes(6, 3, 2, 7, 8, dtype=torch.float64)
    torch.testing.assert_close(Runner(net, (2, 7, 8), torch.float64)(x), run(net, x))


def test_a_stream_in_parts_remembers_what_came_before():
    net = spiking(layer.Linear(30, 20), neuron.LIFNode(), layer.Linear(20, 5), neuron.LIFNode())
    x = spikes(9, 2, 30)
    runner = Runner(net, (30,))
    whole = runner(x)
    runner.reset()
    assert torch.equal(
        torch.cat([runner(x[:1]), runner(x[1:5]), *(runner.step(one)[None] for one in x[5:])]), whole
    )
    torch.testing.assert_close(whole, run(net, x))


@pytest.mark.parametrize("num_threads", [1, 2, 3])
def test_threads_share_the_samples(num_threads):
    net = spiking(
        layer.Conv2d(1, 4, 3), neuron.LIFNode(), layer.Flatten(), layer.Linear(4 * 36, 5), neuron.IFNode()
    )
    x, before = spikes(6, 7, 1, 8, 8), torch.get_num_threads()
    runner = Runner(net, (1, 8, 8))
    expected = torch.cat([Runner(net, (1, 8, 8))(x[:, n : n + 1]) for n in range(7)], 1)
    try:
        torch.set_num_threads(num_threads)
        assert torch.equal(runner(x), expected)
    finally:
        torch.set_num_threads(before)


def test_an_image_that_is_repeated_is_looked_at_once():
    net = spiking(
        layer.Conv2d(1, 4, 3), layer.BatchNorm2d(4), neuron.LIFNode(), layer.Flatten(), layer.Linear(144, 5)
    )
    image, runner = torch.rand(2, 1, 8, 8), Runner(net, (1, 8, 8))
    repeated = image.expand(6, *image.shape)
    output, once = runner(repeated), runner.report()
    runner.reset(), runner.reset_work()
    assert torch.equal(runner(repeated.contiguous()), output)
    six_times = runner.report()
    assert 6 * once.layers[0].operations == six_times.layers[0].operations
    assert once.layers[0].density == six_times.layers[0].density == 1
    assert once.layers[1] == six_times.layers[1]


class Residual(nn.Module):
    """Arithmetic between layers, and with numbers."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.fires, self.scale = neuron.IFNode(), nn.Parameter(torch.linspace(1, 2, 6))

    def forward(self, x):
        a, b = self.fires(self.first(x)), self.second(x)
        b = -b / 2 - 3
        b += a
        return (1 - a) * b + self.scale * (0.5 + a - b) + (b - a) * 2 - 1.5 * x


def test_arithmetic():
    torch.manual_seed(0)
    net, x = Residual().double().eval(), spikes(3, 6, dtype=torch.float64)
    runner = Runner(net, (6,), torch.float64)
    with torch.no_grad():
        for _ in range(3):
            torch.testing.assert_close(runner.step(x), net(x))


@pytest.mark.parametrize(
    "module",
    [
        layer.SynapseFilter(tau=3.0),
        layer.SynapseFilter(tau=3.0, learnable=True),
        layer.LinearRecurrentContainer(neuron.IFNode(), 6, 6),
        layer.ElementWiseRecurrentContainer(neuron.IFNode(), lambda y, x: x - y),
    ],
)
@pytest.mark.parametrize("mode", ["s", "m"])
def test_modules_that_remember(module, mode):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), copy.deepcopy(module), nn.Linear(6, 3)).double()
    net[1].step_mode = mode
    x = spikes(8, 2, 4, dtype=torch.float64) * 3
    runner, parts = Runner(net, (4,), torch.float64), []
    expected = run(net, x) if mode == "m" else None
    if expected is None:
        with torch.no_grad():
            expected = torch.stack([net(one) for one in x])
    parts = [runner(x[:3]), runner(x[3:])]
    torch.testing.assert_close(torch.cat(parts), expected)


class Shift(MemoryModule):
    """Two memories of which one takes the other's place."""

    def __init__(self):
        super().__init__()
        self.register_memory("last", 0.0)
        self.register_memory("one_before", 0.7)

    def single_step_forward(self, x):
        output = x + 10 * self.last + 100 * self.one_before
        self.one_before, self.last = self.last + 0 * x, x
        return output


class Swapped(Shift):
    def single_step_forward(self, x):
        output = x + 10 * self.last + 100 * self.one_before
        if isinstance(self.last, float):  # numbers before the first step
            self.last, self.one_before = self.last + 0 * x, self.one_before + 0 * x
        self.one_before, self.last = self.last, self.one_before
        return output


@pytest.mark.parametrize("cls", [Shift, Swapped])
def test_memories_that_change_places(cls):
    net = cls()
    x = torch.arange(1.0, 13, dtype=torch.float64).view(6, 1, 2)
    expected = torch.stack([net(one) for one in x])
    assert torch.equal(Runner(net, (2,), torch.float64)(x), expected)


@pytest.mark.parametrize("method", ["max", "percentile"])
def test_a_converted_network(method):
    torch.manual_seed(0)
    ann = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5), nn.ReLU()
    ).eval()
    images = torch.rand(3, 1, 8, 8)
    snn = ann2snn.convert(ann, images, method).double()
    functional.set_step_mode(snn, "m")
    x = images.double().expand(8, *images.shape)
    runner = Runner(snn, (1, 8, 8), torch.float64)
    torch.testing.assert_close(runner(x), run(snn, x))
    runner.reset()
    torch.testing.assert_close(runner(x.contiguous()), run(snn, x))


def test_the_network_is_left_as_it_was():
    net = spiking(layer.Linear(4, 3), neuron.IFNode(), layer.Dropout(0.9)).train()
    x = spikes(3, 2, 4)
    net(x)
    v, before = net[1].v, copy.deepcopy(net.state_dict())
    Runner(net, (4,))(x)
    assert net.training
    assert net[1].v is v
    assert net[0].step_mode == "m"
    assert net[1].backend == "auto"
    assert net[0].weight.requires_grad
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_later_changes_of_the_network_change_no_runner():
    net, x = nn.Linear(4, 3), spikes(2, 4)
    runner = Runner(net, (4,))
    expected = runner.step(x)
    with torch.no_grad():
        net.weight.zero_()
    assert torch.equal(runner.step(x), expected)


def test_copies_and_files_go_on_where_it_stands():
    net = spiking(layer.Linear(6, 5), neuron.LIFNode(), layer.Linear(5, 3))
    x, runner = spikes(4, 2, 6), Runner(net, (6,))
    runner(x)
    others = [copy.deepcopy(runner), pickle.loads(pickle.dumps(runner))]
    expected = runner(x)
    del runner
    for other in others:
        assert torch.equal(other(x), expected)
        assert other.report().layers[0].operations == 2 * int(x.sum()) * 5


def test_work_is_counted_until_it_is_reset():
    runner, x = Runner(nn.Linear(4, 3), (4,)), spikes(5, 4)
    assert runner.report().layers[0].density is None
    runner.step(x), runner.step(x)
    assert runner.report().operations == 6 * int(x.sum())
    assert runner.report(num_samples=10).operations == 0.6 * int(x.sum())
    runner.reset()
    runner.step(x[:2])
    assert runner.report().operations == 6 * int(x.sum()) + 3 * int(x[:2].sum())
    runner.reset_work()
    assert (runner.report().operations, runner.report().dense_operations) == (0, 0)


def test_the_report_is_a_table_and_the_runner_says_what_it_is():
    runner = Runner(spiking(layer.Linear(40, 30), neuron.IFNode(), nn.Identity()), (40,))
    runner.step(torch.ones(1, 40))
    assert str(runner.report()) == (
        "layer  kind    inputs not 0  operations  of all inputs\n"
        "------------------------------------------------------\n"
        "0      Linear       100.00%       1.2 k          1.2 k\n"
        "------------------------------------------------------\n"
        "total                             1.2 k          1.2 k"
    )
    assert repr(runner) == "Runner(shape=[40], dtype=torch.float32, layers with weights: 0)"


def test_layers_without_memories_may_run_twice():
    net, x = Twice(nn.Linear(4, 4)).double(), spikes(2, 4, dtype=torch.float64)
    torch.testing.assert_close(Runner(net, (4,), torch.float64).step(x), net(x).detach())


def test_a_runner_draws_no_random_numbers():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    Runner(nn.Identity(), (4,))
    assert torch.equal(torch.rand(3), expected)


def test_an_empty_batch():
    assert Runner(nn.Linear(4, 3), (4,))(torch.zeros(2, 0, 4)).shape == (2, 0, 3)


def test_images_come_out_with_their_channels_first():
    conv, x = nn.Conv2d(2, 3, 3), spikes(4, 5, 2, 6, 7)
    output = Runner(conv, (2, 6, 7))(x)
    assert output.shape == (4, 5, 3, 4, 5)
    torch.testing.assert_close(output[1], conv(x[1]).detach())


class Twice(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(self.module(x))


class Stores(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("stored", torch.zeros(1, 4))

    def forward(self, x):
        self.stored[:] = x
        return x + self.stored


class Apply(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Recurrent(nn.Module):
    """It remembers its output in an attribute, which nobody registered."""

    def __init__(self):
        super().__init__()
        self.node, self.last = neuron.IFNode(v_threshold=4.0), 0.0

    def forward(self, x):
        self.last = self.node(x + 2 * self.last)
        return self.last


class ReadsPotential(nn.Module):
    def __init__(self):
        super().__init__()
        self.node = neuron.IFNode()

    def forward(self, x):
        return self.node(x) + self.node.v


class Average(MemoryModule):
    """Its first step is another one."""

    def __init__(self):
        super().__init__()
        self.register_memory("mean", 0.0)

    def single_step_forward(self, x):
        self.mean = x if isinstance(self.mean, float) else 0.5 * self.mean + 0.5 * x
        return self.mean


class OneStepLater(MemoryModule):
    def __init__(self):
        super().__init__()
        self.register_memory("last", 0.0)

    def single_step_forward(self, x):
        output = self.last + 0 * x if isinstance(self.last, float) else self.last
        self.last = x
        return output


class Unregistered(neuron.BaseNode):
    """A memory that is found out when it changes."""

    def __init__(self):
        super().__init__()
        self.trace = 0.5

    def neuronal_charge(self, x):
        self.trace = self.trace * 0.5 + x
        self.v = self.v * 0.75 + self.trace


class Doubles(neuron.IFNode):
    def forward(self, x):
        return super().forward(x) * 2


def written(x):
    y = x * 1
    y[:, 0] = 0
    return y


def accumulated(x):
    total = torch.zeros_like(x)
    total += x * 2
    total += 1
    return total


class Decides(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum().item() > 0 else x


class Random(nn.Module):
    def forward(self, x):
        return x * torch.rand(())


class Counts(nn.Module):
    steps = 0

    def forward(self, x):
        self.steps += 1
        return x * self.steps


class InPlace(nn.Module):
    def forward(self, x):
        y = x * 1
        z = y.flatten(1)
        y += 1
        return z


class TwoOutputs(nn.Module):
    def forward(self, x):
        return x, x


class Transposed(nn.Module):
    def forward(self, x):
        return x.mT.mT * 2


class Elsewhere(nn.Module):
    def forward(self, x):
        return torch.from_numpy(x.numpy())


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.ReLU(), "calls 'relu'"),
        (nn.Sequential(nn.Linear(4, 4), nn.Softmax(-1)), "'1' of `net` calls 'softmax'"),
        (Decides(), "calls 'sum'"),
        (Random(), "must do the same at each time step"),
        (Counts(), "must do the same at each time step"),
        (TwoOutputs(), "must return one tensor"),
        (Stores(), "calls 'setitem'"),
        (Twice(neuron.IFNode()), "'module' of `net` runs twice"),
        (Recurrent(), r"must be a memory: register_memory\(\)"),
        (ReadsPotential(), "uses a tensor of the step before, or a neuron's memory"),
        (Average(), "must do the same at each time step"),
        (Doubles(), "without a forward or multi_step_forward of its own"),
        (neuron.NonSpikingIFNode("last-mem"), "without `decode`"),
        (neuron.PSN(4), "must have a single-step mode"),
        (Apply(written), "calls 'setitem'"),
        (Apply(lambda x: x[:, [1, 0, 2, 3]]), "calls 'getitem with such an index'"),
        (Apply(lambda x: x * 2 if torch.equal(x, torch.zeros_like(x)) else x), "calls 'equal'"),
        (Apply(lambda x: x * 2 if 1.0 in x else x), "calls 'contains'"),
        (Apply(lambda x: x / x.shape[0]), "for each sample"),
        (Apply(lambda x: x.add(x, alpha=2)), "calls 'add with alpha'"),
        (Apply(lambda x: x / (x + 1)), "must not divide by a value"),
        (Apply(lambda x: torch.ones(4) / x), "must not divide by a value"),
        (nn.BatchNorm1d(4, track_running_stats=False), "statistics of each batch"),
        (Twice(layer.SynapseFilter()), "'module' of `net` runs twice"),
        (Transposed(), "calls"),
        (Elsewhere(), "calls 'numpy'"),
        (nn.LSTM(4, 4), "calls 'lstm'"),
        (layer.Delay(2), "must"),
    ],
)
def test_what_is_not_known_is_refused_by_its_name(module, message):
    with pytest.raises(ConversionError, match=message):
        Runner(module, (4,))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (InPlace(), "changes a tensor in place"),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), "pad with zeros"),
        (nn.AvgPool2d(3, ceil_mode=True), "ceil_mode"),
        (nn.MaxPool2d(2, dilation=2), "without dilation"),
        (nn.Linear(4, 4), r"must take \[N, F\]"),
        (nn.Unflatten(1, (1, 1)), "must return"),
        (nn.Flatten(2), "must return"),
        (layer.VotingLayer(2), r"must take \[N, F\]"),
        (nn.BatchNorm2d(1, track_running_stats=False), "statistics of each batch"),
        (nn.Flatten(0), "must give"),
    ],
)
def test_what_is_not_known_of_images(module, message):
    with pytest.raises(ConversionError, match=message):
        Runner(module, (1, 4, 4))


@pytest.mark.parametrize("place", ["forward_hook", "forward_pre_hook"])
@pytest.mark.parametrize("name", ["0", "1", ""])
def test_hooks_are_refused_and_not_called(place, name):
    net, called = spiking(layer.Linear(4, 4), neuron.IFNode()), []
    getattr(net.get_submodule(name), f"register_{place}")(lambda *_: called.append(1))
    with pytest.raises(ConversionError, match=f"'{name}' of `net` has forward hooks"):
        Runner(net, (4,))
    assert not called


@pytest.mark.parametrize(
    "parametrised",
    [nn.utils.parametrizations.weight_norm, lambda fc: layer.constrain_sign(fc, torch.ones(4, 4))],
)
def test_weights_that_are_computed(parametrised):
    net, x = spiking(parametrised(layer.Linear(4, 4)), neuron.IFNode(v_threshold=0.1)), spikes(9, 2, 4)
    output = net(x)
    assert output.any()
    assert torch.equal(output, Runner(net, (4,))(x))


def test_a_start_at_random_is_refused():
    class Random(neuron.LIFNode):
        def reset(self):
            super().reset()
            self.v = torch.rand(4)

    with pytest.raises(
        ConversionError, match=r"`net` must start alike after each reset, but its '1\.v' does"
    ):
        Runner(spiking(layer.Linear(4, 4), Random()), (4,))


def test_sums_that_grow_in_place():
    x = spikes(3, 4, dtype=torch.float64)
    assert torch.equal(Runner(Apply(accumulated), (4,), torch.float64).step(x), 2 * x + 1)


def test_a_memory_may_be_the_output():
    x = torch.arange(1.0, 7, dtype=torch.float64).view(6, 1, 1)
    output = Runner(OneStepLater(), (1,), torch.float64)(x)
    assert output.flatten().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.filterwarnings("ignore:.*changed its attribute 'trace'")
def test_a_memory_that_a_neuron_has_not_registered():
    net = nn.Sequential(nn.Linear(8, 5), Unregistered()).double().eval()
    x = spikes(6, 3, 8, dtype=torch.float64)
    runner = Runner(net, (8,), torch.float64)
    with torch.no_grad():
        assert torch.equal(runner(x), torch.stack([net(one) for one in x]))


def test_threads_take_turns():
    net = spiking(layer.Linear(64, 256), neuron.LIFNode(), layer.Linear(256, 10), neuron.IFNode())
    runner = Runner(net, (64,))
    xs = [torch.rand(40, 2, 64), torch.rand(5, 2, 64)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for _ in range(100):
            lengths = [len(output) for output in pool.map(runner, xs)]
            assert lengths == [40, 5]


def test_a_neuron_that_cannot_be_woven():
    class Noisy(Own):
        def neuronal_charge(self, x):
            self.v = self.v + x + torch.rand_like(x)

    with pytest.raises(BackendError, match="cannot run in a compiled loop"):
        Runner(spiking(layer.Linear(4, 4), Noisy()), (4,))


def test_weights_that_hooks_compute_have_to_be_made_plain():
    pruned = prune.l1_unstructured(nn.Linear(4, 4), "weight", 0.5)
    with pytest.raises(ConversionError, match=r"prune\.remove"):
        Runner(pruned, (4,))
    prune.remove(pruned, "weight")
    x = spikes(2, 4)
    torch.testing.assert_close(Runner(pruned, (4,)).step(x), pruned(x).detach())


def test_wrong_arguments_name_the_cure():
    with pytest.raises(TypeError, match="`net` must be a network, got a Tensor"):
        Runner(torch.ones(1), (4,))
    with pytest.raises(ValueError, match="`dtype` must be torch"):
        Runner(nn.Linear(4, 3), (4,), torch.bfloat16)
    for shape in ((), (4, 4), (0,)):
        with pytest.raises(ValueError, match=r"`shape` must be \[F\] or \[C, H, W\]"):
            Runner(nn.Linear(4, 3), shape)
    for shape in ((4.0,), 4, None):
        with pytest.raises(TypeError, match=r"`shape` must be \[F\] or \[C, H, W\]"):
            Runner(nn.Linear(4, 3), shape)
    runner = Runner(nn.Linear(4, 3), (4,))
    for x in (torch.zeros(2, 4), torch.zeros(3, 2, 5), torch.zeros(0, 2, 4)):
        with pytest.raises(ShapeError, match=r"`x` must be \[T, N, 4\] with at least one time step"):
            runner(x)
    for call in (runner, runner.step):
        with pytest.raises(TypeError, match="`x` must be a tensor, got a list"):
            call([1.0])
    with pytest.raises(ValueError, match="real numbers on the CPU"):
        runner(torch.zeros(1, 2, 4, device="meta"))
    with pytest.raises(ValueError, match="real numbers on the CPU"):
        runner(torch.zeros(1, 2, 4, dtype=torch.complex64))
    with pytest.raises(ValueError, match="real numbers on the CPU"):
        runner(torch.zeros(1, 2, 4).to_sparse())
    with pytest.raises(ValueError, match="`num_samples` must be at least 1"):
        runner.report(num_samples=0)


def test_another_batch_without_a_reset_explains_itself():
    runner = Runner(spiking(layer.Linear(4, 3), neuron.IFNode()), (4,))
    runner.step(spikes(2, 4))
    with pytest.raises(ShapeError, match=r"remembers 2 samples, but got 3. Call reset\(\)"):
        runner.step(spikes(3, 4))
    runner.reset()
    assert runner.step(spikes(3, 4)).shape == (3, 3)


def test_too_little_memory_is_an_error(monkeypatch):
    runner = Runner(nn.Linear(4, 3), (4,))
    runner.step(spikes(1, 4))
    monkeypatch.setattr("spikeloom.loom.threads.run", lambda *_: None)
    with pytest.raises(MemoryError, match="Too little memory"):
        runner.step(spikes(1, 4))
