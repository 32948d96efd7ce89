"""What is done to whole networks over time: resetting, step modes, loops; and losses over time."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import Tensor, nn

from spikeloom.errors import ShapeError
from spikeloom.memory import MemoryModule, StepModule, loop_over_time, recomputing

Module = nn.Module | Callable[[Tensor], Tensor]


def reset_net(net: nn.Module) -> None:
    """Reset every module of ``net`` that has a ``reset()`` method, to start a new sequence.

    Call it after each batch, before or after ``loss.backward()`` and the optimiser's step: the gradients do
    not need the memories. The modules are searched anew each time, so one that was added later is reset too.

    Args:
        net: the network.
    Raises:
        TypeError: a module's ``reset`` cannot be called without arguments.
    Example:
        >>> from spikeloom import neuron
        >>> net = nn.Sequential(nn.Linear(2, 3), neuron.LIFNode())
        >>> _ = net(torch.ones(4, 2)); reset_net(net); net[1].v
        0.0
    """
    for name, module in net.named_modules():
        reset = getattr(module, "reset", None)
        if not callable(reset):
            continue
        try:
            reset()
        except TypeError as error:
            if not (required := _required(reset)):
                raise
            named = f"{type(module).__name__} '{name}'" if name else type(module).__name__
            raise TypeError(
                f"`reset` of {named} must take no arguments, so that reset_net can call it, but it requires "
                f"{' and '.join(map(repr, required))}. Give them default values, or rename the method."
            ) from error


def _required(function: Callable[..., object]) -> list[str]:
    """The arguments without which ``function`` cannot be called."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # it is not written in Python
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in parameters if one.default is one.empty and one.kind not in optional]


def detach_net(net: nn.Module) -> None:
    """Keep the memories' values but cut them from the graph: truncated backpropagation through time.

    Args:
        net: the network; every module with a ``detach()`` method is detached.
    """
    for module in net.modules():
        detach = getattr(module, "detach", None)
        if callable(detach):
            detach()


@contextlib.contextmanager
def fresh_state(net: nn.Module) -> Iterator[nn.Module]:
    """A block that starts with ``net`` reset and leaves it reset, also after an exception.

    Example:
        >>> from spikeloom import neuron
        >>> net = neuron.IFNode()
        >>> with fresh_state(net):
        ...     spikes = [net(torch.tensor(0.6)).item() for _ in range(3)]
        >>> spikes, net.v
        ([0.0, 1.0, 0.0], 0.0)
    """
    reset_net(net)
    try:
        yield net
    finally:
        reset_net(net)


def set_step_mode(net: nn.Module, step_mode: str) -> None:
    """Set the step mode of every module of ``net`` that has one.

    Containers that decide for their children (``layer.MultiStepContainer`` and its kin, which have
    ``step_mode_boundary = True``) are set themselves, and their children are left alone.

    Args:
        net: the network.
        step_mode: ``'s'`` (one time step) or ``'m'`` (sequences).
    Raises:
        ValueError: a module does not support ``step_mode``.
    """
    if hasattr(net, "step_mode"):
        net.step_mode = step_mode  # type: ignore[assignment]
    if not getattr(net, "step_mode_boundary", False):
        for child in net.children():
            set_step_mode(child, step_mode)


def set_backend(net: nn.Module, backend: str, instance: type | tuple[type, ...] = nn.Module) -> None:
    """Set ``backend`` of every module of ``net`` that has one and is an ``instance``."""
    for module in net.modules():
        if isinstance(module, instance) and hasattr(module, "backend"):
            module.backend = backend  # type: ignore[assignment]


def multi_step_forward(x_seq: Tensor, single_step_module: Module | Sequence[Module]) -> Tensor:
    """Apply single-step modules, one after the other, to each time step of ``x_seq``.

    Args:
        x_seq: ``[T, N, *]``.
        single_step_module: a module, or several in a list or ``nn.Sequential``.
    Returns:
        ``[T, N, *]``
    Raises:
        ShapeError: there are no time steps.
    """
    _check_time(x_seq, "x_seq")
    return loop_over_time(_composed(single_step_module), x_seq)


def seq_to_ann_forward(x_seq: Tensor, stateless_module: Module | Sequence[Module]) -> Tensor:
    """Apply stateless modules to all time steps at once, as one batch of ``T * N``.

    Args:
        x_seq: ``[T, N, *]``.
        stateless_module: a module, or several in a list or ``nn.Sequential``; without memories.
    Returns:
        ``[T, N, *]``
    Raises:
        ShapeError: there are no time steps, or no batch dimension.
    """
    _check_time(x_seq, "x_seq")
    if x_seq.dim() < 2:
        raise ShapeError(f"`x_seq` must be [T, N, *], got {list(x_seq.shape)}. Add the batch dimension.")
    output = _composed(stateless_module)(x_seq.flatten(0, 1))
    return output.unflatten(0, x_seq.shape[:2])


def chunk_multi_step_forward(split_size: int, x_seq: Tensor, multi_step_module: nn.Module) -> Tensor:
    """Apply a multi-step network to chunks of ``split_size`` time steps, which needs less memory without
    gradients.

    Args:
        split_size: time steps in a chunk, at least 1.
        x_seq: ``[T, N, *]``.
        multi_step_module: a network in multi-step mode; its memories pass from chunk to chunk.
    Returns:
        ``[T, N, *]``
    """
    if split_size < 1:
        raise ValueError(f"`split_size` must be at least 1, got {split_size}.")
    _check_time(x_seq, "x_seq")
    return torch.cat([multi_step_module(chunk) for chunk in x_seq.split(split_size)])


def firing_rate(spikes: Tensor) -> Tensor:
    """Mean over time: spikes ``[T, N, *]`` to rates ``[N, *]``, in spikes per time step."""
    _check_time(spikes, "spikes")
    return spikes.mean(0)


def firing_rate_mse(spikes: Tensor, labels: Tensor) -> Tensor:
    """Mean squared error between the output's firing rates and one-hot labels.

    Args:
        spikes: ``[T, N, C]``.
        labels: class of each sample, int64 ``[N]``.
    Returns:
        a scalar
    Example:
        >>> firing_rate_mse(torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]]), torch.tensor([0])).item()
        0.125
    """
    rates = _rates_for(spikes, labels)
    return F.mse_loss(rates, F.one_hot(labels, rates.shape[-1]).to(rates.dtype))


def firing_rate_cross_entropy(spikes: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with the output's firing rates as logits; arguments as :func:`firing_rate_mse`."""
    return F.cross_entropy(_rates_for(spikes, labels), labels)


def temporal_efficient_training_cross_entropy(
    x_seq: Tensor,
    target: Tensor,
    mse_weight: float = 0.0,
    mse_target: float = 1.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    r"""Temporal efficient training: the cross-entropy of every time step, averaged over time.

    .. math:: L = (1-\lambda)\,\tfrac{1}{T}\sum_t \mathrm{CE}(o_t, y) + \lambda\,\mathrm{MSE}(o, \phi)

    Args:
        x_seq: outputs ``[T, N, C]``, spikes or potentials.
        target: class of each sample, int64 ``[N]``.
        mse_weight: :math:`\lambda`, the weight of the term that keeps outputs near ``mse_target``.
        mse_target: :math:`\phi`.
        label_smoothing: part of the probability that all classes share alike, as for
            ``torch.nn.functional.cross_entropy``.
    Returns:
        a scalar
    Source: Deng et al., Temporal efficient training of spiking neural network, ICLR 2022.
    """
    _check_time(x_seq, "x_seq")
    num_steps = x_seq.shape[0]
    logits, targets = x_seq.flatten(0, 1), target.repeat(num_steps)
    loss = F.cross_entropy(logits, targets, label_smoothing=label_smoothing)
    if mse_weight:
        loss = (1 - mse_weight) * loss + mse_weight * F.mse_loss(x_seq, torch.full_like(x_seq, mse_target))
    return loss


def first_spike_index(spikes: Tensor) -> Tensor:
    """Where each neuron fires for the first time.

    Args:
        spikes: ``[*, T]``, time last, as its users have it; 0 or 1.
    Returns:
        bool ``[*, T]``: true at the first spike; a silent neuron has no true value.
    Example:
        >>> first_spike_index(torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])).int()
        tensor([[0, 1, 0],
                [0, 0, 0]], dtype=torch.int32)
    """
    fired = spikes != 0
    return fired & (fired.cumsum(-1) == 1)


def checkpoint(module: nn.Module, x: Tensor) -> Tensor:
    """``module(x)``, whose intermediate results are computed again in the backward pass instead of being
    kept.

    PyTorch's own checkpointing would compute again from the memories as the first run left them; here they
    are set back to what they were before it, and afterwards to what they are now. Buffers, such as the
    running statistics of BatchNorm, change in the first run only.

    Args:
        module: any module; its memories, and those of its children, are taken care of.
        x: its input.
    Returns:
        what ``module(x)`` returns, with the same gradients
    """
    modules = [child for child in module.modules() if isinstance(child, MemoryModule)]
    before, runs = [child.memory_state() for child in modules], 0

    def run(x: Tensor) -> Tensor:
        nonlocal runs
        runs += 1
        if runs == 1:
            return module(x)
        now = [child.memory_state() for child in modules]
        try:
            for child, state in zip(modules, before, strict=True):
                child.load_memory_state(state)
            with recomputing(), _buffers_unchanged(module):
                return module(x)
        finally:  # PyTorch ends the run by an exception as soon as it has what it needs
            for child, state in zip(modules, now, strict=True):
                child.load_memory_state(state)

    return torch.utils.checkpoint.checkpoint(run, x, use_reentrant=False)


def checkpoint_time(net: nn.Module, x_seq: Tensor, chunk: int) -> Tensor:
    """``net(x_seq)``, of which only ``chunk`` time steps at a time keep their intermediate results.

    Between chunks only the memories are kept. The backward pass computes each chunk again from them, the last
    one excepted, so it needs the memory of one chunk and up to a third more time. Gradients flow through all
    of time, as without: this does not truncate them.

    Args:
        net: a network in multi-step mode that returns as many time steps as it gets.
        x_seq: ``[T, N, *]``.
        chunk: time steps that are computed at once, at least 1.
    Returns:
        ``[T, N, *]``, what ``net(x_seq)`` returns, with its gradients up to the order in which they add up
    Raises:
        ValueError: ``chunk`` is less than 1; or a module of ``net`` cannot work on parts of a sequence, as
            batch normalisation in training, whose statistics are over time.
        ShapeError: there are no time steps, or ``net`` returns other ones.
    Example:
        >>> from spikeloom import neuron
        >>> net = nn.Sequential(nn.Linear(3, 2), neuron.LIFNode(step_mode="m"))
        >>> checkpoint_time(net, torch.rand(100, 8, 3), chunk=10).shape
        torch.Size([100, 8, 2])
    """
    if chunk < 1:
        raise ValueError(f"`chunk` must be at least 1 time step, got {chunk}.")
    _check_time(x_seq, "x_seq")
    parts = list(x_seq.split(chunk))
    if len(parts) > 1:
        _require_parts(net)
    outputs = [checkpoint(net, part) for part in parts[:-1]]
    outputs.append(net(parts[-1]))  # its backward pass is the first thing to come
    for part, output in zip(parts, outputs, strict=True):
        if output.dim() == 0 or len(output) != len(part):
            raise ShapeError(
                f"`net` must return as many time steps as it gets, but made {list(output.shape)} of "
                f"{list(part.shape)}. Take the mean over time, or the like, outside of `net`."
            )
    return torch.cat(outputs)


def _require_parts(net: nn.Module) -> None:
    """Refuse modules that have to see a sequence as a whole."""
    for name, module in net.named_modules():
        whole_only = isinstance(module, StepModule) and "s" not in module.supported_step_mode()
        is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
        if whole_only or (is_norm and getattr(module, "step_mode", "m") == "m"):
            raise ValueError(
                f"`net` must work on parts of a sequence, but its {type(module).__name__} '{name}' takes all "
                "time steps together. Give `chunk` all of them; to save memory, use functional.checkpoint on "
                "some of the layers."
            )


@contextlib.contextmanager
def _buffers_unchanged(module: nn.Module) -> Iterator[None]:
    """A block in which buffers change without consequence."""
    before = [(child._buffers, dict(child._buffers)) for child in module.modules()]
    for buffers, values in before:
        buffers.update({name: value.clone() for name, value in values.items() if value is not None})
    try:
        yield
    finally:
        for buffers, values in before:
            buffers.update(values)


def _rates_for(spikes: Tensor, labels: Tensor) -> Tensor:
    """Firing rates ``[N, C]`` that fit the labels ``[N]``."""
    rates = firing_rate(spikes)
    if rates.dim() != 2 or labels.shape != rates.shape[:1]:
        raise ShapeError(
            f"`labels` must hold one class for each sample of `spikes` [T, N, C], got {list(labels.shape)} "
            f"for spikes of shape {list(spikes.shape)}."
        )
    return rates


def _composed(modules: Module | Sequence[Module]) -> Module:
    """One callable for a module, or for several in a list or tuple."""
    if not isinstance(modules, list | tuple):
        return modules  # type: ignore[return-value]

    def composed(x: Tensor) -> Tensor:
        for module in modules:
            x = module(x)
        return x

    return composed


def _check_time(x_seq: Tensor, name: str) -> None:
    if x_seq.dim() == 0 or x_seq.shape[0] == 0:
        raise ShapeError(f"`{name}` must have at least one time step, [T, N, *], got {list(x_seq.shape)}.")
