"""How alike samples are by their spikes, and two helpers that scripts for SpikingJelly know."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from spikeloom.errors import ShapeError, describe

_LOSSES = {"mse": F.mse_loss, "l1": F.l1_loss, "bce": F.binary_cross_entropy}
_KERNELS = ("linear", "polynomial", "sigmoid", "gaussian")


def kernel_dot_product(x: Tensor, y: Tensor, kernel: str = "linear", *args: float) -> Tensor:
    r"""The kernel of each pair of samples.

    .. math:: x^\top y,\quad (x^\top y)^d,\quad \sigma(\alpha\, x^\top y),\quad
              e^{-\lVert x - y \rVert^2 / 2\sigma^2}

    Args:
        x, y: samples.
        kernel: ``'linear'``, ``'polynomial'``, ``'sigmoid'`` or ``'gaussian'``.
        args: of the others than ``'linear'``: :math:`d`, :math:`\alpha` or :math:`\sigma`.
    Shape:
        x ``[N, M]``, y ``[K, M]``, output ``[N, K]``.
    Raises:
        ValueError: there is no such kernel, its argument is missing, or :math:`\sigma` is not greater than 0.
    Example:
        >>> kernel_dot_product(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 1.0]]), "polynomial", 2)
        tensor([[9.]])
    """
    if kernel not in _KERNELS:
        raise ValueError(f"`kernel` must be one of {_KERNELS}, got {kernel!r}.")
    if len(args) != (kernel != "linear"):
        raise ValueError(f"kernel {kernel!r} takes {int(kernel != 'linear')} number, got {len(args)}.")
    products = x @ y.T
    if kernel == "linear":
        return products
    if kernel == "polynomial":
        return products ** args[0]
    if kernel == "sigmoid":
        return torch.sigmoid(args[0] * products)
    if args[0] <= 0:
        raise ValueError(f"the width of a Gaussian kernel must be greater than 0, got {args[0]}.")
    squared = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
    return torch.exp(-squared / (2 * args[0] ** 2))


def spike_similar_loss(
    spikes: Tensor, labels: Tensor, kernel_type: str = "linear", loss_type: str = "mse", *args: float
) -> Tensor:
    """The distance between how alike samples are by their spikes, and by their labels.

    Args:
        spikes: of the samples; with the linear kernel, the cosine of the angle between two counts.
        labels: one-hot, or several classes each; two samples are alike where they share one.
        kernel_type, args: as for :func:`kernel_dot_product`.
        loss_type: ``'mse'``, ``'l1'`` or ``'bce'``.
    Shape:
        spikes ``[N, *]``, labels ``[N, C]``.
    Returns:
        a scalar
    Raises:
        ShapeError: ``labels`` do not fit the samples.
        ValueError: there is no such kernel or loss.
    """
    if loss_type not in _LOSSES:
        raise ValueError(f"`loss_type` must be one of {tuple(_LOSSES)}, got {loss_type!r}.")
    if labels.dim() != 2 or len(labels) != len(spikes):
        raise ShapeError(f"`labels` must be one-hot, [{len(spikes)}, C], got {list(labels.shape)}.")
    flat = spikes.flatten(1).to(spikes.dtype if spikes.is_floating_point() else torch.get_default_dtype())
    alike = kernel_dot_product(flat, flat, kernel_type, *args)
    if kernel_type == "linear":
        length = flat.norm(dim=1, keepdim=True)
        alike = alike / (length @ length.T + 1e-8)
    share = (labels.to(alike) @ labels.to(alike).T).clamp(max=1)
    return _LOSSES[loss_type](alike.clamp(0, 1) if loss_type == "bce" else alike, share)


def set_threshold_margin(
    output_layer: Any,
    label_one_hot: Tensor,
    eval_threshold: float = 1.0,
    threshold0: float = 0.9,
    threshold1: float = 1.1,
) -> None:
    """Make it harder for the neuron of a sample's class to fire, and easier for the others, while it trains.

    Args:
        output_layer: neurons with a ``v_threshold``.
        label_one_hot: classes of the samples that come next, ``[N, C]``.
        eval_threshold: threshold of all where the layer is in evaluation mode.
        threshold0, threshold1: thresholds of the other neurons, and of the class's.
    Raises:
        TypeError: the threshold of the layer is a parameter.
    """
    now = output_layer.v_threshold
    if isinstance(now, nn.Parameter):
        raise TypeError("`output_layer` must have a threshold that is set, not one that is learned.")
    if not output_layer.training:
        is_buffer = "v_threshold" in output_layer._buffers
        output_layer.v_threshold = now.new_tensor(eval_threshold) if is_buffer else eval_threshold
        return
    margin = torch.where(label_one_hot == 1, threshold1, threshold0)
    output_layer.v_threshold = margin.to(torch.get_default_dtype())


@torch.no_grad()
def kaiming_normal_conv_linear_weight(net: nn.Module) -> None:
    """Draw the weights of all convolutions and linear layers anew from normal distributions, as narrow as
    those for a leaky rectifier of slope ``sqrt(5)``.

    Raises:
        ValueError: a weight has a parametrisation that cannot be inverted; no weight is drawn then.
    Source: He et al., Delving deep into rectifiers: surpassing human-level performance on ImageNet
        classification, ICCV 2015.
    """
    layers = [one for one in net.modules() if isinstance(one, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear)]
    for layer in layers:
        parametrizations: Any = layer.parametrizations if is_parametrized(layer, "weight") else None
        if parametrizations and not all(hasattr(one, "right_inverse") for one in parametrizations.weight):
            raise ValueError(
                f"The weight of {describe(layer)} cannot be set, because a parametrisation of it has no "
                "right_inverse. Draw the weights first, and then register the parametrisation."
            )
    for layer in layers:
        drawn = nn.init.kaiming_normal_(torch.empty_like(layer.weight), a=math.sqrt(5))
        if is_parametrized(layer, "weight"):
            layer.weight = drawn  # what its parametrisation makes of it
        else:
            layer.weight.copy_(drawn)
