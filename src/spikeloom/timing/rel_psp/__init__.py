"""ReL-PSP: potentials rise linearly after each spike, so firing times have a closed form."""

from spikeloom.timing.rel_psp.layers import ReLPSPConv2d, ReLPSPLinear

__all__ = ["ReLPSPConv2d", "ReLPSPLinear"]
