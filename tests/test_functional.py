"""What is done to whole networks: resetting, detaching, step modes, loops over time, losses over time."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from compare import assert_close, assert_same
from spikeloom import functional, layer, neuron, surrogate
from spikeloom.errors import ForgottenResetError, ShapeError
from spikeloom.memory import MemoryModule


class Counter(nn.Module):
    """A user's module: no MemoryModule, but with a reset and a detach."""

    def __init__(self):
        super().__init__()
        self.count = self.detached = 0

    def forward(self, x):
        self.count += 1
        return x

    def reset(self):
        self.count = 0

    def detach(self):
        self.detached += 1


def make_net():
    return nn.Sequential(
        nn.Linear(3, 4), neuron.LIFNode(), nn.Sequential(Counter(), neuron.IFNode()), nn.Linear(4, 2)
    )


def nodes(net):
    return [module for module in net.modules() if isinstance(module, neuron.BaseNode)]


# Resetting and detaching


def test_reset_net_resets_every_memory_and_every_users_module():
    net = make_net()
    net(torch.rand(2, 3))
    assert all(isinstance(node.v, torch.Tensor) for node in nodes(net))
    functional.reset_net(net)
    assert [node.v for node in nodes(net)] == [0.0, 0.0]
    assert net[2][0].count == 0


def test_reset_net_finds_a_module_that_was_added_after_the_first_reset():
    net = make_net()
    functional.reset_net(net)
    net[2].append(neuron.IFNode())
    net.add_module("late", neuron.LIFNode())
    net(torch.rand(2, 3))
    functional.reset_net(net)
    assert [node.v for node in nodes(net)] == [0.0] * 4


def test_reset_net_names_a_module_whose_reset_requires_arguments():
    class Started(MemoryModule):
        def reset(self, start, *, scale, offset=0.0):
            super().reset()

    net = nn.Sequential(nn.Linear(2, 2), Started())
    message = r"`reset` of Started '1' must take no arguments.* it requires 'start' and 'scale'\. Give them"
    with pytest.raises(TypeError, match=message):
        functional.reset_net(net)
    with pytest.raises(TypeError, match="`reset` of Started must"):
        functional.reset_net(net[1])


def test_reset_net_leaves_an_error_within_a_reset_as_it_is():
    class Broken(MemoryModule):
        def reset(self, start=1):
            return start + "text"

    with pytest.raises(TypeError, match="unsupported operand"):
        functional.reset_net(nn.Sequential(Broken()))


def test_reset_net_of_a_single_neuron_and_of_one_that_is_used_twice():
    node = neuron.IFNode()
    net = nn.Sequential(node, node)
    net(torch.full([3], 0.4))
    with pytest.warns(UserWarning, match="IFNode '0' stands at '1' too"):
        functional.reset_net(net)
    assert node.v == 0.0
    node(torch.full([3], 0.4))
    functional.reset_net(node)
    assert node.v == 0.0


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_reset_net_warns_of_a_neuron_in_two_places(step_mode):
    node = neuron.LIFNode(step_mode=step_mode)
    net = nn.Sequential(nn.Linear(3, 3), node, nn.Sequential(nn.Linear(3, 3), node))
    net(torch.rand(2, 2, 3))
    with pytest.warns(UserWarning, match=r"LIFNode '1' stands at '2\.1' too.*a neuron of its own") as caught:
        functional.reset_net(net)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert node.v == 0.0
    with pytest.warns(UserWarning, match=r"LIFNode 'net\.1' stands at 'net\.2\.1' too"):
        functional.reset_net(nn.ModuleDict({"net": net}))


def test_reset_net_does_not_warn_of_what_may_stand_in_two_places():
    """Pytest makes an error of a warning."""
    relu, drop, node = nn.ReLU(), layer.Dropout(0.5), neuron.IFNode()
    functional.reset_net(nn.Sequential(nn.Linear(3, 3), relu, drop, nn.Linear(3, 3), relu, drop))
    functional.reset_net(nn.ModuleList([node, nn.Sequential(nn.Linear(3, 3), node)]))  # two names for one


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TorchScript
@pytest.mark.parametrize("features", [nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3), nn.ReLU())])
def test_reset_net_passes_over_scripted_modules(features):
    net = nn.Sequential(torch.jit.script(features), neuron.LIFNode())
    net(torch.rand(2, 3))
    functional.reset_net(net)
    assert net[1].v == 0.0


def test_an_attribute_called_reset_that_is_no_method_is_left_alone():
    net = make_net()
    net.reset = net.detach = None
    functional.reset_net(net)
    functional.detach_net(net)
    assert net.reset is None


def test_reset_and_detach_leave_parameters_buffers_and_gradients_alone():
    net = nn.Sequential(make_net(), nn.BatchNorm1d(2))
    net(torch.rand(5, 3)).sum().backward()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    gradients = {name: value.grad.clone() for name, value in net.named_parameters()}
    functional.detach_net(net)
    functional.reset_net(net)
    for name, value in net.state_dict().items():
        assert_same(name, before[name], value)
    for name, value in net.named_parameters():
        assert_same(name, gradients[name], value.grad)


def test_detach_net_keeps_values_and_cuts_the_graph():
    net = make_net()
    x_seq = torch.rand(6, 2, 3)
    whole = torch.stack([net(x) for x in x_seq])
    functional.reset_net(net)
    parts = []
    for part in x_seq.split(2):
        out = torch.stack([net(x) for x in part])
        out.sum().backward()
        assert any(node.v.requires_grad for node in nodes(net))
        functional.detach_net(net)
        assert not any(node.v.requires_grad for node in nodes(net))
        parts.append(out.detach())
    assert_same("truncated", whole.detach(), torch.cat(parts))
    assert net[2][0].detached == 3


def test_truncated_backpropagation_gives_no_gradient_to_what_was_cut_off():
    node = neuron.NonSpikingIFNode()
    first, second = (torch.ones(2, requires_grad=True) for _ in range(2))
    node(first)
    functional.detach_net(node)
    node(second).sum().backward()
    assert first.grad is None
    assert_same("gradient", torch.ones(2), second.grad)


def test_fresh_state_starts_and_ends_reset():
    net = make_net()
    net(torch.rand(2, 3))
    with functional.fresh_state(net) as same:
        assert same is net
        assert [node.v for node in nodes(net)] == [0.0, 0.0]
        net(torch.rand(5, 3))  # another batch size
    assert [node.v for node in nodes(net)] == [0.0, 0.0]


def test_fresh_state_resets_after_an_exception_and_lets_it_through():
    net = make_net()
    with pytest.raises(RuntimeError, match="size"), functional.fresh_state(net):
        net(torch.rand(2, 3)) @ torch.rand(7)
    assert [node.v for node in nodes(net)] == [0.0, 0.0]


def test_fresh_state_cures_a_forgotten_reset():
    net = make_net()
    net(torch.rand(2, 3)).sum().backward()
    with pytest.raises(ForgottenResetError):
        net(torch.rand(2, 3))
    for _ in range(2):
        with functional.fresh_state(net):
            net(torch.rand(2, 3)).sum().backward()


# Step modes and backends


def test_set_step_mode_reaches_every_module_that_has_one():
    net = nn.Sequential(layer.Linear(3, 4), neuron.LIFNode(), nn.Sequential(layer.Dropout(), nn.ReLU()))
    for step_mode in ("m", "s"):
        functional.set_step_mode(net, step_mode)
        assert [net[0].step_mode, net[1].step_mode, net[2][0].step_mode] == [step_mode] * 3
    assert not hasattr(net[2][1], "step_mode")


@pytest.mark.parametrize(
    "make",
    [
        lambda node: layer.MultiStepContainer(nn.Linear(3, 3), node),
        lambda node: layer.StepModeContainer(True, node),
        lambda node: layer.ElementWiseRecurrentContainer(node, torch.add),
        lambda node: layer.LinearRecurrentContainer(node, 3, 3),
    ],
)
def test_set_step_mode_does_not_enter_containers_that_decide_for_their_children(make):
    inner, outer = neuron.IFNode(), neuron.IFNode()
    container = make(inner)
    net = nn.Sequential(outer, container)
    for step_mode in ("m", "s"):
        functional.set_step_mode(net, step_mode)
        assert [container.step_mode, outer.step_mode, inner.step_mode] == [step_mode, step_mode, "s"]
        x = torch.rand(5, 2, 3) if step_mode == "m" else torch.rand(2, 3)
        assert net(x).shape == x.shape
        functional.reset_net(net)
    assert container.step_mode_boundary


def test_set_step_mode_does_not_enter_seq_to_ann_containers():
    inner = layer.Linear(3, 2)
    container = layer.SeqToANNContainer(inner)
    functional.set_step_mode(container, "m")
    assert (container.step_mode, inner.step_mode) == ("m", "s")


def test_a_users_own_boundary_is_respected():
    class Boundary(nn.Module):
        step_mode_boundary = True
        step_mode = "s"

        def __init__(self):
            super().__init__()
            self.node = neuron.IFNode()

    net = nn.Sequential(Boundary())
    functional.set_step_mode(net, "m")
    assert (net[0].step_mode, net[0].node.step_mode) == ("m", "s")


@pytest.mark.parametrize("base", [MemoryModule, neuron.BaseNode])
def test_modules_within_a_step_keep_taking_steps(base):
    class Within(base):
        def __init__(self):
            super().__init__()
            self.inner = neuron.LIFNode()
            self.register_memory("last", 0.0)

        def single_step_forward(self, x):
            self.last = self.inner(x - 0.5 * self.last)
            return self.last

    net, x = nn.Sequential(Within()), torch.full((4, 3), 1.5)
    functional.set_step_mode(net, "m")
    assert (net[0].step_mode, net[0].inner.step_mode) == ("m", "s")
    assert net(x[..., None])[..., 0].tolist() == [[0.0] * 3, [1.0] * 3] * 2


def test_modules_within_a_sequence_take_sequences():
    class OwnSequence(MemoryModule):
        def __init__(self):
            super().__init__()
            self.inner = neuron.LIFNode()

        def multi_step_forward(self, x_seq):
            return self.inner(x_seq)

    class OwnForward(OwnSequence):
        multi_step_forward = MemoryModule.multi_step_forward

        def forward(self, x):
            return self.inner(x)

    for net in (OwnSequence(), OwnForward()):
        functional.set_step_mode(net, "m")
        assert net.inner.step_mode == "m"


def test_an_error_leaves_all_step_modes_as_they_were():
    net = nn.Sequential(neuron.IFNode(step_mode="m"), neuron.PSN(4), neuron.IFNode(step_mode="m"))
    with pytest.raises(ValueError, match="step_mode"):
        functional.set_step_mode(net, "s")
    assert [one.step_mode for one in net] == ["m", "m", "m"]


def test_set_step_mode_refuses_an_unknown_mode():
    with pytest.raises(ValueError, match="`step_mode` must be 's' or 'm', got 'multi'"):
        functional.set_step_mode(nn.Linear(2, 2), "multi")
    with pytest.raises(TypeError, match="`net` must be a module, got 'm'"):
        functional.set_step_mode("m", nn.Linear(2, 2))


def test_set_backend_of_all_and_of_chosen_modules():
    net = make_net()
    functional.set_backend(net, "torch")
    assert [node.backend for node in nodes(net)] == ["torch", "torch"]
    functional.set_backend(net, "auto", instance=neuron.LIFNode)
    assert [node.backend for node in nodes(net)] == ["auto", "torch"]
    functional.set_backend(net, "auto", instance=(neuron.LIFNode, neuron.IFNode))
    assert [node.backend for node in nodes(net)] == ["auto", "auto"]


def test_set_backend_of_old_scripts_and_of_unknown_names():
    net = nn.Sequential(neuron.LIFNode())
    with pytest.warns(UserWarning, match="'cupy' is not needed"):
        functional.set_backend(net, "cupy")
    assert net[0].backend == "auto"
    with pytest.raises(ValueError, match=r"`backend` must be one of .*'tpu'"):
        functional.set_backend(net, "tpu")


def test_set_backend_leaves_modules_with_backends_of_their_own():
    net = nn.Sequential(neuron.LIFNode(), neuron.SlidingPSN(2))
    functional.set_backend(net, "torch")
    assert [node.backend for node in net] == ["torch", "gemm"]
    functional.set_backend(net, "conv", instance=neuron.SlidingPSN)
    assert [node.backend for node in net] == ["torch", "conv"]
    with pytest.raises(ValueError, match=r"`backend` must be one of \('gemm', 'conv'\), got 'cupy'"):
        net[1].backend = "cupy"


# Loops over time


@pytest.mark.parametrize("shape", [(1, 2, 3), (7, 1, 3), (5, 4, 3)])
def test_multi_step_forward_is_the_loop(shape):
    net, x_seq = make_net(), torch.rand(shape) * 3
    looped = torch.stack([net(x) for x in x_seq])
    for modules in (net, list(net), tuple(net)):
        functional.reset_net(net)
        assert_same("multi_step_forward", looped, functional.multi_step_forward(x_seq, modules))


def test_multi_step_forward_takes_functions_and_sequences_of_scalars():
    out = functional.multi_step_forward(torch.tensor([0.6, 0.6]), [lambda x: 2 * x, neuron.IFNode()])
    assert out.tolist() == [1.0, 1.0]


def test_seq_to_ann_forward_is_one_batch_of_all_steps():
    seen = []

    class Spy(nn.Linear):
        def forward(self, x):
            seen.append(tuple(x.shape))
            return super().forward(x)

    stateless, x_seq = Spy(3, 2), torch.rand(5, 4, 3)
    out = functional.seq_to_ann_forward(x_seq, stateless)
    assert seen == [(20, 3)]
    assert_close("against the loop", torch.stack([stateless(x) for x in x_seq]), out)
    stacked = functional.seq_to_ann_forward(x_seq, [stateless, nn.ReLU()])
    assert_close("a list of modules", out.relu(), stacked)


def test_seq_to_ann_forward_normalises_over_all_steps():
    x_seq = torch.rand(5, 4, 3)
    out = functional.seq_to_ann_forward(x_seq, nn.BatchNorm1d(3, affine=False))
    assert_close("mean over steps and batch", torch.zeros(3), out.mean((0, 1)))


def test_seq_to_ann_forward_keeps_empty_batches():
    assert functional.seq_to_ann_forward(torch.zeros(5, 0, 3), nn.Linear(3, 2)).shape == (5, 0, 2)


@given(num_steps=st.integers(1, 9), split_size=st.integers(1, 10))
def test_chunks_equal_the_whole(num_steps, split_size):
    generator = torch.Generator().manual_seed(num_steps)
    x_seq = torch.rand(num_steps, 2, 3, generator=generator) * 3
    whole = neuron.LIFNode(step_mode="m")(x_seq)
    node = neuron.LIFNode(step_mode="m")
    chunked = functional.chunk_multi_step_forward(split_size, x_seq, node)
    assert_same("chunked", whole, chunked)


def test_chunks_are_no_longer_than_asked_and_pass_gradients_on():
    lengths = []
    node = neuron.LIFNode(step_mode="m")
    node.register_forward_pre_hook(lambda _module, inputs: lengths.append(len(inputs[0])))
    x_seq = torch.rand(7, 2, requires_grad=True)
    functional.chunk_multi_step_forward(3, x_seq, node)[-1].sum().backward()
    assert lengths == [3, 3, 1]
    assert (x_seq.grad[0] != 0).any()


@pytest.mark.parametrize("split_size", [0, -1])
def test_chunks_without_steps_are_refused(split_size):
    with pytest.raises(ValueError, match=f"`split_size` must be at least 1, got {split_size}"):
        functional.chunk_multi_step_forward(split_size, torch.rand(3, 2), neuron.IFNode(step_mode="m"))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda x: functional.multi_step_forward(x, neuron.IFNode()), "x_seq"),
        (lambda x: functional.seq_to_ann_forward(x, nn.ReLU()), "x_seq"),
        (lambda x: functional.chunk_multi_step_forward(2, x, neuron.IFNode(step_mode="m")), "x_seq"),
        (functional.firing_rate, "spikes"),
        (lambda x: functional.firing_rate_mse(x, torch.zeros(2, dtype=torch.long)), "spikes"),
        (lambda x: functional.firing_rate_cross_entropy(x, torch.zeros(2, dtype=torch.long)), "spikes"),
        (
            lambda x: functional.temporal_efficient_training_cross_entropy(
                x, torch.zeros(2, dtype=torch.long)
            ),
            "x_seq",
        ),
    ],
)
@pytest.mark.parametrize("x_seq", [torch.zeros(0, 2, 3), torch.tensor(1.0)], ids=["T=0", "0-d"])
def test_no_time_steps_are_refused(call, name, x_seq):
    with pytest.raises(ShapeError, match=f"`{name}` must have at least one time step.*got"):
        call(x_seq)


def test_seq_to_ann_forward_needs_a_batch_dimension():
    with pytest.raises(ShapeError, match=r"must be \[T, N, \*\], got \[3\]. Add the batch dimension"):
        functional.seq_to_ann_forward(torch.zeros(3), nn.ReLU())


# Losses over time

# Two steps, two samples, three classes; rates [[1, .5, 0], [0, .5, .5]].
SPIKES = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
LABELS = torch.tensor([0, 2])


def test_firing_rate():
    assert functional.firing_rate(SPIKES).tolist() == [[1.0, 0.5, 0.0], [0.0, 0.5, 0.5]]


def test_spikes_and_labels_of_other_types():
    assert functional.firing_rate(SPIKES > 0).tolist() == [[1.0, 0.5, 0.0], [0.0, 0.5, 0.5]]
    for loss in (functional.firing_rate_mse, functional.firing_rate_cross_entropy):
        for dtype in (torch.int32, torch.uint8):
            assert loss(SPIKES, LABELS.to(dtype)) == loss(SPIKES, LABELS)
        with pytest.raises(TypeError, match="`labels` must be whole numbers"):
            loss(SPIKES, LABELS.float())


@pytest.mark.parametrize("net", [[neuron.LIFNode()], None])
def test_what_is_no_network_is_not_reset(net):
    with pytest.raises(TypeError, match="`net` must be a network"):
        functional.reset_net(net)


def test_firing_rate_mse_by_hand():
    # (0 + .25 + 0 + 0 + .25 + .25) / 6
    assert_close("mse", torch.tensor(0.125), functional.firing_rate_mse(SPIKES, LABELS))


@pytest.mark.parametrize(
    "loss", [functional.firing_rate_mse, functional.temporal_efficient_training_cross_entropy]
)
def test_labels_of_no_class(loss):
    for wrong in (3, -1):
        with pytest.raises(ValueError, match=f"must be from 0 to 2, got {wrong}"):
            loss(torch.rand(5, 2, 3), torch.tensor([0, wrong]))
    with pytest.raises(TypeError, match=r"must be whole numbers, got torch\.float32"):
        loss(torch.rand(5, 2, 3), torch.zeros(2))
    assert loss(torch.rand(5, 2, 3), torch.tensor([0, 2], dtype=torch.int32)).dim() == 0


def test_labels_for_spikes_without_time():
    with pytest.raises(
        ShapeError, match=r"got \[5\] for spikes of shape \[5, 1, 3\].*encoder\.encode\(x, T\)"
    ):
        functional.firing_rate_mse(torch.zeros(5, 1, 3), torch.zeros(5, dtype=torch.long))


def test_firing_rate_mse_is_zero_at_perfect_rates():
    perfect = F.one_hot(LABELS, 3).float().expand(4, 2, 3)
    assert functional.firing_rate_mse(perfect, LABELS) == 0


def test_firing_rate_cross_entropy_by_hand():
    # Sample 0: log(e^1 + e^.5 + e^0) - 1; sample 1: log(e^0 + 2 e^.5) - .5; their mean.
    e = torch.tensor([1.0, 0.5], dtype=torch.float64).exp()
    by_hand = ((e[0] + e[1] + 1).log() - 1 + (1 + 2 * e[1]).log() - 0.5) / 2
    assert_close("ce", by_hand.float(), functional.firing_rate_cross_entropy(SPIKES, LABELS))


@pytest.mark.parametrize("mse_weight", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("mse_target", [1.0, 0.3])
def test_temporal_efficient_training_is_its_formula(mse_weight, mse_target):
    outputs, labels = torch.randn(5, 4, 3, dtype=torch.float64), torch.tensor([0, 2, 1, 1])
    entropies = [F.cross_entropy(step, labels) for step in outputs]  # each step against its own labels
    mean = torch.stack(entropies).mean()
    formula = (1 - mse_weight) * mean + mse_weight * ((outputs - mse_target) ** 2).mean()
    loss = functional.temporal_efficient_training_cross_entropy(outputs, labels, mse_weight, mse_target)
    assert_close("tet", formula, loss)
    if mse_weight == 0:
        assert_close("default", loss, functional.temporal_efficient_training_cross_entropy(outputs, labels))


def test_temporal_efficient_training_smooths_labels_as_pytorch_does():
    outputs, labels = torch.randn(5, 4, 3), torch.tensor([0, 2, 1, 1])
    mean = torch.stack([F.cross_entropy(step, labels, label_smoothing=0.1) for step in outputs]).mean()
    loss = functional.temporal_efficient_training_cross_entropy(outputs, labels, label_smoothing=0.1)
    assert_close("smoothed", mean, loss)
    assert loss != functional.temporal_efficient_training_cross_entropy(outputs, labels)


def test_temporal_efficient_training_differs_from_the_cross_entropy_of_the_mean():
    early = torch.zeros(2, 1, 2)
    early[0, 0, 0] = 4.0
    label = torch.tensor([0])
    by_steps = functional.temporal_efficient_training_cross_entropy(early, label)
    assert by_steps > functional.firing_rate_cross_entropy(early, label)


@pytest.mark.parametrize(
    "loss",
    [
        functional.firing_rate_mse,
        functional.firing_rate_cross_entropy,
        functional.temporal_efficient_training_cross_entropy,
    ],
)
def test_losses_give_gradients_to_every_step_and_work_on_one_sample(loss):
    spikes = SPIKES[:, :1].clone().requires_grad_()
    loss(spikes, LABELS[:1]).backward()
    assert (spikes.grad.abs().sum((1, 2)) > 0).all()


def test_labels_of_another_batch_are_refused():
    """Broadcasting would give a number, and it would be wrong."""
    for loss in (functional.firing_rate_mse, functional.firing_rate_cross_entropy):
        with pytest.raises(ValueError, match=r"label|batch_size"):
            loss(SPIKES, torch.tensor([0]))


# First spikes


def first_by_a_loop(row):
    first = [False] * len(row)
    for t, spike in enumerate(row):
        if spike:
            first[t] = True
            break
    return first


@given(st.integers(1, 12).flatmap(lambda n: st.lists(st.lists(st.booleans(), min_size=n, max_size=n))))
def test_first_spike_index_is_the_loop(rows):
    if not rows:
        return
    expected = torch.tensor([first_by_a_loop(row) for row in rows])
    for dtype in (torch.bool, torch.float32, torch.int64):
        spikes = torch.tensor(rows).to(dtype)
        assert_same(str(dtype), expected, functional.first_spike_index(spikes))
        assert_same("3-d", expected[None], functional.first_spike_index(spikes[None]))


def test_first_spike_index_has_at_most_one_true_value_in_long_trains():
    found = functional.first_spike_index(torch.ones(2, 70_000))
    assert found.sum(-1).tolist() == [1, 1]
    assert found[:, 0].all()


def test_first_spike_index_of_nothing():
    assert functional.first_spike_index(torch.zeros(2, 0)).shape == (2, 0)


def test_a_memory_module_without_memories_may_be_reset():
    module = MemoryModule()
    functional.reset_net(module)
    functional.detach_net(module)
    assert not list(module.memories())


def test_modules_that_would_take_time_for_the_batch_are_refused():
    x = torch.rand(6, 3, 4)
    with pytest.raises(ValueError, match="`step_mode` of LIFNode must be 's'"):
        functional.multi_step_forward(x, neuron.LIFNode(step_mode="m"))
    with pytest.raises(ValueError, match="modules must be stateless, got LIFNode, which has memories"):
        functional.seq_to_ann_forward(x, nn.Sequential(nn.Linear(4, 4), neuron.LIFNode()))
    with pytest.raises(ValueError, match="`step_mode` of Linear must be 's'"):
        functional.seq_to_ann_forward(x, [layer.Linear(4, 4, step_mode="m")])


def test_evaluating_gives_back_what_train_does_beside_the_mode():
    class Merging(nn.Module):
        merged = False

        def train(self, mode=True):
            self.merged = not mode
            return super().train(mode)

    net = nn.Sequential(Merging(), nn.Dropout().eval(), nn.Sequential(nn.Dropout()))
    with functional.evaluating(net):
        assert net[0].merged
        assert not net[2][0].training
    assert not net[0].merged
    assert [module.training for module in net.modules()] == [True, True, False, True, True]
    with functional.evaluating(net.eval()):
        pass
    assert not any(module.training for module in net.modules())


def test_redundant_labels_are_classes():
    assert functional.redundant_one_hot(torch.tensor([1], dtype=torch.int32), 2, 2).tolist() == [[0, 0, 1, 1]]
    with pytest.raises(TypeError, match="`labels` must be whole numbers"):
        functional.redundant_one_hot(torch.tensor([0.7]), 3, 1)
    with pytest.raises(ValueError, match="`labels` must be from 0 to 2, got 3"):
        functional.redundant_one_hot(torch.tensor([3]), 3, 1)
    with pytest.raises(ValueError, match="`n` must be at least 1"):
        functional.redundant_one_hot(torch.tensor([0]), 3, 0)


def test_spikes_of_any_type_have_a_loss_at_every_step():
    spikes, target = torch.rand(3, 2, 4) < 0.5, torch.tensor([1, 3])
    loss = functional.temporal_efficient_training_cross_entropy
    assert_same("loss", loss(spikes.float(), target), loss(spikes, target))


def test_what_is_no_tensor_is_named():
    with pytest.raises(
        TypeError, match=r"`spikes` must be a tensor, got a list. Use torch.as_tensor\(spikes\)"
    ):
        functional.firing_rate([[1.0]])
    for take in (layer.VotingLayer(2), layer.TemporalWiseAttention(4, 2), surrogate.ATan()):
        with pytest.raises(TypeError, match="must be a tensor, got a ndarray"):
            take(torch.ones(4, 2).numpy())
    with pytest.raises(TypeError, match=r"`x` of Dropout2d must be a tensor, got a ndarray"):
        layer.Dropout2d()(torch.ones(1, 2, 3, 3).numpy())
