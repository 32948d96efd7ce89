"""State over time: named memories that reset, detach, follow the input, and say what went wrong.

A memory is a module's state between time steps: a membrane potential, an adaptive threshold, a trace. It is
neither a parameter nor a buffer, so it is never in ``state_dict``. It starts from a reset value, usually a
number, and becomes a tensor with the first input. Nothing here knows what a neuron is.
"""

import contextlib
import contextvars
import copy
import inspect
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from spikeloom.checks import check_tensor
from spikeloom.errors import ForgottenResetError, RecomputedError, ShapeError, describe
from spikeloom.steps import StepFunctions, StepModule, loop_over_time, map_tensors

BOOKKEEPING = frozenset({"_graph", "_step_shape", "_stepping", "_recorded"})
"""Attributes of a :class:`MemoryModule` that say where a sequence stands, and nothing of what is computed."""
HALF = (torch.float16, torch.bfloat16)
"""Types of input that are computed in float32."""
_recomputing: contextvars.ContextVar[bool] = contextvars.ContextVar("spikeloom_recomputing", default=False)
_exporting = getattr(torch.compiler, "is_exporting", lambda: False)
# Whether the backward pass that is running keeps its graph (``retain_graph=True``); private, so optional.
_keeps_graph = getattr(
    getattr(torch._C, "_autograd", None), "_get_current_graph_task_keep_graph", lambda: False
)


def _run_as_it_is(function: Any) -> None:
    """Have Dynamo, where it meets a function behind a break of the graph, run it instead of reading it."""
    with contextlib.suppress(AttributeError):  # private names of PyTorch's
        dynamo: Any = getattr(torch._C, "_dynamo").eval_frame  # noqa: B009
        skip = dynamo._FrameAction.SKIP
        dynamo.set_code_exec_strategy(function.__code__, dynamo._FrameExecStrategy(skip, skip))


_run_as_it_is(describe)  # which walks the stack


@contextlib.contextmanager
def recomputing() -> Iterator[None]:
    """A block in which a computation may be repeated or exported, because the memories were set first."""
    token = _recomputing.set(True)
    try:
        yield
    finally:
        _recomputing.reset(token)


def is_recomputing() -> bool:
    """Whether a computation is being repeated in such a block; Dynamo, which reads no context variable, does
    not see one."""
    return not torch.compiler.is_dynamo_compiling() and _recomputing.get()


def outside_of_checkpoints() -> saved_tensors_hooks:
    """A block with a backward pass of its own, which may stand in a forward pass: activation checkpointing
    would keep nothing for it, and run the network again."""
    return saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor)


def _may_repeat() -> bool:
    # In a graph that is being made, memories are values like any other; and Dynamo reads no context variable.
    return torch.compiler.is_compiling() or _recomputing.get()


_assigned: set[str] = {"_v_steps"}


def _expect_assignments(names: Iterable[str]) -> None:
    """Do not let PyTorch warn that attributes with these names, which it sets back, were assigned."""
    _assigned.update(names)
    name = rf"self\.([\w.]+\.)?({'|'.join(map(re.escape, sorted(_assigned)))})(\[\d+\])?"
    warnings.filterwarnings(
        "ignore", rf"The tensor attributes? {name}(, {name})* w\w+ assigned during export"
    )


class _Graph:
    """The autograd graph that grew since the last reset or detach; a backward pass marks it as freed."""

    freed = False

    def watch(self, output: Any) -> None:
        if isinstance(output, Tensor) and output.grad_fn is not None:
            output.grad_fn.register_prehook(self._on_backward)

    def _on_backward(self, _gradients: Any) -> None:
        self.freed = self.freed or not _keeps_graph()


class MemoryModule(nn.Module, StepModule, StepFunctions):
    """A module with memories: state over time that is reset between sequences.

    Subclasses register memories and write :meth:`single_step_forward`; a sequence is a loop over it unless
    :meth:`multi_step_forward` is overridden too.

    Every call first prepares the input and the memories. Integer and boolean input is cast to the default
    float type. Half and bfloat16 input is computed in float32, so that memories keep float32, and the output
    is cast back. Memories move to the input's device. Raised errors name the module and the cure.

    Args:
        step_mode: ``'s'`` (one time step) or ``'m'`` (a sequence, time first).
    Shape:
        input ``[N, *]`` (``'s'``; ``[]`` works too) or ``[T, N, *]`` (``'m'``), ``T >= 1``; an empty batch
        is allowed.
    Raises:
        ForgottenResetError: a memory carries the graph of a backward pass that has already run.
        ShapeError: the sequence has no time steps, or the input's shape changed without a reset.
    Example:
        >>> class Counter(MemoryModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.register_memory("total", 0.0)
        ...     def single_step_forward(self, x):
        ...         self.total = self.total + x
        ...         return self.total
        >>> counter = Counter()
        >>> counter(torch.ones(2)), counter(torch.ones(2))
        (tensor([1., 1.]), tensor([2., 2.]))
        >>> counter.reset(); counter.total
        0.0
    """

    computes_in_float32 = True
    """Whether half input is cast to float32 for the computation; containers leave it to their children."""

    cuts_memories: bool
    """Whether memories are cut from the graph before each time step, so that no gradient goes back through
    time; for the time of a call, see :class:`spikeloom.learning.SLTT`."""

    if TYPE_CHECKING:  # memories and settings are added by name

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, step_mode: str = "s"):
        super().__init__()
        self._memories: dict[str, Any] = {}  # name -> reset value; the current value is a plain attribute
        self._graph = _Graph()
        self._step_shape: torch.Size | None = None  # of one step's input since the last reset
        self._stepping = False
        self.cuts_memories = False
        self._recorded: frozenset[str] = frozenset()  # attributes that a step made, for others to look at
        self.step_mode = step_mode

    @property
    def gives_single_steps(self) -> bool:
        """Whether the modules within get single steps of a sequence too, as it is a loop over
        :meth:`single_step_forward`. ``functional.set_step_mode`` then leaves them as they are."""
        cls = type(self)
        defaults = (MemoryModule.forward, MemoryModule.multi_step_forward)
        return (cls.forward, cls.multi_step_forward) == defaults and not self.has_sequence_function()

    def register_memory(self, name: str, value: Any) -> None:
        """Add a memory that starts as ``value`` and returns to it on :meth:`reset`.

        Args:
            name: attribute under which the memory is read and written; a plain attribute of that name is
                replaced.
            value: a number (it takes the input's shape), a tensor, ``None``, or anything that can be copied.
        Raises:
            ValueError: the name is taken, or ``value`` is a tensor that needs a gradient.
        """
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"Call super().__init__() before register_memory({name!r}, ...).")
        if name in {*self._parameters, *self._buffers, *self._modules} or hasattr(type(self), name):
            raise ValueError(
                f"`name` of a memory must be free, but {type(self).__name__}.{name} exists already."
            )
        self._memories[name] = _start(name, value)
        self.__dict__[name] = copy.deepcopy(value)

    def set_reset_value(self, name: str, value: Any) -> None:
        """Change what :meth:`reset` sets the memory ``name`` to."""
        if name not in self._memories:
            raise ValueError(
                f"`name` must be a memory of {type(self).__name__}, one of {list(self._memories)}, got "
                f"{name!r}."
            )
        self._memories[name] = _start(name, value)

    def get_reset_value(self, name: str) -> Any:
        """What :meth:`reset` sets the memory ``name`` to."""
        return self._memories[name]

    def reset(self) -> None:
        """Set every memory to its reset value. Call it between sequences: ``functional.reset_net(net)``."""
        for name, value in self._memories.items():
            self.__dict__[name] = copy.deepcopy(value)
        self._graph = _Graph()
        self._step_shape = None

    def detach(self) -> None:
        """Keep the memories' values but cut them from the graph: truncated backpropagation through time."""
        for name, value in self.named_memories():
            self.__dict__[name] = map_tensors(Tensor.detach, value)
        self._graph = _Graph()

    def memory_state(self) -> dict[str, Any]:
        """The memories and where the sequence stands, for :meth:`load_memory_state`."""
        names = (*self._memories, "_graph", "_step_shape", "_stepping", "cuts_memories")
        return {name: self.__dict__[name] for name in names}

    def load_memory_state(self, state: dict[str, Any], copy: bool = False) -> None:
        """Go back to where :meth:`memory_state` was called; with ``copy`` to copies, so that a step that
        changes its memories in place leaves the state as it is."""
        for name, one in state.items():
            found = one.clone() if copy and isinstance(one, Tensor) else one
            self.__dict__[name] = list(found) if isinstance(found, list) else found

    def memories(self) -> Iterator[Any]:
        """The current value of each memory."""
        for name in self._memories:
            yield self.__dict__[name]

    def named_memories(self) -> Iterator[tuple[str, Any]]:
        """Each memory's name and current value."""
        for name in self._memories:
            yield name, self.__dict__[name]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """One time step or a whole sequence, as ``step_mode`` says."""
        is_single = self.step_mode == "s"
        step = self.single_step_forward if is_single else self.multi_step_forward
        if not args:
            name = next(iter(inspect.signature(step).parameters), "")
            if name not in kwargs:
                return step(**kwargs)
            args = (kwargs.pop(name),)
        given = args[0]
        check_tensor("x", given, self)
        if self.cuts_memories:
            MemoryModule.detach(self)  # and nothing else that a class may keep, such as what was recorded
        x, compiling = self._prepared(given), torch.compiler.is_compiling()
        shape = x.shape if is_single else x.shape[1:]
        held = self.__dict__  # written to directly, as attributes are not looked up in it by nn.Module
        before = {} if compiling else {name: held[name] for name in self._memories}
        held["_stepping"] = True
        try:
            output = None if args[1:] or kwargs else self._woven(x)
            if output is None:
                output = step(x, *args[1:], **kwargs)
            held["_step_shape"] = shape
        except BaseException as error:
            held.update(before)  # a step that failed remembers nothing
            if isinstance(error, RuntimeError):
                self._explain(error, shape)
            raise
        finally:
            held["_stepping"] = False
        if is_single:
            output = map_tensors(self._unshared, output)
        if not compiling:
            if self._memories:
                self._own_memories(x)
            outputs = output if isinstance(output, tuple) else (output,)
            for one in (*outputs, *self.memories()):  # a loss may be of either
                self._graph.watch(one)
        if given.dtype in HALF:
            output = map_tensors(lambda one: one.to(given.dtype) if one.is_floating_point() else one, output)
        return output

    def single_step_forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """One time step: input ``[N, *]``. Subclasses write this, or the step as a function."""
        return self._by_function(self.single_step_functional_forward, (x, *args), "s", kwargs)

    def multi_step_forward(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Any:
        """A sequence: input ``[T, N, *]``; the plain loop over :meth:`single_step_forward`, which is given a
        step of it and all other arguments as they are."""
        if self.has_sequence_function():
            return self._by_function(self.multi_step_functional_forward, (x_seq, *args), "m", kwargs)

        def step(x: Tensor) -> Any:
            if self.cuts_memories:
                MemoryModule.detach(self)
            output = self.single_step_forward(x, *args, **kwargs)
            # The next step may change its memories in place.
            return map_tensors(lambda one: one.clone() if self._is_memory(one) else one, output)

        return loop_over_time(step, x_seq)

    def has_sequence_function(self) -> bool:
        """Whether the class has a :meth:`multi_step_functional_forward` of its own."""
        own = type(self).multi_step_functional_forward
        return own is not StepFunctions.multi_step_functional_forward

    def _by_function(
        self, function: Callable[..., Any], inputs: tuple[Any, ...], step_mode: str, kwargs: dict[str, Any]
    ) -> Any:
        """Outputs of a function of inputs and memories, after it said what the memories are then."""
        states = self.materialize_states(inputs, tuple(self.memories()), step_mode)
        outputs, memories = function(inputs, states, **kwargs)
        is_pair = isinstance(outputs, tuple) and isinstance(memories, tuple | list)
        if not is_pair or len(memories) != len(self._memories):
            raise TypeError(
                f"{function.__name__} of {describe(self)} must return two tuples, of outputs and of its "
                f"{len(self._memories)} memories."
            )
        for name, value in zip(self._memories, memories, strict=True):
            is_part = isinstance(value, Tensor) and value._is_view()  # as the last step of an output
            setattr(self, name, value.clone() if is_part else value)
        return outputs[0] if len(outputs) == 1 else outputs

    def _prepared(self, x: Tensor) -> Tensor:
        """The input in a type to compute in, after the memories were checked against it and moved to it."""
        if not (x.is_floating_point() or x.is_complex()):
            x = x.to(torch.get_default_dtype())
        elif x.dtype in HALF and self.computes_in_float32 and not self._reads_half(x):
            x = x.float()
        if self.step_mode == "m" and (x.dim() == 0 or x.shape[0] == 0):
            raise ShapeError(
                f"{describe(self)} is in multi-step mode and expects a sequence [T, N, *] with T >= 1, got "
                f"{list(x.shape)}. Give it at least one time step, or call functional.set_step_mode(net, "
                "'s')."
            )
        self._refuse_to_recompute()
        self._check_shape(x.shape[1:] if self.step_mode == "m" else x.shape)
        self._follow(x)
        return x

    def _reads_half(self, x: Tensor) -> bool:
        """Whether what runs this module reads half input itself, and computes in float32."""
        return False

    def _explain(self, error: RuntimeError, shape: torch.Size) -> None:
        """Raise an error that says more than one of PyTorch's, if there is one, about an input of a shape."""
        half = next((name for name, one in self.named_parameters() if one.dtype in HALF), None)
        if half and self.computes_in_float32 and re.search("dtype|scalar type", str(error)):
            raise TypeError(
                f"{describe(self)} computes in float32, but its parameter '{half}' is of a half type. Write "
                f"computes_in_float32 = False into {type(self).__name__}, or keep its parameters in float32."
            ) from error

    def _unshared(self, output: Tensor) -> Tensor:
        """``output``, or a copy if the caller could not change it in place, as in ``counter = net(x); counter
        += net(x)``: it may be a memory itself, or saved for the backward pass. A graph that is being made
        cannot ask."""
        shared = (
            output.requires_grad
            or torch.compiler.is_compiling()
            or output._is_view()
            or self._is_memory(output)
        )
        return output.clone() if shared else output

    def _woven(self, _x: Tensor) -> Tensor | None:
        """What a step or a sequence gives, from what runs it faster than the methods of this class, if there
        is something."""
        return None

    def _own_memories(self, x: Tensor) -> None:
        """Copy those memories that are, or look at, the input ``x``: it is the caller's, who may write into
        it."""
        with torch._C.DisableTorchFunction():  # this is no operation of the step, which may be recorded
            place = _place(x)
            shared = [
                name
                for name, value in self.named_memories()
                if isinstance(value, Tensor) and _place(value) == place
            ]
        for name in shared:
            self.__dict__[name] = self.__dict__[name].clone()

    def _is_memory(self, output: Any) -> bool:
        return any(output is value for value in self.memories() if isinstance(value, Tensor))

    def _refuse_to_recompute(self) -> None:
        """A computation that is repeated or exported must start from the memories that it started from."""
        started = any(isinstance(value, Tensor) for value in self.memories())
        if started and not _may_repeat() and torch._C._current_graph_task_id() >= 0:
            raise RecomputedError(
                f"{describe(self)} is run again in a backward pass, as activation checkpointing does, but "
                "its memories are those after its first run. Use spikeloom.functional.checkpoint, which "
                "restores them, or reset the network inside the checkpointed function."
            )
        if _exporting() and self._memories and not is_recomputing():
            self._prepare_export()

    def _prepare_export(self) -> None:
        """An exported graph has no memories: each of its calls has to start from the reset state."""
        started = any(
            isinstance(value, Tensor) and not isinstance(self._memories[name], Tensor)
            for name, value in self.named_memories()
        )
        if started or self._step_shape is not None or self.step_mode == "s":
            raise RecomputedError(
                f"{describe(self)} cannot be exported like this: its memories would be lost. Export it in "
                "multi-step mode, after functional.reset_net(net): each call starts from the reset state."
            )
        if not torch.compiler.is_dynamo_compiling():
            _expect_assignments(self._memories)

    def _check_shape(self, shape: torch.Size) -> None:
        if self._step_shape is not None and self._step_shape != shape and self._memories:
            raise ShapeError(
                f"{describe(self)} remembers inputs of shape {list(self._step_shape)} per time step, but got "
                f"{list(shape)}. Call functional.reset_net(net) before a batch of another size; each place "
                "in a network needs a neuron of its own."
            )

    def _follow(self, x: Tensor) -> None:
        """Bring the memories to the input's device and type; refuse those whose graph is gone."""
        for name, value in self.named_memories():
            if not isinstance(value, Tensor):
                continue
            stale = self._graph.freed and value.grad_fn is not None and not _may_repeat()
            if stale and torch.is_grad_enabled():
                shown = describe(self)
                lost = "" if "'" in shown else " If you do: a neuron in a plain list is no part of a network."
                raise ForgottenResetError(
                    f"{shown}: its memory '{name}' belongs to a sequence whose backward pass has "
                    "already run; going on would end in PyTorch's 'Trying to backward through the graph a "
                    "second time'. Call functional.reset_net(net) after each batch, or "
                    f"functional.detach_net(net) to keep the memories.{lost}"
                )
            compiling = torch.compiler.is_dynamo_compiling()  # it cannot ask for inference tensors
            if not compiling and value.is_inference() and not torch.is_inference_mode_enabled():
                value = value.clone()  # an inference tensor cannot take part in training; its copy can
            if value.is_floating_point() and x.is_floating_point():
                dtype = torch.float32 if x.dtype in HALF else x.dtype
                value = value.to(device=x.device, dtype=dtype if self.computes_in_float32 else None)
            else:
                value = value.to(x.device)
            self.__dict__[name] = value

    def __setattr__(self, name: str, value: Any) -> None:
        memories = self.__dict__.get("_memories", {})
        if name in memories:
            if not self._stepping:  # set by hand: a new start, whatever graph and shape the old value had
                self._graph, self._step_shape = _Graph(), None
            self.__dict__[name] = value
        elif self.__dict__.get("_stepping") and isinstance(value, Tensor) and name not in self._recorded:
            if name in self.__dict__:
                self._adopt(name)
                self.__dict__[name] = value
            else:
                self._recorded |= {name}
                super().__setattr__(name, value)
        elif name in self.__dict__ and not isinstance(value, Tensor | nn.Module):
            self.__dict__[name] = value  # as torch does, which looks for more that it might be
        else:
            super().__setattr__(name, value)

    def _adopt(self, name: str) -> None:
        """An attribute got a tensor during a step: state that nobody registered."""
        start = self.__dict__[name]
        if isinstance(start, Tensor):
            start = start.detach()
        warnings.warn(
            f"{describe(self)} changed its attribute '{name}' from {start!r} to another value during a step, "
            f"so it is state over time, and is now treated as a memory: reset() returns it to {start!r}. To "
            f"say so yourself, write self.register_memory('{name}', {start!r}) in __init__.",
            stacklevel=4,
        )
        self.register_memory(name, start)

    def __delattr__(self, name: str) -> None:
        if name in self._memories:
            del self._memories[name], self.__dict__[name]
        else:
            super().__delattr__(name)

    def __getstate__(self) -> dict[str, Any]:
        """What ``deepcopy`` and ``pickle`` take: memories cut from the graph, which neither can copy."""
        state = {
            name: map_tensors(_cut, value) if isinstance(value, Tensor) or name in self._memories else value
            for name, value in self.__dict__.items()
        }
        state["_graph"], state["_memories"] = _Graph(), dict(self._memories)
        state["cuts_memories"] = False  # a copy may be made in the middle of a call
        step: Any = state.pop("single_step_forward", None)
        while hasattr(step, "previous"):  # of a recording, which a copy is no part of
            step = step.previous
        return state if step is None else state | {"single_step_forward": step}


def _cut(tensor: Tensor) -> Tensor:
    return tensor if tensor.grad_fn is None else tensor.detach()


def _place(tensor: Tensor) -> int:
    """Where the numbers of a tensor are, and of those that look at it."""
    try:
        return tensor.untyped_storage()._cdata
    except (RuntimeError, NotImplementedError):  # a transformation of torch.func's has none
        return id(tensor)


def _start(name: str, value: Any) -> Any:
    """What a memory starts from, as its own copy."""
    if isinstance(value, Tensor) and value.requires_grad:
        raise ValueError(
            f"`value` of the memory '{name}' must need no gradient, as each reset takes a copy of it: give "
            f"it detach()ed. To learn what it starts from, set it after each reset: net.{name} = start."
        )
    return copy.deepcopy(value)


def memory_states(net: nn.Module) -> list[tuple[MemoryModule, dict[str, Any]]]:
    """The modules of a network that have memories, each with their state, for :func:`load_memory_states`."""
    return [(one, one.memory_state()) for one in net.modules() if isinstance(one, MemoryModule)]


def load_memory_states(states: Iterable[tuple[MemoryModule, dict[str, Any]]], copy: bool = False) -> None:
    """Set modules back to what :func:`memory_states` found; arguments as of
    :meth:`MemoryModule.load_memory_state`."""
    for module, state in states:
        module.load_memory_state(state, copy=copy)
