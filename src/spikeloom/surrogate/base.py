"""A spike forwards, the slope of a smooth curve backwards: what all surrogates share."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.checks import check_tensor, is_transformed, shown


def heaviside(x: Tensor) -> Tensor:
    """1 where ``x >= 0`` and 0 elsewhere, in the type of ``x``.

    NaN stays NaN, so that it is never taken for silence.

    Args:
        x: any shape, floating point.
    Example:
        >>> heaviside(torch.tensor([-0.1, 0.0, torch.inf, torch.nan]))
        tensor([0., 1., 1., nan])
    """
    if _is_watched():
        return torch.where(x.isnan(), x, (x >= 0).to(x.dtype))
    return x.detach().clamp(-1, 0).floor_().add_(1)  # 2 to 20 times as fast: truth values are slow to make


def _is_watched() -> bool:
    """Whether somebody reads the operations, and makes better ones of the plain form."""
    return (
        is_transformed()
        or torch._C._len_torch_function_stack() > 0
        or torch._C._len_torch_dispatch_stack() > 0
    )


class _Spike(torch.autograd.Function):
    """``step`` forwards; backwards the gradient times ``derivative`` to ``x``, and as it is to ``carrier``.

    ``carrier`` is ``None`` or the primitive, which passes the gradient on to what else it was computed from.
    """

    generate_vmap_rule = True

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        if torch._C._are_functorch_transforms_active():
            return super().apply(*args, **kwargs)
        # PyTorch's own looks at the signature of forward() at each call, which takes longer than all else.
        return super(torch.autograd.Function, cls).apply(*args, **kwargs)  # type: ignore[misc]

    @staticmethod
    def forward(
        x: Tensor,
        carrier: Tensor | None,
        step: Callable[..., Tensor],
        derivative: Callable[..., Tensor] | None,
        parameters: tuple[Any, ...],  # not *parameters: Dynamo counts arguments (torch 2.13)
    ) -> Tensor:
        return step(x, *parameters)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, _, _, ctx.derivative, parameters = inputs
        ctx.numbers = [None if isinstance(value, Tensor) else value for value in parameters]
        ctx.save_for_backward(x, *(value for value in parameters if isinstance(value, Tensor)))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, *tensors = ctx.saved_tensors
        waiting = iter(tensors)
        parameters = [next(waiting) if value is None else value for value in ctx.numbers]
        to_x = gradient * ctx.derivative(x, *parameters) if ctx.needs_input_grad[0] else None
        to_carrier = gradient if ctx.needs_input_grad[1] else None
        return to_x, to_carrier, None, None, None


def fire(x: Tensor, owner: Any, *parameters: Any) -> Tensor:
    """The spikes of ``x``, differentiable by ``owner.derivative``, or else by autograd of its primitive.

    A learnable parameter gets the gradient of the primitive with respect to it.
    """
    fixed = tuple(value.detach() if isinstance(value, Tensor) else value for value in parameters)
    if not torch.is_grad_enabled():  # applying a function takes ten times as long
        return owner.step(x, *fixed)
    slope = _slope(owner)
    if slope is None:
        return _Spike.apply(x.detach(), owner.primitive_function(x, *parameters), owner.step, None, fixed)
    learnable = any(isinstance(value, Tensor) and value.requires_grad for value in parameters)
    carrier = owner.primitive_function(x.detach(), *parameters) if learnable else None
    return _Spike.apply(x, carrier, owner.step, slope, fixed)


def _slope(owner: Any) -> Callable[..., Tensor] | None:
    return getattr(owner, "derivative", None)


def _backward(owner: Any, grad_output: Tensor, x: Tensor, *parameters: Any) -> Tensor:
    """The gradient with respect to ``x``, by whichever of derivative and autograd ``owner`` has."""
    slope = _slope(owner)
    if slope is not None:
        return grad_output * slope(x, *parameters)
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(owner.primitive_function(x, *parameters), x, grad_output)[0]


class SurrogateFunction(nn.Module):
    r"""A step function whose derivative is replaced by that of a smooth curve.

    .. math:: s = \Theta(x) = [x \ge 0],\qquad \frac{\partial s}{\partial x} := g'(x)

    A subclass declares the curve once, as two static methods of ``x`` and its parameters:
    ``primitive_function`` computes :math:`g`, and ``derivative`` computes :math:`g'`; without the latter,
    autograd differentiates the primitive.

    Args:
        spiking: whether to return spikes; ``False`` returns the primitive itself, differentiable.
        parameters: what shapes the curve, by name: a number, a tensor (kept as a buffer) that broadcasts
            against the input, or an ``nn.Parameter``. The last is learned, by the gradient of the primitive.
    Shape:
        input any shape ``[*]``, floating point: the potential minus its threshold; output the same shape and
        type. NaN comes out as NaN; the derivative at plus and minus infinity is the curve's limit, mostly 0.
    Raises:
        TypeError, ValueError: a parameter is no number, or is outside the range that its curve names.
    Differs from: SpikingJelly, whose spike of NaN is 0, and which accepts parameters that make no curve.
    Source: Neftci, Mostafa & Zenke, IEEE Signal Process. Mag. 36(6), 2019.
    Example:
        >>> class Cauchy(SurrogateFunction):
        ...     def __init__(self, width=1.0, spiking=True):
        ...         super().__init__(spiking, width=width)
        ...     @staticmethod
        ...     def primitive_function(x, width):
        ...         return torch.atan(x / width) / torch.pi + 0.5
        >>> x = torch.tensor([-1.0, 0.0, 1.0], requires_grad=True)
        >>> spike = Cauchy()(x)
        >>> spike.sum().backward()
        >>> spike.tolist(), x.grad
        ([0.0, 1.0, 1.0], tensor([0.1592, 0.3183, 0.1592]))
    """

    primitive_function: Callable[..., Tensor]
    """The curve: ``primitive_function(x, *parameters)``."""
    derivative: Callable[..., Tensor] | None
    """Its slope: ``derivative(x, *parameters)``; missing or ``None`` leaves it to autograd."""

    def __init__(self, spiking: bool = True, **parameters: float | Tensor):
        super().__init__()
        self.spiking = spiking
        self.parameter_names = tuple(parameters)
        for name, value in parameters.items():
            if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    @staticmethod
    def step(x: Tensor, *parameters: Any) -> Tensor:
        """What the surrogate computes forwards: :func:`heaviside`."""
        return heaviside(x)

    @classmethod
    def spiking_function(cls, x: Tensor, *parameters: Any) -> Tensor:
        """The spikes of ``x``, differentiable by the surrogate."""
        return fire(x, cls, *parameters)

    @classmethod
    def backward(cls, grad_output: Tensor, x: Tensor, *parameters: Any) -> Tensor:
        """The gradient with respect to ``x``, given the one with respect to the spikes."""
        return _backward(cls, grad_output, x, *parameters)

    def set_spiking_mode(self, spiking: bool) -> None:
        """Return spikes (``True``), or the primitive itself (``False``)."""
        self.spiking = spiking

    def forward(self, x: Tensor) -> Tensor:
        """The spikes of ``x``, or the primitive where ``spiking`` is ``False``."""
        check_tensor("x", x)
        values = (getattr(self, name) for name in self.parameter_names)
        parameters = [value.to(x.dtype) if isinstance(value, Tensor) else value for value in values]
        compute = self.spiking_function if self.spiking else self.primitive_function
        return compute(x, *parameters)

    def extra_repr(self) -> str:
        values = [f"{name}={shown(getattr(self, name))}" for name in self.parameter_names]
        return ", ".join(values if self.spiking else [*values, "spiking=False"])

    def _load_from_state_dict(self, state_dict, prefix, *args):  # pyright: ignore[reportIncompatibleMethodOverride]
        """As usual, but what is a plain number here, and was a buffer in an old checkpoint, is left out."""
        plain = [
            prefix + name for name in self.parameter_names if not isinstance(getattr(self, name), Tensor)
        ]
        kept = {key: value for key, value in state_dict.items() if key not in plain}
        super()._load_from_state_dict(kept, prefix, *args)


class FunctionSurrogate(SurrogateFunction):
    """What :func:`from_function` returns; its methods take ``x`` alone."""

    def __init__(
        self,
        primitive: Callable[[Tensor], Tensor],
        derivative: Callable[[Tensor], Tensor] | None = None,
        spiking: bool = True,
    ):
        for name, value in {"primitive": primitive, "derivative": derivative}.items():
            if not callable(value) and not (name == "derivative" and value is None):
                raise TypeError(f"`{name}` must be a function of x, got {value!r}.")
        super().__init__(spiking)
        self.primitive_function = primitive  # an nn.Module becomes a child, so its parameters are learned
        self.derivative = derivative

    def spiking_function(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return fire(x, self)

    def backward(self, grad_output: Tensor, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _backward(self, grad_output, x)

    def extra_repr(self) -> str:
        slope = "autograd" if self.derivative is None else _name(self.derivative)
        mode = "" if self.spiking else ", spiking=False"
        return f"primitive={_name(self.primitive_function)}, derivative={slope}{mode}"


def from_function(
    primitive: Callable[[Tensor], Tensor],
    derivative: Callable[[Tensor], Tensor] | None = None,
    spiking: bool = True,
) -> FunctionSurrogate:
    """A surrogate from a function of your own.

    Args:
        primitive: the curve, a function of ``x`` or an ``nn.Module``; parameters that it uses are learned.
        derivative: its slope; ``None`` lets autograd differentiate the primitive.
        spiking: as for :class:`SurrogateFunction`.
    Shape:
        as :class:`SurrogateFunction`; both functions keep the shape of ``x``.
    Raises:
        TypeError: an argument cannot be called.
    Example:
        >>> surrogate = from_function(torch.sigmoid)
        >>> x = torch.zeros(1, requires_grad=True)
        >>> surrogate(x).backward()
        >>> x.grad
        tensor([0.2500])
        >>> surrogate
        FunctionSurrogate(primitive=sigmoid, derivative=autograd)
    """
    return FunctionSurrogate(primitive, derivative, spiking)


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)
