"""The names of :mod:`spikeloom.exchange`, for scripts written for SpikingJelly."""

from spikeloom.exchange import *  # noqa: F403
