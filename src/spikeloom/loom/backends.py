"""The backends that there are, which of them a neuron asks for, and what each can read."""

import contextlib
import contextvars
import importlib.util
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from spikeloom.errors import BackendError
from spikeloom.memory import HALF

ON_CPU = ("auto", "torch", "numba")
BACKENDS = (*ON_CPU, "triton")
COMPILED = {"cpu": "numba", "cuda": "triton"}
"""The backend that ``'auto'`` compiles with, by the type of the input's device."""
HAS_TRITON = importlib.util.find_spec("triton") is not None
_REAL = (torch.float32, torch.float64)
TYPES = {"numba": (*_REAL, torch.bfloat16), "triton": _REAL + HALF}
"""Types of an input that compiled loops take."""
VARIABLE = "SPIKELOOM_BACKEND"
OLDEST_TRITON = (3, 4)

_chosen: contextvars.ContextVar[str] = contextvars.ContextVar("spikeloom_backend", default="auto")
# The same for Dynamo, which can watch a list but no context variable: blocks that are open in any thread.
_open_blocks: list[str] = []


def checked_backend(name: str, known: tuple[str, ...] = ON_CPU) -> str:
    """``name`` itself, if it is a backend.

    Args:
        name: of a backend.
        known: those that there are; neurons have all of :data:`BACKENDS`.
    Raises:
        ValueError: it is none of them.
    """
    if name not in known:
        raise ValueError(f"`backend` must be one of {known}, got {name!r}.")
    return name


@contextlib.contextmanager
def backend(name: str) -> Iterator[None]:
    """A block in which neurons whose own backend is ``'auto'`` use this one.

    Args:
        name: ``'torch'`` (the reference loop), ``'numba'`` or ``'triton'`` (compiled, for the CPU or a CUDA
            device; raises where it cannot), ``'auto'``.
    Example:
        >>> from spikeloom import neuron
        >>> with backend("torch"):
        ...     spikes = neuron.LIFNode(step_mode="m")(torch.ones(4, 3))
    """
    checked_backend(name, BACKENDS)
    token = None if torch.compiler.is_dynamo_compiling() else _chosen.set(name)
    _open_blocks.append(name)
    try:
        yield
    finally:
        del _open_blocks[len(_open_blocks) - 1 - _open_blocks[::-1].index(name)]
        if token is not None:
            _chosen.reset(token)


def effective_backend(own: str) -> str:
    """A neuron's own backend, else the block's, else the environment's (``SPIKELOOM_BACKEND``)."""
    if own != "auto":
        return own
    if torch.compiler.is_dynamo_compiling():
        chosen = _open_blocks[-1] if _open_blocks else "auto"
    else:
        chosen = _chosen.get()
    if chosen == "auto":
        chosen = os.environ.get(VARIABLE, "auto")
        if chosen not in BACKENDS:
            raise BackendError(
                f"The environment variable {VARIABLE} must be one of {BACKENDS}, got {chosen!r}."
            )
    return chosen


def target_of(wanted: str, device: str) -> str:
    """What compiles for a type of device, where the backend ``wanted`` was asked for."""
    return COMPILED.get(device, wanted) if wanted == "auto" else wanted


def misplaced(target: str, device: str) -> str | None:
    """Why what was chosen compiles nothing for a type of device here."""
    if target == COMPILED.get(device) or ((target, device) == ("triton", "cpu") and interprets()):
        return None
    if target == "triton":
        return (
            f"its input is on {device}; move the network and the input to a CUDA device, or set "
            "TRITON_INTERPRET=1 before Python starts to try the kernels on the CPU"
        )
    return f"its input is on {device}" + ("; Triton compiles for that" if device == "cuda" else "")


def unavailable(target: str) -> str | None:
    """Why ``'numba'`` or ``'triton'`` cannot compile here."""
    try:
        if target == "triton":
            import triton

            if tuple(map(int, triton.__version__.split(".")[:2])) < OLDEST_TRITON:
                needed = ".".join(map(str, OLDEST_TRITON))
                return f"Triton {triton.__version__} is older than {needed}, which comes with PyTorch 2.8"
        else:
            from numba import config

            if config.DISABLE_JIT:  # pyright: ignore[reportAttributeAccessIssue]
                return "Numba's compiler is switched off (NUMBA_DISABLE_JIT)"
    except ImportError as error:
        cure = "; pip install triton" if target == "triton" else ""
        return f"{target.capitalize()} cannot be imported ({error}){cure}"
    return None


def reads_half(node: Any, x: Tensor) -> bool:
    """Whether half input of ``node`` would be given to loops that read it."""
    wanted = effective_backend(node.backend)
    target = target_of(wanted, x.device.type)
    return wanted != "torch" and x.dtype in TYPES.get(target, ()) and misplaced(target, x.device.type) is None


def computed_in(dtype: torch.dtype) -> torch.dtype:
    """The type of memories for an input of this type."""
    return torch.float32 if dtype in HALF else dtype


def interprets() -> bool:
    """Whether Triton runs kernels in Python, on the CPU."""
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "on", "yes", "y")
