"""The contract of a neuron: charge, fire, reset."""

import inspect
import math
import numbers
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spikeloom import loom, surrogate
from spikeloom.checks import checked_number, is_number, shown
from spikeloom.errors import ShapeError, describe
from spikeloom.loom.select import broadcasts
from spikeloom.memory import HALF, MemoryModule
from spikeloom.neuron.setting import ignore_old

_SHOWN_LAST = ("v_threshold", "v_reset", "detach_reset", "step_mode")
_HIDDEN = ("backend", "store_v_seq")


class BaseNode(MemoryModule):
    r"""A neuron: each time step it integrates its input, compares its potential with the threshold, and
    resets.

    .. math:: s_t = \Theta(h_t - v_{th}),\quad
              v_t = h_t (1 - s_t) + v_{reset} s_t \;\text{(hard)}\quad\text{or}\quad v_t = h_t - v_{th} s_t
              \;\text{(soft)}

    A subclass writes :meth:`neuronal_charge`, which computes :math:`h_t` from the input and leaves it in
    ``self.v``. It may override :meth:`neuronal_fire` and :meth:`neuronal_reset` too, and register more
    memories; whatever it overrides takes effect in training and evaluation, in both step modes. A memory
    registered as a number takes the input's shape with the first input.

    Args:
        v_threshold: firing threshold, in units of the membrane potential; a number, a tensor that broadcasts
            against the input (kept as a buffer), or an ``nn.Parameter`` (learned).
        v_reset: potential after a spike, and at the start; ``None`` subtracts the threshold instead, and
            starts at 0.
        surrogate_function: what stands in for the derivative of the step; default ``surrogate.Sigmoid()``.
        detach_reset: whether the gradient ignores the path through the reset.
        step_mode: ``'s'`` for one time step, ``'m'`` for a sequence.
        backend: what runs a sequence: ``'numba'`` or ``'triton'`` (one compiled loop, on the CPU or on a CUDA
            device; raises where it cannot), ``'torch'`` (the reference loop), or ``'auto'`` (compiled if it
            can be). ``'cupy'`` of older scripts means ``'auto'``. Single steps of 262,144 numbers and more
            are compiled on the CPU with ``'numba'``, and with ``'auto'`` where no gradients are recorded.
        store_v_seq: whether to keep the potential after each step in ``v_seq`` ``[T, N, *]``; in single-step
            mode it grows until :meth:`reset`.
        old: arguments of older scripts that mean nothing here, such as ``cupy_fp32_inference``: a warning.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
        NaN in the potential comes out as NaN, so that it is not mistaken for silence. An infinite input
        fires, and leaves a NaN behind.
    Raises:
        TypeError, ValueError: a setting is not a number, or is NaN.
    Example:
        >>> class Squared(BaseNode):
        ...     def neuronal_charge(self, x):
        ...         self.v = self.v + x**2
        >>> neuron = Squared(step_mode="m")
        >>> neuron(torch.tensor([[0.5], [0.9], [0.1]])).flatten().tolist()
        [0.0, 1.0, 0.0]
    """

    default_surrogate: ClassVar[Any] = surrogate.Sigmoid
    """Makes the surrogate function where none is given."""

    charge_fire_reset = True
    """Says to the loom that a step of this class is charge, fire, reset, and nothing else."""

    # Set for the time of a call: by PooledNode, and by LinearRecurrentContainer.
    _window: int | None = None
    _feedback: Tensor | None = None

    def __init__(
        self,
        v_threshold: float | Tensor = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
        **old: Any,
    ):
        ignore_old(type(self), old)
        if isinstance(step_mode, bool):  # `cupy_fp32_inference` by position
            step_mode = "s"
        super().__init__(step_mode)
        if isinstance(backend, bool):  # by position, as in scripts for SpikingJelly 2.0
            backend, store_v_seq = "auto", backend
        self.v_reset = None if v_reset is None else checked_number("v_reset", v_reset)
        self.add_setting("v_threshold", v_threshold)
        if self.v_reset is None and _is_infinite(v_threshold):
            raise ValueError(
                f"`v_threshold` must be finite where it is subtracted (v_reset=None), got {v_threshold}."
            )
        self.surrogate_function = checked_surrogate(surrogate_function, type(self).default_surrogate)
        self.detach_reset = detach_reset
        self.backend = backend
        self.store_v_seq = store_v_seq
        self._v_steps: list[Tensor] = []  # [t, N, *], of one step or several
        self._v_seq: Any = None
        self.register_memory("v", self.rest)

    @property
    def rest(self) -> float:
        """The potential that the neuron starts from and leaks to: ``v_reset``, or 0 with soft reset."""
        return 0.0 if self.v_reset is None else self.v_reset

    @property
    def v_seq(self) -> Any:
        """The potential after each step ``[T, N, *]``, with ``store_v_seq``; else what was assigned, such as
        a list that a hook fills, or ``None``."""
        return torch.cat(self._v_steps) if self._v_steps else self._v_seq

    @v_seq.setter
    def v_seq(self, value: Any) -> None:
        self._v_steps, self._v_seq = [], value

    @property
    def supported_backends(self) -> tuple[str, ...]:
        """What :attr:`backend` can be set to."""
        return loom.BACKENDS

    @property
    def backend(self) -> str:
        """What runs the neuron over a sequence: ``'auto'``, ``'torch'``, ``'numba'`` or ``'triton'``."""
        return self._backend

    @backend.setter
    def backend(self, value: str) -> None:
        if value == "cupy":
            warnings.warn("backend='cupy' is not needed here, and is taken as 'auto'.", stacklevel=3)
            value = "auto"
        self._backend = loom.checked_backend(value, loom.BACKENDS)

    def neuronal_charge(self, x: Tensor) -> None:
        """Integrate the input ``x`` ``[N, *]`` into ``self.v``."""
        raise NotImplementedError(
            f"{type(self).__name__} must define neuronal_charge(x), which updates self.v."
        )

    @staticmethod
    def apply_hard_reset(v: Tensor, spike: Tensor, v_reset: float) -> Tensor:
        """``v``, and ``v_reset`` where ``spike`` is 1."""
        return (1.0 - spike) * v + spike * v_reset

    @staticmethod
    def apply_soft_reset(v: Tensor, spike: Tensor, v_threshold: float | Tensor) -> Tensor:
        """``v``, less ``v_threshold`` where ``spike`` is 1."""
        return v - spike * v_threshold

    def neuronal_fire(self) -> Tensor:
        """The spikes ``[N, *]``: 1 where the potential reaches the threshold, with the surrogate's slope."""
        return self.surrogate_function(self.v - self.v_threshold)

    def neuronal_reset(self, spike: Tensor) -> None:
        """Reset ``self.v`` where ``spike`` is 1: to ``v_reset``, or down by the threshold."""
        if self.detach_reset:
            spike = spike.detach()
        if self.v_reset is None:
            self.v = self.apply_soft_reset(self.v, spike, self.v_threshold)
        elif self.v_reset == 0:
            self.v = (1.0 - spike) * self.v
        else:
            self.v = self.apply_hard_reset(self.v, spike, self.v_reset)

    def single_step_forward(self, x: Tensor) -> Tensor:
        spike = super().single_step_forward(x) if self.has_step_function() else self._charge_fire_reset(x)
        if self.store_v_seq:
            self._v_steps.append(self.v[None].clone())  # which the next step may change in place
        return spike

    def has_step_function(self) -> bool:
        """Whether the class has a :meth:`single_step_functional_forward` of its own."""
        own = type(self).single_step_functional_forward
        return own is not BaseNode.single_step_functional_forward

    def single_step_functional_forward(
        self, inputs: tuple[Any, ...], states: tuple[Any, ...], **kwargs: Any
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        before = self.memory_state()
        # Copies, as a step may write into its states.
        given = [one.clone() if isinstance(one, Tensor) else one for one in states]
        own = self.has_step_function() or type(self).single_step_forward is BaseNode.single_step_forward
        step = self._charge_fire_reset if own else self.single_step_forward
        try:
            self.__dict__.update(zip(self._memories, given, strict=True), _stepping=True, _v_steps=[])
            spike = step(*inputs, **kwargs)
            return (spike,), tuple(self.memories())
        finally:
            self.load_memory_state(before)

    def materialize_states(
        self, inputs: tuple[Any, ...], states: tuple[Any, ...], step_mode: str
    ) -> tuple[Any, ...]:
        """Numbers as tensors like one step's input; what is a tensor stays as it is."""
        x = inputs[0][0] if step_mode == "m" else inputs[0]
        dtype = torch.get_default_dtype() if x.dtype in HALF or not x.is_floating_point() else x.dtype
        return tuple(torch.full_like(x, one, dtype=dtype) if is_number(one) else one for one in states)

    def _charge_fire_reset(self, x: Tensor) -> Tensor:
        self.expand_memories(x)
        returned: Any = self.neuronal_charge(x)
        if returned is not None and returned is not self.v:
            raise TypeError(
                f"neuronal_charge of {describe(self)} must set self.v, but returns something else."
            )
        spike = self.neuronal_fire()
        if not isinstance(spike, Tensor) or spike.dtype is torch.bool:
            shown = f"{spike.dtype} {list(spike.shape)}" if isinstance(spike, Tensor) else repr(spike)
            raise TypeError(
                f"neuronal_fire of {describe(self)} must return spikes of the type of its input, as "
                f"self.surrogate_function() does, got {shown}."
            )
        self.neuronal_reset(spike)
        if spike.shape != x.shape:
            raise ShapeError(
                f"{describe(self)} got an input of shape {list(x.shape)} and gives {list(spike.shape)}: a "
                "setting or a memory does not broadcast to its input."
            )
        return spike

    def _woven(self, x: Tensor) -> Tensor | None:
        if self.step_mode != "s" or torch.compiler.is_compiling():
            return None
        spike = loom.run_step(self, x)
        if spike is not None and self.store_v_seq:
            self._v_steps.append(self.v[None].clone())
        return spike

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        if self._feedback is not None:
            self.__dict__["_step_mode"] = "s"  # again, for steps that ask for it
            woven: Any = loom.run_fed_back(self, x_seq, self._feedback)
            return woven  # or None: the container goes step by step
        before, self._v_steps = self._v_steps, []
        try:
            return self._sequence(x_seq)
        except BaseException:
            self._v_steps = before  # as the memories, which are set back too
            raise

    def _sequence(self, x_seq: Tensor) -> Tensor:
        keep = ("v",) if self.store_v_seq else ()
        if torch.compiler.is_compiling():
            woven = loom.graph.run(self, x_seq, keep)
        else:
            woven = loom.run(self, x_seq, keep, self._window)
        if woven is None:
            as_float = x_seq.dtype in HALF and self.computes_in_float32
            return super().multi_step_forward(x_seq.float() if as_float else x_seq)
        output, sequences = woven
        self._v_steps = [*sequences.values()]
        return output

    @property
    def gives_single_steps(self) -> bool:
        loops = (BaseNode.multi_step_forward, MemoryModule.multi_step_forward)
        return type(self).multi_step_forward in loops and not self.has_sequence_function()

    def _explain(self, error: RuntimeError, shape: torch.Size) -> None:
        super()._explain(error, shape)
        values = {"v_threshold": self.v_threshold, "v_reset": self.v_reset, **dict(self.named_memories())}
        for name, value in values.items() if "must match the size" in str(error) else ():
            if not isinstance(value, Tensor) or broadcasts(value.shape, shape):
                continue
            channels = value.dim() == 1 and len(shape) > 2 and len(value) == shape[1]
            cure = f" For one number for each channel: {name}.view(-1, {', '.join('1' for _ in shape[2:])})."
            raise ShapeError(
                f"{describe(self)} got an input of shape {list(shape)} per time step, to which its '{name}' "
                f"of shape {list(value.shape)} does not broadcast.{cure if channels else ''}"
            ) from error

    def _reads_half(self, x: Tensor) -> bool:
        woven = self.step_mode == "m" and type(self).multi_step_forward is BaseNode.multi_step_forward
        return woven and not torch.compiler.is_compiling() and loom.reads_half(self, x)

    def _program(self, shape: tuple[int, ...], dtype: torch.dtype, keep: tuple[bool, ...]) -> tuple[Any, ...]:
        """What the loom tells a graph about the neuron: see :func:`spikeloom.loom.graph.program_of`."""
        return loom.graph.program_of(self, shape, dtype, keep)

    # Dynamo runs it on the real neuron, and takes what it returns as a constant. That is all that
    # torch.compiler.assume_constant_result does, but that imports all of torch._dynamo: more than a second.
    _program._dynamo_marked_constant = True  # type: ignore[attr-defined]

    def expand_memories(self, x: Tensor) -> None:
        """Give the memories that are still numbers the shape, type and device of ``x``."""
        for name, value in self.named_memories():
            if is_number(value):
                setattr(self, name, torch.full_like(x, value))

    def v_float_to_tensor(self, x: Tensor) -> None:
        """:meth:`expand_memories`, under the name that older subclasses call in their own steps."""
        self.expand_memories(x)

    def add_setting(self, name: str, value: float | Tensor) -> None:
        """Set the attribute ``name``: a number as a float, a tensor as a buffer, a parameter as such."""
        if not isinstance(value, Tensor):
            value = checked_number(name, value)
        elif not value.is_meta and bool(value.isnan().any()):
            raise ValueError(f"`{name}` must not contain NaN.")
        if name in self._memories:
            raise ValueError(f"`name` of a setting must be free, but '{name}' is a memory.")
        for held in (self.__dict__, self._parameters, self._buffers):  # a subclass may set it again
            held.pop(name, None)
        if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
            self.register_buffer(name, value)
        else:
            setattr(self, name, value)

    def memory_state(self) -> dict[str, Any]:
        return super().memory_state() | {"_v_steps": list(self._v_steps)}

    def reset(self) -> None:
        super().reset()
        self._v_steps = []

    def detach(self) -> None:
        super().detach()
        self._v_steps = [v.detach() if v.requires_grad else v for v in self._v_steps]

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state["_v_steps"] = [v.detach() for v in self._v_steps]
        state.pop("_window", None)  # a copy may be made by another thread in the middle of a call
        if state.pop("_feedback", None) is not None:
            state["_step_mode"] = "s"
        return state

    def extra_repr(self) -> str:
        """What the constructor was given, as the attributes of these names are now: first the class's own."""
        given = inspect.signature(type(self)).parameters
        names = [name for name in given if name not in _SHOWN_LAST] + [*_SHOWN_LAST]
        values = {name: getattr(self, name) for name in names if name not in _HIDDEN and hasattr(self, name)}
        return ", ".join(f"{name}={shown(one)}" for name, one in values.items() if _is_shown(one))


def checked_surrogate(
    function: Callable[[Tensor], Tensor] | None, default: Callable[[], Callable[[Tensor], Tensor]]
) -> Callable[[Tensor], Tensor]:
    """``function``, or what ``default`` makes.

    Raises:
        TypeError: it is a class, or cannot be called.
    """
    if isinstance(function, type) or not callable(function or default):
        raise TypeError(f"`surrogate_function` must be callable, as surrogate.ATan() is, got {function!r}.")
    return default() if function is None else function


class SimpleBaseNode(BaseNode):
    """:class:`BaseNode` under the name that tutorials on writing a neuron use; its potential starts at 0.

    Args:
        v_threshold, v_reset, surrogate_function, detach_reset, step_mode: as for :class:`BaseNode`.
    Shape:
        as :class:`BaseNode`.
    Differs from: :class:`BaseNode`, whose potential starts at ``v_reset``.
    Example:
        A threshold that rises by one with each spike:

        >>> class Adaptive(SimpleBaseNode):
        ...     def __init__(self, **settings):
        ...         super().__init__(**settings)
        ...         del self.v_threshold
        ...         self.register_memory("v_threshold", 1.0)
        ...     def neuronal_charge(self, x):
        ...         self.v = self.v + x
        ...     def neuronal_fire(self):
        ...         spike = super().neuronal_fire()
        ...         self.v_threshold = self.v_threshold + spike
        ...         return spike
        >>> Adaptive(step_mode="m")(torch.ones(6, 1)).flatten().tolist()
        [1.0, 0.0, 1.0, 0.0, 0.0, 1.0]
    """

    def __init__(
        self,
        v_threshold: float | Tensor = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
    ):
        super().__init__(v_threshold, v_reset, surrogate_function, detach_reset, step_mode)
        self.register_memory("v", 0.0)


def _is_infinite(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not value.is_meta and bool(value.isinf().any())
    return is_number(value) and math.isinf(value)


def _is_shown(value: Any) -> bool:
    return value is None or isinstance(value, numbers.Real | str | Tensor | tuple)
