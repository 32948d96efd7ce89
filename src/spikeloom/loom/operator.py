"""The registered operators ``spikeloom::woven`` and ``spikeloom::woven_backward``: a neuron over time as one
node of a graph of PyTorch's, for ``torch.compile`` and ``torch.export``.

Their first argument is a program in text, so a graph that was saved runs wherever this file is imported,
without the neuron's class. On the CPU they are Numba's loops, on a CUDA device Triton's kernels (which are
imported by the first call); elsewhere, and without Triton, the plan is interpreted, step after step. Eager
calls do not come here: the overhead of an operator is larger than that of the ``autograd.Function`` in
running.py.
"""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from spikeloom.errors import BackendError
from spikeloom.loom.backends import COMPILED, HAS_TRITON
from spikeloom.loom.program import from_text
from spikeloom.loom.running import TWICE, Call, Loops, time_major
from spikeloom.loom.step import Woven, placed

_library = torch.library.Library("spikeloom", "FRAGMENT")
# The loops follow the strides of what they are given, and so do the strides of their results.
_TAGS = tuple(
    getattr(torch.Tag, name)
    for name in ("pt2_compliant_tag", "needs_exact_strides")
    if hasattr(torch.Tag, name)
)
_library.define("woven(str program, Tensor x, Tensor[] sources) -> Tensor[]", tags=_TAGS)
_library.define(
    "woven_backward(str program, Tensor x, Tensor[] sources, Tensor[] gradients, bool[] arrived, "
    "bool[] wanted) -> Tensor[]",
    tags=_TAGS,
)


_parsed = functools.lru_cache(256)(from_text)
# What compiles, by type of device; elsewhere nothing does.
_TARGETS = COMPILED if HAS_TRITON else {"cpu": COMPILED["cpu"]}


@functools.lru_cache(256)
def _loops(text: str, target: str) -> Loops:
    from spikeloom.loom.weave import loops_of

    return loops_of(_parsed(text)[0], target)


def _checked(text: str, x: Tensor, sources: Sequence[Tensor]) -> tuple[Woven, Call]:
    """The step that is to be run, and on what."""
    woven, keep = _parsed(text)
    if len(sources) != woven.step.num_memories + woven.step.num_operands:
        raise BackendError(
            f"a woven neuron got {len(sources)} memories and operands; its program says otherwise"
        )
    if x.dim() == 0 or x.dtype not in (torch.float32, torch.float64):
        raise BackendError(f"a woven neuron takes float32 or float64 [T, *], got {x.dtype} {list(x.shape)}")
    return woven, Call(time_major(x), sources, keep)


def _laid_out(gradients: Sequence[Tensor | None], sources: Sequence[Tensor], x: Tensor) -> list[Tensor]:
    """The gradients of sources that there are, each in a tensor with the strides that a graph expects."""
    pairs = [(one, source) for one, source in zip(gradients, sources, strict=True) if one is not None]
    return [_like_source(source, x).copy_(gradient) for gradient, source in pairs]


def _woven(text: str, x: Tensor, sources: list[Tensor]) -> list[Tensor]:
    _, call = _checked(text, x, sources)
    return list(_loops(text, _TARGETS.get(x.device.type, "torch")).forward(call)[0])


def _woven_backward(
    text: str,
    x: Tensor,
    sources: list[Tensor],
    gradients: list[Tensor],
    arrived: list[bool],
    wanted: list[bool],
) -> list[Tensor]:
    woven, call = _checked(text, x, sources)
    assert len(arrived) == 1 + woven.step.num_memories + sum(call.keep)
    loops = _loops(text, _TARGETS.get(x.device.type, "torch"))
    to_x, *rest = loops.backward(call, placed(gradients, arrived), wanted)
    assert to_x is not None
    return [to_x, *_laid_out(rest, sources, call.x)]


# What a graph is told of the results.


def _like_source(source: Tensor, x: Tensor) -> Tensor:
    """An empty gradient for a source: in the layout of a step if it has the shape of one, else contiguous."""
    if source.shape == x.shape[1:]:
        return torch.empty_like(x[0], dtype=source.dtype)
    return torch.empty_like(source, memory_format=torch.contiguous_format)


def _woven_fake(text: str, x: Tensor, sources: list[Tensor]) -> list[Tensor]:
    _, call = _checked(text, x, sources)
    x, keep = call.x, call.keep
    finals = [torch.empty_like(x[0]) for _ in keep]
    return [torch.empty_like(x), *finals, *(torch.empty_like(x) for one in keep if one)]


def _woven_backward_fake(
    text: str,
    x: Tensor,
    sources: list[Tensor],
    gradients: list[Tensor],
    arrived: list[bool],
    wanted: list[bool],
) -> list[Tensor]:
    woven, (x, *_) = _checked(text, x, sources)
    made = [True] * woven.step.num_memories + list(woven.learned)
    return [torch.empty_like(x)] + [
        _like_source(source, x)
        for source, one, learned in zip(sources, wanted, made, strict=True)
        if one and learned
    ]


# Autograd.


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.program, x, sources = inputs
    ctx.save_for_backward(x, *sources)
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, gradients: list[Tensor | None]) -> tuple[Any, ...]:
    x, *sources = ctx.saved_tensors
    (woven, _), wanted = _parsed(ctx.program), list(ctx.needs_input_grad[2])
    frozen = [place for place, learned in enumerate(woven.learned) if not learned]
    if any(wanted[woven.step.num_memories + place] for place in frozen):
        raise BackendError(
            "A parameter of a neuron needs a gradient, but did not when the graph was made. Set its "
            "requires_grad and export the network again."
        )
    found = torch.ops.spikeloom.woven_backward(
        ctx.program,
        x,
        sources,
        [gradient for gradient in gradients if gradient is not None],
        [gradient is not None for gradient in gradients],
        wanted,
    )
    return None, found[0], placed(found[1:], wanted)


def _refuse(ctx: Any, *_gradients: Any) -> Any:
    raise BackendError(TWICE)


for _name, _loop, _fake in (
    ("woven", _woven, _woven_fake),
    ("woven_backward", _woven_backward, _woven_backward_fake),
):
    _library.impl(_name, _loop, "CompositeExplicitAutograd")
    torch.library.register_fake(f"spikeloom::{_name}", _fake, lib=_library)
torch.library.register_autograd("spikeloom::woven", _differentiate, setup_context=_save, lib=_library)
torch.library.register_autograd("spikeloom::woven_backward", _refuse, lib=_library)
