"""Leaky neurons with learned or remembered scales: KLIFNode, GLIFNode, CLIFNode."""

import numpy as np
import pytest
import torch

from compare import assert_close, assert_same
from spikeloom import surrogate
from spikeloom.neuron import CLIFNode, GLIFNode, KLIFNode, LIFNode

X = [0.6, 1.2, 2.5, 0.1, 3.0]


def sloped(**settings):
    node = KLIFNode(tau=3.0, decay_input=False, **settings)
    torch.nn.init.constant_(node.k, 1.5)
    return node


def gated():
    """The gates are those that SpikingJelly drew."""
    node = GLIFNode(linear_decay=0.05)
    for name, start in {"alpha": 0.0088424701, "beta": 0.0826399103, "gamma": 0.0469848439}.items():
        torch.nn.init.constant_(getattr(node, f"w_{name}"), start)
    return node


# Made with SpikingJelly 2.0.0 (KLIFNode, ComplementaryLIFNode, GatedLIFNode(T=5)), torch 2.13.0, 2026-11-22,
# step_mode='m' on X: spikes, potential at the end where it means the same, gradients of
# (spikes * [1, 2, 3, 4, 5]).sum() with respect to X and to parameters.
GOLDEN = {
    "klif": (
        lambda: KLIFNode(),
        [0.0, 0.0, 1.0, 0.0, 1.0],
        0.0,
        [0.501823, 0.8421, 0.271363, 0.655113, 0.971947],
        {"k": 5.476123},
    ),
    "klif scaled": (
        lambda: KLIFNode(scale_reset=True),
        [0.0, 0.0, 1.0, 0.0, 1.0],
        0.0,
        [0.501823, 0.8421, 0.271363, 0.655113, 0.971947],
        {"k": 4.971374},
    ),
    "klif soft": (
        lambda: KLIFNode(v_reset=None),
        [0.0, 0.0, 1.0, 0.0, 1.0],
        0.68125,
        [0.445176, 0.860117, 0.689938, 0.748531, 0.577302],
        {"k": 6.283441},
    ),
    "klif 1.5": (
        lambda: sloped(),
        [0.0, 1.0, 1.0, 0.0, 1.0],
        0.0,
        [1.443365, 0.013334, 0.000113, 0.750073, 1.4e-05],
        {"k": 0.643569},
    ),
    "klif 1.5 soft": (
        lambda: sloped(v_reset=None),
        [0.0, 1.0, 1.0, 1.0, 1.0],
        7.1,
        [1.442085, 0.01335, 1.4e-05, 1.4e-05, 0.0],
        {"k": 0.592913},
    ),
    "klif 1.5 scaled": (
        lambda: sloped(scale_reset=True),
        [0.0, 1.0, 1.0, 0.0, 1.0],
        0.0,
        [1.44553, 0.044044, 0.000175, 0.750071, 1.8e-05],
        {"k": 0.66378},
    ),
    "klif 1.5 scaled soft": (
        lambda: sloped(scale_reset=True, v_reset=None),
        [0.0, 1.0, 1.0, 1.0, 1.0],
        3.046913,
        [1.443151, 0.061076, 0.025923, 0.038875, 0.0],
        {"k": 0.671919},
    ),
    "clif": (lambda: CLIFNode(), [0.0, 1.0, 1.0, 0.0, 1.0], 1.324334, [1.0, 0.0, 0.0, 0.0, 0.0], {}),
    "clif sigmoid": (
        lambda: CLIFNode(tau=3.0, surrogate_function=surrogate.Sigmoid()),
        [0.0, 1.0, 1.0, 0.0, 1.0],
        1.475554,
        [0.570493, 0.870125, 1.052692, 1.574366, 0.001871],
        {},
    ),
    "glif": (
        gated,
        [0.0, 1.0, 1.0, 0.0, 1.0],
        None,
        [0.856346, 0.531773, 0.856091, 2.821678, 0.006373],
        {
            "w_alpha": -0.761747,
            "w_beta": -0.606232,
            "w_gamma": -0.72349,
            "w_tau": 0.425613,
            "w_v_threshold": -1.222658,
            "w_linear_decay": -0.162143,
            "w_v_subreset": -0.606919,
            # one conductance for each step there, one for all here: the sum of their gradients
            "w_conduct": 0.090416 + 0.112292 + 0.376619 + 0.049654 + 0.003365,
        },
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_known_spikes_and_gradients(name, step_mode):
    make, spikes, v, gradient, of_parameters = GOLDEN[name]
    node, x = make(), torch.tensor(X).requires_grad_()
    node.step_mode = step_mode
    out = node(x) if step_mode == "m" else torch.stack([node(step) for step in x])
    assert out.tolist() == spikes
    if v is not None:
        assert node.v.item() == pytest.approx(v, abs=3e-6)
    (out * torch.arange(1.0, 6.0)).sum().backward()
    assert x.grad.tolist() == pytest.approx(gradient, abs=4e-6)
    got = {name: parameter.grad.item() for name, parameter in node.named_parameters()}
    assert got == pytest.approx(of_parameters, abs=6e-6)


@pytest.mark.parametrize("scale_reset", [True, False])
@pytest.mark.parametrize("v_reset", [0.0, None])
def test_klif_with_slope_1_and_positive_input_is_a_leaky_neuron(scale_reset, v_reset):
    x = torch.rand(100, 50) * 3
    reference = LIFNode(v_reset=v_reset, step_mode="m", store_v_seq=True)
    node = KLIFNode(scale_reset, v_reset=v_reset, step_mode="m", store_v_seq=True)
    assert_same("spikes", reference(x), node(x).detach())
    assert_same("potential", reference.v_seq, node.v_seq.detach())


def test_the_scaled_reset_of_klif_keeps_v_reset():
    """Made with SpikingJelly 2.0.0: KLIFNode(scale_reset=True, v_reset=0.5) with k = 1.5."""
    node = KLIFNode(scale_reset=True, v_reset=0.5, step_mode="m", store_v_seq=True)
    torch.nn.init.constant_(node.k, 1.5)
    assert node(torch.tensor([0.6, 1.2, 2.5, 0.1, 3.0])).tolist() == [1.0, 1.0, 1.0, 0.0, 1.0]
    assert node.v_seq.tolist() == pytest.approx([0.5, 0.5, 0.5, 0.55, 0.5])


def test_glif_reduces_to_a_leaky_neuron():
    """Exponential leak, plain input, hard reset."""
    x = torch.rand(100, 50, dtype=torch.float64)
    node = GLIFNode(alpha=1.0, beta=0.0, gamma=1.0, tau=0.5, v_threshold=1.0, step_mode="m")
    reference = LIFNode(2.0, decay_input=False, leak_after_reset=True, step_mode="m")
    assert dict(node.named_parameters()).keys() == {"w_tau", "w_conduct", "w_linear_decay", "w_v_subreset"}
    with torch.no_grad():
        assert_same("spikes", reference(x), node(x))
        assert_close("potential", reference.v, node.v)


def test_glif_leaks_linearly_scales_its_input_and_resets_softly():
    """alpha = 0: h = v - l + x g; gamma = 0: v = h - v_sub s."""
    node = GLIFNode(0.0, 1.0, 0.0, v_threshold=1.0, linear_decay=0.125, v_subreset=0.75, conduct=0.5)
    node.step_mode, node.store_v_seq = "m", True
    out = node(torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64))
    assert out.tolist() == [0.0, 0.0, 1.0, 0.0]
    assert node.v_seq.tolist() == pytest.approx([0.375, 0.75, 0.375, 0.25], abs=1e-6)


def test_settings_of_glif():
    assert GLIFNode().v_threshold.item() == pytest.approx(0.5)
    assert GLIFNode(shape=(3, 1, 1))(torch.ones(2, 3, 4, 4)).shape == (2, 3, 4, 4)
    assert GLIFNode(shape=np.int64(3)).w_alpha.shape == GLIFNode(shape=3).w_alpha.shape == (3,)
    with pytest.raises(ValueError, match=r"`alpha` must be a number from 0 to 1, got 1\.5"):
        GLIFNode(alpha=1.5)
    with pytest.raises(ValueError, match="`v_threshold` must be greater than 0"):
        GLIFNode(v_threshold=0.0)
    node = GLIFNode()
    node.v_threshold = 1.0
    assert node.v_threshold == 1.0
    assert "w_v_threshold" not in dict(node.named_parameters())
    node.v_threshold = 0.25
    assert node.v_threshold.item() == pytest.approx(0.25)
    with pytest.raises(TypeError, match="`tau` must be a number; `shape` makes it many"):
        GLIFNode(tau=torch.tensor(0.5))
    with pytest.raises(TypeError, match="`v_threshold` must be a number"):
        GLIFNode(v_threshold=torch.tensor(0.5))


def test_the_first_spike_of_clif_is_that_of_a_leaky_neuron():
    x = torch.rand(30, 200) * 0.8
    reference, got = LIFNode(decay_input=False, step_mode="m")(x), CLIFNode(step_mode="m")(x)
    assert reference.any(0).float().mean() > 0.5
    assert_same("first spike", reference.argmax(0), got.argmax(0))
    assert_same("whether any", reference.any(0), got.any(0))
    assert (got.sum() < reference.sum()).item()  # later it is held back by what it remembers


def test_clif_resets_by_more_than_the_threshold():
    node = CLIFNode()
    node(torch.tensor([1.5], dtype=torch.float64))
    expected = 1.5 - (1 + torch.tensor(1.0, dtype=torch.float64).sigmoid().item())
    assert node.v.item() == pytest.approx(expected, abs=1e-12)
    assert node.m.item() == 1.0


def test_a_gate_that_is_rounded_to_its_end_is_fixed():
    node = GLIFNode(alpha=1 - 1e-9, beta=1e-60)
    assert (node.w_alpha, node.w_beta) == (1.0, 0.0)
