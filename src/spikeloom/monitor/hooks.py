"""What is hung on modules, and what copies of those modules get in its place; copies of values."""

from collections.abc import Callable
from typing import Any

from torch import nn

from spikeloom.memory import is_recomputing


class Hook:
    """A hook of one module, but for what activation checkpointing runs again. A copy or a pickle of the
    module has a :class:`NoHook` instead.

    Args:
        module: the module.
        record: called with the hook's arguments but for the module; what it returns, the hook returns.
    """

    def __init__(self, module: nn.Module, record: Callable[..., Any]):
        self.module, self.record = module, record

    def __call__(self, module: nn.Module, *args: Any) -> Any:
        return self.record(*args) if module is self.module and not is_recomputing() else None

    def __reduce__(self) -> tuple[Any, ...]:
        return NoHook, ()


class NoHook:
    """A hook that does nothing."""

    def __call__(self, *args: Any) -> None:
        return None


def has_hooks(module: nn.Module) -> bool:
    """Whether something hangs on a module that may change what it gives."""
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    return any(not isinstance(hook, NoHook) for hook in hooks)


class Step:
    """Stands in for a module's ``single_step_forward``, and reports each step; a copy of the module sheds it.

    Args:
        module: the module; its ``single_step_forward`` is replaced until :meth:`remove`.
        after_step: called after each step.
    """

    def __init__(self, module: nn.Module, after_step: Callable[[], None]):
        self.module, self.after_step = module, after_step
        self.previous = vars(module).get("single_step_forward")
        self.step = module.single_step_forward
        self.seen = False
        module.single_step_forward = self  # type: ignore[assignment]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        output = self.step(*args, **kwargs)  # type: ignore[operator]
        if not is_recomputing():
            self.seen = True
            self.after_step()
        return output

    def remove(self) -> None:
        """Give the module what it had before; or what came on top of this, which goes on without it."""
        top = vars(self.module).get("single_step_forward")
        if top is self:
            del self.module.single_step_forward
            if self.previous is not None:
                self.module.single_step_forward = self.previous
        while isinstance(top, Step):
            if top.previous is self:
                top.previous, top.step = self.previous, self.step
            top = top.previous


def inputs_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The inputs of a call: what was given in order, else what was given by keyword."""
    return args or tuple(kwargs.values())


def attributes(module: nn.Module) -> list[str]:
    """Names that can be recorded: memories, parameters, buffers, plain public attributes."""
    own = [*vars(module), *module._parameters, *module._buffers]
    return [name for name in own if not name.startswith("_") and name != "training"]
