"""Operations in place, made to give a new tensor: neurons do not write into their input."""

import torch
from torch import fx, nn


def work_out_of_place(model: nn.Module, graph: fx.Graph) -> None:
    """Change what works in place. What reads its input later is to read its output, which is what it read.

    Args:
        model: that was traced; its modules are changed.
        graph: of it, which is changed.
    """
    in_place = {name for name, module in model.named_modules() if getattr(module, "inplace", False) is True}
    for name in in_place:
        model.get_submodule(name).inplace = False  # type: ignore[assignment]
    done: set[fx.Node] = set()
    for node in graph.nodes:
        done.add(node)
        if node.target in in_place if node.op == "call_module" else _changed(node):
            node.all_input_nodes[0].replace_all_uses_with(node, lambda user: user not in done)


def _changed(node: fx.Node) -> bool:
    """Whether the function or method worked in place; if so, it does no more."""
    if node.kwargs.get("inplace"):
        node.kwargs = {**node.kwargs, "inplace": False}
        return True
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    home = {"call_method": torch.Tensor, "call_function": torch}.get(node.op)
    if home is None or not name.endswith("_") or name.endswith("__") or not hasattr(home, name[:-1]):
        return False
    node.target = name[:-1] if node.op == "call_method" else getattr(torch, name[:-1])
    return True
