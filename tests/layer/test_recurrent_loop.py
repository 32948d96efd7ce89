"""LinearRecurrentContainer as one compiled loop over time: what the step-by-step reference gives."""

import copy

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from compare import assert_close, assert_gradient, assert_same
from loom.both import FUSED, inputs
from loom.both import make as make_neuron
from spikeloom import functional, layer, learning, loom, monitor, neuron, surrogate
from spikeloom.errors import BackendError
from spikeloom.loom import select
from spikeloom.loom.fingerprint import look

F = 5


@pytest.fixture
def woven(monkeypatch):
    """The sequences that compiled loops have run."""
    runs = []

    def run(node, x_seq, feedback):
        output = select.run_fed_back(node, x_seq, feedback)
        runs.extend([] if output is None else [output])
        return output

    monkeypatch.setattr(loom, "run_fed_back", run)
    return runs


def container(node, features=F, dtype=torch.float64, **options):
    """The container with strong recurrent weights."""
    torch.manual_seed(0)
    net = layer.LinearRecurrentContainer(node, features, features, step_mode="m", **options).to(dtype)
    nn.init.normal_(net.rc.weight)
    with torch.no_grad():
        net.rc.weight[:, :features] = torch.eye(features)  # the neuron gets its usual input
    return net


def lif(**settings):
    return neuron.LIFNode(surrogate_function=surrogate.ATan(), **settings)


def found(net, backend, *sequences):
    """Output, memories and gradients of a copy of the container, after all sequences without a reset."""
    net, leaves = copy.deepcopy(net), [x.clone().requires_grad_() for x in sequences]
    with loom.backend(backend):
        output = torch.cat([net(x) for x in leaves])
        generator = torch.Generator().manual_seed(2)
        weights = torch.randn(output.shape, generator=generator, dtype=output.dtype)
        memories = {f"memory {name}": value for name, value in net.sub_module.named_memories()} | {"y": net.y}
        loss = (output * weights).sum() + sum(one.sum() for one in memories.values() if one.requires_grad)
        loss.backward()
    values = {"output": output} | memories
    gradients = {f"x {number}": leaf.grad for number, leaf in enumerate(leaves)}
    gradients |= {name: one.grad for name, one in net.named_parameters() if one.grad is not None}
    return {name: one.detach() for name, one in values.items()}, gradients


def assert_agree(net, *sequences):
    values, gradients = found(net, "torch", *sequences)
    got, got_gradients = found(net, "auto", *sequences)
    assert values.keys() == got.keys()
    assert gradients.keys() == got_gradients.keys()
    for name, value in values.items():
        torch.testing.assert_close(
            got[name], value, rtol=1e-9, atol=1e-9, msg=lambda text, n=name: f"{n}: {text}"
        )
    for name, value in gradients.items():
        torch.testing.assert_close(
            got_gradients[name], value, rtol=1e-9, atol=1e-9 * (1 + float(value.abs().sum())), msg=name
        )
    return values["output"], gradients


# Their calls do more than a step: they have a forward of their own.
NOT_WOVEN = {
    "NonSpikingIFNode",
    "NonSpikingLIFNode",
    *(name for name in FUSED if name.startswith("MultiStep")),
}


@pytest.mark.parametrize("name", FUSED)
def test_every_neuron_gives_what_steps_give(name, woven):
    node = make_neuron(name)
    node.step_mode = "s"
    sequences = [inputs(name, *shape, dtype=torch.float64) for shape in ((20, 3, F), (10, 3, F))]
    output, gradients = assert_agree(container(node), *sequences)
    assert output.abs().sum() > 0, "it is silent"
    assert gradients["rc.weight"][:, F:].abs().sum() > 0
    assert len(woven) == (0 if name in NOT_WOVEN else 2)


@pytest.mark.parametrize("shape", [(1, 3, F), (7, F), (6, 2, 4, F), (4, 0, F), (9, 70, F), (3, 1, F)])
def test_any_shape(shape, woven):
    torch.manual_seed(1)
    assert_agree(container(lif()), torch.randn(shape, dtype=torch.float64) * 3)
    assert len(woven) == 1


@pytest.mark.parametrize("features", [1, 3, 4, 7, 64, 130])
def test_any_number_of_neurons(features, woven):
    torch.manual_seed(1)
    x = torch.randn(12, 20, features, dtype=torch.float64) * 3
    assert_agree(container(lif(), features), x)
    assert_agree(container(lif(), features, bias=False), x)
    assert len(woven) == 2


def test_more_than_one_chunk_and_thread(woven, monkeypatch):
    from spikeloom.loom import loops

    monkeypatch.setattr(loops, "BUFFER", 64)  # the fewest steps in a chunk
    monkeypatch.setattr(loops, "SERIAL", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        torch.manual_seed(1)
        assert_agree(container(lif()), torch.randn(50, 40, F, dtype=torch.float64) * 3)
    finally:
        torch.set_num_threads(before)
    assert len(woven) == 1


def test_single_precision_is_close(woven):
    torch.manual_seed(1)
    net, x = container(lif(), dtype=torch.float32), torch.randn(15, 4, F) * 3
    values, gradients = found(net, "torch", x)
    got, got_gradients = found(net, "auto", x)
    assert len(woven) == 1
    assert_same("output", values["output"], got["output"])
    assert_close("v", values["memory v"], got["memory v"])
    for name, value in gradients.items():
        assert_gradient(name, value, got_gradients[name])


class Graded(neuron.LIFNode):
    def neuronal_fire(self):
        return torch.relu(self.v)


def test_outputs_that_are_no_spikes_are_fed_back(woven):
    torch.manual_seed(1)
    output, _ = assert_agree(container(Graded()), torch.randn(20, 3, F, dtype=torch.float64) / 4)
    assert len(output.unique()) > 20
    assert len(woven) == 1


def test_nan_stays_nan(woven):
    net, x = container(lif()), torch.ones(4, 2, F, dtype=torch.float64)
    x[1, 0, 2] = torch.nan
    output = net(x)
    assert output[1, 0, 2].isnan()
    assert output[2:, 0].isnan().all()  # its neighbours got it
    assert not output[:, 1].isnan().any()
    assert len(woven) == 1


class AsksForTheMode(neuron.LIFNode):
    def neuronal_charge(self, x):
        self.v = self.v / 2 + (x if self.step_mode == "s" else 2 * x)


def test_a_step_sees_the_mode_that_it_has_step_by_step(woven):
    assert_agree(container(AsksForTheMode()), torch.randn(9, 3, F, dtype=torch.float64) * 3)
    assert len(woven) == 1


class FiresBooleans(neuron.LIFNode):
    def neuronal_fire(self):
        return self.v >= self.v_threshold


def test_a_neuron_that_fails_is_told_without_the_weights(caplog):
    with caplog.at_level("INFO", "spikeloom.loom"), pytest.raises(TypeError, match="must return spikes"):
        container(FiresBooleans())(torch.randn(4, 3, F, dtype=torch.float64))
    assert "tracing one step failed" in caplog.text
    assert "_feedback" not in caplog.text


def test_weights_are_no_part_of_what_a_neuron_is():
    net = container(lif())
    x = torch.randn(4, F, F, dtype=torch.float64)  # as many samples as neurons
    net(x)
    known = look(net.sub_module)
    for frozen in (True, False):
        functional.reset_net(net)
        net.requires_grad_(not frozen)
        net(x)
        assert look(net.sub_module) == known
    net.sub_module.__dict__["_feedback"] = net.rc.weight[:, F:]  # in the middle of a call
    assert look(net.sub_module) == known
    net.sub_module.__dict__["_step_mode"] = "m"
    twin = copy.deepcopy(net)  # by another thread
    assert twin.sub_module.step_mode == "s"
    assert twin.sub_module._feedback is None


def test_potentials_that_were_kept_are_there_until_reset(woven):
    net, x = container(lif(store_v_seq=True)), torch.randn(4, 3, F, dtype=torch.float64)
    net(x)
    kept = net.sub_module.v_seq
    net.sub_module.store_v_seq = False
    net(x)
    assert_same("v_seq", kept, net.sub_module.v_seq)
    assert len(woven) == 1


@pytest.mark.parametrize("weight", [torch.nan, torch.inf])
def test_weights_that_are_no_numbers_are_not_hidden_by_silence(weight, woven):
    net, x = container(lif()), -torch.ones(4, 2, F, dtype=torch.float64)
    with torch.no_grad():
        net.rc.weight[2, F + 1] = weight
    assert net(x)[:, :, 2].isnan().all()
    assert not woven


def test_a_last_output_of_another_type_is_taken(woven):
    net, x = container(lif()).float(), torch.randn(5, 3, F) * 3
    net(x)
    expected = net.y.clone()
    net.double()  # without a reset
    twin = copy.deepcopy(net)
    twin.y = expected.bool()
    output = net(x.double())
    assert output.dtype == net.y.dtype == torch.float64
    assert_same("output", output, twin(x.double()))
    assert len(woven) == 1


@pytest.mark.parametrize("shape", [(F,), (1, F), (4, 3, F)])
def test_a_last_output_of_another_shape_is_refused(shape, woven):
    net = container(lif())
    net.y = torch.ones(shape, dtype=torch.float64)
    with pytest.raises(RuntimeError, match=r"must match|must have same"):
        net(torch.rand(5, 3, F, dtype=torch.float64))
    assert not woven


@pytest.mark.parametrize("sizes", [(13, F), (8, F), (2 * F, 8), (2 * F, 2), (2 * F, 1)])
def test_weights_of_another_size_are_refused(sizes, woven):
    net = container(lif())
    net.rc = nn.Linear(*sizes).double()
    with pytest.raises((RuntimeError, ValueError), match=r"cannot be multiplied|out_features=5"):
        net(torch.rand(5, 3, F, dtype=torch.float64))
    assert not woven


class Operations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.names.append(operation.overloadpacket.__name__)
        return operation(*args, **(kwargs or {}))


def test_whoever_counts_operations_sees_steps_only(woven):
    net, x = container(lif()), torch.randn(6, 3, F, dtype=torch.float64)
    with Operations() as operations:
        net(x)
    assert operations.names.count("addmm") == 6
    assert not woven


def test_memories_reset_and_detach(woven):
    net, x = container(lif()), torch.randn(5, 3, F, dtype=torch.float64) * 3
    first = net(x)
    assert net.sub_module.step_mode == "s"
    assert_same("y", first[-1], net.y)
    functional.detach_net(net)
    assert net.y.grad_fn is None
    net(x).sum().backward()
    functional.reset_net(net)
    assert net.y is None
    assert_same("after reset", first, net(x))
    net.step_mode = "s"
    assert_same("a step goes on", found_next(net, x[0]), net(x[0]))
    assert len(woven) == 3


def found_next(net, x):
    """The next step, as the equations say."""
    twin = copy.deepcopy(net)
    return twin.sub_module(twin.rc(torch.cat([x, twin.y], -1)))


def test_inputs_of_any_layout(woven):
    torch.manual_seed(1)
    net, x = container(lif()), torch.randn(F, 3, 8, dtype=torch.float64) * 3
    expected = net(x.permute(2, 1, 0).contiguous())
    functional.reset_net(net)
    assert_same("output", expected, net(x.permute(2, 1, 0)))
    assert len(woven) == 2


def test_frozen_weights_get_no_gradient(woven):
    net, x = container(lif()), torch.randn(5, 3, F, dtype=torch.float64)
    net.requires_grad_(False)
    leaf = x.clone().requires_grad_()
    net(leaf).sum().backward()
    assert leaf.grad.abs().sum() > 0
    assert net.rc.weight.grad is None
    functional.reset_net(net)
    assert not net(x).requires_grad
    assert len(woven) == 2


def test_outputs_may_be_written_into(woven):
    net, x = container(lif()), torch.randn(5, 3, F, dtype=torch.float64) * 3
    twin = copy.deepcopy(net)
    (net(x) + net(x)).relu().sum().backward()
    count = twin(x)
    count += twin(x)
    nn.functional.relu_(count).sum().backward()
    assert_same("weights", net.rc.weight.grad, twin.rc.weight.grad)
    assert len(woven) == 4


def test_inputs_may_be_written_into(woven):
    net, x = container(lif()), torch.randn(5, 3, F, dtype=torch.float64) * 3
    twin = copy.deepcopy(net)
    (x + net(x)).square().sum().backward()
    y = x.clone()
    y += twin(y)
    y.square().sum().backward()
    assert_same("weights", net.rc.weight.grad, twin.rc.weight.grad)
    assert len(woven) == 2


def test_inputs_made_in_inference_mode_can_be_trained_with(woven):
    with torch.inference_mode():
        x = torch.randn(5, 3, F, dtype=torch.float64) * 3
    net = container(lif())
    net(x).sum().backward()
    assert net.rc.weight.grad.abs().sum() > 0
    assert len(woven) == 1


def test_gradients_of_gradients_are_refused():
    net, x = container(lif()), torch.randn(5, 3, F, dtype=torch.float64, requires_grad=True)
    with pytest.raises(BackendError, match="cannot be differentiated twice"):
        torch.autograd.grad(net(x).sum(), x, create_graph=True)


class Doubled(layer.LinearRecurrentContainer):
    def single_step_forward(self, x):
        return super().single_step_forward(2 * x)


class Chunked(layer.LinearRecurrentContainer):
    def multi_step_forward(self, x_seq):
        return torch.cat([super(Chunked, self).multi_step_forward(part) for part in x_seq.split(2)])


class Watched(neuron.LIFNode):
    def forward(self, x):
        return super().forward(x)


def with_hook(net):
    net.sub_module.register_forward_hook(lambda *_: None)
    return net


def with_hook_on_weights(net):
    net.rc.register_forward_hook(lambda *_: None)
    return net


def with_norm(net):
    nn.utils.parametrizations.weight_norm(net.rc)
    return net


STEP_BY_STEP = {
    "a hook": lambda: with_hook(container(lif())),
    "a hook on the weights": lambda: with_hook_on_weights(container(lif())),
    "a parametrised weight": lambda: with_norm(container(lif())),
    "a sequence of a subclass": lambda: Chunked(lif(), F, F, step_mode="m").double(),
    "a subclass": lambda: Doubled(lif(), F, F, step_mode="m").double(),
    "a neuron with a forward of its own": lambda: container(Watched()),
    "kept potentials": lambda: container(lif(store_v_seq=True)),
    "the backend": lambda: container(lif(backend="torch")),
    "another module": lambda: container(layer.Linear(F, F)),
}


@pytest.mark.parametrize("name", STEP_BY_STEP)
def test_what_needs_steps_gets_them(name, woven):
    net, x = STEP_BY_STEP[name](), torch.randn(6, 3, F, dtype=torch.float64) * 3
    twin = copy.deepcopy(net)
    output = net(x)
    twin.step_mode = "s"
    assert_same("output", torch.stack([twin(one) for one in x]), output)
    assert not woven


class AsFunction(layer.LinearRecurrentContainer):
    def multi_step_functional_forward(self, inputs, states, **options):
        return (3 * inputs[0],), states


def test_a_sequence_as_a_function_is_taken(woven):
    x = torch.rand(4, 3, F)
    assert_same("output", 3 * x, AsFunction(lif(), F, F, step_mode="m")(x))
    assert not woven


def test_a_step_of_an_instance_is_taken(woven):
    net, x = container(lif()), torch.randn(6, 3, F, dtype=torch.float64) * 3
    expected = net(2 * x)
    functional.reset_net(net)
    step = net.single_step_forward
    net.single_step_forward = lambda one: step(2 * one)
    assert_same("output", expected, net(x))
    assert len(woven) == 1


def test_recorded_steps_are_seen(woven):
    net, x = nn.Sequential(container(lif())), torch.randn(6, 3, F, dtype=torch.float64) * 3
    expected = net(x)
    functional.reset_net(net)
    with monitor.record(net, "spike", instance=neuron.BaseNode) as records:
        net(x)
    (record,) = records.values()
    assert_same("spikes", expected.detach(), record["spike"])


def test_gradients_that_do_not_go_through_time_are_as_step_by_step(woven):
    net, x = container(lif()), torch.randn(6, 3, F, dtype=torch.float64) * 3
    gradients = []
    for backend in ("torch", "auto"):
        twin = copy.deepcopy(net)
        with loom.backend(backend):
            learning.SLTT(twin)(x).sum().backward()
        gradients.append(twin.rc.weight.grad)
    assert_close("weights", *gradients)
    assert not woven


def test_autocast_and_compilation_go_step_by_step(woven):
    net, x = container(lif(), dtype=torch.float32), torch.randn(6, 3, F) * 3
    with torch.autocast("cpu", torch.bfloat16):
        assert net(x).shape == x.shape
    functional.reset_net(net)
    compiled = torch.compile(net, backend="eager")
    compiled(x)
    assert not woven


def test_a_wrong_size_is_told_as_before(woven):
    net = container(lif())
    with pytest.raises(ValueError, match="5 features"):
        net(torch.rand(4, 3, F + 1, dtype=torch.float64))
    net(torch.rand(4, 3, F, dtype=torch.float64))
    with pytest.raises(ValueError, match="reset_net"):
        net(torch.rand(4, 2, F, dtype=torch.float64))
    assert net.sub_module.step_mode == "s"
