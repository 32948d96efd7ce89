"""What every backend prints its loops from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from spikeloom.loom.plan import Plan, Value, needed


@dataclass(frozen=True)
class Step:
    """What a pair of loops is made from.

    Args:
        forward: inputs x, memories, operands; outputs output, memories.
        backward: the same inputs, then the gradients of output and memories; outputs the gradients of x,
            memories, and learned operands.
        num_memories, num_operands: how many of the inputs they are.
    """

    forward: Plan
    backward: Plan
    num_memories: int
    num_operands: int

    @property
    def num_learned(self) -> int:
        """Operands that get a gradient."""
        return len(self.backward.outputs) - 1 - self.num_memories

    @property
    def reads(self) -> list[bool]:
        """Which operands either plan reads: a neuron may hold tensors that its step does not."""
        read = set().union(
            *(needed(plan.instructions, plan.outputs)[1] for plan in (self.forward, self.backward))
        )
        return [Value(1 + self.num_memories + place) in read for place in range(self.num_operands)]


class Woven(NamedTuple):
    """A step with its numbers: all that its loops are made of.

    Args:
        step: the plans.
        forward_literals, backward_literals: of its plans.
        learned: which operands need a gradient.
        has_gradient: whether a gradient can be given to the output and to each memory; empty: to all.
        gets_gradient: whether the input, each memory and each learned operand gets one; empty: all do.
    """

    step: Step
    forward_literals: tuple[float, ...]
    backward_literals: tuple[float, ...]
    learned: tuple[bool, ...]
    has_gradient: tuple[bool, ...] = ()
    gets_gradient: tuple[bool, ...] = ()


def numbered(letter: str, number: int) -> list[str]:
    """``m0``, ``m1``, ...: memories ``m``, operands ``p``, gradients of memories ``g``, of operands ``q``."""
    return [f"{letter}{place}" for place in range(number)]


def prefixed(prefix: str, names: Sequence[str]) -> list[str]:
    """Other values of what is named, such as ``start_m0``."""
    return [f"{prefix}_{name}" for name in names]


def listed(*groups: str | Sequence[str]) -> str:
    """Names, and lists of names, as arguments."""
    return ", ".join(name for group in groups for name in ([group] if isinstance(group, str) else group))


def placed(values: Iterable[Any], flags: Iterable[bool]) -> list[Any]:
    """The next of the values where a flag is set, and ``None`` elsewhere."""
    waiting = iter(values)
    return [next(waiting) if one else None for one in flags]
