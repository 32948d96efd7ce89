"""What containers ask of the modules in them."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from spikeloom.errors import describe
from spikeloom.memory import MemoryModule


def require_single_step(container: Any, children: Iterable[nn.Module]) -> None:
    """Refuse children in multi-step mode: they would take the batch for time.

    Raises:
        ValueError: one of them, or a module inside, is in multi-step mode.
    """
    for child in children:
        for name, module in child.named_modules():
            if getattr(module, "step_mode", "s") != "s":
                which = type(module).__name__ + (f" '{name}'" if name else "")
                raise ValueError(
                    f"{describe(container)} gives its modules single time steps, so `step_mode` of {which} "
                    f"must be 's', got {module.step_mode!r}. "
                    "Build it with step_mode='s', or call functional.set_step_mode(module, 's')."
                )


def require_stateless(container: Any, children: Iterable[nn.Module]) -> None:
    """Refuse children with memories: they would take time steps for samples.

    Raises:
        ValueError: one of them, or a module inside, has memories.
    """
    for child in children:
        for module in child.modules():
            if isinstance(module, MemoryModule) and module._memories:
                raise ValueError(
                    f"{describe(container)} folds time into the batch, so its modules must be stateless, got "
                    f"{type(module).__name__}, which has memories. Put it into a MultiStepContainer, "
                    "or beside this container with step_mode='m'."
                )
