"""What scripts for versions of SpikingJelly name, give and subclass."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

from compare import assert_close, assert_same
from spikeloom import base, functional, layer, learning, loom, model, neuron, surrogate, timing
from spikeloom.errors import ConversionError, ShapeError
from spikeloom.event import Runner
from spikeloom.plot import plot_2d_bar_in_3d


class Leaky(base.MemoryModule):
    """A step as a function of inputs and memories, as since 2.0.0."""

    def __init__(self):
        super().__init__()
        self.register_memory("v", 0.0)

    def single_step_functional_forward(self, inputs, states, **kwargs):
        v = 0.5 * states[0] + inputs[0]
        return (v,), (v,)


class InPlace(neuron.BaseNode):
    """Changes its potential in place."""

    def neuronal_charge(self, x):
        self.v += 0.5 * x


def test_a_step_as_a_function():
    module = Leaky()
    assert module(torch.tensor([1.0])).tolist() == [1.0]
    assert module(torch.tensor([1.0])).tolist() == [1.5]
    functional.reset_net(module)
    functional.set_step_mode(module, "m")
    assert module(torch.ones(3, 1)).flatten().tolist() == [1.0, 1.5, 1.75]


def test_a_neuron_whose_step_is_a_function():
    class Sign(neuron.LIFNode):
        def single_step_functional_forward(self, inputs, states, **kwargs):
            return (inputs[0] + states[0],), (states[0] + 1.0,)

    node = Sign(step_mode="m")
    assert node(torch.zeros(3, 1)).flatten().tolist() == [0.0, 1.0, 2.0]
    assert "overrides single_step_functional_forward" in loom.explain(node)
    with pytest.raises(NotImplementedError, match="must define single_step_forward"):
        base.MemoryModule()(torch.ones(1))


def test_a_step_that_is_made_of_another_ones():
    class Doubled(neuron.LIFNode):
        def single_step_functional_forward(self, inputs, states, **kwargs):
            (spike,), after = super().single_step_functional_forward(inputs, states, **kwargs)
            return (2 * spike,), after

    x = 3 * torch.rand(6, 5)
    node, plain = Doubled(step_mode="m", store_v_seq=True), neuron.LIFNode(step_mode="m", store_v_seq=True)
    assert torch.equal(node(x), 2 * plain(x))
    assert torch.equal(node.v_seq, plain.v_seq)


def test_a_neuron_as_a_function_sets_nothing():
    node, x = neuron.AdExNode(store_v_seq=True), torch.rand(5)
    node(x)
    before, states = torch.stack([*node.memories()]), torch.rand(2, 5)
    kept = states.clone()
    (spike,), after = node.functional_forward((x,), tuple(states))
    assert_same("memories", before, torch.stack([*node.memories()]))
    assert_same("states", kept, states)
    assert len(node.v_seq) == 1
    node.v, node.w = states.clone()
    assert torch.equal(node(x), spike)
    assert_same("states after", torch.stack(after), torch.stack([*node.memories()]))


def test_a_sequence_that_is_a_function():
    class Sum(neuron.BaseNode):
        def single_step_functional_forward(self, inputs, states, **kwargs):
            v = states[0] + inputs[0]
            return (v,), (v,)

        def multi_step_functional_forward(self, inputs, states, **kwargs):
            v_seq = states[0] + inputs[0].cumsum(0)
            return (10 * v_seq,), (v_seq[-1],)

    node = Sum(step_mode="m")
    assert node(torch.ones(3, 1)).flatten().tolist() == [10, 20, 30]
    assert node(torch.ones(1, 1)).flatten().tolist() == [40]
    assert "overrides" in loom.explain(node)
    by_steps, _ = base.MemoryModule.multi_step_functional_forward(node, (torch.ones(3, 1),), (1.0,))
    assert by_steps[0].flatten().tolist() == [2, 3, 4]


class Sums(neuron.LIFNode):
    """Has a sequence of its own, and the step of the neuron that it derives from."""

    def multi_step_functional_forward(self, inputs, states, **kwargs):
        return (inputs[0].cumsum(0),), states


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_sequence_that_is_a_function_is_not_woven(dtype):
    assert "overrides multi_step_functional_forward" in loom.explain(Sums())
    output = Sums(step_mode="m")(torch.ones(3, 1, dtype=dtype))
    assert (output.dtype, output.flatten().tolist()) == (dtype, [1, 2, 3])


def test_states_that_a_module_makes():
    class Late(base.MemoryModule):
        def __init__(self):
            super().__init__()
            self.register_memory("v", None)

        def materialize_states(self, inputs, states, step_mode):
            return tuple(torch.zeros_like(inputs[0]) if one is None else one for one in states)

        def single_step_functional_forward(self, inputs, states, **kwargs):
            v = 0.5 * states[0] + inputs[0]
            return (v,), (v,)

    module = Late()
    assert [module(torch.ones(1)).item() for _ in range(2)] == [1, 1.5]
    assert module.get_reset_value("v") is None


def test_what_older_scripts_ask_a_neuron():
    node = neuron.IFNode(v_threshold=2.0)
    assert node.backend in node.supported_backends
    v, spike = torch.tensor([3.0, 1.0]), torch.tensor([1.0, 0.0])
    assert node.apply_hard_reset(v, spike, -1.0).tolist() == [-1, 1]
    assert node.apply_soft_reset(v, spike, 2.0).tolist() == [1, 1]
    older = neuron.MultiStepLIFNode()
    older(torch.rand(4, 2, 3))
    assert older.v_seq.shape == (4, 2, 3)


def test_a_function_that_returns_no_tuples():
    class Wrong(Leaky):
        def single_step_functional_forward(self, inputs, states, **kwargs):
            return inputs[0], (inputs[0],)

    with pytest.raises(TypeError, match="Wrong must return two tuples, of outputs and of its 1 memories"):
        Wrong()(torch.ones(1, 3))


def test_memories_of_a_network():
    net = nn.Sequential(nn.Linear(2, 2), neuron.LIFNode(), nn.Sequential(neuron.IFNode(v_reset=-1.0)))
    assert dict(base.named_memories(net)) == {"1.v": 0.0, "2.0.v": -1.0}
    assert dict(base.named_memories(neuron.IFNode())) == {"v": 0.0}
    assert dict(base.named_memories(net, prefix="net")) == {"net.1.v": 0.0, "net.2.0.v": -1.0}
    net(torch.rand(3, 2))
    kept = base.extract_memories(net)
    functional.reset_net(net)
    base.load_memories(net, kept)
    for held, value in zip(base.memories(net), kept, strict=True):
        assert held is value
    with pytest.raises(ValueError, match=r"the network's 2 memories \(1.v, 2.0.v\), got 1"):
        base.load_memories(net, kept[:1])


def test_a_network_as_a_function_leaves_it_as_it_is():
    torch.manual_seed(0)
    net, other = (nn.Sequential(nn.Linear(3, 4), neuron.LIFNode(), nn.Linear(4, 2)) for _ in range(2))
    other.load_state_dict(net.state_dict())
    step, states, x = base.to_functional_forward(net), (0.0,), 3 * torch.rand(5, 2, 3)
    given = torch.zeros(2)
    base.to_functional_forward(InPlace())((torch.ones(2),), (given,))
    assert given.tolist() == [0, 0]
    for now in x:
        (output,), states = step((now,), states)
        assert_same("output", other(now), output)
        assert_same("v", other[1].v, states[0])
        assert net[1].v == 0.0
    with pytest.raises(ValueError, match="got 2"):
        step((x[0],), (0.0, 0.0))
    assert net[1].v == 0.0


def test_arguments_that_mean_nothing_here():
    for kind in (neuron.IFNode, neuron.LIFNode, neuron.ParametricLIFNode):
        with pytest.warns(UserWarning, match="`cupy_fp32_inference` of .* has no effect"):
            kind(cupy_fp32_inference=True)
        with pytest.raises(TypeError, match="unexpected keyword argument 'v_treshold'"):
            kind(v_treshold=1.0)
    by_position = neuron.LIFNode(2.0, True, 1.0, 0.0, surrogate.ATan(), False, False)
    assert by_position.step_mode == "s"
    with pytest.raises(ValueError, match="store_v_seq=True"):
        neuron.LIFNode(monitor_state=True)


def test_a_step_of_ones_own_that_makes_the_potential_a_tensor():
    class Older(neuron.LIFNode):
        def single_step_forward(self, x):
            self.v_float_to_tensor(x)
            assert self.v.shape == x.shape
            self.neuronal_charge(x)
            spike = self.neuronal_fire()
            self.neuronal_reset(spike)
            return spike

    x = 3 * torch.rand(4, 3)
    assert_same("spikes", neuron.LIFNode(step_mode="m", backend="torch")(x), Older(step_mode="m")(x))


def test_multi_step_names():
    x = 2 * torch.rand(4, 3)
    node = neuron.MultiStepEIFNode(tau=3.0, lava_s_cale=1)
    assert_same("spikes", neuron.EIFNode(tau=3.0, step_mode="m")(x), node(x))
    assert layer.MultiStepThresholdDependentBatchNorm2d is layer.ThresholdDependentBatchNorm2d
    assert layer.MultiStepTemporalWiseAttention is layer.TemporalWiseAttention


def test_names_of_the_synapse():
    fc, pre, post = nn.Linear(2, 3, bias=False), torch.ones(1, 2), torch.ones(1, 3)
    settings = {"trace_pre": None, "trace_post": None, "tau_pre": 2.0, "tau_post": 3.0}
    by_name = learning.stdp_linear_single_step(fc=fc, in_spike=pre, out_spike=post, **settings)
    for expected, got in zip(learning.stdp_single_step(fc, pre, post, **settings), by_name, strict=True):
        assert_same("change", expected, got)
    conv, image, behind = nn.Conv2d(1, 2, 2, bias=False), torch.ones(1, 1, 3, 3), torch.ones(1, 2, 2, 2)
    change = learning.stdp_conv2d_single_step(conv=conv, in_spike=image, out_spike=behind, **settings)[2]
    assert change.shape == conv.weight.shape


def test_the_tempotrons_loss_with_two_arguments():
    model = timing.Tempotron(6, 3, 60, v_threshold=0.8)
    v_max, label = torch.rand(5, 3), torch.tensor([0, 1, 2, 0, 1])
    expected = timing.Tempotron.mse_loss(v_max, 0.8, label, 3)
    assert expected > 0
    for loss in (
        model.mse_loss(v_max, label),
        model.mse_loss(v_max, label=label),
        model.mse_loss(v_max, 0.8, label, 3),
    ):
        assert_same("loss", expected, loss)


def test_kernels():
    x, y = torch.rand(3, 4).double(), torch.rand(2, 4).double()
    products = (x[:, None] * y).sum(-1)
    squares = (x[:, None] - y).square().sum(-1)
    for name, args, expected in (
        ("linear", (), products),
        ("polynomial", (3,), products**3),
        ("sigmoid", (0.5,), torch.sigmoid(0.5 * products)),
        ("gaussian", (0.7,), torch.exp(-squares / (2 * 0.49))),
    ):
        assert_close(name, expected, functional.kernel_dot_product(x, y, name, *args))
    for arguments, match in (
        (("cubic",), "`kernel`"),
        (("sigmoid",), "takes 1"),
        (("gaussian", 0.0), "width"),
    ):
        with pytest.raises(ValueError, match=match):
            functional.kernel_dot_product(x, y, *arguments)


def test_similar_spikes_of_a_class_cost_nothing():
    labels = torch.eye(2)[[0, 0, 1]]
    alike, mixed = labels.repeat(1, 3).view(3, 2, 3), torch.ones(3, 2, 3)
    assert functional.spike_similar_loss(alike, labels) < 1e-6
    assert_close("mixed", torch.tensor(4 / 9), functional.spike_similar_loss(mixed, labels))
    assert functional.spike_similar_loss(mixed, labels, "gaussian", "l1", 1.0) > 0.4
    assert functional.spike_similar_loss(mixed > 0, labels, "linear", "bce") > 0.4
    far = 10 * torch.rand(50, 1000)
    assert functional.kernel_dot_product(far, far, "gaussian", 0.01).equal(torch.eye(50))
    with pytest.raises(ValueError, match="`loss_type`"):
        functional.spike_similar_loss(alike, labels, "linear", "hinge")
    with pytest.raises(ShapeError, match="one-hot"):
        functional.spike_similar_loss(alike, torch.tensor([0, 0, 1]))


def test_a_margin_of_the_threshold():
    node, classes = neuron.IFNode(), torch.eye(2)
    functional.set_threshold_margin(node, classes)
    assert_close("thresholds", torch.tensor([[1.1, 0.9], [0.9, 1.1]]), node.v_threshold)
    assert node(torch.full([2, 2], 1.0)).tolist() == [[0.0, 1.0], [1.0, 0.0]]
    functional.reset_net(node)
    functional.set_threshold_margin(node.eval(), classes, eval_threshold=0.5)
    assert node.v_threshold == 0.5


def test_weights_that_are_drawn_anew():
    net = nn.Sequential(nn.Linear(400, 300), nn.Conv2d(8, 64, 5), nn.BatchNorm2d(64))
    net.append(layer.constrain_sign(nn.Linear(4, 3)))
    before = net[3].weight.detach().clone()
    functional.kaiming_normal_conv_linear_weight(net)
    for weight, fan_in in ((net[0].weight, 400), (net[1].weight, 200)):
        assert math.isclose(weight.std().item(), (2 / 6 / fan_in) ** 0.5, rel_tol=0.05)
    assert net[2].weight.eq(1).all()
    assert bool((net[3].weight != before).any())
    assert bool((net[3].weight >= 0).all())
    register_parametrization(net[1], "weight", nn.Softplus())
    before = [one.weight.detach().clone() for one in net]
    with pytest.raises(ValueError, match="has no right_inverse"):
        functional.kaiming_normal_conv_linear_weight(net)
    assert all(torch.equal(weight, one.weight) for weight, one in zip(before, net, strict=True))


def test_time_last():
    torch.manual_seed(0)
    fc = nn.Linear(3, 2)
    x = 9 * torch.randn(4, 3, 5)
    found = layer.TLastMultiStepContainer(fc, neuron.IFNode())(x)
    expected = layer.MultiStepContainer(fc, neuron.IFNode())(x.movedim(-1, 0)).movedim(0, -1)
    assert_same("spikes", expected, found)
    assert 0 < found.mean() < 1
    assert_close("linear", fc(x.mT).mT, layer.TLastSeqToANNContainer(fc)(x))


def test_batch_norm_through_time():
    torch.manual_seed(0)
    norm, x = layer.BatchNormThroughTime2d(4, 3, step_mode="m"), torch.rand(4, 8, 3, 5, 5)
    with torch.no_grad():
        norm.bn_list[1].weight.fill_(2.0)
    expected = torch.stack([nn.BatchNorm2d(3)(step) * (2 if t == 1 else 1) for t, step in enumerate(x)])
    assert_close("normalised", expected, norm(x))
    assert [name for name, _ in norm.named_parameters()] == [f"bn_list.{t}.weight" for t in range(4)]
    with pytest.raises(ShapeError, match="T = 4 time steps, and gets one more"):
        norm(x)
    functional.reset_net(norm)
    assert norm(x[:2]).shape == (2, 8, 3, 5, 5)
    functional.reset_net(norm)
    functional.set_step_mode(norm, "s")
    norm.eval()
    assert_close("a step", norm.bn_list[0](x[3]), norm(x[3]))


def test_attention_over_time():
    torch.manual_seed(0)
    attend, x = layer.TemporalWiseAttention(4, reduction=2), torch.rand(4, 3, 6)
    first, last = attend.sharedMLP[0].weight, attend.sharedMLP[2].weight
    for sample in range(3):
        logits = sum(last @ (first @ seen).relu() for seen in (x[:, sample].mean(1), x[:, sample].amax(1)))
        assert_close("attended", x[:, sample] * logits.sigmoid()[:, None], attend(x)[:, sample])
    assert attend(torch.rand(4, 3, 2, 5, 5)).shape == (4, 3, 2, 5, 5)
    with pytest.raises(ShapeError, match="with T = 4"):
        attend(torch.rand(5, 3, 6))
    with pytest.raises(ValueError, match="`reduction` must be at most 4"):
        layer.TemporalWiseAttention(4)
    with pytest.raises(ValueError, match="step_mode"):
        functional.set_step_mode(attend, "s")


def test_attention_over_channels_and_places():
    torch.manual_seed(0)
    x = torch.randn(4, 3, 6, 5, 5)
    only = dict.fromkeys(("use_temporal", "use_channel", "use_spatial"), False)
    channel = layer.MultiDimensionalAttention(4, 6, 2, 3, **only | {"use_channel": True})
    pooled = x[:, 1].mean((0, 2, 3)), x[:, 1].amax((0, 2, 3))
    factors = sum(channel.channel(seen) for seen in pooled).sigmoid()
    assert_close("channels", (x[:, 1] * factors[:, None, None]).relu(), channel(x)[:, 1])
    places = layer.MultiDimensionalAttention(4, 6, 2, 3, 7, **only | {"use_spatial": True})
    seen = torch.stack([x.mean((0, 2)), x.amax((0, 2))], 1)
    assert_close("places", (x[2] * places.spatial(seen).sigmoid()).relu(), places(x)[2])
    whole = layer.MultiDimensionalAttention(4, 6, 2, 3)(x)
    assert whole.shape == x.shape
    assert (whole >= 0).all()
    for settings, match in ((only, "must be True"), ({"kernel_size": 5}, "`kernel_size`")):
        with pytest.raises(ValueError, match=match):
            layer.MultiDimensionalAttention(4, 6, 2, 3, **settings)


def test_bars():
    from matplotlib import pyplot

    figure, ax = plot_2d_bar_in_3d(torch.rand(5, 3), "rates", "epoch", "neuron", "rate")
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_zlabel()) == ("epoch", "neuron", "rate")
    assert len(ax.patches) + len(ax.collections) >= 15
    pyplot.close(figure)
    with pytest.raises(ShapeError, match="rows, columns"):
        plot_2d_bar_in_3d([1.0], "", "", "", "")


def test_norms_of_branches():
    def norm(scale):
        return lambda channels: layer.ThresholdDependentBatchNorm2d(scale, 1.0, channels)

    net = model.create("spiking-resnet-mini-cifar", T=2, norm=norm(1.0), branch_norm=norm(0.7))
    scales = {
        name: module.weight[0].item()
        for name, module in net.named_modules()
        if isinstance(module, layer.ThresholdDependentBatchNorm2d)
    }
    branches = {name for name, scale in scales.items() if scale < 0.9}
    assert branches == {name for name in scales if "downsample" in name or name.endswith("bn2")}
    assert len(branches) == 5


def test_names_of_modules():
    from spikeloom import exchange, nir_exchange, rnn

    assert nir_exchange.export_to_nir is exchange.export_to_nir
    assert rnn.SpikingLSTM.states_num() == 2


class Sequence(neuron.LIFNode):
    """Has a sequence of its own, which does what the loop does."""

    def multi_step_functional_forward(self, inputs, states, **kwargs):
        return super().multi_step_functional_forward(inputs, states, **kwargs)


def test_a_sequence_of_its_own_is_refused_where_steps_are_needed():
    net = nn.Sequential(layer.Linear(3, 2), Sequence(step_mode="m"))
    functional.set_step_mode(net, "m")
    with pytest.raises(ValueError, match="looks at several steps at once"):
        learning.SLTT(net)
    with pytest.raises(ConversionError):
        Runner(net, (3,))


def test_an_output_of_a_sequence_is_no_memory():
    class Last(base.MemoryModule):
        def __init__(self):
            super().__init__("m")
            self.register_memory("v", 0.0)

        def multi_step_functional_forward(self, inputs, states, **kwargs):
            y = inputs[0].cumsum(0) + states[0]
            return (y,), (y[-1],)

    module = Last()
    module(torch.ones(2, 1)).zero_()
    assert module.v.tolist() == [2]
