"""The networks of the parametric LIF neuron under the names that tutorials use, ``CIFAR10Net`` and its kin.

They begin in single-step mode, and take sequences ``[T, N, C, H, W]`` after ``functional.set_step_mode(net,
'm')``. :func:`spikeloom.model.create` makes the same networks with more options.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from spikeloom.model import tutorial
from spikeloom.model.network import Network, Neuron
from spikeloom.model.plif import plif_net

Class = Callable[..., nn.Module] | None


def MNISTNet(channels: int = 128, spiking_neuron: Class = None, **settings: Any) -> Network:
    """For MNIST, 28 x 28.

    Args:
        channels: of each convolution.
        spiking_neuron: class of the neurons.
        settings: those of each neuron.
    Raises:
        TypeError: there is no such neuron.
    """
    neuron = tutorial.neuron_of(spiking_neuron, settings)
    net = plif_net(T=None, neuron=neuron, convolutions=(channels, "P") * 2, in_channels=1, size=28)
    return tutorial.single_step(net)


FashionMNISTNet = MNISTNet


def NMNISTNet(channels: int = 128, spiking_neuron: Class = None, **settings: Any) -> Network:
    """For frames of N-MNIST, 34 x 34; arguments as for :func:`MNISTNet`."""
    neuron = tutorial.neuron_of(spiking_neuron, settings)
    net = plif_net(T=None, neuron=neuron, convolutions=(channels, "P") * 2, in_channels=2, size=34)
    return tutorial.single_step(net)


def CIFAR10Net(channels: int = 256, spiking_neuron: Class = None, **settings: Any) -> Network:
    """For CIFAR-10, 32 x 32; arguments as for :func:`MNISTNet`."""
    neuron = tutorial.neuron_of(spiking_neuron, settings)
    convolutions = (channels, channels, channels, "P") * 2
    return tutorial.single_step(plif_net(T=None, neuron=neuron, convolutions=convolutions))


def CIFAR10DVSNet(channels: int = 128, spiking_neuron: Class = None, **settings: Any) -> Network:
    """For frames of CIFAR10-DVS, 128 x 128; arguments as for :func:`MNISTNet`."""
    return tutorial.single_step(_dvs(4, channels, 10, tutorial.neuron_of(spiking_neuron, settings)))


def DVSGestureNet(channels: int = 128, spiking_neuron: Class = None, **settings: Any) -> Network:
    """For frames of DVS-Gesture, 128 x 128, eleven classes; arguments as for :func:`MNISTNet`."""
    return tutorial.single_step(_dvs(5, channels, 11, tutorial.neuron_of(spiking_neuron, settings)))


def _dvs(depth: int, channels: int, num_classes: int, neuron: Neuron) -> Network:
    """A network for the frames of an event camera."""
    return plif_net(
        num_classes=num_classes,
        in_channels=2,
        T=None,
        neuron=neuron,
        convolutions=(channels, "P") * depth,
        hidden=512,
        size=128,
    )
