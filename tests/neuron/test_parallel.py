"""The parallel spiking neurons: PSN, MaskedPSN, SlidingPSN."""

import copy
import pickle

import pytest
import torch

from compare import assert_close, assert_same
from spikeloom import functional
from spikeloom.errors import ShapeError
from spikeloom.neuron import PSN, MaskedPSN, NonSpikingLIFNode, SlidingPSN


def known(node):
    """Weights that are easy to write down: cosines of their index."""
    with torch.no_grad():
        node.weight.copy_(torch.arange(float(node.weight.numel())).cos().view_as(node.weight))
        bias = torch.tensor(-0.7) if node.bias.dim() == 0 else -(torch.arange(6.0) + 1).view(6, 1) / 6
        node.bias.copy_(bias)
    return node


X = [0.6, 1.2, 2.5, 0.1, 3.0, -0.4]
# Made with SpikingJelly 2.0.0, torch 2.13.0, 2026-11-22, with the weights of `known`, on X: spikes, and the
# gradient of (spikes * [1, ..., 6]).sum() with respect to X and to the bias.
GOLDEN = {
    "psn": (
        lambda: PSN(6),
        [0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        [2.198028, 7.687112, 6.1087, -1.086022, -7.282261, -6.783223],
        [0.021803, 0.058958, 0.147103, 0.44006, 1.999728, 5.553662],
    ),
    "masked": (
        lambda: MaskedPSN(3, 6, lambda_init=0.25, step_mode="m"),
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [1.979399, 3.797789, 1.904488, -1.773831, -3.486985, -2.156372],
        [0.043606, 0.159051, 0.52382, 2.06772, 0.646941, 0.96139],
    ),
    "masked wholly": (
        lambda: MaskedPSN(3, 6, lambda_init=1.0, step_mode="m"),
        [1.0, 1.0, 1.0, 1.0, 0.0, 0.0],
        [0.606082, 0.408732, 0.161329, -0.128822, -0.155177, -0.053603],
        [0.350472, 0.142911, 0.140298, 0.175663, 0.108917, 0.059315],
    ),
    "masked, single-step": (
        lambda: MaskedPSN(3, 6, lambda_init=1.0),
        [1.0, 1.0, 1.0, 1.0, 0.0, 0.0],
        [0.606082, 0.408732, 0.161329, -0.128822, -0.155177, -0.053603],
        [0.350472, 0.142911, 0.140298, 0.175663, 0.108917, 0.059315],
    ),
    "sliding": (
        lambda: SlidingPSN(3, step_mode="m"),
        [0.0, 0.0, 0.0, 1.0, 1.0, 1.0],
        [0.9694, 0.501144, 0.77888, 0.937107, -0.233058, -0.167413],
        [2.824585],
    ),
    "sliding, single-step": (
        lambda: SlidingPSN(3),
        [0.0, 0.0, 0.0, 1.0, 1.0, 1.0],
        [0.9694, 0.501144, 0.77888, 0.937107, -0.233058, -0.167413],
        [2.824585],
    ),
    "sliding, convolution": (
        lambda: SlidingPSN(3, step_mode="m", backend="conv"),
        [0.0, 0.0, 0.0, 1.0, 1.0, 1.0],
        [0.9694, 0.501144, 0.77888, 0.937107, -0.233058, -0.167413],
        [2.824585],
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_known_spikes_and_gradients(name):
    make, spikes, gradient, of_bias = GOLDEN[name]
    node, x = known(make()), torch.tensor(X).requires_grad_()
    out = node(x) if node.step_mode == "m" else torch.stack([node(step) for step in x])
    assert out.tolist() == spikes
    (out * torch.arange(1.0, 7.0)).sum().backward()
    assert x.grad.tolist() == pytest.approx(gradient, abs=6e-6)
    assert node.bias.grad.flatten().tolist() == pytest.approx(of_bias, abs=6e-6)


def test_they_start_as_published():
    torch.manual_seed(0)
    psn = PSN(400)
    assert (psn.bias == -1).all()
    assert psn.weight.abs().max().item() == pytest.approx(1 / 20, rel=1e-3)
    assert SlidingPSN(4).weight.tolist() == [0.125, 0.25, 0.5, 1.0]
    assert SlidingPSN(100, exp_init=False).weight.abs().max() <= 0.1
    assert MaskedPSN(2, 5).lambda_ == 0.0


def test_psn_with_the_weights_of_a_leaky_neuron_is_one_without_reset():
    """W_ij = (1/tau) (1 - 1/tau)^(i-j) for j <= i, so H is the leaky integrator's potential."""
    T, tau = 20, 4.0
    steps = torch.arange(T, dtype=torch.float64)
    node = PSN(T).double()
    with torch.no_grad():
        node.weight.copy_(((1 - 1 / tau) ** (steps.unsqueeze(1) - steps) / tau).tril())
    x = torch.rand(T, 100, dtype=torch.float64) * 3
    v_seq = NonSpikingLIFNode(tau, step_mode="m")(x)
    assert 0 < (v_seq >= 1).double().mean() < 1
    assert_same("spikes", (v_seq >= 1).double(), node(x).detach())


def test_masked_with_lambda_0_is_psn():
    masked, psn = MaskedPSN(2, 8, step_mode="m"), PSN(8)
    psn.load_state_dict(
        {name: value for name, value in masked.state_dict().items() if name != "lambda_value"}
    )
    x = torch.randn(8, 3, 4)
    assert_same("spikes", psn(x), masked(x))


@pytest.mark.parametrize("k", [1, 3, 8, 20])
def test_masked_with_lambda_1_sees_the_last_k_inputs_only(k):
    node, x = MaskedPSN(k, 8, lambda_init=1.0, step_mode="m"), torch.randn(8, 1, requires_grad=True)
    for i in range(8):
        (gradient,) = torch.autograd.grad(node(x)[i].sum(), x)
        assert gradient.flatten().nonzero().flatten().tolist() == list(range(max(0, i - k + 1), i + 1))


def test_autocast_leaves_the_type():
    with torch.autocast("cpu", torch.bfloat16):
        assert PSN(3)(torch.rand(3, 2)).dtype == torch.float32


@pytest.mark.parametrize("k", [1, 3, 8])
def test_sliding_is_masked_with_the_same_weights_at_every_step(k):
    torch.manual_seed(1)  # with which neurons fire
    T = 8
    sliding = SlidingPSN(k, exp_init=False, step_mode="m").double()
    masked = MaskedPSN(k, T, lambda_init=1.0, step_mode="m").double()
    with torch.no_grad():
        for i in range(T):
            for j in range(max(0, i - k + 1), i + 1):
                masked.weight[i, j] = sliding.weight[k - 1 + j - i]
    x = torch.randn(T, 50, dtype=torch.float64) * 3
    spikes = sliding(x)
    assert 0 < spikes.mean() < 1
    assert_same("spikes", masked(x), spikes)
    expected = masked.masked_weight() @ x + sliding.bias
    for seen in (x, torch.cat([x.new_zeros(k - 1, 50), x])):  # zeros before it change nothing
        assert_close("filter", expected, sliding._product(seen, T))
        assert_close("filter", expected, sliding._convolution(seen, T))


@pytest.mark.parametrize("make", [lambda: MaskedPSN(3, 9, lambda_init=1.0), lambda: SlidingPSN(3, False)])
def test_both_step_modes_agree(make):
    """In outputs, memories, and gradients; up to rounding, as a matrix product adds in its own order."""
    start, results = make().double(), []
    for step_mode in ("s", "m"):
        node = copy.deepcopy(start)
        node.step_mode = step_mode
        x = torch.randn(9, 2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        x = (x * 2).requires_grad_()
        out = node(x) if step_mode == "m" else torch.stack([node(step) for step in x])
        out.mul(torch.arange(1.0, 10.0).view(9, 1, 1)).sum().backward()
        gradients = [parameter.grad for parameter in node.parameters()]
        results.append([out.detach(), x.grad, *gradients])
        if isinstance(node, SlidingPSN):
            results[-1].append(node.queue.detach())
    assert 0 < results[0][0].mean() < 1
    for reference, got in zip(*results, strict=True):
        assert_close("single-step against multi-step", reference, got)


@pytest.mark.parametrize("backend", ["gemm", "conv"])
@pytest.mark.parametrize("cuts", [[4], [1], [1, 2, 3], [11]])
def test_a_sequence_in_pieces_is_the_whole(backend, cuts):
    node = SlidingPSN(5, step_mode="m", backend=backend).double()
    x = torch.randn(12, 3, 4, dtype=torch.float64)
    whole = node(x)
    node.reset()
    assert node.queue is None
    pieces = torch.cat([node(piece) for piece in x.tensor_split(cuts)])
    assert_same("spikes", whole, pieces)
    node.reset()
    assert_same("after reset", whole, node(x))


def test_a_masked_psn_steps_again_after_a_reset():
    node, x = MaskedPSN(2, 4, lambda_init=1.0), torch.randn(4, 3) * 3
    first = [node(step) for step in x]
    with pytest.raises(ShapeError, match=r"weight for 4 time steps, but this is step 5.*reset_net"):
        node(x[0])
    functional.reset_net(node)
    assert_same("after reset", torch.stack(first), torch.stack([node(step) for step in x]))


@pytest.mark.parametrize("make", [lambda: PSN(6), lambda: MaskedPSN(3, 6), lambda: SlidingPSN(3)])
def test_types_shapes_and_copies(make):
    node = make()
    node.step_mode = "m"
    for shape in ([6], [6, 2], [6, 2, 3, 4], [6, 0, 3]):
        node.reset()
        assert node(torch.randn(shape)).shape == torch.Size(shape)
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        node.reset()
        assert node(torch.randn(6, 3).to(dtype)).dtype == dtype
    if isinstance(node, SlidingPSN):
        assert node.queue.dtype == torch.float64
    for copied in (copy.deepcopy(node), pickle.loads(pickle.dumps(node))):
        node.reset(), copied.reset()
        x = torch.randn(6, 3)
        assert_same("copy", node(x), copied(x))
    large = (torch.randn(6, 50) * 1e6).requires_grad_()
    node.reset()
    node(large).sum().backward()
    assert large.grad.isfinite().all()


def test_lambda_is_saved_and_checked():
    node = MaskedPSN(2, 4)
    node.lambda_ = 0.75
    other = MaskedPSN(2, 4)
    other.load_state_dict(node.state_dict())
    assert other.lambda_ == 0.75
    with pytest.raises(ValueError, match=r"`lambda_` must be a number from 0 to 1, got 1\.5"):
        node.lambda_ = 1.5
    with pytest.raises(ValueError, match=r"`lambda_` of MaskedPSN must be 1 in single-step mode, got 0\.75"):
        node(torch.ones(3))


def test_wrong_sequences_and_settings_explain_themselves():
    with pytest.raises(
        ShapeError, match=r"PSN has weights for T=4 time steps, but got a sequence of 3, \[3, 2\]"
    ):
        PSN(4)(torch.ones(3, 2))
    with pytest.raises(ValueError, match=r"`step_mode` of PSN must be one of \('m',\)"):
        PSN(4).step_mode = "s"
    with pytest.raises(ValueError, match="`T` must be at least 1, got 0"):
        PSN(0)
    with pytest.raises(TypeError, match=r"`k` must be an integer, got 2\.0"):
        SlidingPSN(2.0)
    with pytest.raises(ValueError, match=r"`backend` must be one of \('gemm', 'conv'\), got 'cupy'"):
        SlidingPSN(2, backend="cupy")
    assert "lambda_=0.5" in repr(MaskedPSN(2, 4, 0.5))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("make", [
    lambda: PSN(4),
    lambda: MaskedPSN(2, 4, step_mode="m"),
    lambda: SlidingPSN(2, step_mode="m"),
    lambda: SlidingPSN(2, step_mode="m", backend="conv"),
])  # fmt: skip
def test_a_sample_that_is_not_finite_is_no_matter_of_the_others(make, bad):
    """Of a matrix product, a column is a sample's neuron; in that sample all steps may be NaN."""
    node = make()
    for N, num_neurons in ((3, 5), (17, 16), (64, 1)):
        x = torch.rand(4, N, num_neurons) * 3
        others = torch.arange(N) != 1
        expected = node(x)[:, others]
        node.reset()
        x[2, 1] = bad
        x.requires_grad_()
        got = node(x)[:, others]
        assert_same("spikes", expected.detach(), got.detach())
        assert torch.autograd.grad(got.sum(), x)[0][:, others].isfinite().all()
        node.reset()
