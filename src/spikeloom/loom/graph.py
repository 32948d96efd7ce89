"""How a neuron enters a graph: ``torch.compile`` and ``torch.export`` come here instead of to select.py.

Dynamo reads this file instead of running it, but for :func:`program_of`, whose result it takes as a constant.
It does not know what that constant was made from, so a graph would go on with an old time constant. Hence one
reference step is traced beside the operator, and its result thrown away: Dynamo then watches all that a step
reads, methods and submodules included. But of a number that it saw change, Dynamo makes a variable, which no
program can hold. The first few times, the graph compares the neuron's numbers with what they were, which
makes them constants again; a number that goes on changing gets the reference loop.
"""

import contextlib
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import peek_interpreter_stack

from spikeloom.errors import BackendError
from spikeloom.loom.backends import COMPILED, HAS_TRITON, computed_in, effective_backend, misplaced, target_of
from spikeloom.loom.fingerprint import look, settings_of
from spikeloom.loom.program import to_text
from spikeloom.loom.select import broadcasts, held_back, tell, unreadable

_exporting = getattr(torch.compiler, "is_exporting", lambda: False)
FEW = 4  # sets of numbers of a neuron that become constants; PyTorch makes 8 graphs at most by default
_seen: "weakref.WeakKeyDictionary[Any, set[Any]]" = weakref.WeakKeyDictionary()
UNKNOWN = 97  # stands for a size that varies from call to call, where a step is traced


def run(node: Any, x_seq: Tensor, keep: Iterable[str] = ()) -> tuple[Tensor, dict[str, Tensor]] | None:
    """As :func:`spikeloom.loom.select.run`, within a graph: the operator ``spikeloom::woven``.

    Args:
        node, x_seq, keep: as there.
    Returns:
        as there; ``None``: the steps have to be in the graph
    Raises:
        BackendError: a backend was asked for by name, and cannot run this.
    """
    wanted = effective_backend(node.backend)
    if wanted == "torch":
        return None
    kept = tuple(name in tuple(keep) for name in node._memories)
    sizes = _sizes(x_seq)
    text, reason, paths, settings, fixed = node._program(sizes, x_seq.dtype, kept)
    operands = [_at(node, path) for path in paths]
    reason = reason or _unsuited(node, x_seq, paths, operands, wanted) or _changed(node, settings, fixed)
    if not reason and torch.compiler.is_dynamo_compiling() and not _exporting():
        if _step_once(node, x_seq):
            reason = "a number that a step reads varies from call to call"
        elif _sizes(x_seq) != sizes:  # one of them is not free any more
            reason = "a step depends on the input's shape"
    if reason:
        if wanted != "auto":
            raise BackendError(f"{type(node).__name__} cannot run with backend {wanted!r}: {reason}.")
        return None
    starts = [
        value if isinstance(value, Tensor) else torch.full((), value, dtype=x_seq.dtype, device=x_seq.device)
        for value in node.memories()
    ]
    results = torch.ops.spikeloom.woven(text, x_seq, [*starts, *operands])
    output, rest = results[0], results[1:]
    for name, final in zip(node._memories, rest, strict=False):
        setattr(node, name, final)
    names = [name for name, one in zip(node._memories, kept, strict=True) if one]
    return output, dict(zip(names, rest[len(kept) :], strict=True))


def program_of(
    node: Any, shape: tuple[int, ...], dtype: torch.dtype, keep: tuple[bool, ...]
) -> tuple[str, str, tuple[Any, ...], tuple[Any, ...], bool]:
    """What a graph needs to know of ``node`` as it is now.

    Args:
        node: a neuron.
        shape: of a step's input.
        dtype: of the input.
        keep: the memories of which every step is wanted.
    Returns:
        the program in text; or why there is none; paths to the operands; paths to the settings, with values;
        whether their values are to be constants
    """
    if peek_interpreter_stack() is not None:
        return "", "it is under a transformation of PyTorch's", (), (), True
    if reason := held_back(node):
        return "", reason, (), (), True
    from spikeloom.loom.weave import weave

    with _undisturbed(node):
        names = [
            name
            for name, value in look(node)[1]
            if value.dtype == computed_in(dtype) and broadcasts(value.shape, torch.Size(shape))
        ]
        loops = weave(node, shape, dtype, names=tuple(names))
    if isinstance(loops, str):
        tell(node, loops)
        return "", loops, (), (), True
    paths = tuple(tuple((False, part) for part in name.split(".")) for name in names)
    settings = tuple(settings_of(node))
    seen = _seen.setdefault(node, set())
    seen.add(settings)
    text = to_text(loops.woven, keep)  # in a graph, all get a gradient
    return text, "", paths, settings, len(seen) <= FEW


@contextlib.contextmanager
def _undisturbed(node: Any) -> Iterator[None]:
    """A block in which a neuron can be traced on real values, in the middle of an export on fake ones."""
    from torch.utils._python_dispatch import _disable_current_modes

    state = node.memory_state()
    node.__dict__.update(dict.fromkeys(node._memories, 0.0), _step_shape=None, _v_steps=[])
    try:
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            yield
    finally:
        node.load_memory_state(state)


def _last_operation() -> int:
    """The identity of the last node of Dynamo's graph so far; names change."""
    return id(next(iter(reversed(_nodes()))))


def _uses_variables(since: int) -> bool:
    """Whether an operation of Dynamo's graph after that one has a number as operand that may vary."""
    from torch.fx.experimental.symbolic_shapes import has_static_value

    for operation in reversed(_nodes()):
        if id(operation) == since:
            break
        if isinstance(operation.meta.get("example_value"), torch.SymFloat | torch.SymInt | torch.SymBool):
            continue  # of interest where it meets a tensor; shapes are only compared
        values = [one.meta.get("example_value") for one in operation.all_input_nodes]
        numbers = [value for value in values if isinstance(value, torch.SymFloat | torch.SymInt)]
        if not all(has_static_value(number) or _is_size(number) for number in numbers):
            return True
    return False


def _is_size(number: torch.SymFloat | torch.SymInt) -> bool:
    """Whether a number that varies comes from the sizes of tensors alone."""
    from torch._dynamo.source import TensorPropertySource

    sources = number.node.shape_env.var_to_sources
    return all(
        any(isinstance(source, TensorPropertySource) for source in sources.get(symbol, ()))
        for symbol in number.node.expr.free_symbols
    )


def _nodes() -> Any:
    from torch._dynamo.symbolic_convert import InstructionTranslator

    return InstructionTranslator.current_tx().output.current_tracer.graph.nodes


for _function in (_last_operation, _uses_variables):  # see BaseNode._program
    _function._dynamo_marked_constant = True  # type: ignore[attr-defined]


# What follows is read by Dynamo.


def _sizes(x_seq: Tensor) -> tuple[int, ...]:
    from torch.fx.experimental.symbolic_shapes import has_static_value

    return tuple(int(size) if has_static_value(size) else UNKNOWN for size in x_seq.shape[1:])


def _at(node: Any, path: tuple[tuple[bool, Any], ...]) -> Any:
    """What a path leads to; each part is an item's key, or an attribute's name."""
    found = node
    for is_item, key in path:
        found = found[key] if is_item else getattr(found, key)
    return found


def _changed(node: Any, settings: tuple[Any, ...], fixed: bool) -> str:
    """Whether the graph itself changes the neuron before it calls it; ``fixed`` makes numbers constants."""
    from torch.fx.experimental.symbolic_shapes import has_static_value

    for path, is_type, value in settings:
        found = _at(node, path)
        if is_type:
            same = type(found).__name__ == value
        else:
            varies = isinstance(found, (int, float)) and not has_static_value(found)
            same = not isinstance(found, Tensor) and ((varies and not fixed) or found == value)
        if not same:
            return "what is compiled changes the neuron"
    return ""


def _unsuited(node: Any, x_seq: Tensor, paths: tuple[Any, ...], operands: list[Any], wanted: str) -> str:
    """Why this call, whatever the neuron's equations are, is left to the reference."""
    target = target_of(wanted, x_seq.device.type)
    if target != COMPILED.get(x_seq.device.type):
        return misplaced(target, x_seq.device.type) or "Triton's interpreter does not run within a graph"
    if target == "triton" and not HAS_TRITON:
        return "Triton is not installed; pip install triton"
    named = [(path[-1][1], value) for path, value in zip(paths, operands, strict=True)]
    types = torch.float32, torch.float64
    return unreadable([*node.named_memories(), *named], x_seq, types) or ""


def _step_once(node: Any, x_seq: Tensor) -> bool:
    """Run one reference step, and forget it; whether it computed with a number that is a variable."""
    starts, x = list(node.named_memories()), x_seq[0].clone()  # a step may write into what it is given
    for name, value in starts:
        setattr(node, name, value.clone() if isinstance(value, Tensor) else torch.full_like(x, value))
    last = _last_operation()
    node.single_step_forward(x)
    varies = _uses_variables(last)
    for name, value in starts:
        setattr(node, name, value)
    node._v_steps = []
    return varies
