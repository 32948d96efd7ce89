"""Figures of spikes, potentials, weights, event frames and learning curves.

Every function takes tensors, arrays or lists, draws on ``ax`` or else on a new pyplot figure,
and returns what it drew on; nothing is shown or saved.
"""

from spikeloom.plot.curves import curves
from spikeloom.plot.event_frames import event_frames
from spikeloom.plot.familiar import (
    plot_1d_spikes,
    plot_2d_bar_in_3d,
    plot_2d_feature_map,
    plot_2d_heatmap,
    plot_one_neuron_v_s,
)
from spikeloom.plot.images import feature_maps, heatmap
from spikeloom.plot.membrane import membrane
from spikeloom.plot.raster import raster
from spikeloom.plot.receptive_fields import receptive_fields

__all__ = [
    "curves",
    "event_frames",
    "feature_maps",
    "heatmap",
    "membrane",
    "plot_1d_spikes",
    "plot_2d_bar_in_3d",
    "plot_2d_feature_map",
    "plot_2d_heatmap",
    "plot_one_neuron_v_s",
    "raster",
    "receptive_fields",
]
