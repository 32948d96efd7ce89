"""The compiled loop and the reference agree: outputs, memories and every gradient."""

import pytest
import torch
from torch import nn

from compare import assert_close, assert_gradient, assert_same
from loom.both import FUSED, assert_agree, inputs, make, run
from loom.scripts import script
from spikeloom import neuron, surrogate
from spikeloom.errors import BackendError
from spikeloom.loom import loops, running
from spikeloom.loom.interpret import interpret
from spikeloom.loom.weave import plans
from spikeloom.neuron import BaseNode, IFNode, LIFNode, ParametricLIFNode

every_neuron = pytest.mark.parametrize("name", FUSED)


@every_neuron
def test_every_neuron(name):
    """One plan each: the sizes and starts below compile nothing new."""
    node = make(name)
    reference = assert_agree(node, inputs(name, 17, 63, 5))
    assert reference["output"].abs().sum() > 0
    assert reference["gradient of x"].abs().sum() > 0
    memories = {memory: torch.rand(63, 5) * 0.5 for memory in node._memories}
    assert_agree(node, inputs(name, 2, 63, 5, seed=3), starts=memories)
    assert_agree(node, inputs(name, 1, 1, 5, seed=4))


@every_neuron
def test_half_input_is_computed_in_float32(name):
    for dtype in (torch.bfloat16, torch.float16):
        x = inputs(name, 4, 3, 5).to(dtype)
        result = run(make(name), "numba", x)
        assert result["output"].dtype == dtype
        assert result["v"].dtype == torch.float32
        assert_agree(make(name), x)


@every_neuron
def test_empty_batches(name):
    result = assert_agree(make(name), torch.zeros(3, 0, 5))
    assert result["output"].shape == (3, 0, 5)


DOUBLE = ["LIFNode", "ParametricLIFNode", "EIFNode", "IzhikevichNode", "CLIFNode"]


@pytest.mark.parametrize("name", DOUBLE)
def test_double(name):
    node = make(name).double()
    reference = assert_agree(node, inputs(name, 17, 63, 5, dtype=torch.float64))
    assert {value.dtype for value in reference.values()} == {torch.float64}


@pytest.mark.parametrize("size", [1, 63, 500, 4096])
@pytest.mark.parametrize("num_steps", [1, 2, 17, 70])
def test_sizes(size, num_steps):
    assert_agree(LIFNode(tau=3.0, step_mode="m"), inputs("LIFNode", num_steps, size))
    assert_agree(make("IzhikevichNode"), inputs("IzhikevichNode", num_steps, size))
    assert_agree(ParametricLIFNode(step_mode="m"), inputs("LIFNode", num_steps, size))


@pytest.mark.parametrize("block", [1, 7, 64, 4096])
@pytest.mark.parametrize("buffer", [8, 100])
def test_blocks_and_chunks_of_other_sizes_change_no_bit(monkeypatch, block, buffer):
    """The sum of a parameter's gradient over neurons does not depend on them either."""
    nodes = [LIFNode(tau=3.0, step_mode="m"), make("IzhikevichNode"), ParametricLIFNode(step_mode="m")]
    x = inputs("LIFNode", 70, 500)
    expected = [run(node, "numba", x) for node in nodes]
    monkeypatch.setattr(loops, "BLOCK", block)
    monkeypatch.setattr(loops, "BUFFER", buffer)
    for node, results in zip(nodes, expected, strict=True):
        got = run(node, "numba", x)
        for name, value in results.items():
            assert_same(name, value, got[name])


def test_long_sequences():
    reference = assert_agree(make("RefractoryLIFNode"), inputs("RefractoryLIFNode", 10_000, 3))
    assert 0.01 < reference["output"].mean() < 0.9


def test_steps_without_dimensions():
    for name in ("LIFNode", "ParametricLIFNode", "IzhikevichNode"):
        assert_agree(make(name), inputs(name, 30))
        assert_agree(make(name), inputs(name, 60), view=lambda x: x[::2])


@pytest.mark.parametrize("weigh", ["random", "sum", "strided", "memories"])
def test_gradients_of_any_layout_arrive(weigh):
    node = LIFNode(tau=3.0, step_mode="m", store_v_seq=True)
    assert_agree(node, inputs("LIFNode", 9, 4, 5), weigh=weigh)
    starts = {"v": torch.rand(4, 5)}
    channels_last = inputs("LIFNode", 5, 4, 5, 3, 2).permute(0, 1, 4, 2, 3)
    assert_agree(node, inputs("LIFNode", 9, 4, 5), weigh=weigh, starts=starts)
    assert_agree(node, channels_last, weigh=weigh)


LAYOUTS = {
    "contiguous": (lambda x: x, False),
    "channels last": (lambda x: x.permute(0, 1, 4, 2, 3), False),
    "channels last of one step": (lambda x: x[:1].permute(0, 1, 4, 2, 3), False),
    "steps transposed": (lambda x: x.permute(0, 4, 3, 2, 1), False),
    "one channel": (lambda x: x[..., :1].permute(0, 1, 4, 2, 3).contiguous(), False),
    "batch first": (lambda x: x.transpose(0, 1), True),
    "every other step": (lambda x: x[::2], True),
    "backwards half": (lambda x: x[2:], False),
    "every other channel": (lambda x: x[..., ::2], True),
    "part of a step": (lambda x: x[:, 1:], True),
    "the same at all steps": (lambda x: x[0].expand(4, *x.shape[1:]), True),
    "expanded step": (lambda x: x[:, :, :1].expand(x.shape), True),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout):
    view, copied = LAYOUTS[layout]
    x = inputs("LIFNode", 4, 3, 5, 4, 6)
    seen = view(x)
    assert (running.time_major(seen).data_ptr() != seen.data_ptr()) == copied
    node = LIFNode(tau=3.0, step_mode="m", store_v_seq=True)
    assert_agree(node, x, view=view)
    starts = {"v": torch.rand(seen.shape[1:])}
    assert_agree(node, x, view=view, starts=starts)
    assert_agree(node, x, view=view, starts=starts, weigh="sum")
    node.store_v_seq = False
    output = node(seen)
    assert output.shape == seen.shape
    if not copied:
        assert output.stride() == seen.stride()
        assert node.v.stride() == seen[0].stride()


def test_parameters_of_any_shape():
    # [T, N, C, H, W]. With some seeds, what neurons add to the gradient of one parameter cancels.
    x = inputs("LIFNode", 6, 3, 4, 5, 2, seed=2)
    shapes = [(), (1,), (4, 1, 1), (1, 4, 1, 1), (4, 5, 2), (3, 4, 5, 2), (2,)]
    for shape in shapes:
        tau = nn.Parameter(torch.linspace(1.5, 4.0, max(1, torch.Size(shape).numel())).reshape(shape))
        threshold = nn.Parameter(torch.full(shape, 0.8))
        node = LIFNode(tau, v_threshold=threshold, v_reset=None, step_mode="m")
        assert_agree(node, x)
        assert_agree(node, x.permute(0, 1, 3, 4, 2), view=lambda x: x.permute(0, 1, 4, 2, 3))


def test_buffers_and_plain_tensors_are_settings():
    class Plain(BaseNode):
        def __init__(self, gain, **settings):
            super().__init__(**settings)
            self.gain = gain

        def neuronal_charge(self, x):
            self.v = self.v + x * self.gain

    x = inputs("LIFNode", 6, 3, 5)
    for gain in (torch.rand(5), torch.tensor(0.7), torch.rand(3, 5)):
        node = Plain(gain, v_threshold=torch.rand(5) + 0.2, step_mode="m")
        assert "gain" not in node.state_dict()
        assert_agree(node, x)
        node.gain = gain * 2  # another tensor
        assert_agree(node, x)
        node.gain.mul_(0.3)  # another value
        assert_agree(node, x)


def test_a_number_of_another_precision_acts_as_in_the_reference():
    """0-d tensors do not decide the type of a result, but what is computed from them alone has their type."""

    class Leak(BaseNode):
        def __init__(self, tau, **settings):
            super().__init__(**settings)
            self.add_setting("tau", tau)

        def neuronal_charge(self, x):
            self.v = self.v * (1.0 - 1.0 / self.tau) + x

    for own, other in ((torch.float32, torch.float64), (torch.float64, torch.float32)):
        node = Leak(nn.Parameter(torch.tensor(3.0, dtype=other)), step_mode="m")
        x = inputs("LIFNode", 20, 63, dtype=own)
        node.backend = "auto"  # may run either way, but must be right
        reference, got = run(node, "torch", x), run(node, "auto", x)
        for name, value in reference.items():
            (assert_gradient if name.startswith("gradient") else assert_same)(name, value, got[name])


def test_learned_constants_outside_their_range_act_clamped():
    node = make("AdaptiveLIFNode")
    with torch.no_grad():
        node.alpha.fill_(0.1)
        node.a.fill_(3.0)
    assert_agree(node, inputs("AdaptiveLIFNode", 9, 3, 5))


def test_memories_that_broadcast():
    x = inputs("LIFNode", 6, 3, 4, 2)
    node = LIFNode(tau=3.0, step_mode="m")
    for start in (torch.tensor(0.3), torch.rand(4, 1), torch.rand(1, 1, 2), torch.rand(3, 4, 2)):
        assert_agree(node, x, starts={"v": start})
    assert_agree(node, x, starts={"v": 0.4})
    assert_agree(node, x, starts={"v": -1})


def test_a_sequence_in_two_calls_is_the_sequence():
    for name in ("LIFNode", "IzhikevichNode"):
        x, node = inputs(name, 20, 8), make(name, backend="numba")
        whole = node(x)
        node.reset()
        parts = torch.cat([node(x[:7]), node(x[7:])])
        assert_same("output", whole, parts)


def test_gradients_flow_from_call_to_call():
    x, results = inputs("LIFNode", 20, 8), []
    for backend in ("torch", "numba"):
        node, leaf = LIFNode(tau=3.0, step_mode="m", backend=backend), x.clone().requires_grad_()
        parts = torch.cat([node(leaf[:7]), node(leaf[7:8]), node(leaf[8:])])
        (parts * torch.arange(20.0)[:, None]).sum().backward()
        results.append(leaf.grad)
    assert_gradient("x", *results)


def test_steps_and_sequences_may_alternate():
    x, results = inputs("LIFNode", 20, 8), []
    for backend in ("torch", "numba"):
        node, leaf = LIFNode(tau=3.0, step_mode="m", backend=backend), x.clone().requires_grad_()
        first = node(leaf[:7])
        node.step_mode = "s"
        second = node(leaf[7])
        node.step_mode = "m"
        parts = torch.cat([first, second[None], node(leaf[8:])])
        (parts * torch.arange(20.0)[:, None]).sum().backward()
        results.append((parts.detach(), leaf.grad))
    assert_same("output", results[0][0], results[1][0])
    assert_gradient("x", results[0][1], results[1][1])


def test_backward_twice_with_a_kept_graph():
    leaf = inputs("LIFNode", 9, 8).requires_grad_()
    node = ParametricLIFNode(step_mode="m", backend="numba")
    loss = (node(leaf) * inputs("LIFNode", 9, 8, seed=5)).sum()
    loss.backward(retain_graph=True)
    once, learned = leaf.grad.clone(), node.w.grad.clone()
    loss.backward()
    assert_same("x", 2 * once, leaf.grad)
    assert_same("w", 2 * learned, node.w.grad)


def test_a_batch_of_gradients_is_refused_with_the_cure():
    leaf = inputs("LIFNode", 2, 3).requires_grad_()
    with pytest.raises(BackendError, match=r"one gradient at a time.*backend\('torch'\)"):
        torch.autograd.grad(
            LIFNode(step_mode="m", backend="numba")(leaf), leaf, torch.ones(4, 2, 3), is_grads_batched=True
        )


VARIANTS = {
    "detached": {"detach_reset": True},
    "soft": {"v_reset": None},
    "soft and detached": {"v_reset": None, "detach_reset": True},
    "another rest": {"v_reset": -0.5, "decay_input": False},
    "leak after reset": {"leak_after_reset": True},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_resets(variant):
    node = LIFNode(tau=3.0, step_mode="m", **VARIANTS[variant])
    assert_agree(node, inputs("LIFNode", 17, 63))


def test_learned_surrogates():
    x = inputs("LIFNode", 9, 3, 5)
    for alpha in (torch.tensor(2.0), torch.rand(5) + 1.0):
        node = IFNode(surrogate_function=surrogate.ATan(nn.Parameter(alpha)), step_mode="m")
        reference = assert_agree(node, x)
        assert reference["gradient of surrogate_function.alpha"].abs().sum() > 0
        assert_agree(IFNode(surrogate_function=surrogate.ATan(alpha), step_mode="m"), x)


SURROGATES = {
    name: kind
    for name, kind in vars(surrogate).items()
    if isinstance(kind, type)
    and issubclass(kind, surrogate.SurrogateFunction)
    and kind not in (surrogate.SurrogateFunction, surrogate.FunctionSurrogate)
}
UNWOVEN = {  # and why; `auto` runs them on the reference
    ("SquarewaveFourierSeries", True): "isinf",
    ("SquarewaveFourierSeries", False): "isinf",
    ("Erf", False): "erfc",
    ("Gaussian", False): "erfc",
}


def build(name, spiking=True):
    first = {"MultiLevelSpikeCount": (4,)}.get(name, ())
    return SURROGATES[name](*first, spiking=spiking)


@pytest.mark.parametrize("spiking", [True, False])
@pytest.mark.parametrize("name", SURROGATES)
def test_every_surrogate_is_planned(name, spiking):
    """The plan of a step, interpreted, against autograd."""
    node = IFNode(surrogate_function=build(name, spiking), step_mode="m")
    if (name, spiking) in UNWOVEN:
        with pytest.raises(BackendError, match=f"the operation {UNWOVEN[name, spiking]} is not one"):
            run(node, "numba", inputs("IFNode", 3, 4))
        pytest.skip(f"not woven: {UNWOVEN[name, spiking]}")
    node.step_mode = "s"
    step, forward, backward, *_ = plans(node, (7,), torch.float32)
    x = torch.cat(
        [torch.randn(500, generator=torch.Generator().manual_seed(0)) * 2, torch.tensor([0.0, 1.0])]
    )
    v, out, left = (torch.randn(502, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2, 3))
    leaf, start = x.clone().requires_grad_(), v.clone().requires_grad_()
    node.v = start
    output = node(leaf)
    spike, memory = interpret(step.forward, forward, [x, v])
    compare = assert_same if step.forward.exact else assert_close
    compare("output", output.detach(), spike)
    compare("memory", node.v.detach(), memory)
    torch.autograd.backward([output, node.v], [out, left])
    to_x, to_v = interpret(step.backward, backward, [x, v, out, left])
    assert_gradient("x", leaf.grad, to_x)
    assert_gradient("v", start.grad, to_v)


@pytest.mark.parametrize("name", ["ATan", "Erf", "QPseudoSpike", "Dspike", "Rect", "S2NN"])
def test_surrogates_compiled(name):
    assert_agree(IFNode(surrogate_function=build(name), step_mode="m"), inputs("IFNode", 9, 63))


@pytest.mark.parametrize("name", ["Sigmoid", "ATan", "S2NN"])
def test_smooth_outputs_compiled(name):
    x = inputs("IFNode", 5, 63)
    node = IFNode(surrogate_function=build(name, spiking=False), step_mode="m").double()
    reference, got = run(node, "torch", x.double()), run(node, "numba", x.double())
    for key, value in reference.items():
        assert_gradient(key, value, got[key])


def test_gradcheck_in_double():
    node = ParametricLIFNode(
        init_tau=3.0, surrogate_function=surrogate.Sigmoid(spiking=False), step_mode="m", backend="numba"
    ).double()

    def function(x, v, w):
        node.reset()
        node.v = v
        output = torch.func.functional_call(node, {"w": w}, (x,))
        return output, node.v

    x = inputs("LIFNode", 5, 4, dtype=torch.float64).requires_grad_()
    v = torch.rand(4, dtype=torch.float64).requires_grad_()
    w = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, (x, v, w))


def test_graded_and_ternary_outputs():
    x = torch.linspace(-4, 4, 450).reshape(9, 50)
    assert run(make("TernaryLIFNode"), "numba", x)["output"].unique().tolist() == [-1, 0, 1]
    assert run(make("ILIFNode"), "numba", x)["output"].unique().tolist() == [0, 1, 2, 3, 4]


def test_gradients_of_parameters_are_as_near_to_the_truth_as_the_reference():
    """Root mean square over ten sequences of the error against float64."""
    node, errors = ParametricLIFNode(step_mode="m"), {"torch": [], "numba": []}
    for seed in range(10):
        x = inputs("LIFNode", 40, 2000, seed=100 + seed)
        true = run(ParametricLIFNode(step_mode="m").double(), "torch", x.double())["gradient of w"]
        for backend, found in errors.items():
            found.append(run(node, backend, x)["gradient of w"] - true)
    reference, got = (torch.stack(found).square().mean().sqrt() for found in errors.values())
    assert got <= 2 * reference


def test_the_last_step_of_a_decoded_readout():
    for decode in ("max-mem", "max-abs-mem", "mean-mem", "last-mem"):
        x = inputs("", 9, 8)
        results = []
        for backend in ("torch", "numba"):
            node = neuron.NonSpikingLIFNode(decode=decode, step_mode="m", backend=backend)
            leaf = x.clone().requires_grad_()
            output = node(leaf)
            output.square().sum().backward()
            results.append((output.detach(), leaf.grad))
        assert_same(decode, results[0][0], results[1][0])
        assert_gradient(decode, results[0][1], results[1][1])


def test_tensors_whose_memory_does_not_hold_their_numbers():
    """PyTorch negates lazily, keeps no memory for some zeros, and may have a default device that has none."""
    text = """
    from spikeloom import functional, layer

    def negated(x):
        return torch._neg_view(-x)

    def outcome(backend, change):
        node = ParametricLIFNode(v_threshold=change(torch.full((1,), 0.5)), step_mode="m", backend=backend)
        node.v = change(torch.linspace(-1, 1, 6))
        leaf = change(torch.linspace(-2, 2, 24).reshape(4, 6)).requires_grad_()
        node(leaf).backward(change(torch.arange(24.0).reshape(4, 6)))
        return [leaf.grad, node.w.grad, node.v.detach()]

    assert negated(torch.ones(2)).is_neg()
    assert close(outcome("numba", negated), outcome("torch", lambda x: x))

    leaf = torch.ones(2, 3, requires_grad=True)
    LIFNode(step_mode="m", backend="numba")(leaf).backward(torch._efficientzerotensor((2, 3)))
    assert not leaf.grad.any()

    image = torch.ones(3, 1, 2, 4, 4)
    pooled = layer.PooledNode(IFNode(backend="numba"), 2)
    functional.set_step_mode(pooled, "m")
    alone = LIFNode(step_mode="m", backend="numba")
    expected = pooled(image), alone(image)
    pooled[0].reset(), alone.reset()
    torch.set_default_device("meta")
    assert pooled(image).equal(expected[0])
    assert alone(image).equal(expected[1])
    assert LIFNode(tau=7.0, step_mode="m", backend="numba")(image).device.type == "cpu"
    print("done")
    """
    assert script(text) == "done"
