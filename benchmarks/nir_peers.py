"""Whether NIR graphs mean the same here and in other simulators: written here and run there, and back.

    bash ../shared/tools/peers_env.sh /opt/peers
    PYTHONPATH=src /opt/peers/bin/python benchmarks/nir_peers.py

The networks have random weights, 10-20-6, 40 time steps, 3 samples; printed is how many outputs differ,
of 720.
"""

import logging
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom import functional, layer, neuron
from spikeloom.exchange import export_to_nir, import_from_nir

T, N = 40, 3


def stack(linear: Any, first: nn.Module, second: nn.Module) -> nn.Sequential:
    net = nn.Sequential(linear(10, 20), first, linear(20, 6), second)
    for one in (net[0], net[2]):
        one.weight.data *= 4  # so that neurons fire
    return net


def by_steps(net: Any, x: Tensor) -> Tensor:
    """Outputs of a network that takes and gives its state."""
    outputs, state = [], None
    for step in x:
        output, state = net(step, state)
        outputs.append(output)
    return torch.stack(outputs)


def spikingjelly_reads(graph: Any, x: Tensor) -> Tensor:
    from spikingjelly.activation_based import nir_exchange

    return nir_exchange.import_from_nir(graph, dt=1e-4, step_mode="m")(x)[0]


def norse_reads(graph: Any, x: Tensor) -> Tensor:
    import norse.torch as norse

    return by_steps(norse.from_nir(graph, dt=1e-4), x)


def snntorch_reads(graph: Any, x: Tensor) -> Tensor:
    from snntorch.import_nir import import_from_nir as read

    return by_steps(read(graph), x)


def spikingjelly_writes(x: Tensor) -> tuple[Any, Tensor]:
    from spikingjelly.activation_based import functional, layer, neuron, nir_exchange

    net = stack(layer.Linear, neuron.LIFNode(3.0), neuron.IFNode())
    functional.set_step_mode(net, "m")
    return nir_exchange.export_to_nir(net, x, dt=1e-4), net(x)


def snntorch_writes(x: Tensor) -> tuple[Any, Tensor]:
    import snntorch
    from snntorch import utils
    from snntorch.export_nir import export_to_nir as write

    def leaky(beta: float, number: int, **settings: Any) -> nn.Module:
        settings |= {"init_hidden": True, "reset_mechanism": "zero", "threshold": torch.ones(number)}
        return snntorch.Leaky(torch.full((number,), beta), **settings)

    net = stack(nn.Linear, leaky(0.9, 20), leaky(0.8, 6, output=True))
    graph = write(net, x[0, 0])
    utils.reset(net)
    return graph, torch.stack([net(step)[0] for step in x])


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    torch.manual_seed(0)
    x = (torch.rand(T, N, 10) > 0.5).float()
    net = stack(layer.Linear, neuron.LIFNode(3.0), neuron.IFNode())
    functional.set_step_mode(net, "m")
    graph, wanted = export_to_nir(net, x), net(x)
    readers: dict[str, Callable[[Any, Tensor], Tensor]] = {
        "SpikingJelly": spikingjelly_reads,
        "Norse": norse_reads,
        "snnTorch": snntorch_reads,
    }
    for name, read in readers.items():
        try:
            print(f"written here, run in {name}: {int((read(graph, x) != wanted).sum())} differ")
        except Exception as error:  # whatever it does with what it cannot read
            print(f"written here, refused by {name}: {type(error).__name__}: {error}")
    for name, write in {"SpikingJelly": spikingjelly_writes, "snnTorch": snntorch_writes}.items():
        theirs, wanted = write(x)
        ours = import_from_nir(theirs, step_mode="m", fires_at_threshold=name == "SpikingJelly")
        print(
            f"written in {name}, run here: {int((ours(x) != wanted).sum())} differ, {wanted.mean():.3f} fire"
        )


if __name__ == "__main__":
    with torch.no_grad():
        main()
