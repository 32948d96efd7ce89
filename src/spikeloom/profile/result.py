"""What was counted, layer by layer, and the energy that it stands for."""

from dataclasses import asdict, dataclass
from typing import Any

MAC_ENERGY = 4.6
"""Picojoules of a multiplication and an addition of 32-bit floats at 45 nm, 3.7 + 0.9: M. Horowitz,
Computing's energy problem (and what we can do about it), ISSCC 2014."""
AC_ENERGY = 0.9
"""Picojoules of the addition alone, from the same source."""


@dataclass(frozen=True)
class LayerProfile:
    """What one layer did, on average over the samples.

    Args:
        name: of the layer, in the network; ``''`` is the network itself.
        kind: its class.
        output_shape: of its output, for one sample and time step.
        parameters: numbers that it learns.
        input_rate: part of its input's values that are not zero; ``None`` for a layer without synapses.
        firing_rate: spikes per neuron and time step; ``None`` if it is no spiking neuron. Several spikes
            in one step are one.
        ann_macs: multiply-accumulates of the same layer in an ANN, per sample.
        acs: accumulates of the spiking layer, over all time steps, per sample.
        macs: its multiply-accumulates, over all time steps, per sample.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int = 0
    input_rate: float | None = None
    firing_rate: float | None = None
    ann_macs: float = 0.0
    acs: float = 0.0
    macs: float = 0.0


@dataclass(frozen=True)
class Profile:
    """What a network did, per sample.

    Args:
        layers: in the order in which they ran first.
        parameters: numbers that the network learns.
        num_steps: time steps of a sample.
        num_samples: samples that were counted.
        not_counted: operations and weights that took part and are not in the numbers, by name.
    """

    layers: tuple[LayerProfile, ...]
    parameters: int
    num_steps: int
    num_samples: int
    not_counted: tuple[str, ...]

    @property
    def ann_macs(self) -> float:
        """Multiply-accumulates of an ANN of the same shape."""
        return sum(layer.ann_macs for layer in self.layers)

    @property
    def acs(self) -> float:
        """Accumulates over all time steps."""
        return sum(layer.acs for layer in self.layers)

    @property
    def macs(self) -> float:
        """Multiply-accumulates over all time steps."""
        return sum(layer.macs for layer in self.layers)

    def energy(self, mac: float = MAC_ENERGY, ac: float = AC_ENERGY) -> float:
        """Picojoules of the synaptic operations.

        Args:
            mac, ac: picojoules of a multiply-accumulate and of an accumulate.
        """
        return self.macs * mac + self.acs * ac

    def ann_energy(self, mac: float = MAC_ENERGY) -> float:
        """Picojoules of an ANN of the same shape; argument as for :meth:`energy`."""
        return self.ann_macs * mac

    def as_dict(self) -> dict[str, Any]:
        """Everything, with the totals, as JSON can hold it."""
        return asdict(self) | {"ann_macs": self.ann_macs, "acs": self.acs, "macs": self.macs}

    def __str__(self) -> str:
        from spikeloom.profile.table import operations_table

        return "\n".join(operations_table(self))
