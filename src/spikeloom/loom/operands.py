"""The tensors of a neuron that its step reads beside its input and memories, in the order that loops take."""

from collections.abc import Container
from dataclasses import dataclass

from torch import Tensor, nn

from spikeloom.loom.fingerprint import look


@dataclass(frozen=True)
class Operand:
    """A tensor of the neuron that a step reads: a parameter, a buffer, or a plain attribute.

    Args:
        path: names of the submodules that lead to its owner.
        name: its own name.
    """

    path: tuple[str, ...]
    name: str

    def of(self, module: nn.Module) -> Tensor:
        """The tensor itself."""
        for child in self.path:
            module = module._modules[child]  # type: ignore[assignment]
        return getattr(module, self.name)


def named_tensors(node: nn.Module) -> list[tuple[str, Tensor]]:
    """Every tensor of ``node`` and its submodules that is not a memory, by its name and theirs."""
    return look(node)[1]


def operands_of(node: nn.Module, names: Container[str] | None = None) -> list[Operand]:
    """The same, without their values; all, or those of these ``names``."""
    found = [full for full, _ in named_tensors(node) if names is None or full in names]
    return [Operand(tuple(path), name) for *path, name in (full.split(".") for full in found)]
