"""The networks of the parametric LIF neuron under the names that tutorials use, ``CIFAR10Net`` and its kin.

They begin in single-step mode, and take sequences ``[T, N, C, H, W]`` after ``functional.set_step_mode(net,
'm')``. :func:`spikeloom.model.create` makes the same networks with more options.
"""

from functools import partial
from typing import Any

from spikeloom.model.network import Network
from spikeloom.model.plif import plif_net
from spikeloom.model.tutorial import Class, made


def MNISTNet(channels: int = 128, spiking_neuron: Class = None, **settings: Any) -> Network:
    """For MNIST, 28 x 28.

    Args:
        channels: of each convolution.
        spiking_neuron: class of the neurons.
        settings: those of each neuron.
    Raises:
        TypeError: there is no such neuron.
    """
    convolutions = (channels, "P") * 2
    return made(plif_net, spiking_neuron, settings, convolutions=convolutions, in_channels=1, size=28)


FashionMNISTNet = MNISTNet


def NMNISTNet(channels: int = 128, spiking_neuron: Class = None, **settings: Any) -> Network:
    """For frames of N-MNIST, 34 x 34; arguments as for :func:`MNISTNet`."""
    convolutions = (channels, "P") * 2
    return made(plif_net, spiking_neuron, settings, convolutions=convolutions, in_channels=2, size=34)


def CIFAR10Net(channels: int = 256, spiking_neuron: Class = None, **settings: Any) -> Network:
    """For CIFAR-10, 32 x 32; arguments as for :func:`MNISTNet`."""
    convolutions = (channels, channels, channels, "P") * 2
    return made(plif_net, spiking_neuron, settings, convolutions=convolutions)


def CIFAR10DVSNet(channels: int = 128, spiking_neuron: Class = None, **settings: Any) -> Network:
    """For frames of CIFAR10-DVS, 128 x 128; arguments as for :func:`MNISTNet`."""
    return made(_of_events, spiking_neuron, settings, convolutions=(channels, "P") * 4)


def DVSGestureNet(channels: int = 128, spiking_neuron: Class = None, **settings: Any) -> Network:
    """For frames of DVS-Gesture, 128 x 128, eleven classes; arguments as for :func:`MNISTNet`."""
    return made(_of_events, spiking_neuron, settings, convolutions=(channels, "P") * 5, num_classes=11)


_of_events = partial(plif_net, in_channels=2, hidden=512, size=128)
