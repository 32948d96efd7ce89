"""Which shapes a layer takes in each step mode, and the error when it gets another."""

from typing import Any

from torch import Tensor

from spikeloom.checks import check_tensor
from spikeloom.errors import ShapeError, describe

_MODE_NAMES = {"s": "single-step", "m": "multi-step"}


class Shapes:
    """The shapes of one time step that a layer accepts; those with a batch may come as a sequence too.

    Args:
        patterns: dimensions by name, as ``"N C H W"``; ``*`` stands for any number of them. A pattern that
            starts with ``N`` or ``*`` has a form with time, ``"T N C H W"``.
    """

    def __init__(self, *patterns: str):
        sequences = tuple(f"T {pattern}" for pattern in patterns if pattern[0] in "N*")
        self._by_mode = {"s": _OneMode(patterns), "m": _OneMode(sequences)}

    def check(self, module: Any, x: Tensor) -> None:
        """Refuse an ``x`` that does not fit the step mode of ``module``.

        Raises:
            TypeError: it is no tensor.
            ShapeError: it has the wrong number of dimensions, or no time steps; the message says what to do.
        """
        check_tensor("x", x, module)
        mode = module.step_mode
        if not self._by_mode[mode].admits(x.dim()):
            cure = self._cure(mode, x.dim())
        elif mode == "m" and x.shape[0] == 0:
            cure = "Give it at least one time step."
        else:
            return
        raise ShapeError(
            f"{describe(module)} is in {_MODE_NAMES[mode]} mode and expects {self.shown(mode)}, "
            f"got {list(x.shape)}. {cure}"
        )

    def shown(self, mode: str) -> str:
        """The accepted shapes, for people."""
        return " or ".join(f"[{', '.join(pattern.split())}]" for pattern in self._by_mode[mode].patterns)

    def _cure(self, mode: str, dims: int) -> str:
        if mode == "s" and self._by_mode["m"].admits(dims):
            return f"To give it a sequence {self.shown('m')}, call functional.set_step_mode(net, 'm')."
        if mode == "m" and self._by_mode["s"].admits(dims):
            return "Add the time axis, or call functional.set_step_mode(net, 's') to give it one time step."
        return "Reshape its input."


class _OneMode:
    def __init__(self, patterns: tuple[str, ...]):
        self.patterns = patterns
        lengths = [(len(pattern.split()), "*" in pattern) for pattern in patterns]
        self._exact = {length for length, is_open in lengths if not is_open}
        self._at_least = min((length - 1 for length, is_open in lengths if is_open), default=None)

    def admits(self, dims: int) -> bool:
        return dims in self._exact or (self._at_least is not None and dims >= self._at_least)
