"""NIR graphs: every network that is written is read back as what it was, and graphs mean what NIR says."""

import nir
import numpy as np
import pytest
import torch
from torch import nn

from compare import assert_close
from spikeloom import ann2snn, functional, layer, model, neuron, surrogate
from spikeloom.errors import ConversionError
from spikeloom.exchange import (
    EulerIntegrator,
    EulerNode,
    NIRNetwork,
    RecurrentNIRNetwork,
    ThresholdNode,
    export_to_nir,
    import_from_nir,
)
from spikeloom.memory import MemoryModule

T, N = 30, 3


class Branches(nn.Module):
    """What is added up, subtracted, scaled, normalised and used more than once."""

    def __init__(self):
        super().__init__()
        self.a, self.s = layer.Linear(6, 6), neuron.LIFNode()
        self.b, self.t = layer.Linear(6, 6), neuron.LIFNode()
        self.norm = layer.BatchNorm1d(6)

    def forward(self, x):
        y = self.s(self.a(x))
        both = self.t(self.b(y)) + y
        return self.norm(both) - 0.5 * y + y + y - both / 4 + (-x)


class TwoBack(MemoryModule):
    """A circle of two layers of neurons."""

    step_mode_boundary = True

    def __init__(self):
        super().__init__()
        self.a, self.s = nn.Linear(6, 6), neuron.LIFNode()
        self.b, self.t = nn.Linear(6, 6), neuron.IFNode()
        self.back = nn.Linear(6, 6)  # with a bias, which is there in the first step too
        self.register_memory("y", 0.0)

    def single_step_forward(self, x):
        last = self.y if isinstance(self.y, torch.Tensor) else torch.zeros_like(x)
        self.y = self.t(self.b(self.s(self.a(x) + self.back(last))))
        return self.y


def conv_net():
    return nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1),
        layer.BatchNorm2d(4),
        neuron.LIFNode(),
        layer.AvgPool2d(2),
        layer.Conv2d(4, 8, 3, groups=2, padding="same", dilation=2, bias=False),
        neuron.IFNode(),
        layer.BatchNorm2d(8),
        layer.AdaptiveAvgPool2d(2),
        layer.Flatten(),
        layer.Linear(32, 3),
    )


def lif_net():
    return nn.Sequential(
        layer.Linear(6, 20),
        layer.BatchNorm1d(20),
        neuron.LIFNode(3.0, decay_input=False, v_threshold=0.7, v_reset=-0.2),
        layer.Dropout(0.5),
        layer.Linear(20, 6, bias=False),
        neuron.ParametricLIFNode(1.7),
        layer.VotingLayer(2),
    )


def own_numbers():
    return nn.Sequential(
        layer.Delay(3),
        neuron.LIFNode(tau=torch.linspace(2, 7, 6), v_threshold=torch.linspace(0.2, 1, 6)),
        layer.Linear(6, 6),
        layer.LearnableDelay(6, 4, torch.tensor([0.0, 1, 2, 3, 4, 1])),
        EulerNode(torch.rand(6) * 0.9 + 0.1, torch.rand(6), 0.1, 0.9, torch.rand(6), 0.5, torch.rand(6)),
        layer.Linear(6, 6),
        EulerIntegrator(0.25, torch.rand(6), 0.3, torch.full((6,), 0.5), 2.0),
        ThresholdNode(torch.rand(6)),
        EulerNode(0.0, torch.rand(6)),
    )


NETWORKS = {
    "LIF": (lif_net, 6, nn.Sequential),
    "current": (lambda: nn.Sequential(layer.Linear(6, 6), neuron.CubaLIFNode()), 6, nn.Sequential),
    "integrators": (
        lambda: nn.Sequential(
            neuron.NonSpikingLIFNode(3.0), layer.Linear(6, 6), neuron.NonSpikingIFNode(step_mode="m")
        ),
        6,
        nn.Sequential,
    ),
    "convolutions": (conv_net, (2, 8, 8), nn.Sequential),
    "own numbers": (own_numbers, 6, nn.Sequential),
    "branches": (Branches, 6, NIRNetwork),
    "linear recurrence": (
        lambda: layer.LinearRecurrentContainer(neuron.LIFNode(), 6, 6),
        6,
        RecurrentNIRNetwork,
    ),
    "recurrence": (
        lambda: layer.ElementWiseRecurrentContainer(neuron.IFNode(), lambda y, x: x - y),
        6,
        RecurrentNIRNetwork,
    ),
    "recurrence of two": (TwoBack, 6, RecurrentNIRNetwork),
    "leak after reset": (lambda: neuron.LIFNode(leak_after_reset=True), 6, nn.Sequential),
    "older names": (lambda: neuron.MultiStepLIFNode(tau=4.0), 6, nn.Sequential),
}


def lively(net):
    """With weights that make neurons fire, and statistics that are not those of a new normalisation."""
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.weight.data *= 4
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.uniform_(0, 0.5)
    functional.set_step_mode(net, "m")
    return net.eval()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dt", [1e-4, 3e-3])
def test_what_is_written_is_read_as_it_was(name, dt, tmp_path):
    torch.manual_seed(1)
    make, shape, kind = NETWORKS[name]
    net = lively(make())
    x = (torch.rand(T, N, *((shape,) if isinstance(shape, int) else shape)) > 0.5).float() * 1.5
    with torch.no_grad():
        wanted = net(x)
    graph = export_to_nir(net, x, tmp_path / "net.nir", dt)
    assert wanted.std() > 0.01
    assert [*tmp_path.iterdir()] == [tmp_path / "net.nir"]
    for source in (graph, tmp_path / "net.nir", str(tmp_path / "net.nir")):
        back = import_from_nir(source, dt, step_mode="m")
        assert type(back) is kind
        with torch.no_grad():
            assert_close("output", wanted, back(x))
            functional.reset_net(back)
            functional.set_step_mode(back, "s")
            assert_close("output, step by step", wanted, torch.stack([back(step) for step in x]))
    again = import_from_nir(export_to_nir(back, x[0], dt=dt), dt, step_mode="m")  # and so it stays
    with torch.no_grad():
        assert_close("output", wanted, again(x))


def test_a_network_of_residual_blocks():
    torch.manual_seed(0)
    net = model.create("sew-resnet18-cifar", T=4, num_classes=3)
    first, rest = net.conv1, [one for one in net.children() if type(one).__name__ != "MaxPool2d"]
    net = lively(nn.Sequential(first, *rest[1:]))
    x = torch.rand(4, 2, 3, 32, 32)
    back = import_from_nir(export_to_nir(net, x), step_mode="m")
    with torch.no_grad():
        assert_close("output", net(x), back(x))


def by_the_definition(graph, x, dt):
    """What NIR says about graphs without circles, in NumPy, in steps of Euler's method."""
    before = {key: [edge[0] for edge in graph.edges if edge[1] == key] for key in graph.nodes}
    values, todo = dict.fromkeys(graph.inputs, x), dict(graph.nodes)
    for key in graph.inputs:
        del todo[key]
    while todo:
        key = next(key for key in todo if all(one in values for one in before[key]))
        node, given = todo.pop(key), sum(values[one] for one in before[key])
        values[key] = evaluated(node, given, dt)
    return values["output"]


def evaluated(node, x, dt):
    if isinstance(node, nir.Output):
        return x
    if isinstance(node, nir.Linear | nir.Affine):
        return x @ node.weight.T + getattr(node, "bias", 0)
    if isinstance(node, nir.Scale):
        return x * node.scale
    v = np.zeros(x.shape[1:]) + getattr(node, "v_reset", 0)
    current, outputs = np.zeros(x.shape[1:]), []
    for step in x:
        if hasattr(node, "tau_syn"):
            current = current + dt / node.tau_syn * (node.w_in * step - current)
            step = current
        tau = getattr(node, "tau", getattr(node, "tau_mem", None))
        if tau is None:
            v = v + dt * node.r * step
        else:
            v = v + dt / tau * (node.v_leak - v + node.r * step)
        if hasattr(node, "v_threshold"):
            spike = v > node.v_threshold
            v = np.where(spike, node.v_reset, v)
        outputs.append(spike * 1.0 if hasattr(node, "v_threshold") else v)
    return np.stack(outputs)


DT = 1e-3
NODES = {
    "LIF": nir.LIF(*np.array([[4e-3] * 2, [2.0, 1.0], [0.1, 0.0], [0.5, 0.4], [0.0, -0.1]])),
    "IF": nir.IF(*np.array([[300.0, 200.0], [0.9, 1.1], [0.1, 0.1]])),
    "LI": nir.LI(*np.array([[4e-3, 1e-3], [2.0, 1.0], [0.1, 0.0]])),
    "I": nir.I(np.array([1000.0, 1000.0])),
    "CubaLIF": nir.CubaLIF(
        *np.array([[2e-3, 4e-3], [4e-3, 3e-3], [2.0, 3.0], [0.1, 0.0], [0.5, 0.4], [0.0, -0.1], [1.0, 3.0]])
    ),
    "CubaLI": nir.CubaLI(*np.array([[2e-3, 4e-3], [4e-3, 3e-3], [2.0, 3.0], [0.1, 0.0], [1.0, 3.0]])),
    "plain LIF": nir.LIF(*np.array([[4e-3] * 2, [1.0] * 2, [0.0] * 2, [0.5] * 2, [0.0] * 2])),
    "undivided LIF": nir.LIF(*np.array([[4e-3] * 2, [4.0] * 2, [0.0] * 2, [0.5] * 2, [0.0] * 2])),
    "plain CubaLIF": nir.CubaLIF(
        *np.array([[2e-3] * 2, [4e-3] * 2, [4.0] * 2, [0.0] * 2, [1.5] * 2, [0.0] * 2, [2.0] * 2])
    ),
}


@pytest.mark.parametrize("name", NODES)
def test_nodes_do_what_nir_says(name):
    graph = nir.NIRGraph.from_list(NODES[name])
    x = torch.rand(T, N, 2, dtype=torch.float64)
    net = import_from_nir(graph, DT, dtype=torch.float64, step_mode="m")
    wanted = torch.from_numpy(by_the_definition(graph, x.numpy(), DT))
    assert wanted.std() > 0.1
    got = net(x)
    assert (
        (got != wanted).double().mean() < 0.02 if name.endswith("LIF") else True
    )  # a tie may fall otherwise
    assert_close("first steps", wanted[:8], got[:8])
    familiar = name in ("I", "plain LIF", "undivided LIF", "plain CubaLIF")
    assert type(net[0]).__module__.startswith("spikeloom.neuron" if familiar else "spikeloom.exchange")


def test_graphs_that_are_written_mean_the_same_by_the_definition():
    torch.manual_seed(1)
    net = lively(Branches()).double()
    x = (torch.rand(T, N, 6) > 0.5).double()
    with torch.no_grad():
        wanted = net(x)
    got = by_the_definition(export_to_nir(net, x), x.numpy(), 1e-4)
    torch.testing.assert_close(torch.from_numpy(got), wanted, rtol=1e-5, atol=1e-5)


def test_ties_with_the_threshold():
    """NIR's neurons fire above their threshold, ours at it."""
    graph = export_to_nir(neuron.IFNode(), (1,))
    assert graph.nodes["if"].v_threshold < 1
    x = torch.full((4, 1, 1), 0.5)
    strict = nir.NIRGraph.from_list(nir.IF(np.array([1e4]), np.array([1.0])))
    fires = {
        "ours": import_from_nir(graph, step_mode="m"),
        "above": import_from_nir(strict, step_mode="m"),
        "at": import_from_nir(strict, step_mode="m", fires_at_threshold=True),
    }
    spikes = {name: net(x).flatten().tolist() for name, net in fires.items()}
    assert spikes == {"ours": [0, 1, 0, 1], "above": [0, 0, 1, 0], "at": [0, 1, 0, 1]}


def test_a_reset_by_subtraction_is_written_if_it_is_asked_for(tmp_path):
    net = nn.Sequential(neuron.IFNode(v_reset=None), neuron.LIFNode(1.5, v_reset=None, v_threshold=0.3))
    with pytest.raises(ConversionError, match=r"'0' of `net` subtracts its threshold .* soft_reset=True"):
        export_to_nir(net, (2,))
    graph = export_to_nir(net, (2,), tmp_path / "soft.nir", soft_reset=True)
    assert graph.nodes["0"].metadata == {"reset": "subtract"}
    back = import_from_nir(tmp_path / "soft.nir")
    assert [one.v_reset for one in back] == [None, None]
    x = torch.rand(T, N, 2) * 3
    for one in (net, back):
        functional.set_step_mode(one, "m")
    assert_close("output", net(x), back(x))


def test_settings_of_the_neurons_and_training():
    net = import_from_nir(
        export_to_nir(lively(conv_net()), (2, 8, 8)),
        step_mode="m",
        surrogate_function=surrogate.ATan(3.0),
        detach_reset=True,
    )
    assert net[1].surrogate_function.alpha == 3.0
    assert net[1].detach_reset
    net(torch.rand(4, 2, 2, 8, 8)).sum().backward()
    assert all(one.grad is not None for one in net.parameters())
    recurrent = import_from_nir(export_to_nir(TwoBack(), (6,)), step_mode="m")
    recurrent(torch.rand(4, 2, 6)).sum().backward()
    functional.reset_net(recurrent)
    recurrent(torch.rand(4, 3, 6)).sum().backward()
    assert all(one.grad is not None for one in recurrent.parameters())


def test_graphs_within_graphs():
    inner = nir.NIRGraph.from_list(nir.Linear(np.eye(2) * 3), NODES["IF"])
    outer = nir.NIRGraph(
        {
            "a.in": nir.Input({"input": np.array([2])}),
            "keys": inner,
            "b": nir.Output({"output": np.array([2])}),
        },
        [("a.in", "keys"), ("keys", "b")],
        type_check=False,
    )
    net = import_from_nir(outer, DT, step_mode="m")
    x = torch.rand(T, N, 2)
    flat = import_from_nir(nir.NIRGraph.from_list(nir.Linear(np.eye(2) * 3), NODES["IF"]), DT, step_mode="m")
    assert_close("output", flat(x), net(x))


def test_other_layers_that_are_read():
    graph = nir.NIRGraph.from_list(
        nir.Conv1d(8, np.ones((4, 2, 3)), 1, "same", 1, 1, np.zeros(4)),
        nir.Flatten({"input": np.array([4, 8])}, 0, 1),
        nir.Scale(np.arange(32.0)),
    )
    assert import_from_nir(graph)(torch.rand(3, 2, 8)).shape == (3, 32)
    pool = nir.NIRGraph.from_list(
        nir.Input({"input": np.array([1, 4, 4])}), nir.SumPool2d(*np.array([[2, 2], [2, 2], [0, 0]]))
    )
    assert import_from_nir(pool)(torch.ones(1, 1, 4, 4)).tolist() == [[[[4.0, 4.0], [4.0, 4.0]]]]


@pytest.mark.parametrize(
    ("net", "shape", "said"),
    [
        (
            nn.Sequential(layer.Linear(2, 2), neuron.IzhikevichNode()),
            (2,),
            "'1' of `net` has the class IzhikevichNode",
        ),
        (layer.MaxPool2d(2), (1, 4, 4), "NIR has no maximum"),
        (layer.Conv2d(1, 1, (3, 1)), (1, 4, 4), "square window"),
        (layer.AdaptiveAvgPool2d(3), (1, 4, 4), "windows of one size"),
        (layer.AvgPool2d(3, ceil_mode=True), (1, 4, 4), "ceil_mode=False"),
        (neuron.CubaLIFNode(c_decay=1.0), (2,), "never forgets"),
        (layer.LearnableDelay(2, 3, 1.5), (2,), "whole time steps"),
        (
            layer.ElementWiseRecurrentContainer(neuron.IFNode(), lambda y, x: x * (1 - y)),
            (2,),
            "is all that NIR can",
        ),
        (
            layer.ElementWiseRecurrentContainer(neuron.IFNode(), lambda y, x: x + 1),
            (2,),
            "add a value to another",
        ),
        (nn.Softmax(1), (2,), "softmax"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_nir_does_not_have_is_refused(net, shape, said):
    with pytest.raises(ConversionError, match=said):
        export_to_nir(net, shape)


def test_nodes_of_a_circle_in_multi_step_mode_are_refused():
    net = import_from_nir(export_to_nir(TwoBack(), (6,)))
    functional.set_step_mode(net.nodes, "m")  # they would take the batch for time
    with pytest.raises(ValueError, match="RecurrentNIRNetwork gives its modules single time steps"):
        net(torch.rand(N, 6))


@pytest.mark.parametrize("seed", range(4))
def test_neurons_that_start_elsewhere_are_refused(seed):
    torch.manual_seed(seed)
    net = nn.Sequential(layer.Linear(6, 5), neuron.LIFNode(v_threshold=0.3))
    net[1].set_reset_value("v", 0.1)
    with pytest.raises(ConversionError, match="'1' of `net` does not start from its v_reset"):
        export_to_nir(net, (6,))
    ann, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), torch.rand(16, 6)
    with pytest.raises(ConversionError, match=r"with convert\(..., initial_potential=0.0\)"):
        export_to_nir(ann2snn.convert(ann, x), (6,), soft_reset=True)
    export_to_nir(ann2snn.convert(ann, x, initial_potential=0.0), (6,), soft_reset=True)


def test_graphs_that_are_refused(tmp_path):
    lif = NODES["plain LIF"]
    with pytest.raises(ConversionError, match="'lif' of `graph` must have a `tau` of at least one time step"):
        import_from_nir(nir.NIRGraph.from_list(lif), dt=0.01)
    for tau in (-1.0, 0.0, np.nan):
        wrong = nir.LIF(*np.array([[tau] * 2, [1.0] * 2, [0.0] * 2, [0.5] * 2, [0.0] * 2]))
        with pytest.raises(ConversionError, match="must have a `tau` greater than 0, got"):
            import_from_nir(nir.NIRGraph.from_list(wrong))
    two = nir.NIRGraph({"a": nir.Input({"input": [2]}), "b": lif}, [("a", "b")], type_check=False)
    with pytest.raises(ConversionError, match="one input and one output, got 1 and 0"):
        import_from_nir(two)
    lost = nir.NIRGraph.from_list(lif)
    lost.nodes["alone"] = lif
    with pytest.raises(ConversionError, match=r"has none to \['alone'\]"):
        import_from_nir(lost)
    late = nir.NIRGraph.from_list(nir.Delay(np.array([1.5e-3])))
    with pytest.raises(ConversionError, match="whole time steps"):
        import_from_nir(late, dt=1e-3)
    with pytest.raises(FileNotFoundError, match=r"none\.nir is no file"):
        import_from_nir(tmp_path / "none.nir")
    (tmp_path / "damaged.nir").write_bytes(b"nothing")
    with pytest.raises(ConversionError, match=r"damaged\.nir is none"):
        import_from_nir(tmp_path / "damaged.nir")
    with pytest.raises(TypeError, match="`graph` must be a graph of the package nir"):
        import_from_nir(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("dt", [0.0, -1.0, float("nan"), float("inf"), "fast"])
def test_time_steps_that_are_refused(dt):
    with pytest.raises((ValueError, TypeError), match="`dt` must be"):
        export_to_nir(neuron.IFNode(), (2,), dt=dt)
    with pytest.raises(ValueError, match="`dt` must be a finite number of seconds greater than 0, got 0"):
        import_from_nir("none.nir", dt=0)


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nir", None)
    with pytest.raises(ImportError, match=r"pip install 'spikeloom\[nir\]'"):
        export_to_nir(neuron.IFNode(), (2,))


def test_the_network_is_left_as_it_is():
    net = lively(lif_net()).train()
    net(torch.rand(2, 3, 6))
    before = {name: value.clone() for name, value in (*net.state_dict().items(), ("v", net[2].v))}
    export_to_nir(net, (6,))
    assert net.training
    assert net[2].step_mode == "m"
    for name, value in (*net.state_dict().items(), ("v", net[2].v)):
        assert torch.equal(value, before[name]), name


class Memory(MemoryModule):
    """Remembers what a rule makes of the input and of what it remembers."""

    step_mode_boundary = True

    def __init__(self, rule, output, start=0.0):
        super().__init__()
        self.rule, self.output, self.node = rule, output, neuron.IFNode()
        self.register_memory("a", start)

    def single_step_forward(self, x):
        before = self.a
        self.a = self.rule(x, before)
        return self.output(self, x, before)


def after(self, x, before):
    return self.a


def started(node, name, value):
    node.set_reset_value(name, value)
    node.reset()
    return node


class Twice(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, x):
        return self.part(x) + self.part(2 * x)


class First(nn.Module):
    def __init__(self):
        super().__init__()
        self.steps = 0

    def forward(self, x):
        self.steps += 1
        return 2 * x if self.steps == 1 else x * 1


class Doubled(neuron.IFNode):
    def single_step_forward(self, x):
        return 2 * super().single_step_forward(x)


SILENTLY_OTHERS = {
    "a sum that grows": lambda: Memory(lambda x, a: a + x, after),
    "a moving average": lambda: Memory(lambda x, a: 0.5 * a + x, after),
    "weights behind the neuron": lambda: layer.ElementWiseRecurrentContainer(
        nn.Sequential(neuron.IFNode(), nn.Linear(6, 6)), lambda y, x: x + y
    ),
    "a start": lambda: started(neuron.IFNode(v_threshold=2.0), "v", 1.0),
    "a current's start": lambda: started(neuron.CubaLIFNode(), "c", 1.0),
    "another start": lambda: neuron.SimpleIFNode(v_reset=-1.0),
    "a delay in two places": lambda: Twice(layer.Delay(1)),
    "a smooth neuron": lambda: neuron.IFNode(surrogate_function=surrogate.Sigmoid(spiking=False)),
    "spikes of 2": lambda: neuron.IFNode(surrogate_function=lambda x: (x > 0).float() * 2),
    "a step of its own": Doubled,
    "another first step": First,
}


@pytest.mark.parametrize("name", SILENTLY_OTHERS)
def test_what_a_graph_would_do_otherwise_is_refused(name):
    net = SILENTLY_OTHERS[name]()
    with pytest.raises(ConversionError, match=r"`net`"):
        export_to_nir(net, (6,))


@pytest.mark.parametrize(
    "net",
    [
        Memory(lambda x, a: x * 1, lambda self, x, a: self.node(x + 0.5 * a)),
        Memory(lambda x, a: x * 1, lambda self, x, a: x + a),
        layer.AvgPool2d(2, divisor_override=1),
    ],
)
def test_a_memory_outside_of_a_circle_is_a_delay(net):
    shape = (1, 4, 4) if isinstance(net, nn.AvgPool2d) else (3,)
    x = torch.rand(T, N, *shape) * 2
    functional.set_step_mode(net, "m")
    back = import_from_nir(export_to_nir(net, shape), step_mode="m")
    again = import_from_nir(export_to_nir(back, shape), step_mode="m")
    wanted = net(x)
    assert_close("output", wanted, back(x))
    assert_close("output", wanted, again(x))


@pytest.mark.parametrize(
    "name", ["append", "extend", "step_mode", "forward", "v", "a.b", "keys", "nodes", "0"]
)
def test_nodes_of_any_name(name):
    graph = nir.NIRGraph(
        {
            "in": nir.Input({"input": np.array([2])}),
            name: nir.Scale(np.array([2.0, 2.0])),
            name.replace(".", "_") + "_": nir.Scale(np.array([3.0, 3.0])),
            "out": nir.Output({"output": np.array([2])}),
        },
        [("in", name), (name, name.replace(".", "_") + "_"), (name.replace(".", "_") + "_", "out")],
    )
    net = import_from_nir(graph, step_mode="m")
    assert net(torch.ones(1, 1, 2)).tolist() == [[[6.0, 6.0]]]
    assert [one.scale[0].item() for one in net] == [2.0, 3.0]


@pytest.mark.parametrize("example", ["abc", None, 3, (-1,), (3.7,), np.zeros((2, 3)), torch.zeros(3)])
def test_examples_that_are_refused(example):
    with pytest.raises(ConversionError, match="`example_input` must be a batch"):
        export_to_nir(neuron.IFNode(), example)


def test_other_input_that_is_refused(tmp_path):
    with pytest.raises(ConversionError, match="`net` must be a network"):
        export_to_nir(None, (3,))
    with pytest.raises(ConversionError, match="never leaks"):
        export_to_nir(neuron.LIFNode(tau=float("inf")), (3,))
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: .*none/net"):
        export_to_nir(neuron.IFNode(), (3,), tmp_path / "none" / "net.nir")
    with pytest.raises(TypeError, match="`dtype` must be"):
        import_from_nir(export_to_nir(neuron.IFNode(), (3,)), dtype="float32")
    nan = nir.NIRGraph.from_list(nir.IF(np.array([np.nan]) * 1, np.array([1.0])))
    with pytest.raises(ConversionError, match="'if' of `graph` has numbers that are refused"):
        import_from_nir(nan)
