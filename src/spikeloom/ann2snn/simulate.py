"""What a converted network says after each number of time steps."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from spikeloom import functional
from spikeloom.ann2snn.network import ConvertedNet
from spikeloom.checks import checked_count
from spikeloom.errors import ShapeError

_CHUNK = 8  # time steps at once: their spikes are to stay small


@torch.no_grad()
def outputs_over_time(snn: ConvertedNet, x: Tensor, T: int) -> Tensor:
    """The mean output of the steps so far, after each of ``T`` steps in which the input stays the same.

    Args:
        snn: a converted network; it is reset before and after.
        x: input of the ANN, ``[N, *]``.
        T: time steps, at least 1.
    Returns:
        ``[T, N, *]``; the last of it is closest to the output of the ANN
    Raises:
        ValueError: ``T`` is less than 1.
    Example:
        >>> from spikeloom.ann2snn import convert
        >>> snn = convert(nn.ReLU(), torch.ones(1, 1), initial_potential=0.0)
        >>> outputs_over_time(snn, torch.tensor([[0.5]]), T=4).flatten().tolist()
        [0.0, 0.5, 0.333..., 0.5]
    """
    checked_count("T", T)
    mode, snn.step_mode = snn.step_mode, "m"
    try:
        with functional.fresh_state(snn):
            steps = [snn(x.expand(min(_CHUNK, T - t), *x.shape)) for t in range(0, T, _CHUNK)]
    finally:
        snn.step_mode = mode
    total = torch.cat(steps).cumsum(0)  # [T, N, *]
    count = torch.arange(1, T + 1, device=x.device)  # [T]
    return total / count.view(-1, *[1] * (total.dim() - 1))


@torch.no_grad()
def accuracy_over_time(snn: ConvertedNet, data: Iterable[tuple[Tensor, Tensor]], T: int) -> Tensor:
    """The accuracy after each of ``T`` time steps, in one pass.

    Args:
        snn: a converted network that classifies.
        data: batches of samples ``[N, *]`` and their classes ``[N]``, such as a ``DataLoader``.
        T: time steps, at least 1.
    Returns:
        ``[T]``, parts of 1
    Raises:
        ShapeError: a batch has not one class for each sample.
        ValueError: there are no samples, or ``T`` is less than 1.
    Example:
        >>> from spikeloom.ann2snn import convert
        >>> x, y = torch.eye(3), torch.arange(3)
        >>> snn = convert(nn.ReLU(), x, scale=2.0, initial_potential=0.0)
        >>> accuracy_over_time(snn, [(x, y)], T=2)
        tensor([0.3333, 1.0000])
    """
    return _accuracy(snn, lambda x: outputs_over_time(snn, x, T), data, leading=1)


@torch.no_grad()
def ann_accuracy(ann: nn.Module, data: Iterable[tuple[Tensor, Tensor]]) -> float:
    """The accuracy of an ANN, in evaluation mode, to compare with; arguments: see :func:`accuracy_over_time`.

    Example:
        >>> ann_accuracy(nn.ReLU(), [(torch.eye(3), torch.arange(3))])
        1.0
    """
    with functional.evaluating(ann):
        return _accuracy(ann, ann, data, leading=0).item()


def _accuracy(
    net: nn.Module,
    outputs: Callable[[Tensor], Tensor],
    data: Iterable[tuple[Tensor, Tensor]],
    leading: int,
) -> Tensor:
    """Part of the samples where the largest of the outputs ``[*, N, classes]`` is the right one: ``[*]``, as
    many dimensions as are ``leading``."""
    device = next((tensor.device for tensor in net.state_dict().values()), torch.device("cpu"))
    correct, count = torch.zeros(()), 0
    for x, y in data:
        if y.shape != x.shape[:1]:
            raise ShapeError(
                f"`data` must be pairs of samples [N, *] and their classes [N], got {list(x.shape)} and "
                f"{list(y.shape)}."
            )
        output = outputs(x.to(device))
        if output.dim() != leading + 2:
            raise ShapeError(
                f"The network's output must be [N, classes], got {list(output.shape[leading:])}. End it with "
                "a layer such as nn.Flatten()."
            )
        correct = correct + (output.argmax(-1) == y.to(device)).sum(-1).cpu()
        count += len(y)
    if count == 0:
        raise ValueError("`data` must have at least one sample, got none.")
    return correct / count
