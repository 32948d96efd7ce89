"""What we raise. A message names the argument or the module, the rule, what came instead, and the cure."""

import difflib
import sys
from collections.abc import Iterable
from typing import Any


class SpikeloomError(Exception):
    """Base of the errors that are specific to Spikeloom; the command line prints them as one line."""


class ForgottenResetError(SpikeloomError, RuntimeError):
    """A memory still carries the graph of a sequence whose backward pass has already run."""


class RecomputedError(SpikeloomError, RuntimeError):
    """A module would be run again, or elsewhere, from other memories than it was run from."""


class ShapeError(SpikeloomError, ValueError):
    """An input does not have the shape that a module expects, or that its memories have."""


class DataError(SpikeloomError):
    """A dataset is missing, damaged or truncated."""


class CheckpointError(SpikeloomError):
    """A checkpoint is missing, damaged, or belongs to another network."""


class BackendError(SpikeloomError, RuntimeError):
    """A backend was asked for by name, and cannot run this neuron or this input."""


class ConversionError(SpikeloomError, ValueError):
    """A network, or a part of it, cannot be converted to a spiking one, or to another format."""


class MissingPackageError(SpikeloomError, ImportError):
    """Something needs a package that is not installed."""


class RunError(SpikeloomError):
    """A run folder cannot be used, or a training cannot go on."""


class UnknownNameError(SpikeloomError, KeyError):
    """A name that no registry knows."""

    def __str__(self) -> str:  # KeyError would print the message as a quoted literal
        return str(self.args[0])


def suggest(name: str, known: Iterable[str]) -> str:
    """A sentence with the close matches of a mistyped name, or with all that is known."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    close = close or difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(repr(match) for match in close)}?"
    return f"Known: {', '.join(known) or 'none'}."


def describe(module: Any) -> str:
    """How an error names a module: its class, and its place in the network whose forward pass is running.

    The place is read off the stack at the moment of the error, so nothing needs to be registered or kept.
    """
    frame, place = sys._getframe(1), None
    while frame is not None:
        owner: Any = frame.f_locals.get("self")
        if owner is not module and hasattr(owner, "named_modules"):
            place = next((name for name, child in owner.named_modules() if child is module), place)
        frame = frame.f_back
    place = place or ""
    for wrapper in ("_forward_module.", "module.", "_orig_mod."):  # for several devices, and torch.compile's
        place = place.removeprefix(wrapper)
    return named(module, place)


def named(module: Any, name: str) -> str:
    """A module's class, with its name in a network if it has one."""
    return f"{type(module).__name__} '{name}'" if name else type(module).__name__


# What PyTorch's Dynamo, which cannot read a stack, runs and takes as a constant. Nothing is imported for it.
describe._dynamo_marked_constant = True  # type: ignore[attr-defined]
