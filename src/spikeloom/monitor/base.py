"""What all monitors share."""

import warnings
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from spikeloom.errors import UnknownNameError, suggest
from spikeloom.steps import map_tensors

Instance = type | tuple[type, ...]


def identity(value: Any) -> Any:
    """``value``."""
    return value


class BaseMonitor:
    """What all monitors share: modules are chosen by class, and there is a record for each call of one.

    Args:
        net: the network.
        instance: class or classes of the modules to record; default: the class of ``net`` itself.
        function: applied to each value before it is kept.
        detach: whether records are cut from the autograd graph; keep the graph to use them in a loss.
    Attributes:
        records: all records, in the order in which they were made.
        monitored_layers: names of the recorded modules; ``''`` is ``net`` itself.
        name_records_index: for each name, which ``records`` are its own.
    Differs from: SpikingJelly's, whose records keep the graph (here with ``detach=False``) and share memory
        with the network's tensors.
    """

    def __init__(
        self,
        net: nn.Module,
        instance: Instance | None = None,
        function: Callable[[Any], Any] = identity,
        *,
        detach: bool = True,
    ):
        instance = type(net) if instance is None else instance
        self.function, self.detach = function, detach
        self.records: list[Any] = []
        self.hooks: list[Any] = []
        self._enable = True
        modules = self._chosen(net, instance)
        if not modules:
            warnings.warn(
                f"{type(self).__name__} records nothing: {type(net).__name__} has no module of {instance}.",
                stacklevel=3,
            )
        self.monitored_layers = list(modules)
        self.name_records_index: dict[str, list[int]] = {name: [] for name in modules}
        for name, module in modules.items():
            self.hooks.append(self._watch(name, module))

    def _chosen(self, net: nn.Module, instance: Instance) -> dict[str, nn.Module]:
        """The modules to record, by name."""
        return {name: module for name, module in net.named_modules() if isinstance(module, instance)}

    def _watch(self, name: str, module: nn.Module) -> Any:
        """Hang the monitor's hook on ``module``; the handle removes it."""
        raise NotImplementedError

    def _record(self, name: str, value: Any) -> None:
        if self._enable and self.hooks:
            value = self.function(map_tensors(Tensor.detach, value) if self.detach else value)
            self.name_records_index[name].append(len(self.records))
            # Copies: neither later steps nor the user's in-place changes may reach the records.
            self.records.append(map_tensors(Tensor.clone, value))

    def __getitem__(self, i: int | slice | str) -> Any:
        """The ``i``-th record; or the list of all records of the module of that name."""
        if not isinstance(i, str):
            return self.records[i]
        if i not in self.name_records_index:
            raise UnknownNameError(f"No recorded module is called {i!r}. {suggest(i, self.monitored_layers)}")
        return [self.records[index] for index in self.name_records_index[i]]

    def __len__(self) -> int:
        return len(self.records)

    def clear_recorded_data(self) -> None:
        """Drop the records, and go on recording."""
        self.records.clear()
        for indices in self.name_records_index.values():
            indices.clear()

    def enable(self) -> None:
        """Record again."""
        self._enable = True

    def disable(self) -> None:
        """Pause recording."""
        self._enable = False

    def is_enable(self) -> bool:
        """Whether records are made."""
        return self._enable

    def remove_hooks(self) -> None:
        """Take the monitor off the network for good; the records stay."""
        for hook in self.hooks:
            hook.remove()
        self.hooks.clear()

    close = remove_hooks

    def __enter__(self):
        return self

    def __exit__(self, *_exception: Any) -> None:
        self.remove_hooks()
