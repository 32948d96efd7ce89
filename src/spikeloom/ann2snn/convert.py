"""From an ANN to a spiking network."""

from typing import Any, Literal

import torch
from torch import fx, nn

from spikeloom.ann2snn.calibration import calibrate as calibrate_layers
from spikeloom.ann2snn.network import ConvertedNet
from spikeloom.ann2snn.operations import Examination, Operation
from spikeloom.ann2snn.qcfs import QCFS, SMALLEST
from spikeloom.ann2snn.report import Report, Row
from spikeloom.ann2snn.samples import Samples
from spikeloom.ann2snn.spiking import SpikingActivation, SpikingMaxPool
from spikeloom.ann2snn.thresholds import measure
from spikeloom.ann2snn.trace import trace
from spikeloom.checks import checked_count, checked_inside, checked_number, checked_part, checked_range
from spikeloom.errors import ConversionError

METHODS = ("max", "percentile", "qcfs")
CALIBRATIONS = (None, "bias", "potential")
# Samples to trace with: a number that is seldom the size of another dimension, which it could be taken for.
_TRACED = 11


@torch.no_grad()
def convert(
    model: nn.Module,
    calibration_data: Any,
    method: Literal["max", "percentile", "qcfs"] = "max",
    *,
    percentile: float = 99.9,
    scale: float = 1.0,
    initial_potential: float = 0.5,
    calibrate: Literal["bias", "potential"] | None = None,
    T: int = 32,
    strict: bool = True,
) -> ConvertedNet:
    r"""Make a spiking network of a trained ANN.

    Each activation function becomes integrate-and-fire neurons that subtract their threshold when they fire,
    and whose spikes have the height of the threshold. Weights stay as they are, but for batch norm, which is
    folded into them. Maximum pooling becomes :class:`SpikingMaxPool`; dropout is removed; what is linear is
    applied at each time step. The model itself is left alone.

    .. math:: y_{SNN} = \tfrac{\lambda}{T}\,\mathrm{clip}\!\left(\left\lfloor \tfrac{T}{\lambda} x + u
              \right\rfloor, 0, T\right)

    is what a neuron with the constant input x gives on average; u is ``initial_potential``.

    Args:
        model: takes one tensor ``[N, *]``, and can be traced by torch.fx. It is converted as it is in
            evaluation mode.
        calibration_data: inputs to measure activations on, best a few hundred of the training samples: a
            tensor ``[N, *]``, or batches, such as a ``DataLoader``.
        method: of setting the thresholds. ``'max'``: the largest activation of a layer. ``'percentile'``: the
            value that ``percentile`` percent of them, zeros included, do not exceed; the largest one if that
            is 0. ``'qcfs'``: those that the model's :class:`QCFS` activations have learned.
        percentile: greater than 0, at most 100.
        scale: factor on measured thresholds; greater than 0.
        initial_potential: from 0 to 1, as a part of the threshold.
        calibrate: makes up for what is still wrong on average after ``T`` steps, layer by layer: ``'bias'``
            by an input for each channel, ``'potential'`` by a start for each neuron.
        T: time steps of that calibration.
        strict: refuse what cannot be converted; else it is applied at each step as it is, and the result is
            not that of the ANN.
    Returns:
        the network in single-step mode; its ``report`` lists what became of each operation
    Raises:
        ConversionError: the model cannot be traced, has no activations, or has what cannot be converted; a
            layer refuses the calibration data.
        TypeError, ValueError: an option is of another type or out of its range, or there is no data.
    Source: Diehl et al., IJCNN 2015; Rueckauer et al., Front. Neurosci. 11:682, 2017; Bu et al., ICLR 2022;
        Li et al., ICML 2021.
    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
        >>> x = torch.rand(100, 4)
        >>> snn = convert(model, x)
        >>> print(snn.report)
        0  Linear       kept: linear
        1  BatchNorm1d  folded into the weights of 0
        2  ReLU         IF neurons, threshold ...
        3  Linear       kept: linear
        >>> mean = sum(snn(x) for _ in range(500)) / 500
        >>> torch.allclose(mean, model.eval()(x), atol=0.01)
        True
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"`model` must be a torch.nn.Module, got a {type(model).__name__}.")
    _check_options(method, percentile, scale, initial_potential, calibrate, T)
    parameter = next(model.parameters(), None)
    samples = Samples(calibration_data, parameter.device if parameter is not None else torch.device("cpu"))
    x = next(iter(samples))
    x = x[torch.arange(_TRACED, device=x.device) % len(x)]
    ann, rows = trace(model, x)
    operations = Examination(ann).of(x)
    activations = {one.node.name: one for one in operations if one.kind == "activation"}
    _refuse(operations, activations, method, strict)
    if method == "qcfs":
        thresholds = {name: _learned(one.module) for name, one in activations.items()}
    else:
        percent = percentile if method == "percentile" else 100.0
        thresholds = _measured(ann, activations, samples, percent, scale)
    layers = {
        # A layer that was silent has no measure; 1 lets it say something if it is not silent elsewhere.
        name: _spiking(threshold or 1.0, initial_potential, x if parameter is None else parameter)
        for name, threshold in thresholds.items()
    }
    pools = {
        one.node.name: SpikingMaxPool(one.module)
        for one in operations
        if one.kind == "maximum pooling" and one.module
    }
    rows |= {one.node.name: _row(one, thresholds) for one in operations}
    report = Report([row for row in rows.values() if row])
    snn = ConvertedNet(ann, layers | pools, report).eval()
    if calibrate:
        calibrate_layers(snn, ann, layers, list(samples), calibrate, T)
    return snn


def _spiking(threshold: float, initial_potential: float, like: torch.Tensor) -> SpikingActivation:
    """A layer on the device of ``like``, with its numbers rounded to that type only."""
    layer = SpikingActivation(threshold, initial_potential).to(like)
    layer.node.v_threshold.fill_(threshold)
    layer.initial.fill_(initial_potential * threshold)
    return layer


def _check_options(
    method: str, percentile: float, scale: float, initial_potential: float, calibrate: str | None, T: int
) -> None:
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {METHODS}, got {method!r}.")
    if calibrate not in CALIBRATIONS:
        raise ValueError(f"`calibrate` must be one of {CALIBRATIONS}, got {calibrate!r}.")
    checked_part("percentile", percentile, 100)
    checked_inside("scale", scale, 0)
    checked_range("initial_potential", checked_number("initial_potential", initial_potential), 0, 1)
    checked_count("T", T)


def _refuse(
    operations: list[Operation], activations: dict[str, Operation], method: str, strict: bool
) -> None:
    """Raise if there is what cannot be converted."""
    refused = [f"{one.name} ({one.label}): {one.reason}" for one in operations if one.kind == "unsupported"]
    if refused and strict:
        raise ConversionError(
            f"`model` must consist of what spikes can do, got {'; '.join(refused)}. Train it with ReLU, "
            "maximum or average pooling and linear layers; or pass strict=False to keep the rest as it is."
        )
    if not activations:
        raise ConversionError("`model` must have at least one ReLU or QCFS activation, got none.")
    others = [one.name for one in activations.values() if not isinstance(one.module, QCFS)]
    if method == "qcfs" and others:
        raise ConversionError(
            f"With method 'qcfs' every activation must be an ann2snn.QCFS, got others: {', '.join(others)}. "
            "Train the model with QCFS in their place, or use method 'percentile'."
        )


def _learned(module: nn.Module | None) -> float:
    assert isinstance(module, QCFS), "others were refused"
    return max(module.threshold.item(), SMALLEST)


def _measured(
    ann: fx.GraphModule, activations: dict[str, Operation], samples: Samples, percent: float, scale: float
) -> dict[str, float]:
    """What ``percent`` of the values of each activation do not exceed, times ``scale``."""
    activities = measure(ann, activations, samples)
    return {
        name: min(
            scale * (activity.percentile(percent) or activity.maximum), _ceiling(activations[name].module)
        )
        for name, activity in activities.items()
    }


def _ceiling(module: nn.Module | None) -> float:
    """The largest output that an activation function can have."""
    if isinstance(module, QCFS):
        return _learned(module)
    return 6.0 if isinstance(module, nn.ReLU6) else float("inf")


def _row(operation: Operation, thresholds: dict[str, float]) -> Row:
    threshold = thresholds.get(operation.node.name)
    became = {
        "activation": f"IF neurons, threshold {threshold or 1:.4g}",
        "maximum pooling": "maximum pooling of spike counts",
        "linear": "kept: linear",
        "unsupported": f"kept, NOT CONVERTED: {operation.reason}",
    }[operation.kind]
    if threshold == 0:
        became += ", because it was silent on the calibration data"
    return Row(operation.name, operation.label, became, operation.kind != "unsupported")
