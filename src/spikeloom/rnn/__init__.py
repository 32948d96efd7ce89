"""Recurrent layers whose gates and states are spikes: LSTM, GRU and the plain kind, cells and stacks of them.

As in PyTorch, states are arguments and results, so nothing has to be reset.
"""

from spikeloom.rnn.cells import SpikingGRUCell, SpikingLSTMCell, SpikingRNNCellBase, SpikingVanillaRNNCell
from spikeloom.rnn.stacked import SpikingGRU, SpikingLSTM, SpikingRNNBase, SpikingVanillaRNN

__all__ = [
    "SpikingGRU",
    "SpikingGRUCell",
    "SpikingLSTM",
    "SpikingLSTMCell",
    "SpikingRNNBase",
    "SpikingRNNCellBase",
    "SpikingVanillaRNN",
    "SpikingVanillaRNNCell",
]
