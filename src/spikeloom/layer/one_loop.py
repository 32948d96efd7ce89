"""Modules that a neuron's compiled loop carries out along with the neuron, where nobody notices."""

from torch import nn
from torch.nn.modules.module import _has_any_global_hook

from spikeloom.neuron import BaseNode

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
FORWARDS = frozenset({"forward", "single_step_forward", "multi_step_forward"})
"""What an instance may have of its own instead of its class's."""


def can_share_a_loop(node: nn.Module, other: nn.Module) -> bool:
    """Whether a neuron and a module next to it run as their classes say, and nobody looks in between."""
    return (
        isinstance(node, BaseNode)
        and type(node).forward is BaseNode.forward
        and type(node).multi_step_forward is BaseNode.multi_step_forward
        and not FORWARDS & {*vars(node), *vars(other)}
        and not any(getattr(module, kind) for module in (node, other) for kind in _HOOKS)
        and not _has_any_global_hook()
    )
