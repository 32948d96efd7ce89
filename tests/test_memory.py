"""Memories: reset, detach, copies, devices and types, and the errors that explain themselves."""

import copy
import pickle
import re
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from compare import assert_same
from spikeloom import functional, layer, neuron
from spikeloom.errors import ForgottenResetError, RecomputedError, ShapeError
from spikeloom.memory import MemoryModule
from spikeloom.steps import StepModule, loop_over_time


class Total(MemoryModule):
    """The sum of all inputs so far."""

    def __init__(self, step_mode="s"):
        super().__init__(step_mode)
        self.register_memory("total", 0.0)

    def single_step_forward(self, x):
        self.total = self.total + x
        return self.total * 1.0


def make_net():
    return nn.Sequential(nn.Linear(3, 5), neuron.LIFNode(), nn.Linear(5, 2), neuron.IFNode())


def test_reset_restores_the_start_and_keeps_the_reset_value_apart():
    module = MemoryModule()
    start = torch.zeros(2)
    module.register_memory("trace", start)
    module.trace += 1
    module.reset()
    assert_same("trace", torch.zeros(2), module.trace)
    module.set_reset_value("trace", 3.0)
    module.reset()
    assert module.trace == 3.0


def test_a_memory_is_listed_and_never_in_state_dict():
    module = Total()
    module(torch.ones(2))
    assert dict(module.named_memories()).keys() == {"total"}
    assert [value.tolist() for value in module.memories()] == [[1.0, 1.0]]
    assert module.state_dict() == {}


def test_deleting_a_memory_forgets_it():
    module = Total()
    del module.total
    assert not list(module.named_memories())
    assert not hasattr(module, "total")


@pytest.mark.parametrize("name", ["weight", "forward", "child", "scale"])
def test_a_memory_may_not_hide_what_the_module_has(name):
    module = MemoryModule()
    module.weight = nn.Parameter(torch.ones(1))
    module.child = nn.Identity()
    module.register_buffer("scale", torch.ones(1))
    with pytest.raises(ValueError, match=f"`name` of a memory must be free.*{name}"):
        module.register_memory(name, 0.0)


def test_set_reset_value_of_an_unknown_memory_names_those_that_exist():
    with pytest.raises(ValueError, match=r"one of \['total'\], got 'totl'"):
        Total().set_reset_value("totl", 1.0)


def test_step_mode_is_checked():
    module = Total()
    with pytest.raises(ValueError, match=r"`step_mode` of Total must be one of \('s', 'm'\), got 'multi'"):
        module.step_mode = "multi"

    class OnlySequences(StepModule):
        def supported_step_mode(self):
            return ("m",)

    with pytest.raises(ValueError, match=r"must be one of \('m',\), got 's'"):
        OnlySequences().step_mode = "s"


def test_a_module_without_a_step_says_so():
    with pytest.raises(NotImplementedError, match=r"must define single_step_forward"):
        MemoryModule()(torch.ones(1))


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (2, 3, 4, 5), (0, 3)])
def test_any_shape_works_in_both_step_modes(shape):
    x_seq = torch.rand(4, *shape)
    module = Total()
    looped = torch.stack([module(x) for x in x_seq])
    assert_same("sequence", looped, Total("m")(x_seq))


def test_loop_over_time_stacks_the_parts_of_a_tuple():
    low, high = loop_over_time(lambda x: (x - 1, x + 1), torch.arange(3.0))
    assert low.tolist() == [-1.0, 0.0, 1.0]
    assert high.tolist() == [1.0, 2.0, 3.0]


def test_forgotten_reset_names_the_module_and_the_cure():
    net = make_net()
    net(torch.rand(4, 3)).sum().backward()
    with pytest.raises(
        ForgottenResetError, match=r"LIFNode '1': its memory 'v'.*reset_net\(net\).*detach_net\(net\)"
    ):
        net(torch.rand(4, 3))


@pytest.mark.parametrize("cure", [functional.reset_net, functional.detach_net])
def test_both_cures_of_a_forgotten_reset_work(cure):
    net = make_net()
    for _ in range(3):
        sum(net(torch.rand(4, 3)) for _ in range(5)).sum().backward()
        cure(net)


def test_a_graph_that_is_kept_is_no_forgotten_reset():
    net = make_net()
    net(torch.rand(4, 3)).sum().backward(retain_graph=True)
    net(torch.rand(4, 3)).sum().backward()


def test_without_gradients_no_reset_is_needed():
    net = make_net()
    net(torch.rand(4, 3)).sum().backward()
    with torch.no_grad():
        net(torch.rand(4, 3))


def test_forgotten_reset_of_a_neuron_without_spikes():
    net = nn.Sequential(nn.Linear(3, 2), neuron.NonSpikingIFNode())
    net(torch.rand(4, 3)).sum().backward()
    with pytest.raises(ForgottenResetError, match="NonSpikingIFNode '1'"):
        net(torch.rand(4, 3))


def test_a_memory_set_by_hand_is_a_new_start():
    node = neuron.IFNode()
    weight = torch.ones(3, requires_grad=True)
    node(weight * 0.5).sum().backward()
    node.v = weight * 0.1
    node(weight * 0.5).sum().backward()


def test_another_batch_size_names_the_module_and_the_cure():
    net = make_net()
    net(torch.rand(4, 3))
    with pytest.raises(
        ShapeError, match=r"LIFNode '1' remembers .*\[4, 5\].* got \[2, 5\].*reset_net\(net\)"
    ):
        net(torch.rand(2, 3))
    functional.reset_net(net)
    assert net(torch.rand(2, 3)).shape == (2, 2)


def test_a_batch_of_one_is_not_broadcast_against_the_memory_of_another():
    node = neuron.IFNode()
    node(torch.rand(1, 3))
    with pytest.raises(ShapeError, match=r"\[1, 3\].*\[8, 3\]"):
        node(torch.rand(8, 3))


@pytest.mark.parametrize("x_seq", [torch.zeros(0, 4), torch.tensor(1.0)])
def test_a_sequence_without_time_steps_is_refused(x_seq):
    with pytest.raises(
        ShapeError, match=r"IFNode is in multi-step mode and expects a sequence.*set_step_mode"
    ):
        neuron.IFNode(step_mode="m")(x_seq)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
def test_integers_and_booleans_are_cast(dtype):
    out = neuron.IFNode()(torch.tensor([0, 1], dtype=dtype))
    assert_same("spikes", torch.tensor([0.0, 1.0]), out)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_half_inputs_keep_float32_memories(dtype, step_mode):
    x = torch.full((500, 2), 0.001, dtype=dtype)
    node = neuron.NonSpikingIFNode(step_mode=step_mode)
    out = node(x) if step_mode == "m" else [node(step) for step in x][-1]
    assert out.dtype == dtype
    assert node.v.dtype == torch.float32
    # In half precision the sum would stall: 0.25 + 0.001 is 0.25 in bfloat16.
    assert node.v[0].item() == pytest.approx(500 * x[0, 0].item(), rel=1e-4)


def test_an_input_that_is_given_by_its_name_is_checked_like_any_other():
    node = neuron.IFNode()
    assert node(x=torch.ones(3, 2, dtype=torch.float16)).dtype == torch.float16
    assert node.v.dtype == torch.float32
    with pytest.raises(ShapeError, match="reset_net"):
        node(x=torch.ones(4, 2))
    with pytest.raises(TypeError, match="`x` of IFNode must be a tensor"):
        node(x=[1.0])
    with pytest.raises(TypeError, match="y"):
        node(y=torch.ones(3, 2))
    node.step_mode = "m"
    node.reset()
    assert_same("spikes", torch.ones(5, 2), node(x_seq=torch.ones(5, 2)))


def test_float64_is_computed_in_float64():
    node = neuron.LIFNode()
    assert node(torch.rand(3, dtype=torch.float64)).dtype == torch.float64
    assert node.v.dtype == torch.float64


def test_memories_follow_the_type_and_the_device_of_the_input():
    node = neuron.IFNode()
    node(torch.full([3], 0.25))
    node(torch.full([3], 0.25, dtype=torch.float64))
    assert_same("v", torch.full([3], 0.5, dtype=torch.float64), node.v)
    node(torch.empty(3, device="meta"))
    assert node.v.device.type == "meta"


def test_memories_made_in_inference_mode_can_be_trained():
    net = make_net()
    with torch.inference_mode():
        net(torch.rand(4, 3))
    net(torch.rand(4, 3)).sum().backward()
    assert net[0].weight.grad is not None


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_after_a_forward_pass_go_on_from_the_same_state(copied):
    node = neuron.LIFNode(store_v_seq=True)
    weight = torch.ones(4, requires_grad=True)
    node(weight * 0.9)
    twin = copied(node)
    x = torch.full([4], 1.2)
    assert_same("next spikes", node(x), twin(x))
    assert_same("v", node.v.detach(), twin.v)
    assert weight.grad is None


def test_a_copy_is_independent():
    node = neuron.IFNode()
    node(torch.full([2], 0.4))
    twin = copy.deepcopy(node)
    twin(torch.full([2], 0.4))
    assert_same("v", torch.full([2], 0.4), node.v)


class ForgottenRegistration(neuron.SimpleBaseNode):
    """A threshold that rises with each spike, kept in a plain attribute."""

    def neuronal_charge(self, x):
        self.v = self.v + x

    def neuronal_fire(self):
        spike = super().neuronal_fire()
        self.v_threshold = self.v_threshold + spike
        return spike


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_state_in_a_plain_attribute_becomes_a_memory_and_is_told_once(step_mode):
    node = ForgottenRegistration(step_mode=step_mode)
    x_seq = torch.ones(6, 2, requires_grad=True)
    message = r"changed its attribute 'v_threshold' from 1.0.*register_memory\('v_threshold', 1.0\)"
    for trial in range(3):
        with pytest.warns(UserWarning, match=message) if trial == 0 else _nothing():
            spikes = node(x_seq) if step_mode == "m" else torch.stack([node(x) for x in x_seq])
        assert spikes[:, 0].tolist() == [1.0, 0.0, 1.0, 0.0, 0.0, 1.0]
        spikes.sum().backward()
        functional.reset_net(node)
        assert node.v_threshold == 1.0


def _nothing():
    import contextlib

    return contextlib.nullcontext()


def test_a_threshold_set_by_hand_between_steps_stays_an_attribute():
    node = neuron.IFNode()
    node(torch.ones(2))
    node.v_threshold = torch.tensor(0.5)
    node(torch.ones(2))
    node.reset()
    assert dict(node.named_memories()).keys() == {"v"}
    assert node.v_threshold.item() == 0.5


def test_a_counter_in_a_step_stays_a_number():
    class Counting(neuron.IFNode):
        num_steps = 0

        def neuronal_charge(self, x):
            super().neuronal_charge(x)
            self.num_steps += 1

    node = Counting(step_mode="m")
    node(torch.ones(5, 2))
    assert node.num_steps == 5


@given(steps=st.integers(1, 6), sizes=st.lists(st.integers(0, 4), max_size=3), split=st.integers(1, 6))
@settings(max_examples=50)
def test_a_sequence_in_chunks_equals_the_whole(steps, sizes, split):
    x_seq = torch.rand(steps, *sizes) * 2
    whole = neuron.LIFNode(step_mode="m")(x_seq)
    assert_same(
        "chunked", whole, functional.chunk_multi_step_forward(split, x_seq, neuron.LIFNode(step_mode="m"))
    )


def test_error_names_survive_nesting():
    net = nn.Sequential(nn.Sequential(nn.Identity(), nn.ModuleDict({"unit": neuron.IFNode()})["unit"]))
    net(torch.rand(4, 3))
    with pytest.raises(ShapeError, match=re.escape("IFNode '0.1'")):
        net(torch.rand(2, 3))


class StartsAsATensor(neuron.SimpleBaseNode):
    """State in plain attributes that start as a tensor, and as nothing."""

    def __init__(self):
        super().__init__()
        self.fatigue = torch.tensor(0.5)
        self.trace = None

    def neuronal_charge(self, x):
        self.trace = x if self.trace is None else self.trace + x
        self.fatigue = self.fatigue + 1.0
        self.v = self.v + x


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_what_a_step_leaves_for_others_to_look_at_is_no_state(step_mode):
    class Looked(neuron.SimpleBaseNode):
        def neuronal_charge(self, x):
            self.v = self.v + x

        def neuronal_fire(self):
            self.spike = super().neuronal_fire()
            return self.spike

    node = Looked(step_mode=step_mode)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            assert_same("spike", node(torch.ones(2, 3)).view(-1, 3)[-1], node.spike.view(-1, 3)[-1])
    assert dict(node.named_memories()).keys() == {"v"}
    node.reset()
    assert isinstance(node.spike, torch.Tensor)


def test_memories_that_are_set_by_hand_may_have_another_shape():
    """As when samples that are done leave a batch."""
    node = neuron.IFNode()
    node(torch.rand(8, 3))
    kept = node.v[[0, 2, 5]]
    node.v = kept
    node(torch.full((3, 3), 0.125))
    assert_same("v", torch.where(kept + 0.125 >= 1, 0, kept + 0.125), node.v)
    node.v = 0.0
    assert node(torch.rand(2, 3)).shape == (2, 3)


def test_a_step_that_failed_remembers_nothing_of_its_input():
    node = layer.LinearRecurrentContainer(neuron.LIFNode(), 4, 4)
    with pytest.raises(ShapeError, match="expects 4 features"):
        node(torch.rand(2, 5))
    assert node(torch.rand(2, 4)).shape == (2, 4)


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_a_step_that_failed_leaves_the_memories_as_they_were(step_mode):
    class Failing(Total):
        def single_step_forward(self, x):
            output = super().single_step_forward(x)
            if x.isnan().any():
                raise ValueError("no number")
            return output

    node, steps = Failing(step_mode), (1,) if step_mode == "s" else (2, 1)
    with pytest.raises(ValueError, match="no number"):
        node(torch.full(steps, torch.nan))
    assert node.total == 0.0
    node(torch.ones(steps))
    before = node.total
    with pytest.raises(ValueError, match="no number"):
        node(torch.full(steps, torch.nan))
    assert node.total is before
    widened = neuron.LIFNode(v_threshold=torch.ones(3), step_mode=step_mode)
    with pytest.raises(ShapeError, match="a setting or a memory does not broadcast"):
        widened(torch.full((*steps, 1), 1.9))
    assert widened.v == 0.0


def test_a_start_that_needs_a_gradient_is_refused():
    """Resets copy it: after the first one it would no longer learn."""
    node = Total()
    with pytest.raises(ValueError, match=r"`value` of the memory 'total' must need no gradient"):
        node.set_reset_value("total", nn.Parameter(torch.ones(3)))
    with pytest.raises(
        ValueError, match=r"To learn what it starts from, set it after each reset: net.w = start"
    ):
        node.register_memory("w", nn.Parameter(torch.ones(3)) * 2)
    start = nn.Parameter(torch.ones(3))
    for _ in range(2):
        node.total, start.grad = start, None
        node(torch.ones(2, 3)).sum().backward()
        assert_same("gradient", torch.full([3], 2.0), start.grad)
        node.reset()


def test_a_start_is_nobody_elses():
    start = torch.zeros(3)
    first, second = Total(), Total()
    for node in (first, second):
        node.register_memory("other", start)
    first.other += 1
    assert not second.other.any()
    assert not start.any()


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_what_does_not_broadcast_is_named_with_its_cure(step_mode):
    x = torch.rand(2, 64, 3, 5) if step_mode == "s" else torch.rand(1, 2, 64, 3, 5)
    node = neuron.LIFNode(v_threshold=torch.ones(64), step_mode=step_mode, backend="torch")
    named = r"its 'v_threshold' of shape \[64\] does not broadcast.*v_threshold.view\(-1, 1, 1\)"
    with pytest.raises(ShapeError, match=named):
        node(x)
    node = neuron.LIFNode(step_mode=step_mode, backend="torch")
    node.v = torch.zeros(7)
    with pytest.raises(
        ShapeError, match=r"LIFNode got .* to which its 'v' of shape \[7\] does not broadcast.$"
    ):
        node(x)
    assert node.v.shape == (7,)


@pytest.mark.parametrize("returned", [lambda node: node.v >= 1, lambda node: None])
@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_spikes_of_another_type_are_named(returned, step_mode):
    class Wrong(neuron.BaseNode):
        def neuronal_charge(self, x):
            self.v = self.v + x

        def neuronal_fire(self):
            return returned(self)

    with pytest.raises(TypeError, match="neuronal_fire of Wrong must return spikes of the type of its input"):
        Wrong(step_mode=step_mode)(torch.rand(2, 3))


def test_half_parameters_in_a_module_that_computes_in_float32():
    class Own(Total):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def single_step_forward(self, x):
            return super().single_step_forward(self.fc(x))

    net, x = Own().bfloat16(), torch.ones(2, 3, dtype=torch.bfloat16)
    with pytest.raises(
        TypeError, match=r"'fc\.weight' is of a half type. Write computes_in_float32 = False into Own"
    ):
        net(x)
    net.computes_in_float32 = False
    assert net(x).dtype is torch.bfloat16


def test_a_neuron_can_be_made_before_its_numbers():
    with torch.device("meta"):
        assert neuron.LIFNode(v_threshold=torch.ones(5)).v_threshold.is_meta


def test_state_that_starts_as_a_tensor_or_as_nothing_is_reset_too():
    node = StartsAsATensor()
    with pytest.warns(UserWarning, match="is now treated as a memory"):
        node(torch.ones(2))
    node(torch.ones(2))
    assert_same("trace", torch.full([2], 2.0), node.trace)
    node.reset()
    assert node.trace is None
    assert_same("fatigue", torch.tensor(0.5), node.fatigue)


def test_checkpointing_computes_again_from_the_right_memories():
    nets = [nn.Sequential(nn.Linear(3, 5), neuron.LIFNode(), nn.Linear(5, 2), neuron.IFNode())]
    functional.set_step_mode(nets[0], "m")
    nets.append(copy.deepcopy(nets[0]))
    x_seq, results = torch.rand(6, 4, 3) * 3, []
    for net, run in zip(nets, (lambda net, x: net(x), functional.checkpoint), strict=True):
        x = x_seq.clone().requires_grad_()
        first, second = run(net, x), run(net, x)  # the second goes on from the first one's memories
        (first.sum() + second.sum()).backward()
        results.append([first, second, net[1].v, x.grad, *(parameter.grad for parameter in net.parameters())])
        functional.reset_net(net)
    for reference, got in zip(*results, strict=True):
        assert_same("checkpointed", reference.detach(), got.detach())


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_from_the_wrong_memories_is_refused(reentrant):
    net = nn.Sequential(nn.Linear(3, 5), neuron.LIFNode())
    x = torch.rand(4, 3, requires_grad=True)
    out = torch.utils.checkpoint.checkpoint(net, x, use_reentrant=reentrant)
    with pytest.raises(RecomputedError, match=r"LIFNode '1' is run again.*functional\.checkpoint"):
        out.sum().backward()


def test_checkpointing_a_function_that_resets_is_allowed():
    net = nn.Sequential(nn.Linear(3, 5), neuron.LIFNode())

    def fresh(x):
        functional.reset_net(net)
        return net(x)

    x = torch.rand(4, 3, requires_grad=True)
    torch.utils.checkpoint.checkpoint(fresh, x, use_reentrant=False).sum().backward()
    got = x.grad.clone()
    x.grad = None
    fresh(x).sum().backward()
    assert_same("gradient", x.grad, got)


def test_an_export_that_would_lose_the_memories_is_refused():
    with pytest.raises(RecomputedError, match="its memories would be lost"):
        torch.export.export(nn.Sequential(neuron.LIFNode()), (torch.rand(3),))


@pytest.mark.parametrize("x", [[1.0], 1.0, "x"])
def test_an_input_that_is_no_tensor_is_refused(x):
    with pytest.raises(TypeError, match=r"`x` of IFNode must be a tensor.*torch\.as_tensor"):
        neuron.IFNode()(x)


def test_a_setting_that_widens_the_input_is_refused():
    with pytest.raises(ShapeError, match=r"input of shape \[3\] and gives \[4, 3\]"):
        neuron.IFNode(v_threshold=torch.ones(4, 1))(torch.ones(3))


def test_registering_on_a_copy_leaves_the_original_alone():
    node = neuron.IFNode()
    copy.copy(node).register_memory("trace", 0.0)
    assert dict(node.named_memories()).keys() == {"v"}


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("what", ["v", "v_seq"])
def test_a_forgotten_reset_after_a_loss_on_the_potential_explains_itself(step_mode, what):
    """As of a readout neuron, which never fires."""
    node = neuron.LIFNode(step_mode=step_mode, store_v_seq=True, backend="torch")
    net = nn.Sequential(nn.Linear(3, 4), node)

    def loss():
        net(torch.rand(5, 2, 3)) if step_mode == "m" else [net(torch.rand(2, 3)) for _ in range(5)]
        return getattr(node, what).sum()

    loss().backward()
    with pytest.raises(ForgottenResetError, match="reset_net"):
        loss().backward()


def test_a_neuron_that_reset_net_cannot_find_is_told_so():
    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.neurons = nn.Linear(3, 2), [neuron.LIFNode()]

        def forward(self, x):
            return self.neurons[0](self.fc(x))

    net = Listed()
    net(torch.rand(4, 3)).sum().backward()
    functional.reset_net(net)
    with pytest.raises(ForgottenResetError, match="a neuron in a plain list is no part of a network"):
        net(torch.rand(4, 3))


class Pair(MemoryModule):
    """Returns its memory, which it changes in place, and its input, in a tuple."""

    def __init__(self, step_mode="s"):
        super().__init__(step_mode)
        self.register_memory("v", 0.0)

    def single_step_forward(self, x):
        if not isinstance(self.v, torch.Tensor):
            self.v = torch.zeros_like(x)
        self.v += x
        return self.v, x


@torch.no_grad()
def test_memories_in_a_tuple_stay_as_they_were_returned():
    assert Pair("m")(torch.ones(3, 1))[0].flatten().tolist() == [1, 2, 3]
    net = Pair()
    first = net(torch.ones(1))[0]
    net(torch.ones(1))
    assert first.tolist() == [1]


def test_half_outputs_in_a_tuple_are_cast_back():
    with torch.no_grad():
        outputs = Pair()(torch.ones(2, dtype=torch.bfloat16))
    assert [one.dtype for one in outputs] == [torch.bfloat16, torch.bfloat16]


class Last(MemoryModule):
    """Gives what came a step before."""

    def __init__(self, step_mode="s", part=slice(None)):
        super().__init__(step_mode)
        self.part = part
        self.register_memory("last", 0.0)

    def single_step_forward(self, x):
        before, self.last = self.last, x[self.part]
        return before + 0 * x[self.part]


@pytest.mark.parametrize("part", [slice(None), slice(1)])
def test_the_callers_buffer_is_no_memory(part):
    net, buffer = Last(part=part), torch.ones(2)
    net(buffer)
    buffer.fill_(5.0)
    assert net(buffer)[0] == 1
    net = Last("m", part)
    sequence = torch.ones(3, 2)
    net(sequence)
    sequence.fill_(5.0)
    assert net(sequence)[0, 0] == 1


def test_a_saved_state_can_be_loaded_again_and_again():
    net = neuron.IFNode(store_v_seq=True)
    net(torch.ones(2))
    state = net.memory_state()
    for copied in (False, True, False):
        net.load_memory_state(state, copy=copied)
        net(torch.ones(2))
        assert len(net.v_seq) == 2


class Noting(neuron.IFNode):
    """Leaves its last input for others to look at."""

    def neuronal_charge(self, x):
        self.current = x * 2
        super().neuronal_charge(x)


class NotingByFunction(Noting):
    def single_step_functional_forward(self, inputs, states, **kwargs):
        return super().single_step_functional_forward(inputs, states, **kwargs)


@pytest.mark.parametrize("cls", [Noting, NotingByFunction])
def test_what_a_step_notes_is_no_memory_after_a_state_was_loaded(cls):
    """Pytest makes an error of the warning that it is taken for one."""
    node, state = cls(), (torch.zeros(2),)
    for _ in range(3):
        (spike,), state = node.single_step_functional_forward((torch.ones(2),), state)
        assert (spike.tolist(), node.current.tolist()) == ([1, 1], [2, 2])
    for _ in range(3):
        node(torch.ones(2))
    node = cls()
    before = node.memory_state()
    for _ in range(2):
        node.load_memory_state(before)
        node(torch.ones(2))
    x = torch.ones(2, requires_grad=True)
    functional.checkpoint(cls(), x).sum().backward()
    assert list(node._memories) == ["v"]


def test_a_class_may_say_its_step_mode():
    class Always(neuron.IFNode):
        step_mode = "m"

    assert Always(step_mode="m")(torch.full((4, 1), 0.6)).flatten().tolist() == [0, 1, 0, 1]


def test_outputs_of_other_classes_keep_them():
    class Best(MemoryModule):
        def single_step_forward(self, x):
            return x.max(1)

    found = Best()(torch.eye(3))
    assert found.values.tolist() == [1, 1, 1]
    assert found.indices.tolist() == [0, 1, 2]


@pytest.mark.parametrize("inference", [False, True])
def test_a_detached_buffer_is_no_memory(inference):
    class Before(MemoryModule):
        def __init__(self):
            super().__init__()
            self.register_memory("last", 0.0)

        def single_step_forward(self, x):
            before, self.last = self.last, x.detach()
            return x + 0 * x + before

    with torch.inference_mode(inference):
        net, buffer = Before(), torch.ones(2)
        net(buffer)
        buffer.fill_(5.0)
        assert net(buffer).tolist() == [6, 6]


def test_a_forgotten_reset_is_told_for_tuples_too():
    class Two(MemoryModule):
        def __init__(self):
            super().__init__()
            self.register_memory("v", 0.0)

        def single_step_forward(self, x):
            self.v = self.v + x
            return self.v * 2, x

    net, x = Two(), torch.ones(2, requires_grad=True)
    net(x)[0].sum().backward()
    with pytest.raises(ForgottenResetError, match="memory 'v' belongs to a sequence"):
        net(x)


def test_memories_come_after_the_base_class():
    class Early(MemoryModule):
        def __init__(self):
            self.register_memory("v", 0.0)

    with pytest.raises(AttributeError, match=r"super\(\).__init__\(\) before register_memory\('v', ...\)"):
        Early()


def test_memories_may_be_lists_of_tensors():
    class Past(MemoryModule):
        def __init__(self):
            super().__init__()
            self.register_memory("past", [])

        def single_step_forward(self, x):
            self.past = [*self.past, x * 2]
            return sum(self.past)

    net, x = Past(), torch.ones(2, requires_grad=True)
    for _ in range(2):
        net(x).sum().backward()
        net.detach()
    again = copy.deepcopy(net)
    assert [one.tolist() for one in again.past] == [[2.0, 2.0]] * 2
