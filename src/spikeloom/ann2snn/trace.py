"""A network as a graph of its operations, less what does nothing in evaluation."""

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from spikeloom.ann2snn.operations import function_name
from spikeloom.ann2snn.qcfs import QCFS
from spikeloom.ann2snn.report import Row
from spikeloom.errors import ConversionError
from spikeloom.memory import StepModule

_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
_NOTHING_BY_NAME = {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"}
# By exact class: a subclass may compute its weights.
_FUSE: dict[type[nn.Module], tuple[type[nn.Module], Callable[[Any, Any], nn.Module]]] = {
    nn.Linear: (nn.BatchNorm1d, fuse_linear_bn_eval),
    nn.Conv1d: (nn.BatchNorm1d, fuse_conv_bn_eval),
    nn.Conv2d: (nn.BatchNorm2d, fuse_conv_bn_eval),
    nn.Conv3d: (nn.BatchNorm3d, fuse_conv_bn_eval),
}


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, QCFS | StepModule) or super().is_leaf_module(m, module_qualified_name)


Rows = dict[str, Row | None]  # by the names of the graph's nodes, in its order


def trace(model: nn.Module, x: Tensor) -> tuple[fx.GraphModule, Rows]:
    """A copy of ``model`` in evaluation mode, as a graph without dropout and with batch norm folded.

    Args:
        model: takes one tensor ``[N, *]``.
        x: some samples, from which the shapes are known.
    Returns:
        the graph, and the report's rows of the operations that are no longer in it
    Raises:
        ConversionError: torch.fx cannot trace the model, or it takes more than one input.
    """
    model = copy.deepcopy(model).eval()
    try:
        graph = _Tracer().trace(model)
    except Exception as error:  # whatever the model's own code raises when it is given a proxy
        raise ConversionError(
            f"`model` must be a network that torch.fx can trace, got {type(error).__name__}: {error}. "
            "Its forward() may not decide by the values of tensors, nor give them to other than PyTorch's "
            "functions: move such code out of it."
        ) from error
    inputs = [node for node in graph.nodes if node.op == "placeholder" and not node.args]
    if len(inputs) != 1:
        names = ", ".join(node.name for node in inputs) or "none"
        raise ConversionError(f"`model` must take one tensor, got a forward() of {len(inputs)}: {names}.")
    model(x)  # what does not fit is told best by PyTorch
    rows: Rows = dict.fromkeys(node.name for node in graph.nodes)
    ann = fx.GraphModule(model, graph)
    _remove_dropout(ann, rows)
    _fold_batch_norm(ann, x, rows)
    ann.recompile()
    return ann, rows


def _remove_dropout(ann: fx.GraphModule, rows: Rows) -> None:
    for node in ann.graph.nodes:
        if node.op == "call_module":
            module = ann.get_submodule(str(node.target))
            name, label, found = str(node.target), type(module).__name__, isinstance(module, _NOTHING)
        else:
            name, label = node.name, function_name(node)
            found = node.op == "call_function" and label in _NOTHING_BY_NAME
        if found:
            _remove(ann, node, rows, Row(name, label, "removed: it does nothing in evaluation"))


def _fold_batch_norm(ann: fx.GraphModule, x: Tensor, rows: Rows) -> None:
    """Change the weights of each layer that only a batch norm reads, so that it is not needed."""
    ShapeProp(ann).propagate(x)
    calls = Counter(node.target for node in ann.graph.nodes if node.op == "call_module")
    for node in ann.graph.nodes:
        source = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(source, fx.Node) or source.op != "call_module":
            continue
        layer, norm = (ann.get_submodule(str(one.target)) for one in (source, node))
        if type(layer) not in _FUSE or type(norm) is not _FUSE[type(layer)][0] or norm.running_mean is None:
            continue
        read_by_others = len(source.users) > 1 or calls[source.target] > 1
        over_last = type(layer) is not nn.Linear or len(source.meta["tensor_meta"].shape) == 2
        if over_last and not read_by_others:
            fused = _FUSE[type(layer)][1](layer, norm)
            fused.requires_grad_(any(weight.requires_grad for weight in layer.parameters()))
            ann.set_submodule(str(source.target), fused)
            row = Row(str(node.target), type(norm).__name__, f"folded into the weights of {source.target}")
            _remove(ann, node, rows, row)


def _remove(ann: fx.GraphModule, node: fx.Node, rows: Rows, row: Row) -> None:
    rows[node.name] = row
    node.replace_all_uses_with(node.all_input_nodes[0])
    ann.graph.erase_node(node)
