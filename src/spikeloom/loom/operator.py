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
from spikeloom.loom.interpret import interpret
from spikeloom.loom.program import Program, from_text
from spikeloom.loom.running import TWICE, Call, Loops, time_major
from spikeloom.loom.step import placed

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


@functools.lru_cache(256)
def _loops(text: str, target: str) -> Loops:
    from spikeloom.loom.weave import loops_of

    return loops_of(_parsed(text).woven, target)


def _checked(text: str, x: Tensor, sources: Sequence[Tensor]) -> tuple[Program, Tensor]:
    """The program, and its input with one step after the other in memory."""
    program = _parsed(text)
    if len(sources) != program.woven.step.num_memories + program.woven.step.num_operands:
        raise BackendError(
            f"a woven neuron got {len(sources)} memories and operands; its program says otherwise"
        )
    if x.dim() == 0 or x.dtype not in (torch.float32, torch.float64):
        raise BackendError(f"a woven neuron takes float32 or float64 [T, *], got {x.dtype} {list(x.shape)}")
    return program, time_major(x)


def _padded(program: Program, gradients: Sequence[Tensor], arrived: Sequence[bool]) -> list[Tensor | None]:
    """The gradients of all results, ``None`` for those that did not arrive."""
    assert len(arrived) == 1 + program.woven.step.num_memories + sum(program.keep)
    return placed(gradients, arrived)


def _laid_out(gradients: Sequence[Tensor | None], sources: Sequence[Tensor], x: Tensor) -> list[Tensor]:
    """The gradients of sources that there are, each in a tensor with the strides that a graph expects."""
    pairs = [(one, source) for one, source in zip(gradients, sources, strict=True) if one is not None]
    return [_like_source(source, x).copy_(gradient) for gradient, source in pairs]


# Compiled loops.


def _woven(text: str, x: Tensor, sources: list[Tensor]) -> list[Tensor]:
    program, x = _checked(text, x, sources)
    return list(_loops(text, COMPILED[x.device.type]).forward(Call(x, sources, program.keep))[0])


def _woven_backward(
    text: str,
    x: Tensor,
    sources: list[Tensor],
    gradients: list[Tensor],
    arrived: list[bool],
    wanted: list[bool],
) -> list[Tensor]:
    program, x = _checked(text, x, sources)
    padded = _padded(program, gradients, arrived)
    loops = _loops(text, COMPILED[x.device.type])
    to_x, *rest = loops.backward(Call(x, sources, program.keep), padded, wanted)
    assert to_x is not None
    return [to_x, *_laid_out(rest, sources, x)]


# Any other device.


def _spread(x: Tensor, sources: Sequence[Tensor]) -> list[Tensor]:
    return [source.detach().to(x).expand(x.shape[1:]) for source in sources]


def _interpreted(text: str, x: Tensor, sources: list[Tensor]) -> list[Tensor]:
    program, x = _checked(text, x, sources)
    plans, literals = program.woven[:2]
    num_memories = plans.num_memories
    spread = _spread(x, sources)
    memories, operands = spread[:num_memories], spread[num_memories:]
    output, *sequences = [torch.empty_like(x) for one in (True, *program.keep) if one]
    kept = [place for place, one in enumerate(program.keep) if one]
    for step, now in enumerate(x.detach()):
        values = interpret(plans.forward, literals, [now, *memories, *operands])
        memories = values[1:]
        output[step] = values[0]
        for place, sequence in zip(kept, sequences, strict=True):
            sequence[step] = memories[place]
    finals = [torch.empty_like(x[0]).copy_(memory) for memory in memories]
    return [output, *finals, *sequences]


def _interpreted_backward(
    text: str,
    x: Tensor,
    sources: list[Tensor],
    gradients: list[Tensor],
    arrived: list[bool],
    wanted: list[bool],
) -> list[Tensor]:
    program, x = _checked(text, x, sources)
    plans, forward_literals, backward_literals, learned = program.woven[:4]
    num_memories = plans.num_memories
    spread = _spread(x, sources)
    before, operands = [spread[:num_memories]], spread[num_memories:]
    for now in x[:-1]:
        inputs = [now, *before[-1], *operands]
        before.append(interpret(plans.forward, forward_literals, inputs)[1:])
    output, *rest = _padded(program, gradients, arrived)
    silence = torch.zeros_like(x[0])
    carried = [silence if one is None else one for one in rest[:num_memories]]
    kept = [place for place, one in enumerate(program.keep) if one]
    to_x = torch.empty_like(x)
    to_operands = [torch.zeros_like(x[0]) for one in learned if one]
    for step in range(x.shape[0] - 1, -1, -1):
        for place, sequence in zip(kept, rest[num_memories:], strict=True):
            carried[place] = carried[place] if sequence is None else carried[place] + sequence[step]
        now = silence if output is None else output[step]
        inputs = [x[step], *before[step], *operands, now, *carried]
        values = interpret(plans.backward, backward_literals, inputs)
        to_x[step] = values[0]
        carried = values[1 : 1 + num_memories]
        for total, value in zip(to_operands, values[1 + num_memories :], strict=True):
            total += value
    made = [*carried, *placed(to_operands, learned)]
    summed = [
        gradient.double().sum_to_size(source.shape) if one and gradient is not None else None
        for gradient, source, one in zip(made, sources, wanted, strict=True)
    ]
    return [to_x, *_laid_out(summed, sources, x)]


# What a graph is told of the results.


def _like_source(source: Tensor, x: Tensor) -> Tensor:
    """An empty gradient for a source: in the layout of a step if it has the shape of one, else contiguous."""
    if source.shape == x.shape[1:]:
        return torch.empty_like(x[0], dtype=source.dtype)
    return torch.empty_like(source, memory_format=torch.contiguous_format)


def _woven_fake(text: str, x: Tensor, sources: list[Tensor]) -> list[Tensor]:
    program, x = _checked(text, x, sources)
    finals = [torch.empty_like(x[0]) for _ in program.keep]
    return [torch.empty_like(x), *finals, *(torch.empty_like(x) for one in program.keep if one)]


def _woven_backward_fake(
    text: str,
    x: Tensor,
    sources: list[Tensor],
    gradients: list[Tensor],
    arrived: list[bool],
    wanted: list[bool],
) -> list[Tensor]:
    program, x = _checked(text, x, sources)
    made = [True] * program.woven.step.num_memories + list(program.woven.learned)
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
    program, wanted = _parsed(ctx.program), list(ctx.needs_input_grad[2])
    frozen = [place for place, learned in enumerate(program.woven.learned) if not learned]
    if any(wanted[program.woven.step.num_memories + place] for place in frozen):
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


for _name, _loop, _interpreter, _fake in (
    ("woven", _woven, _interpreted, _woven_fake),
    ("woven_backward", _woven_backward, _interpreted_backward, _woven_backward_fake),
):
    _library.impl(_name, _loop, "CPU")
    if HAS_TRITON:
        _library.impl(_name, _loop, "CUDA")
    _library.impl(_name, _interpreter, "CompositeExplicitAutograd")
    torch.library.register_fake(f"spikeloom::{_name}", _fake, lib=_library)
torch.library.register_autograd("spikeloom::woven", _differentiate, setup_context=_save, lib=_library)
torch.library.register_autograd("spikeloom::woven_backward", _refuse, lib=_library)
