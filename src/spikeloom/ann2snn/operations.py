"""What each operation of a traced network is to a conversion: an activation, maximum pooling, linear, or
none of these."""

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, fx, nn

from spikeloom.ann2snn.qcfs import QCFS

Kind = Literal["activation", "maximum pooling", "linear", "unsupported"]

_ACTIVATIONS = (nn.ReLU, nn.ReLU6, QCFS)
_MAX_POOLS = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_LINEAR = (
    *_BATCH_NORMS,
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.Flatten, nn.Unflatten, nn.Upsample, nn.PixelShuffle, nn.PixelUnshuffle),
    *(nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d),
    *(nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d),
    *(nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d),
    *(nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d),
)

# Functions and methods, by name; an operation that works in place has the name with an underscore too.
_MODULE_OF = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    **{
        name: getattr(nn, f"{title}{dims}d")
        for dims in (1, 2, 3)
        for name, title in (
            (f"max_pool{dims}d", "MaxPool"),
            (f"adaptive_max_pool{dims}d", "AdaptiveMaxPool"),
        )
    },
}
_SUMS = {"add", "iadd", "sub", "isub", "cat", "concat", "concatenate", "stack"}
_LINEAR_IN_FIRST = {
    *("mul", "imul", "truediv", "itruediv", "div", "neg", "mean", "sum", "matmul"),
    *("flatten", "unflatten", "view", "reshape", "permute", "transpose", "movedim", "squeeze", "unsqueeze"),
    *("contiguous", "clone", "to", "float", "double", "getitem", "chunk", "split", "expand", "repeat"),
    *("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    *("avg_pool1d", "avg_pool2d", "avg_pool3d"),
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
    *("pad", "interpolate", "pixel_shuffle", "pixel_unshuffle"),
}
_EITHER_SIDE = {"mul", "imul", "matmul"}
_NONE_OF_THESE = "it is neither linear, nor a ReLU, nor maximum pooling"


@dataclass(frozen=True)
class Operation:
    """One operation of the graph.

    Args:
        node: it.
        name: what it is called where people read it.
        label: its class or function.
        kind: what it is to a conversion.
        module: an activation or a maximum pooling, as a module; a function's too.
        reason: why it cannot be converted.
    """

    node: fx.Node
    name: str
    label: str
    kind: Kind
    module: nn.Module | None = None
    reason: str = ""


class Examination(fx.Interpreter):
    """Runs a traced network on some samples, and says of each operation on them what it is."""

    def __init__(self, ann: fx.GraphModule):
        super().__init__(ann)
        self.operations: list[Operation] = []
        self._depends: set[fx.Node] = set()  # nodes that hold tensors that come from the samples
        self._batch = 0

    def of(self, x: Tensor) -> list[Operation]:
        """The operations that the samples ``x`` ``[N, *]`` pass through."""
        self._batch = len(x)
        self.run(x)
        return self.operations

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        parts = result if isinstance(result, tuple | list) else [result]
        tensors = [part for part in parts if isinstance(part, Tensor)]
        if n.op == "placeholder" and tensors:
            self._depends.add(n)
        if n.op in ("call_module", "call_function", "call_method") and tensors:
            sources = [source for source in n.all_input_nodes if source in self._depends]
            if sources:
                self._depends.add(n)
                self.operations.append(self._operation(n, sources, tensors))
        return result

    def _operation(self, node: fx.Node, sources: list[fx.Node], results: list[Tensor]) -> Operation:
        if node.op == "call_module":
            module = self.fetch_attr(str(node.target))
            named = (node, str(node.target), type(module).__name__)
            kind, reason = _kind_of_module(module)
            kept = module if kind in ("activation", "maximum pooling") else None
        else:
            name = function_name(node)
            named = (node, node.name, name)
            if name in _MODULE_OF and len(node.all_input_nodes) > 1:
                kept, kind = None, "unsupported"
                reason = "its size is computed: give numbers, or use nn.AdaptiveMaxPool1d(1) to pool all"
            elif name in _MODULE_OF:
                kept = self._as_module(node, _MODULE_OF[name])
                kind, reason = _kind_of_module(kept)
            else:
                kept, (kind, reason) = None, _kind_of_function(node, name, sources)
        if kind == "maximum pooling" and len(results) > 1:
            kind, reason = "unsupported", "it returns indices, which spikes do not have"
        if kind == "linear" and self._rounds(sources, results):
            kind, reason = "unsupported", "it rounds to whole numbers"
        if kind != "unsupported" and any(result.shape[:1] != (self._batch,) for result in results):
            shapes = ", ".join(str(list(result.shape)) for result in results)
            kind, reason = "unsupported", f"it must keep the samples in the first dimension, gives {shapes}"
        return Operation(*named, kind, kept, reason)

    def _rounds(self, sources: list[fx.Node], results: list[Tensor]) -> bool:
        given = [self.env[source] for source in sources]
        floats = any(isinstance(one, Tensor) and one.is_floating_point() for one in given)
        return floats and not all(result.is_floating_point() for result in results)

    def _as_module(self, node: fx.Node, cls: type[nn.Module]) -> nn.Module:
        """The module that does what a function or method does with its first argument."""
        if node.op == "call_method" or cls in _ACTIVATIONS:
            return cls()
        arguments = node.normalized_arguments(self.module, normalize_to_only_use_kwargs=True)  # type: ignore[arg-type]
        assert arguments is not None, "PyTorch knows the signatures of its own functions"
        settings = {key: value for key, value in arguments.kwargs.items() if key != "input"}
        settings["stride"] = settings.get("stride") or None
        if "output_size" in settings:
            del settings["stride"]
        return cls(**settings)


def function_name(node: fx.Node) -> str:
    """The name of a function or method of PyTorch's, without the underscore of those that work in place; of
    another function, with its module."""
    target = node.target
    if isinstance(target, str):
        return target.rstrip("_")
    name, home = getattr(target, "__name__", str(target)), getattr(target, "__module__", None) or "torch"
    return name.rstrip("_") if home.split(".")[0] in ("torch", "_operator") else f"{home}.{name}"


def _kind_of_module(module: nn.Module) -> tuple[Kind, str]:
    if isinstance(module, _MAX_POOLS):
        return "maximum pooling", ""
    if isinstance(module, _ACTIVATIONS):
        return "activation", ""
    if isinstance(module, _BATCH_NORMS) and module.running_mean is None:
        return "unsupported", "it uses the statistics of each batch (track_running_stats=False)"
    if isinstance(module, _LINEAR):
        return "linear", ""
    return "unsupported", _NONE_OF_THESE


def _kind_of_function(node: fx.Node, name: str, sources: list[fx.Node]) -> tuple[Kind, str]:
    if name in _SUMS:
        return "linear", ""
    if name not in _LINEAR_IN_FIRST:
        return "unsupported", _NONE_OF_THESE
    if node.kwargs.get("rounding_mode"):
        return "unsupported", "it rounds to whole numbers"
    if len(sources) > 1 or [*node.args, *node.kwargs.values()].count(sources[0]) > 1:
        return "unsupported", "it multiplies or divides two things that both depend on the input"
    first = node.args[0] if node.args else node.kwargs.get("input")
    if name not in _EITHER_SIDE and first is not sources[0]:
        return "unsupported", "it is not linear in the input"
    return "linear", ""
