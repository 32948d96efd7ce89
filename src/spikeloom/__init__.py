"""Spiking neural networks in PyTorch: every family of SNN learning in one place."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikeloom import (
        ann2snn,
        base,
        data,
        diagnose,
        encoding,
        errors,
        event,
        exchange,
        functional,
        layer,
        learning,
        loom,
        memory,
        model,
        monitor,
        neuron,
        plot,
        profile,
        recipe,
        rnn,
        steps,
        surrogate,
        timing,
        train,
    )

__all__ = [
    "ann2snn",
    "base",
    "data",
    "diagnose",
    "encoding",
    "errors",
    "event",
    "exchange",
    "functional",
    "layer",
    "learning",
    "loom",
    "memory",
    "model",
    "monitor",
    "neuron",
    "plot",
    "profile",
    "recipe",
    "rnn",
    "steps",
    "surrogate",
    "timing",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a module of the package when it is first used: the command line's help needs none of them."""
    if name in (*__all__, "nir_exchange"):
        return importlib.import_module(f"spikeloom.{name}")
    raise AttributeError(f"module 'spikeloom' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
