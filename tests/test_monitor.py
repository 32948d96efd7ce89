"""Records of modules: both step modes agree, the network is not changed, and nothing stays behind."""

import collections
import copy
import gc
import pickle
import re
import weakref

import pytest
import torch
from torch import nn

from compare import assert_close, assert_same
from spikeloom import ann2snn, functional, layer, neuron
from spikeloom.errors import ConversionError, ShapeError, SpikeloomError, UnknownNameError
from spikeloom.event import Runner
from spikeloom.memory import MemoryModule
from spikeloom.monitor import (
    AttributeMonitor,
    GradInputMonitor,
    GradOutputMonitor,
    InputMonitor,
    OutputMonitor,
    record,
)

NUM_STEPS, BATCH = 5, 2


class OwnLoop(MemoryModule):
    """A running sum with a multi_step_forward of its own."""

    def __init__(self, step_mode="s"):
        super().__init__(step_mode)
        self.register_memory("total", 0.0)

    def single_step_forward(self, x):
        self.total = self.total + x
        return self.total

    def multi_step_forward(self, x_seq):
        y = x_seq.cumsum(0) + self.total
        self.total = y[-1]
        return y


def small_net(step_mode: str) -> nn.Sequential:
    """Two layers of neurons, called '1' and '2.1'."""
    torch.manual_seed(0)
    inner = nn.Sequential(layer.Linear(6, 3), neuron.IFNode(v_reset=None))
    net = nn.Sequential(layer.Linear(4, 6), neuron.LIFNode(), inner)
    functional.set_step_mode(net, step_mode)
    with torch.no_grad():  # eighths, like the inputs: exact sums, in whatever order a product adds them up
        for parameter in net.parameters():
            parameter.copy_((parameter * 8).round() / 8)
    return net


@pytest.fixture
def x_seq() -> torch.Tensor:
    return torch.randint(0, 32, (NUM_STEPS, BATCH, 4), generator=torch.Generator().manual_seed(1)) / 8


def run(net: nn.Module, x_seq: torch.Tensor) -> torch.Tensor:
    functional.reset_net(net)
    return net(x_seq) if net[0].step_mode == "m" else torch.stack([net(x) for x in x_seq])


def hooks(net: nn.Module) -> list:
    """Everything that a monitor could leave on a network."""
    left = [
        vars(module)["single_step_forward"]
        for module in net.modules()
        if "single_step_forward" in vars(module)
    ]
    for module in net.modules():
        left += [
            *module._forward_hooks.values(),
            *module._forward_pre_hooks.values(),
            *module._backward_hooks.values(),
        ]
    return left


def test_record_is_the_same_in_both_step_modes(x_seq):
    recordings = {}
    for step_mode in ("s", "m"):
        net = small_net(step_mode)
        with record(net, "v", "spike", "input") as recordings[step_mode]:
            output = run(net, x_seq)
        assert_same("output", output, recordings[step_mode]["2.1", "spike"])
    single, multi = recordings["s"], recordings["m"]
    assert list(single) == list(multi) == ["1", "2.1"]
    for path in single:
        assert list(single[path]) == ["v", "spike", "input"]
        for name in single[path]:
            assert_same(f"{path} {name}", single[path][name], multi[path][name])
    assert single["1"]["v"].shape == (NUM_STEPS, BATCH, 6)


def test_record_of_v_is_v_seq(x_seq):
    net = small_net("m")
    net[1].store_v_seq = True
    with record(net, "v") as recording:
        run(net, x_seq)
    assert_same("v", net[1].v_seq, recording["1", "v"])


def test_what_is_not_stored_is_not_recorded_as_nothing(x_seq):
    net = small_net("m")
    AttributeMonitor("v_seq", False, net, neuron.BaseNode)
    with pytest.raises(AttributeError, match="store_v_seq"):
        run(net, x_seq)


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_recording_changes_neither_output_nor_gradients(step_mode, x_seq):
    plain, recorded = small_net(step_mode), small_net(step_mode)
    expected = run(plain, x_seq)
    expected.square().sum().backward()
    with (
        record(recorded, "v", "spike"),
        OutputMonitor(recorded, nn.Module),
        InputMonitor(recorded, nn.Module),
        AttributeMonitor("v", True, recorded, neuron.BaseNode),
        GradInputMonitor(recorded, nn.Module),
        GradOutputMonitor(recorded, nn.Module),
    ):
        got = run(recorded, x_seq)
        got.square().sum().backward()
    assert_same("output", expected, got)
    for (name, reference), parameter in zip(plain.named_parameters(), recorded.parameters(), strict=True):
        assert_same(name, reference.grad, parameter.grad)
    assert hooks(recorded) == []


def test_recorded_values_are_detached_copies(x_seq):
    net = small_net("m")
    with record(net, "v", "spike") as recording:
        output = run(net, x_seq)
        expected = output.detach().clone()
        output += 1
        net[2][1].v.mul_(0)
    assert_same("spike", expected, recording["2.1", "spike"])
    assert recording["2.1", "v"].any()
    assert not recording["2.1", "v"].requires_grad


def test_sequences_follow_one_another_until_cleared(x_seq):
    net = small_net("m")
    with record(net, "v") as recording:
        run(net, x_seq)
        run(net, x_seq)
        assert recording["1", "v"].shape[0] == 2 * NUM_STEPS
        recording.clear()
        with pytest.raises(SpikeloomError, match=r"LIFNode '1' has not run yet"):
            recording["1", "v"]
        run(net, x_seq[:, :1])
    assert recording["1", "v"].shape == (NUM_STEPS, 1, 6)


def test_another_batch_size_must_be_cleared_first(x_seq):
    net = small_net("m")
    with record(net, "v") as recording:
        run(net, x_seq)
        run(net, x_seq[:, :1])
    with pytest.raises(ShapeError, match=re.escape("clear()")):
        recording["1", "v"]


def test_a_bare_neuron_needs_no_module_name():
    net = neuron.LIFNode(step_mode="m")
    with record(net, "v", "v_threshold") as recording:
        net(torch.ones(3))
    assert_same("v", torch.tensor([0.5, 0.75, 0.875]), recording["v"])
    assert_same("threshold", torch.ones(3), recording["", "v_threshold"])


def test_a_decoded_sequence_is_one_output():
    net = neuron.NonSpikingIFNode("last-mem", step_mode="m")
    with record(net, "v", "spike") as recording:
        net(torch.ones(4, 2))
    assert recording["v"].shape == (4, 2)
    assert_same("spike", torch.full((1, 2), 4.0), recording["spike"])


def test_modules_without_memories_by_class_or_attribute(x_seq):
    net = small_net("m")
    with record(net, "spike", "weight", instance=layer.Linear) as recording:
        run(net, x_seq)
    assert list(recording) == ["0", "2.0"]
    assert recording["0", "spike"].shape == (NUM_STEPS, BATCH, 6)
    assert_same("weight", net[0].weight.detach()[None], recording["0", "weight"])

    class Plain(nn.Module):
        v = 0.0

        def forward(self, x):
            self.v = self.v + x
            return self.v

    plain = Plain()
    with record(plain, "v") as recording:
        for _ in range(3):
            plain(torch.ones(2))
    assert_same("v", torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]), recording["v"])


def test_a_loop_of_its_own_is_told_and_not_guessed():
    net = OwnLoop("m")
    with record(net, "total", "spike") as recording:
        net(torch.ones(3, 1))
    assert_same("spike", torch.tensor([[1.0], [2.0], [3.0]]), recording["spike"])
    with pytest.raises(SpikeloomError, match=r"set_step_mode\(net, 's'\)"):
        recording["total"]
    functional.set_step_mode(net, "s")
    net.reset()
    with record(net, "total") as recording:
        net(torch.ones(1))
    assert_same("total", torch.ones(1, 1), recording["total"])


def test_unknown_names_say_what_there_is(x_seq):
    net = small_net("m")
    with pytest.raises(UnknownNameError, match=r"'vv'.* Did you mean 'v'.*LIFNode '1': v; IFNode '2\.1': v"):
        record(net, "vv").__enter__()
    with pytest.raises(UnknownNameError, match=r"'spikes'.*'spike'"):
        record(net, "spikes").__enter__()
    with pytest.raises(UnknownNameError, match=r"no module .*Conv2d"):
        record(net, "spike", instance=nn.Conv2d).__enter__()
    with pytest.raises(ValueError, match="names"):
        record(net).__enter__()
    with record(net, "v") as recording:
        run(net, x_seq)
    with pytest.raises(UnknownNameError, match=r"'2\.2'.*Did you mean '2\.1'"):
        recording["2.2"]
    with pytest.raises(UnknownNameError, match=r"'spike' of LIFNode '1' is not recorded"):
        recording["1", "spike"]
    assert hooks(net) == []


def test_an_exception_removes_everything(x_seq):
    net = small_net("m")
    with pytest.raises(ShapeError), record(net, "v", "spike"), OutputMonitor(net):
        run(net, x_seq[:0])
    assert hooks(net) == []


def test_recordings_nest(x_seq):
    net = small_net("m")
    with record(net, "v") as outer:
        with record(net, "v") as inner:
            run(net, x_seq)
        run(net, x_seq)
    assert inner["1", "v"].shape[0] == NUM_STEPS
    assert outer["1", "v"].shape[0] == 2 * NUM_STEPS
    assert hooks(net) == []


def test_recordings_end_in_any_order(x_seq):
    net = small_net("m")
    first, second, third = (record(net, "v") for _ in range(3))
    records = [one.__enter__() for one in (first, second, third)]
    run(net, x_seq)
    for one in (second, first):
        one.__exit__(None, None, None)
    run(net, x_seq)
    third.__exit__(None, None, None)
    run(net, x_seq)
    assert [one["1", "v"].shape[0] for one in records] == [NUM_STEPS, NUM_STEPS, 2 * NUM_STEPS]
    assert hooks(net) == []


@pytest.mark.parametrize("watch", [OutputMonitor, InputMonitor, lambda net: record(net, "v")])
def test_a_copy_can_be_run_event_driven_and_converted(watch, x_seq):
    net = small_net("s")
    with watch(net):
        twin = copy.deepcopy(net)
        with pytest.raises(ConversionError, match="has forward hooks"):
            Runner(net, (4,))
    assert_close("output", run(net, x_seq), Runner(twin, (4,))(x_seq))
    ann = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    with OutputMonitor(ann):
        twin = copy.deepcopy(ann)
    ann2snn.convert(twin, x_seq[0])


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_is_not_recorded_and_runs_by_itself(duplicate, x_seq):
    net = small_net("m")
    with record(net, "v", "spike") as recording, OutputMonitor(net, neuron.BaseNode) as monitor:
        run(net, x_seq)
        twin = duplicate(net)
        with torch.no_grad():
            twin[0].weight.zero_()
            twin[0].bias.zero_()
        assert not run(twin, x_seq).any()
    assert recording["1", "v"].shape[0] == NUM_STEPS
    assert len(monitor) == 2
    assert not any("single_step_forward" in vars(module) for module in twin.modules())
    twin = duplicate(net)
    assert_same("output", run(net, x_seq), run(twin, x_seq))
    assert hooks(twin) == []


def test_records_do_not_keep_the_network(x_seq):
    net = small_net("m")
    with record(net, "v", "spike") as recording, OutputMonitor(net) as monitor:
        run(net, x_seq)
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None
    assert len(recording) == 2
    assert len(monitor) == 2


def test_output_monitor_by_call_and_by_name(x_seq):
    net = small_net("s")
    with OutputMonitor(net, neuron.LIFNode) as monitor:
        run(net, x_seq)
        assert monitor.monitored_layers == ["1"]
        assert monitor.name_records_index == {"1": list(range(NUM_STEPS))}
        assert monitor[0].shape == (BATCH, 6)
        assert len(monitor["1"]) == len(monitor[:]) == len(monitor.records) == NUM_STEPS
        monitor.disable()
        assert not monitor.is_enable()
        run(net, x_seq)
        assert len(monitor) == NUM_STEPS
        monitor.enable()
        monitor.clear_recorded_data()
        run(net, x_seq[:1])
        assert monitor.name_records_index == {"1": [0]}
    with pytest.raises(UnknownNameError, match="'2'"):
        monitor["2"]
    run(net, x_seq)
    assert len(monitor) == 1
    monitor.close()


def test_input_monitor_and_functions(x_seq):
    net = small_net("m")
    with InputMonitor(net, layer.Linear, lambda x: x.mean()) as monitor:
        run(net, x_seq)
    assert_same("input", x_seq.mean(), monitor["0"][0])


def test_inputs_given_by_keyword():
    class ByName(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 2)

        def forward(self, x):
            return self.fc(input=x)

    net, x = ByName(), torch.ones(1, 2, requires_grad=True)
    with InputMonitor(net, nn.Linear) as inputs, GradInputMonitor(net, nn.Linear) as gradients:
        net(x).sum().backward()
    assert_same("input", x.detach(), inputs[0])
    assert_same("gradient", x.grad, gradients[0])


def test_a_named_tuple_stays_one():
    Pair = collections.namedtuple("Pair", "first second")
    net = nn.Identity()
    with OutputMonitor(net, function_on_output=lambda pair: pair.second) as monitor:
        net(Pair(torch.zeros(1), torch.ones(1)))
    assert_same("second", torch.ones(1), monitor[0])


def test_attribute_monitor_before_and_after():
    net = neuron.LIFNode()
    with AttributeMonitor("v", True, net) as before, AttributeMonitor("v", False, net) as after:
        net(torch.ones(1))
    assert before.records == [0.0]
    assert_same("v", torch.tensor([0.5]), after[0])
    with (
        AttributeMonitor("vv", False, net),
        pytest.raises(AttributeError, match=r"LIFNode.*'vv'.*Did you mean 'v'"),
    ):
        net(torch.ones(1))


def test_gradient_monitors(x_seq):
    net = small_net("m")
    with GradOutputMonitor(net, neuron.BaseNode) as outputs, GradInputMonitor(net, neuron.BaseNode) as inputs:
        run(net, x_seq).sum().backward()
    assert outputs.name_records_index == inputs.name_records_index == {"1": [1], "2.1": [0]}
    assert_same("output", torch.ones(NUM_STEPS, BATCH, 3), outputs["2.1"][0])
    linear = net[2][0]
    assert_same("output", inputs["2.1"][0] @ linear.weight.detach(), outputs["1"][0])
    assert_same("bias", inputs["2.1"][0].sum((0, 1)), linear.bias.grad)


def test_gradient_monitors_of_a_counter_changed_in_place(x_seq):
    net = small_net("s")
    with GradOutputMonitor(net, neuron.IFNode) as monitor:
        counter = net(x_seq[0])
        counter += net(x_seq[1])
        counter.sum().backward()
    assert_same("gradients", torch.ones(2, BATCH, 3), torch.stack(monitor.records))


def test_gradient_of_an_input_that_is_used_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.branch = nn.Linear(2, 2, bias=False)

        def forward(self, x):
            return x + self.branch(x)

    net = Twice()
    x = torch.ones(1, 2, requires_grad=True)
    with GradInputMonitor(net, nn.Linear) as monitor:
        net(x).sum().backward()
    assert_same("gradient", net.branch.weight.detach().sum(0, keepdim=True), monitor[0])


def test_a_monitor_can_keep_the_graph(x_seq):
    net = small_net("m")
    with OutputMonitor(net, neuron.LIFNode, lambda spikes: spikes.mean(), detach=False) as monitor:
        run(net, x_seq)
    monitor[0].backward()
    assert net[0].weight.grad.any()


def test_a_monitor_without_modules_warns():
    with pytest.warns(UserWarning, match="OutputMonitor records nothing: Sequential has no module of"):
        OutputMonitor(small_net("m"), nn.Conv2d)


def test_a_sequence_after_single_steps_says_that_it_cannot_be_seen():
    net = OwnLoop()
    with record(net, "total") as recording:
        net(torch.ones(2))
        assert recording["total"].tolist() == [[1, 1]]
        net.step_mode = "m"
        net(torch.ones(3, 2))
        with pytest.raises(SpikeloomError, match="'total' cannot be seen"):
            recording["total"]


def test_what_a_backward_pass_computes_again_is_recorded_once(x_seq):
    net = small_net("m")
    with record(net, "v", "spike") as recording, OutputMonitor(net, neuron.LIFNode) as monitor:
        functional.checkpoint(net, x_seq).sum().backward()
    name = next(iter(recording))
    assert len(recording[name]["v"]) == len(recording[name]["spike"]) == NUM_STEPS
    assert len(monitor.records) == 1


def test_a_call_that_fails_is_not_recorded():
    class Fails(neuron.IFNode):
        def neuronal_charge(self, x):
            if bool((x < 0).any()):
                raise ValueError("negative")
            super().neuronal_charge(x)

    net = nn.Sequential(Fails(step_mode="m"))
    with record(net, "v", "spike") as recording:
        net(torch.ones(2, 1))
        with pytest.raises(ValueError, match="negative"):
            net(torch.tensor([[1.0], [-1.0]]))
        assert len(recording["0", "v"]) == 2
        net(torch.ones(2, 1))
    assert len(recording["0", "v"]) == len(recording["0", "spike"]) == 4
