"""The compiled loop that runs a neuron over time, or why the reference has to."""

import logging
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor

from spikeloom.errors import BackendError, describe
from spikeloom.loom.backends import TYPES, computed_in, effective_backend, misplaced, target_of
from spikeloom.loom.fingerprint import look
from spikeloom.loom.isolate import CHANGES
from spikeloom.loom.plan import FAILED, FOREIGN
from spikeloom.loom.running import CannotCompile, Loops
from spikeloom.loom.same import class_version

_KEPT = 1024  # woven neurons that are remembered; the least recently used is forgotten

_woven: "OrderedDict[Any, Loops | str]" = OrderedDict()
_lock = threading.Lock()
# Neurons whose own step changes what they hold, with what was known then, and the reason.
_changing: weakref.WeakKeyDictionary[Any, tuple[Any, str]] = weakref.WeakKeyDictionary()
# How often, one time after the other, a neuron was not found as it was, and was woven anew.
misses: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
_told: set[tuple[type, str]] = set()
_GLOBAL_HOOKS = tuple(
    f"_global_{kind}_hooks" for kind in ("forward", "forward_pre", "backward", "backward_pre")
)
_log = logging.getLogger("spikeloom.loom")


def run(
    node: Any, x_seq: Tensor, keep: Iterable[str] = (), window: int | None = None
) -> tuple[Tensor, dict[str, Tensor]] | None:
    """Run ``node`` over ``x_seq`` as a compiled loop, and leave its memories as they are after the last step.

    Args:
        node: a neuron: a :class:`MemoryModule` with charge, fire and reset, and a ``backend``.
        x_seq: ``[T, *]``.
        keep: names of memories of which every step is wanted.
        window: size of windows over which the output ``[T, N, C, H, W]`` is averaged, if it divides H and W.
    Returns:
        the output ``[T, *]`` and the memories that are kept ``[T, *]``; or ``None``: the reference has to run
    Raises:
        BackendError: a backend was asked for by name, and cannot run this.
    """
    wanted = effective_backend(node.backend)
    if wanted == "torch":
        return None
    if wanted != "auto":  # it may be another one since it changed what it holds
        _changing.pop(node, None)
    result, unsuited = attempt(node, x_seq, target_of(wanted, x_seq.device.type), set(keep), window)
    if not isinstance(result, str):
        return result
    if wanted != "auto":
        raise BackendError(f"{describe(node)} cannot run with backend {wanted!r}: {result}.")
    tell(node, result, logging.INFO if unsuited else logging.WARNING)
    return None


def run_fed_back(node: Any, x_seq: Tensor, feedback: Tensor) -> Tensor | None:
    """Run ``node`` over what drives it from outside and its own outputs of the step before, in one compiled
    loop, and leave its memories as they are after the last step.

    Args:
        node: as for :func:`run`.
        x_seq: ``[T, N, *, F]``, on a CPU, in float32 or float64.
        feedback: weights ``[F, F]``, from a step's outputs to the inputs of the next one.
    Returns:
        the output ``[T, N, *, F]``; or ``None``: the reference has to run
    """
    result, unsuited = attempt(node, x_seq, "numba", set(), feedback=feedback)
    if isinstance(result, str):
        tell(node, result, logging.INFO if unsuited else logging.WARNING)
        return None
    return result[0]


def attempt(
    node: Any,
    x_seq: Tensor,
    target: str,
    keep: set[str],
    window: int | None = None,
    feedback: Tensor | None = None,
) -> tuple[tuple[Tensor, dict[str, Tensor]] | str, bool]:
    """What :func:`run` returns, or why there is no loop; and whether that is for this call's input only."""
    decides, tensors = look(node)
    if unsuited := _unsuited(node, tensors, x_seq, target):
        return unsuited, True
    tensors, unfit = fitting(tensors, x_seq)
    names = tuple(name for name, _ in tensors)
    sought = (tuple(x_seq.shape[1:]), computed_in(x_seq.dtype), target, names)
    loops = find(node, *sought, decides)
    if isinstance(loops, str):
        return why_not(loops, unfit), False
    try:
        operands = [value for _, value in tensors]
        return _carry_out(node, loops, x_seq, keep, operands, window, feedback), False
    except CannotCompile as error:
        reason = str(error)
        with _lock:
            _woven[decides, *sought] = reason
        return reason, False


def _carry_out(
    node: Any,
    loops: Loops,
    x_seq: Tensor,
    keep: set[str],
    operands: list[Tensor],
    window: int | None,
    feedback: Tensor | None,
) -> tuple[Tensor, dict[str, Tensor]]:
    kept = [name in keep for name in node._memories]
    output, finals, sequences = loops(x_seq, list(node.memories()), operands, kept, window, feedback)
    for name, final in zip(node._memories, finals, strict=True):
        setattr(node, name, final)
    named = zip(node._memories, sequences, strict=True)
    return output, {name: sequence for name, sequence in named if sequence is not None}


def find(
    node: Any,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    target: str = "numba",
    names: tuple[str, ...] | None = None,
    decides: tuple[Any, ...] | None = None,
) -> Loops | str:
    """The loops of ``node`` for steps of this shape, woven now if need be; or why there are none.

    Args:
        node: a neuron.
        shape: of a step's input.
        dtype: of what is computed.
        target: what compiles them, ``'numba'`` or ``'triton'``.
        names: of the tensors that are operands; default: all.
        decides: what decides what a step computes, if that was looked at.
    """
    # The fingerprint of a neuron that changes what it holds changes with every step.
    if _changing and node in _changing and _changing[node][0] == _version(node):
        return _changing[node][1]
    if decides is None or names is None:
        decides, tensors = look(node)
        names = tuple(name for name, _ in tensors) if names is None else names
    key = (decides, shape, dtype, target, names)
    with _lock:
        known = _woven.get(key)
        if known is not None:
            _woven.move_to_end(key)
            if misses:
                misses.pop(node, None)
            return known
    misses[node] = misses.get(node, 0) + 1
    from spikeloom.loom.weave import weave

    loops = weave(node, shape, dtype, target, names)
    if isinstance(loops, str) and loops.startswith(CHANGES):
        _changing[node] = (_version(node), loops)
        return loops
    with _lock:
        _woven[key] = loops
        if len(_woven) > _KEPT:
            _woven.popitem(last=False)
    return loops


def _version(node: Any) -> tuple[Any, ...]:
    """What decides whether a step still changes what its neuron holds: its class and its memories' names."""
    return class_version(type(node)), tuple(node._memories)


def held_back(node: Any) -> str | None:
    """Why a neuron, whatever its equations are and whatever it gets, is left to the reference."""
    if "single_step_forward" in node.__dict__:
        return "its steps are being recorded"
    if not node._modules:
        return None
    if any(
        one._forward_hooks or one._forward_pre_hooks or one._backward_hooks or one._backward_pre_hooks
        for one in _within(node)
    ):
        return "a module within it has hooks"
    if any(getattr(torch.nn.modules.module, hooks) for hooks in _GLOBAL_HOOKS):
        return "there are hooks for all modules, and it has modules within it"
    return None


def _within(module: Any) -> Iterator[Any]:
    """The modules within a module."""
    for child in module._modules.values():
        if child is not None:
            yield child
            if child._modules:
                yield from _within(child)


def _unsuited(node: Any, tensors: list[tuple[str, Tensor]], x_seq: Tensor, target: str) -> str | None:
    """Why this call is left to the reference."""
    if reason := held_back(node):
        return reason
    if reason := transformed(x_seq):
        return reason
    if reason := misplaced(target, x_seq.device.type):
        return reason
    for name, value in (*node.named_memories(), *tensors):
        if isinstance(value, Tensor) and _is_transformed(value):
            return f"its '{name}' is under a transformation of PyTorch's"
    return unreadable(node.named_memories(), x_seq, TYPES[target])


def transformed(x: Tensor) -> str | None:
    """Why PyTorch would not see what becomes of an input, and has to."""
    if torch._C._get_tracing_state() is not None:
        return "it is being traced by PyTorch"
    if torch._C._are_functorch_transforms_active():
        return "it is under a transformation of PyTorch's"
    if _is_transformed(x) or torch._C._len_torch_dispatch_stack() > 0:
        return f"its input is a {type(x).__name__} under a transformation of PyTorch's"
    return None


def _is_transformed(value: Tensor) -> bool:
    return is_functorch_wrapped_tensor(value) or type(value) not in (Tensor, nn.Parameter)


def unreadable(named: Iterable[tuple[str, Any]], x_seq: Tensor, types: tuple[torch.dtype, ...]) -> str | None:
    """Why a loop cannot read this input, which may have one of these types, or one of these values."""
    if x_seq.layout != torch.strided:
        return f"its input has the layout {x_seq.layout}"
    if x_seq.dtype not in types:
        return f"its input has the type {x_seq.dtype}"
    for name, value in named:
        if reason := unfit(name, value, x_seq):
            return reason
    return None


def fitting(tensors: list[tuple[str, Tensor]], x_seq: Tensor) -> tuple[list[tuple[str, Tensor]], str | None]:
    """Those of a neuron's tensors that a loop over ``x_seq`` can read, and why it cannot read another, if
    there is one: that matters only to a step that reads it."""
    reasons = [unfit(name, value, x_seq) for name, value in tensors]
    fit = [pair for pair, reason in zip(tensors, reasons, strict=True) if reason is None]
    return fit, next(filter(None, reasons), None)


def why_not(reason: str, unfit: str | None) -> str:
    """Why a neuron is not woven: the tensor that does not fit, if the step reads it."""
    return unfit if unfit and reason.startswith((FOREIGN, FAILED)) else reason


def unfit(name: str, value: Any, x_seq: Tensor) -> str | None:
    """Why a loop over ``x_seq`` cannot read a memory or a tensor of the neuron."""
    if not isinstance(value, Tensor):
        return None if isinstance(value, (int, float)) else f"its memory '{name}' is no number and no tensor"
    if value.device != x_seq.device or value.dtype != computed_in(x_seq.dtype):
        return f"its '{name}' is a {value.dtype} on {value.device}"
    shape = x_seq.shape[1:]
    if not broadcasts(value.shape, shape):
        return f"its '{name}' of shape {list(value.shape)} does not broadcast to a step's {list(shape)}"
    return None


def broadcasts(shape: torch.Size, to: torch.Size) -> bool:
    """Whether a tensor of the first shape can be expanded to the second."""
    if shape == to:
        return True
    if len(shape) > len(to):
        return False
    return all(size in (1, full) for size, full in zip(reversed(shape), reversed(to), strict=False))


def tell(node: Any, reason: str, level: int = logging.WARNING) -> None:
    """Say once per class and reason why the reference runs."""
    known = (type(node), reason)
    if known not in _told:
        _told.add(known)
        _log.log(level, "%s runs on the reference loop: %s.", describe(node), reason)
