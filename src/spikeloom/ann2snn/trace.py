"""A network as a graph of its operations, less what does nothing in evaluation."""

import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from spikeloom import functional
from spikeloom.ann2snn.in_place import work_out_of_place
from spikeloom.ann2snn.operations import function_name
from spikeloom.ann2snn.qcfs import QCFS
from spikeloom.ann2snn.report import Row
from spikeloom.ann2snn.samples import fitting
from spikeloom.errors import ConversionError
from spikeloom.event.record import copied
from spikeloom.layer.synchronised import plain_batch_norm
from spikeloom.monitor.hooks import has_hooks
from spikeloom.steps import StepModule

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
    uses_defaults = False  # not when a converted network is unpickled, which traces it anew

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, QCFS | StepModule) or super().is_leaf_module(m, module_qualified_name)

    def create_args_for_root(
        self, root_fn: Any, is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        """The model is traced with its inputs' defaults, if they have any: it may decide by them."""
        function, args = super().create_args_for_root(root_fn, is_module, concrete_args)
        parameters = inspect.signature(root_fn).parameters if self.uses_defaults else {}
        for i, arg in enumerate(args):
            if isinstance(arg, fx.Proxy) and (one := parameters.get(str(arg.node.target))):
                args[i] = arg if one.default is one.empty else one.default
        return function, args


Rows = dict[str, Row | None]  # by the names of the graph's nodes, in its order


def trace(model: nn.Module, x: Tensor) -> tuple[fx.GraphModule, Rows]:
    """A copy of ``model`` in evaluation mode, as a graph without dropout and with batch norm folded.

    Args:
        model: takes one tensor ``[N, *]``.
        x: some samples, from which the shapes are known.
    Returns:
        the graph, and the report's rows of the operations that are no longer in it
    Raises:
        ConversionError: torch.fx cannot trace the model, or makes something else of it; it has hooks that
            would be lost; or it has not one input and one output.
    """
    _refuse_hooks(model)
    model = copied(model, "model").eval()
    plain_batch_norm(model)  # after a training in several processes
    graph = _traced(model)
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        names = ", ".join(node.name for node in inputs) or "none"
        raise ConversionError(f"`model` must take one tensor, got a forward() of {len(inputs)}: {names}.")
    wanted = fitting(model, model, x.clone())
    if not isinstance(wanted, Tensor):
        raise ConversionError(f"`model` must return one tensor, got a {type(wanted).__name__}.")
    functional.reset_net(model)  # neurons are refused later, by their names
    work_out_of_place(model, graph)
    rows: Rows = dict.fromkeys(node.name for node in graph.nodes)
    ann = fx.GraphModule(model, graph)
    _check_same(ann(x), wanted)
    _check_each_alike(ann, x, wanted)
    _remove_dropout(ann, rows)
    _fold_batch_norm(ann, x, rows)
    ann.recompile()
    return ann, rows


def _refuse_hooks(model: nn.Module) -> None:
    """Refuse hooks on what is replaced, folded or removed; layers with weights and containers keep theirs."""
    for name, module in model.named_modules():
        stays = next(module.children(), None) or (
            getattr(module, "weight", None) is not None
            and not isinstance(module, nn.modules.batchnorm._BatchNorm)
        )
        if not stays and has_hooks(module):
            raise ConversionError(
                f"`model` must have no hooks on what is converted, got some on '{name}' "
                f"({type(module).__name__}). Remove them first: handle.remove(), with what "
                "register_forward_hook() returned."
            )


def _traced(model: nn.Module) -> fx.Graph:
    tracer = _Tracer()
    tracer.uses_defaults = True
    try:
        graph = tracer.trace(model)
    except Exception as error:  # whatever the model's own code raises when it is given a proxy
        raise ConversionError(
            f"`model` must be a network that torch.fx can trace, got {type(error).__name__}: {error}. "
            "Its forward() may not decide by the values of tensors, nor give them to other than PyTorch's "
            "functions: move such code out of it."
        ) from error
    for node in graph.nodes:
        if node.op == "placeholder" and node.args:  # it has a default
            graph.erase_node(node)
    return graph


def _check_each_alike(ann: fx.GraphModule, x: Tensor, wanted: Tensor) -> None:
    """Refuse what treats a sample otherwise among more of them: over time, several steps are one batch."""
    if not wanted.is_floating_point() or wanted.shape[:1] != x.shape[:1]:
        return
    try:
        with functional.fresh_state(ann):
            both = ann(torch.cat([x, x]))
        is_alike = torch.allclose(both, torch.cat([wanted, wanted]), 1e-3, 1e-5, equal_nan=True)
    except RuntimeError:  # it has room for so many samples only
        is_alike = False
    if not is_alike:
        raise ConversionError(
            "`model` must do the same with a sample whatever their number in the batch, got outputs that "
            "differ between one batch and two of them together. Look for the size of the batch in forward(), "
            "such as x.size(0) as a factor."
        )


def _check_same(output: Tensor, wanted: Tensor) -> None:
    """Refuse what the graph does otherwise than the model, such as ``+=`` on a tensor with a second name."""
    if not wanted.is_floating_point():  # what rounds is refused later, by its name
        return
    largest = (output - wanted).abs().max().item()
    if largest > torch.finfo(wanted.dtype).eps ** 0.5 * wanted.abs().max().item():
        raise ConversionError(
            "`model` must give in evaluation mode what torch.fx traces of it, got outputs that differ by up "
            f"to {largest:.3g}. Look for randomness, such as F.dropout(x) without training=self.training, "
            "and for what changes a tensor in place that is used elsewhere: write y = y + x for y += x."
        )


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
    # The weights of these layers are used elsewhere too.
    tied = {str(node.target).rpartition(".")[0] for node in ann.graph.nodes if node.op == "get_attr"}
    for node in ann.graph.nodes:
        source = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(source, fx.Node) or source.op != "call_module":
            continue
        layer, norm = (ann.get_submodule(str(one.target)) for one in (source, node))
        if type(layer) not in _FUSE or type(norm) is not _FUSE[type(layer)][0] or norm.running_mean is None:
            continue
        if has_hooks(layer):  # which may compute the weights, as of pruning
            continue
        read_by_others = len(source.users) > 1 or calls[source.target] > 1 or source.target in tied
        over_last = type(layer) is not nn.Linear or len(source.meta["tensor_meta"].shape) == 2
        if over_last and not read_by_others:
            fused = _FUSE[type(layer)][1](layer, _with_weights(norm))
            fused.requires_grad_(any(weight.requires_grad for weight in layer.parameters()))
            ann.set_submodule(str(source.target), fused)
            row = Row(str(node.target), type(norm).__name__, f"folded into the weights of {source.target}")
            _remove(ann, node, rows, row)


def _with_weights(norm: Any) -> Any:
    """A batch norm that has weights if it had none, without which PyTorch does not fuse a linear layer."""
    if norm.weight is None:
        norm.weight = nn.Parameter(torch.ones_like(norm.running_var), requires_grad=False)
        norm.bias = nn.Parameter(torch.zeros_like(norm.running_var), requires_grad=False)
    return norm


def _remove(ann: fx.GraphModule, node: fx.Node, rows: Rows, row: Row) -> None:
    rows[node.name] = row
    node.replace_all_uses_with(node.all_input_nodes[0])
    ann.graph.erase_node(node)
