"""One neuron, run by the reference loop and by the compiled loop, and compared in all that it gives back."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from compare import assert_close, assert_gradient, assert_same
from spikeloom import neuron, surrogate
from spikeloom.loom.interpret import interpret
from spikeloom.loom.select import find
from spikeloom.loom.select import run as run_woven
from spikeloom.loom.weave import plans

FUSED = {
    name: kind
    for name, kind in vars(neuron).items()
    if isinstance(kind, type)
    and issubclass(kind, neuron.BaseNode)
    and kind not in (neuron.BaseNode, neuron.SimpleBaseNode, neuron.NonSpikingBaseNode)
}
SETTINGS: dict[str, dict[str, Any]] = {
    "SimpleLIFNode": {"tau": 2.0, "decay_input": True},
    "BiologicalIzhikevichNode": {"surrogate_function": surrogate.Sigmoid(alpha=0.1)},  # potentials in mV
    "AdaptiveLIFNode": {"shape": (5,)},
    "GLIFNode": {"shape": (5,)},
    "HomeostaticLIFNode": {"shape": (5,), "tau": 5.0, "theta_plus": 0.3, "tau_theta": 20.0},
    "IzhikevichNode": {"a": 0.3, "b": 0.5},
    "AdExNode": {"tau_w": 20.0, "a": 1.0, "b": 0.5},
}
SCALE = {"ALIFNode": 30.0, "BiologicalIzhikevichNode": 30.0, "AdExNode": 6.0, "SEAdLIFNode": 30.0}
SCALE["BalancedResonateAndFireNode"] = 300.0


def make(name: str, **changes: Any) -> Any:
    """The neuron of that class, with settings under which it does something, in multi-step mode."""
    torch.manual_seed(0)  # for constants that start at random
    node = FUSED[name](**(SETTINGS.get(name, {}) | changes))
    node.step_mode = "m"
    return node


def inputs(name: str, *shape: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random input that makes the neuron of that class fire, [T, ...]."""
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(shape, generator=generator) * 1.4 - 0.4) * SCALE.get(name, 3.0)
    return x.to(dtype)


def is_exact(node: Any, dims: int, dtype: torch.dtype = torch.float32) -> bool:
    """Whether the loom promises the reference's bits for this neuron."""
    loops = find(node, (7,) * dims, dtype)
    assert not isinstance(loops, str), loops
    return loops.step.forward.exact


def run(
    node: Any,
    backend: str,
    x: Tensor,
    starts: Mapping[str, Any] | None = None,
    view: Callable[[Tensor], Tensor] = lambda x: x,
    weigh: str = "random",
) -> dict[str, Tensor]:
    """Output, memories and gradients of a copy of ``node`` with this backend.

    Args:
        node: a neuron in multi-step mode.
        backend: which.
        x: the leaf that gets a gradient; its strides are kept.
        starts: memories before the first step; floating-point tensors get gradients.
        view: makes the input from the leaf.
        weigh: what arrives as gradients at output, final memories and ``v_seq``: ``'random'``; ``'sum'``,
            expanded ones; ``'strided'``, not contiguous; ``'memories'``, none at the output.
    """
    node = copy.deepcopy(node)
    node.backend = backend
    leaf = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device)
    leaf = leaf.copy_(x).requires_grad_()
    leaves = {}
    for name, value in (starts or {}).items():
        if isinstance(value, Tensor):
            value = leaves[name] = value.clone().requires_grad_()
        setattr(node, name, value)
    found = {"output": node(view(leaf))}
    found |= {name: value for name, value in node.named_memories() if isinstance(value, Tensor)}
    if node.v_seq is not None:
        found["v_seq"] = node.v_seq
    values, gradients = [], []
    generator = torch.Generator().manual_seed(2)
    for name, value in found.items():
        gradient = _gradient(value, weigh, generator)
        if value.requires_grad and not (weigh == "memories" and name == "output"):
            values.append(value)
            gradients.append(gradient)
    if values:
        torch.autograd.backward(values, gradients)
    found = {name: value.detach() for name, value in found.items()}
    leaves = {"x": leaf} | {f"start {name}": value for name, value in leaves.items()}
    for name, value in (leaves | dict(node.named_parameters())).items():
        found[f"gradient of {name}"] = torch.zeros_like(value) if value.grad is None else value.grad
    return found


def _gradient(value: Tensor, weigh: str, generator: torch.Generator) -> Tensor:
    if weigh == "sum":
        return torch.ones((), dtype=value.dtype, device=value.device).expand(value.shape)
    if weigh == "strided":
        return torch.randn(*value.shape, 3, generator=generator).to(value)[..., 1]
    return torch.randn(value.shape, generator=generator).to(value)


def assert_agree(
    node: Any, x: Tensor, exact: bool | None = None, backend: str = "numba", **options: Any
) -> dict[str, Tensor]:
    """The compiled loop gives what the reference gives; returns the latter.

    Args:
        node, x, options: as for :func:`run`.
        exact: whether output and memories must have the same bits; default: whether the plan says so.
        backend: what compiles the loop.
    """
    view = options.get("view", lambda x: x)
    if exact is None:
        exact = is_exact(node, view(x).dim() - 1, _computed(x.dtype))
    reference, got = run(node, "torch", x, **options), run(node, backend, x, **options)
    assert reference.keys() == got.keys()
    for name, value in reference.items():
        if name.startswith("gradient"):
            if value.dtype in (torch.float16, torch.bfloat16):
                assert_close(name, value, got[name])
            elif value.numel() and not _as_true(node, name, value, got[name], x, options):
                assert_gradient(name, value, got[name])
        elif exact or (name == "output" and bool((value == value.round()).all())):
            assert_same(name, value, got[name])
        else:
            assert_close(name, value, got[name])
    return reference


def assert_half_is_read(
    node: Any, x: Tensor, backend: str, compare: Callable[[str, Tensor, Tensor], None] = assert_same
) -> None:
    """Loops give for half input, and a half gradient, what they give for the same in float32, rounded.

    Args:
        node: of which they are.
        x: in half precision.
        backend: what compiles them.
        compare: of the gradients of ``x``.
    """
    node.backend, weight = backend, torch.randn(x.shape).to(x)
    full, full_leaf = copy.deepcopy(node), x.float().requires_grad_()
    leaf = x.clone().requires_grad_()
    output, _ = run_woven(node, leaf)
    output.backward(weight)
    expected, _ = run_woven(full, full_leaf)
    expected.backward(weight.float())
    assert_same("output", expected.to(x.dtype), output)
    compare("gradient of x", full_leaf.grad.to(x.dtype), leaf.grad)
    for name, value, got in zip(node._memories, full.memories(), node.memories(), strict=True):
        assert got.dtype == torch.float32
        assert_same(name, value, got)
    for (name, parameter), got in zip(full.named_parameters(), node.parameters(), strict=True):
        assert_close(name, parameter.grad, got.grad)


def _as_true(node: Any, name: str, value: Tensor, got: Tensor, x: Tensor, options: dict[str, Any]) -> bool:
    """Whether a float32 gradient, compared with a float64 run, is hardly worse than the reference's own.

    Steps that amplify, and sums over many neurons, cost the reference more than the tolerance, too; one
    error alone is a matter of luck, so the tolerance counts as an error of the reference.
    """
    largest = value.abs().max()
    if value.dtype != torch.float32 or (got - value).abs().max() <= 2e-6 * largest:
        return False
    starts = (options.get("starts") or {}).items()
    starts = {key: item.double() if isinstance(item, Tensor) else item for key, item in starts}
    doubled = run(copy.deepcopy(node).double(), "torch", x.double(), **(options | {"starts": starts}))
    true = doubled[name]
    own = torch.maximum((value - true).abs().max(), 2e-6 * largest)
    return bool((got - true).abs().max() <= 2 * own)


def _computed(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def values(count, *shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).to(dtype) for _ in range(count)]


def assert_interpreted(node, x, memories, seed=5):
    """One step of the plan, forwards and backwards, against the step itself and autograd."""
    step, forward, backward, learned, *_ = plans(node, tuple(x.shape), x.dtype)
    operands = [*node.parameters(), *node.buffers()]
    spread = [operand.detach().to(x.dtype).expand(x.shape).clone() for operand in operands]
    leaves = [value.clone().requires_grad_() for value in (x, *memories)]
    node.reset()
    for name, value in zip(node._memories, leaves[1:], strict=True):
        setattr(node, name, value)
    results = [node(leaves[0]), *node.memories()]
    got = interpret(step.forward, forward, [x, *memories, *spread])
    compare = assert_same if step.forward.exact else assert_close
    for place, (reference, value) in enumerate(zip(results, got, strict=True)):
        compare(f"output {place}", reference.detach(), value)
    arriving = values(len(results), *x.shape, dtype=x.dtype, seed=seed)
    pairs = [(r, g) for r, g in zip(results, arriving, strict=True) if r.requires_grad]
    if pairs:
        torch.autograd.backward(*zip(*pairs, strict=True))
    got = interpret(step.backward, backward, [x, *memories, *spread, *arriving])
    references = [leaf.grad for leaf in leaves] + [p.grad for p in operands if p.requires_grad]
    assert sum(learned) == len(references) - len(leaves)
    for place, (reference, value) in enumerate(zip(references, got, strict=True)):
        source = (leaves + operands)[place]
        value = value.sum_to_size(source.shape)
        reference = torch.zeros_like(source) if reference is None else reference
        if reference.isfinite().all():
            assert_gradient(f"gradient {place}", reference, value)
    node.reset()
