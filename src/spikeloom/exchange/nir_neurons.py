"""Neurons and what NIR calls them, both ways: which numbers of one are which of the other.

NIR's equations are differential ones. In steps of Euler's method with ``dt`` seconds, those of a LIF neuron
are ``v += dt / tau * (v_leak - v + r * x)``; it fires above its threshold, ours at it, which is one number of
float32 higher.
"""

from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, nn

from spikeloom import neuron
from spikeloom.errors import ConversionError
from spikeloom.exchange.euler import EulerIntegrator, EulerNode, ThresholdNode

RESET = "reset"
"""What says in a node's metadata that a neuron subtracts its threshold."""
_PARTS = ("neuronal_charge", "neuronal_fire", "neuronal_reset")


def written(node: neuron.BaseNode, shape: torch.Size, dt: float, soft_reset: bool) -> nir.NIRNode:
    """A neuron as NIR describes it.

    Args:
        node: the neuron.
        shape: of its input, for one sample and time step.
        dt: seconds of a time step.
        soft_reset: whether a reset by subtraction may be written as one to 0, with a note.
    Raises:
        ConversionError: NIR has no such neuron.
    """
    write = next((write for cls, write in _WRITERS.items() if _steps_like(node, cls)), None)
    if write is None:
        known = ", ".join(sorted(cls.__name__ for cls in _WRITERS))
        raise ConversionError(
            f"has the class {type(node).__name__}, which NIR does not have. Use one of {known}."
        )
    if not isinstance(node, neuron.NonSpikingBaseNode) and node.v_reset is None and not soft_reset:
        raise ConversionError(
            "subtracts its threshold (v_reset=None), which NIR does not have. Train it with v_reset=0, or "
            "give soft_reset=True, which writes a reset to 0 and a note that import_from_nir() reads."
        )

    if not bool((torch.as_tensor(node.v) == torch.as_tensor(node.rest)).all()):
        raise ConversionError(
            "does not start from its v_reset, as neurons of NIR do. Those of a converted network do with "
            "convert(..., initial_potential=0.0)."
        )

    def full(value: Any) -> np.ndarray:
        """One number for each neuron."""
        return torch.as_tensor(value, dtype=torch.float64).detach().expand(1, *shape)[0].numpy().copy()

    fires = not isinstance(node, neuron.NonSpikingBaseNode)
    numbers = write(node, full, dt) | (_firing(node, full) if fires else {})
    if isinstance(node, ThresholdNode):
        return nir.Threshold(numbers["v_threshold"])
    kind = ("Cuba" if "tau_syn" in numbers else "") + ("LI" if "v_leak" in numbers else "I")
    return getattr(nir, kind + "F" * fires)(**numbers)


def _steps_like(node: neuron.BaseNode, cls: type) -> bool:
    return isinstance(node, cls) and all(getattr(type(node), one) is getattr(cls, one) for one in _PARTS)


Full = Callable[[Any], np.ndarray]
Numbers = dict[str, Any]
"""The arguments of a node of NIR: it has a leak if there is ``v_leak``, and a current if there is
``tau_syn``."""


def _firing(node: Any, full: Full) -> Numbers:
    """What all neurons have that fire; NIR's fire above their threshold."""
    below = np.nextafter(full(node.v_threshold).astype(np.float32), np.float32(-np.inf))
    v_reset = full(getattr(node, "v_after_spike", node.rest))
    firing = {"v_threshold": below.astype(np.float64), "v_reset": v_reset}
    return firing if node.v_reset is not None else {**firing, "metadata": {RESET: "subtract"}}


def _if(_node: neuron.BaseNode, full: Full, dt: float) -> Numbers:
    return {"r": full(1.0 / dt)}


def _lif(node: Any, full: Full, dt: float) -> Numbers:
    tau = 1.0 / node.w.double().sigmoid() if isinstance(node, neuron.ParametricLIFNode) else node.tau
    if not np.isfinite(full(tau)).all():
        raise ConversionError("never leaks (tau is infinite). Use an IFNode.")
    r = full(1.0) if node.decay_input else full(tau)
    return {"tau": full(tau) * dt, "r": r, "v_leak": full(node.rest)}


def _li(node: neuron.NonSpikingLIFNode, full: Full, dt: float) -> Numbers:
    return {"tau": full(node.tau) * dt, "r": full(1.0), "v_leak": full(0.0)}


def _cuba(node: neuron.CubaLIFNode, full: Full, dt: float) -> Numbers:
    left = full(node.c_decay), full(node.v_decay)
    if any((one >= 1).any() for one in left):
        raise ConversionError(
            "never forgets (c_decay or v_decay is 1), which NIR's CubaLIF cannot. Lower it."
        )
    tau_syn, tau_mem = (1.0 / (1.0 - one) for one in left)  # in time steps
    times = {"tau_syn": tau_syn * dt, "tau_mem": tau_mem * dt, "w_in": tau_syn}
    return {**times, "r": tau_mem, "v_leak": full(node.rest)}


def _euler(node: Any, full: Full, dt: float) -> Numbers:
    """Those of a neuron that was read from NIR."""
    leak, gain = full(node.leak), full(node.gain)
    if not node.has_current and not leak.any():
        return {"r": gain / dt}
    if not leak.all() or (node.has_current and not full(node.current_leak).all()):
        raise ConversionError("leaks in some neurons only, which NIR cannot say. Make two layers of it.")
    leaky = {"r": gain / leak, "v_leak": full(node.v_leak)}
    if not node.has_current:
        return {"tau": dt / leak, **leaky}
    current_leak = full(node.current_leak)
    w_in = full(node.current_gain) / current_leak
    return {"tau_mem": dt / leak, "tau_syn": dt / current_leak, "w_in": w_in, **leaky}


_WRITERS: dict[type[neuron.BaseNode], Callable[[Any, Full, float], Numbers]] = {
    neuron.IFNode: _if,
    neuron.SimpleIFNode: _if,
    neuron.LIFNode: _lif,
    neuron.SimpleLIFNode: _lif,
    neuron.ParametricLIFNode: _lif,
    neuron.CubaLIFNode: _cuba,
    neuron.NonSpikingLIFNode: _li,
    neuron.NonSpikingIFNode: _if,
    EulerNode: _euler,
    EulerIntegrator: _euler,
    ThresholdNode: lambda *_: {},
}


class Reader:
    """Makes neurons of NIR's nodes.

    Args:
        dt: seconds of a time step.
        fires_at_threshold: whether the graph's neurons fire at their threshold, and not above it.
        settings: of every neuron that fires: ``surrogate_function``, ``detach_reset``.
    """

    def __init__(self, dt: float, fires_at_threshold: bool, settings: dict[str, Any]):
        self.dt, self.fires_at_threshold, self.settings = dt, fires_at_threshold, settings

    def neuron(self, node: Any) -> nn.Module | None:
        """The neuron that ``node`` describes; ``None`` where it is no neuron.

        Raises:
            ConversionError: a time step is too long for it.
        """
        if isinstance(node, nir.Threshold):
            return ThresholdNode(number(self._reached(node.threshold)), self.settings["surrogate_function"])
        if not isinstance(node, nir.I | nir.IF | nir.LI | nir.LIF | nir.CubaLI | nir.CubaLIF):
            return None
        numbers: dict[str, Any] = {"v_leak": number(getattr(node, "v_leak", 0.0))}
        tau = getattr(node, "tau", getattr(node, "tau_mem", None))
        numbers["leak"] = 0.0 if tau is None else self._leak("tau", tau)
        numbers["gain"] = number(np.asarray(node.r) * (self.dt if tau is None else self.dt / np.asarray(tau)))
        if isinstance(node, nir.CubaLI | nir.CubaLIF):
            numbers["current_leak"] = self._leak("tau_syn", node.tau_syn)
            numbers["current_gain"] = number(np.asarray(node.w_in) * self.dt / node.tau_syn)
        if isinstance(node, nir.I | nir.LI | nir.CubaLI):
            return _familiar_integrator(numbers) or EulerIntegrator(**numbers)
        numbers["v_threshold"] = number(self._reached(node.v_threshold))
        soft = node.metadata.get(RESET) in ("subtract", b"subtract")
        numbers["v_reset"] = None if soft else number(node.v_reset)
        return _familiar_neuron(numbers, self.settings) or EulerNode(**numbers, **self.settings)

    def _reached(self, threshold: Any) -> np.ndarray:
        """What a potential has to reach to be above ``threshold``."""
        threshold = np.asarray(threshold, np.float32)
        return threshold if self.fires_at_threshold else np.nextafter(threshold, np.float32(np.inf))

    def _leak(self, name: str, tau: Any) -> Any:
        tau = np.asarray(tau, np.float64)
        if not (tau > 0).all():
            raise ConversionError(f"must have a `{name}` greater than 0, got {tau[~(tau > 0)][0]:g} s.")
        leak = self.dt / tau  # 0: it never leaks
        if not (leak < 1 + 1e-6).all():
            raise ConversionError(
                f"must have a `{name}` of at least one time step, dt={self.dt:g} s, got {tau.min():g} s. "
                "Give a smaller `dt`."
            )
        return number(np.minimum(leak, 1.0))


def number(values: Any) -> float | Tensor:
    """One number if all are the same to float32, of six digits if that is too; else a tensor."""
    values = np.asarray(values, np.float64)
    first = float(values.flat[0]) if values.size else 0.0
    short = float(f"{first:.6g}")
    if (values.astype(np.float32) == np.float32(first)).all():
        return short if np.float32(short) == np.float32(first) else first
    return torch.from_numpy(values.copy())


def _familiar_neuron(numbers: dict[str, Any], settings: dict[str, Any]) -> nn.Module | None:
    """One of the neurons that everybody knows, if it computes the same."""
    if any(isinstance(one, Tensor) for one in numbers.values()):
        return None
    v_reset, leak, gain = numbers["v_reset"], numbers["leak"], numbers["gain"]
    given: dict[str, Any] = {"v_threshold": numbers["v_threshold"], "v_reset": v_reset, **settings}
    if numbers["v_leak"] != (v_reset or 0.0) and leak > 0:
        return None
    if "current_leak" in numbers:
        if not (_same(gain, 1.0) and _same(numbers["current_gain"], 1.0)):
            return None
        c_decay, v_decay = number(1.0 - numbers["current_leak"]), number(1.0 - leak)
        return neuron.CubaLIFNode(c_decay, v_decay, **given)
    if leak == 0:
        return neuron.IFNode(**given) if _same(gain, 1.0) else None
    if leak == 1 or not (_same(gain, leak) or _same(gain, 1.0)):
        return None
    return neuron.LIFNode(number(1.0 / leak), _same(gain, leak), **given)


def _familiar_integrator(numbers: dict[str, Any]) -> nn.Module | None:
    leak, gain = numbers["leak"], numbers["gain"]
    if "current_leak" in numbers or any(isinstance(one, Tensor) for one in numbers.values()):
        return None
    if leak == 0:
        return neuron.NonSpikingIFNode() if _same(gain, 1.0) else None
    is_plain = leak < 1 and numbers["v_leak"] == 0 and _same(gain, leak)
    return neuron.NonSpikingLIFNode(number(1.0 / leak)) if is_plain else None


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-6 * abs(other)
