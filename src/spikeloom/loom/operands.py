"""The tensors of a neuron that its step reads beside its input and memories, in the order that loops take."""

from collections.abc import Container
from dataclasses import dataclass

from torch import Tensor, nn

from spikeloom.loom.fingerprint import INTERNAL, PLAIN


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
    found: list[tuple[str, Tensor]] = []
    _collect(node, "", found, set())
    return found


def _collect(module: nn.Module, prefix: str, found: list[tuple[str, Tensor]], seen: set[nn.Module]) -> None:
    """Add the tensors of a module that was not seen before; each call of a neuron does so."""
    if module in seen:
        return
    seen.add(module)
    memories = getattr(module, "_memories", ())
    for tensors in (module._parameters, module._buffers, module.__dict__):
        for name, value in tensors.items():
            if (
                type(value) not in PLAIN
                and name not in INTERNAL
                and name not in memories
                and isinstance(value, Tensor)
            ):
                found.append((prefix + name, value))
    for name, child in module._modules.items():
        if child is not None:
            _collect(child, f"{prefix}{name}.", found, seen)


def operands_of(node: nn.Module, names: Container[str] | None = None) -> list[Operand]:
    """The same, without their values; all, or those of these ``names``."""
    found = [full for full, _ in named_tensors(node) if names is None or full in names]
    return [Operand(tuple(path), name) for *path, name in (full.split(".") for full in found)]
