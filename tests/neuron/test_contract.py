"""What every neuron promises: overriding works, settings are checked, wrong values never pass in silence."""

import math

import pytest
import torch
from torch import nn

from compare import assert_same
from neuron.nodes import NODES
from spikeloom import functional, neuron, surrogate


def run(node, x_seq, step_mode):
    node.step_mode = step_mode
    return node(x_seq) if step_mode == "m" else torch.stack([node(x) for x in x_seq])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("method", ["neuronal_charge", "neuronal_fire", "neuronal_reset"])
@pytest.mark.parametrize(
    "base", [neuron.IFNode, neuron.LIFNode, neuron.ParametricLIFNode, neuron.SimpleIFNode]
)
def test_overriding_one_method_takes_effect(base, method, step_mode, training):
    class Changed(base):
        pass

    def neuronal_charge(self, x):
        self.v = self.v + 10 * x

    def neuronal_fire(self):
        return (self.v > 0.3).to(self.v)

    def neuronal_reset(self, spike):
        self.v = self.v - 2 * spike

    setattr(Changed, method, locals()[method])
    x_seq = torch.full([5, 2], 0.4)
    plain = run(base().train(training), x_seq, step_mode)
    changed = Changed().train(training)
    v_before = None
    out = run(changed, x_seq, step_mode)
    if method == "neuronal_reset":
        reference = base().train(training)
        x_large = torch.full([5, 2], 3.0)
        run(reference, x_large, step_mode)
        changed.reset()
        run(changed, x_large, step_mode)
        v_before = reference.v
        assert not torch.equal(v_before, changed.v)
    else:
        assert not torch.equal(plain, out)


@pytest.mark.parametrize("make", NODES.values(), ids=NODES)
@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_training_and_evaluation_compute_the_same(make, step_mode):
    x_seq = torch.rand(20, 50, generator=torch.Generator().manual_seed(0)) * 3
    training, evaluation = make(), make().eval()
    assert_same("output", run(training, x_seq, step_mode), run(evaluation, x_seq, step_mode))
    assert_same("potential", training.v, evaluation.v)


class AdaptiveThreshold(neuron.SimpleBaseNode):
    """The neuron of a forum's answer: its threshold is a memory that rises by one with each spike."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        del self.v_threshold
        self.register_memory("v_threshold", 1.0)

    def neuronal_charge(self, x):
        self.v = self.v + x

    def neuronal_fire(self):
        spike = self.surrogate_function(self.v - self.v_threshold)
        self.v_threshold = self.v_threshold + spike
        return spike


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_the_forums_adaptive_threshold_trains_and_resets(step_mode):
    net = nn.Sequential(nn.Linear(3, 4), AdaptiveThreshold(), nn.Linear(4, 2), AdaptiveThreshold())
    functional.set_step_mode(net, step_mode)
    for _ in range(3):
        x_seq = torch.rand(5, 6, 3) * 4
        out = net(x_seq) if step_mode == "m" else torch.stack([net(x) for x in x_seq])
        out.mean().backward()
        functional.reset_net(net)
        assert net[1].v_threshold == 1.0
    node = AdaptiveThreshold()
    assert run(node, torch.ones(6, 1), step_mode).flatten().tolist() == [1.0, 0.0, 1.0, 0.0, 0.0, 1.0]
    assert node.v_threshold.item() == 4.0


def test_the_usual_tutorial_script_runs():
    from spikeloom import encoding

    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 10, bias=False),
        neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan()),
    )
    encoder = encoding.PoissonEncoder()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    image, label = torch.rand(16, 1, 8, 8), torch.randint(10, (16,))
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        out_fr = 0.0
        for _ in range(20):
            out_fr += net(encoder(image))
        out_fr = out_fr / 20
        loss = nn.functional.mse_loss(out_fr, nn.functional.one_hot(label, 10).float())
        loss.backward()
        optimizer.step()
        functional.reset_net(net)
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_parameters_are_learned():
    threshold = nn.Parameter(torch.ones(4))
    node = neuron.LIFNode(v_threshold=threshold, v_reset=None, step_mode="m")
    assert dict(node.named_parameters()).keys() == {"v_threshold"}
    node(torch.rand(5, 3, 4) * 3).sum().backward()
    assert threshold.grad.shape == (4,)
    plif = neuron.ParametricLIFNode(step_mode="m")
    plif(torch.rand(5, 3) * 3).sum().backward()
    assert plif.w.grad.abs() > 0


def test_tensors_as_settings_are_buffers_and_broadcast():
    node = neuron.LIFNode(tau=torch.tensor([2.0, 4.0]), v_threshold=torch.tensor([0.5, 10.0]), step_mode="m")
    assert node(torch.ones(3, 5, 2))[:, 0].tolist() == [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]
    assert node.state_dict().keys() == {"tau", "v_threshold"}


@pytest.mark.parametrize("tau", [1, 1.0, 0.5, -2.0, float("nan"), torch.tensor([2.0, 1.0])])
@pytest.mark.parametrize(
    "make", [neuron.LIFNode, neuron.NonSpikingLIFNode, lambda tau: neuron.SimpleLIFNode(tau, True)]
)
def test_tau_must_be_greater_than_one(make, tau):
    with pytest.raises(ValueError, match=r"`tau` must be (.*greater than 1|a number, got NaN)"):
        make(tau)


def test_settings_of_the_wrong_kind_are_refused():
    with pytest.raises(ValueError, match=r"`init_tau` must be .*greater than 1"):
        neuron.ParametricLIFNode(1.0)
    with pytest.raises(ValueError, match="`init_tau` must be a finite number"):  # its weight could not learn
        neuron.ParametricLIFNode(math.inf)
    with pytest.raises(TypeError, match="`v_threshold` must be a number, got '1'"):
        neuron.IFNode(v_threshold="1")
    with pytest.raises(ValueError, match="`v_threshold` must be a number, got NaN"):
        neuron.IFNode(v_threshold=float("nan"))
    with pytest.raises(ValueError, match="`v_threshold` must be finite where it is subtracted"):
        neuron.IFNode(v_threshold=float("inf"), v_reset=None)
    with pytest.raises(TypeError, match="`v_reset` must be a number, got True"):
        neuron.IFNode(v_reset=True)
    with pytest.raises(ValueError, match="`decode` must be None or one of"):
        neuron.NonSpikingIFNode("median-mem")
    with pytest.raises(ValueError, match=r"`backend` must be one of .*got 'cuda'"):
        neuron.IFNode(backend="cuda")
    with pytest.raises(NotImplementedError, match="must define neuronal_charge"):
        neuron.BaseNode()(torch.ones(1))


def test_cupy_is_taken_as_auto_with_a_warning():
    with pytest.warns(UserWarning, match="'cupy' is not needed"):
        node = neuron.IFNode(backend="cupy")
    assert node.backend == "auto"


def test_nan_stays_visible_and_infinity_leaves_nan_behind():
    node = neuron.LIFNode()
    out = node(torch.tensor([float("nan"), float("inf"), -float("inf"), 3.0]))
    assert out[0].isnan()
    assert out[1:].tolist() == [1.0, 0.0, 1.0]
    again = node(torch.ones(4))
    assert again[:3].isnan().all()
    assert again[3] == 0.0


def test_an_infinite_threshold_never_fires():
    node = neuron.LIFNode(v_threshold=float("inf"), step_mode="m")
    x = torch.full([5, 2], 100.0, requires_grad=True)
    out = node(x)
    assert out.sum() == 0
    node.v.sum().backward()
    assert x.grad.isfinite().all()


def test_v_seq_grows_in_single_step_mode_and_is_that_of_the_last_sequence_in_multi_step_mode():
    node = neuron.IFNode(store_v_seq=True)
    assert node.v_seq is None
    for _ in range(3):
        node(torch.full([2], 0.3))
    assert node.v_seq.shape == (3, 2)
    node.reset()
    assert node.v_seq is None
    node.step_mode = "m"
    node(torch.full([4, 2], 0.3))
    node(torch.full([5, 2], 0.3))
    assert node.v_seq.shape == (5, 2)


def test_infinite_and_old_keys_of_surrogates_load():
    old = {
        "1.surrogate_function.alpha": torch.tensor(2.0),
        "0.weight": torch.ones(2, 2),
        "0.bias": torch.zeros(2),
    }
    net = nn.Sequential(nn.Linear(2, 2), neuron.LIFNode(surrogate_function=surrogate.ATan()))
    net.load_state_dict(old)


def test_repr_shows_what_a_neuron_is():
    assert "tau=2.0" in repr(neuron.LIFNode())
    assert "tau=3" in repr(neuron.ParametricLIFNode(3.0))
    assert "ATan(alpha=2.0)" in repr(neuron.IFNode(surrogate_function=surrogate.ATan()))
    assert "  tau=tensor[200], decay_input=True," in repr(neuron.LIFNode(torch.full((200,), 2.0)))


def test_repr_shows_what_a_neuron_of_ones_own_was_given():
    class Mine(neuron.BaseNode):
        def __init__(self, gain, name="x", **settings):
            super().__init__(**settings)
            self.gain, self.unseen = gain, name

        def neuronal_charge(self, x):
            self.v = self.v + self.gain * x

    shown = "gain=2, v_threshold=1.0, v_reset=None, detach_reset=False, step_mode=s"
    assert Mine(2, v_reset=None).extra_repr() == shown


class Mixed(neuron.LIFNode):
    """Has a weight in bfloat16, and says so."""

    computes_in_float32 = False

    def __init__(self, **settings):
        super().__init__(**settings)
        self.mix = nn.Linear(2, 2, bias=False, dtype=torch.bfloat16)

    def neuronal_charge(self, x):
        super().neuronal_charge(self.mix(x))


def test_a_neuron_of_half_weights_runs_in_both_step_modes():
    x = torch.ones(3, 1, 2, dtype=torch.bfloat16)
    node = Mixed()
    steps = torch.stack([node(one) for one in x])
    node.reset()
    node.step_mode = "m"
    assert_same("a sequence", steps, node(x))


def test_an_infinite_threshold_cannot_be_subtracted():
    for infinite in (torch.inf, torch.tensor([1.0, torch.inf])):
        with pytest.raises(ValueError, match="`v_threshold` must be finite where it is subtracted"):
            neuron.IFNode(v_threshold=infinite, v_reset=None)


def test_a_subclass_may_set_a_setting_again():
    node = neuron.LIFNode()
    for value in (torch.tensor([2.0, 3.0]), 4.0, nn.Parameter(torch.tensor(5.0)), torch.tensor(6.0)):
        node.add_setting("tau", value)
        assert torch.equal(torch.as_tensor(node.tau), torch.as_tensor(value))
    assert [*dict(node.named_buffers())] == ["tau"]
    assert not [*node.parameters()]


def test_potentials_of_a_sequence_that_fails_are_forgotten():
    class Fails(neuron.IFNode):
        def neuronal_charge(self, x):
            if bool((x == 3).any()):
                raise RuntimeError("no more")
            super().neuronal_charge(x)

    node = Fails(step_mode="m", store_v_seq=True)
    x = torch.tensor([[0.25], [0.5]])
    node(x)
    with pytest.raises(RuntimeError, match="no more"):
        node(torch.cat([x, torch.full((1, 1), 3.0)]))
    assert node.v_seq.tolist() == [[0.25], [0.75]]


def test_numbers_of_steps_are_states_in_full():
    node = neuron.IFNode(v_threshold=100.0, v_reset=-0.5)
    for x in (torch.tensor([1, 2]), torch.tensor([1.0, 2.0], dtype=torch.bfloat16)):
        _, (v,) = node.functional_forward((x,), (-0.5,))
        assert (v.dtype, v.tolist()) == (torch.float32, [0.5, 1.5])


def test_a_default_surrogate_may_be_a_function():
    class Mine(neuron.IFNode):
        default_surrogate = lambda: surrogate.ATan(3.0)  # noqa: E731

    assert Mine().surrogate_function.alpha == 3
    assert isinstance(neuron.ILIFNode().surrogate_function, surrogate.MultiLevelSpikeCount)


def test_a_step_that_is_both_forms():
    class Both(neuron.IFNode):
        def single_step_forward(self, x):
            return super().single_step_forward(x)

        def single_step_functional_forward(self, inputs, states, **kwargs):
            return super().single_step_functional_forward(inputs, states, **kwargs)

    assert Both()(torch.ones(2)).tolist() == [1, 1]


def test_a_memory_is_no_setting():
    with pytest.raises(ValueError, match="'v' is a memory"):
        neuron.IFNode().add_setting("v", torch.ones(2))


def test_names_of_other_libraries_are_translated():
    with pytest.raises(TypeError, match=r"'beta'. A factor of decay `beta` is `tau=1 / \(1 - beta\)"):
        neuron.LIFNode(beta=0.9)
    with pytest.raises(TypeError, match=r"'tau'\. help\(neuron\.IFNode\) lists them"):
        neuron.IFNode(tau=2.0)
    with pytest.raises(TypeError, match=r"'reset'\. help\(neuron\.LIFNode\) lists them"):
        neuron.LIFNode(reset="zero")
