"""Forward propagation through time: a step of the optimiser after each time step, in constant memory."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_inside
from spikeloom.errors import ShapeError
from spikeloom.functional.networks import check_time, detach_net, require_single_step
from spikeloom.memory import load_memory_states, memory_states


def fptt_online_training_init_w_ra(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Running averages of an optimiser's weights, as :func:`fptt_online_training` starts from them."""
    return [weight.detach().clone() for weight in _weights(optimizer)]


def fptt_online_training(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    x_seq: Tensor,
    target_seq: Tensor | Sequence[Tensor],
    f_loss_t: Callable[[Tensor, Tensor], Tensor],
    alpha: float,
    w_ra: list[Tensor],
) -> Tensor:
    r"""Train on a sequence: one step of the optimiser for each time step, near a running average of weights.

    .. math:: L_t(w) = l_t(w) + \frac{\alpha}{2}\left\lVert w - \bar w_t - \frac{g_{t-1}}{2\alpha}
              \right\rVert^2,\quad
              \bar w_{t+1} = \frac{\bar w_t + w_{t+1}}{2} - \frac{g_t}{2\alpha},\quad
              g_t = \nabla l_t(w_{t+1})

    Each :math:`g_t` is taken in a second pass through the time step, from the memories before it. Gradients
    do not go from step to step. Batch normalisation sees each step twice, and dropout draws anew. The
    memories go on from sequence to sequence until they are reset.

    Args:
        model: layers and neurons in single-step mode.
        optimizer: of the weights to be learned.
        x_seq, target_seq: input and target of each time step.
        f_loss_t: the loss of a step, of output and target.
        alpha: how much weights are kept near their average; greater than 0.
        w_ra: the averages, from :func:`fptt_online_training_init_w_ra`; they are changed.
    Shape:
        x_seq ``[T, N, *]``; target_seq ``[T, *]``.
    Returns:
        the loss of each step before its update, ``[T]``
    Raises:
        ValueError: ``alpha`` is not greater than 0, or a module of ``model`` is in multi-step mode.
        ShapeError: there are no time steps, or not one target for each.
    Differs from: SpikingJelly, which takes the mean over a weight's numbers for the norm, and :math:`g_t`
        from the memories after the step.
    Source: Kag & Saligrama, Training recurrent neural networks via forward propagation through time, ICML
        2021; with spiking neurons Yin et al., Nature Machine Intelligence 5, 2023.
    Example:
        >>> from spikeloom import neuron
        >>> net = nn.Sequential(nn.Linear(3, 2), neuron.LIFNode())
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> average = fptt_online_training_init_w_ra(optimizer)
        >>> x, target = torch.rand(5, 4, 3), torch.ones(5, 4, 2)
        >>> fptt_online_training(net, optimizer, x, target, nn.functional.mse_loss, 0.5, average).shape
        torch.Size([5])
    """
    checked_inside("alpha", alpha, 0)
    check_time(x_seq, "x_seq")
    require_single_step("fptt_online_training", [model])
    if len(target_seq) != len(x_seq):
        raise ShapeError(
            f"`target_seq` must have one target for each of {len(x_seq)} time steps, got {len(target_seq)}."
        )
    weights, losses = _weights(optimizer), []
    gradients = [torch.zeros_like(weight) for weight in weights]
    for x, target in zip(x_seq, target_seq, strict=True):
        detach_net(model)
        before = memory_states(model)
        load_memory_states(before, copy=True)
        optimizer.zero_grad()
        loss = f_loss_t(model(x), target)
        aims = [average + gradient / (2 * alpha) for average, gradient in zip(w_ra, gradients, strict=True)]
        distances = [(weight - aim).square().sum() for weight, aim in zip(weights, aims, strict=True)]
        (loss + alpha / 2 * sum(distances)).backward()
        optimizer.step()
        losses.append(loss.detach())
        detach_net(model)
        after = memory_states(model)
        load_memory_states(before, copy=True)
        optimizer.zero_grad()
        f_loss_t(model(x), target).backward()
        gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in weights]
        for place, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
            w_ra[place] = (w_ra[place] + weight.detach()) / 2 - gradient / (2 * alpha)
        load_memory_states(after, copy=True)
    optimizer.zero_grad()
    return torch.stack(losses)


def _weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"] if weight.requires_grad]
