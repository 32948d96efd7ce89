"""Whether the neurons of docs/from-other-libraries.md give snnTorch's spikes, potentials and gradients.

    /opt/peers/bin/python benchmarks/snntorch_neurons.py

with the environment that ../shared/tools/peers_env.sh makes; half a minute. It runs the classes as they stand
on the page, over decays, thresholds and surrogates, on weak and strong input, and on input in eighths, whose
potentials fall exactly on the threshold. It ends with an error if a bit differs.
"""

import re
from itertools import product
from pathlib import Path

import snntorch
import torch
from snntorch import surrogate as their_surrogate

from spikeloom import neuron, surrogate

PAGE = Path(__file__).resolve().parents[1] / "docs" / "from-other-libraries.md"
T, NEURONS = 50, 64
DECAYS = (0.0, 0.5, 0.9, 1.0)
THRESHOLDS = (0.5, 1.0)
LARGEST = (0.4, 1.0, 8.0)
SURROGATES = (
    (surrogate.ATan(), their_surrogate.atan()),
    (surrogate.ATan(alpha=5.0), their_surrogate.atan(alpha=5.0)),
)


def classes_of_the_page():
    """``Leaky`` and ``Synaptic``, as the page defines them."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(r"```python\n(class Leaky.*?)\n\n\ncurrent = ", text, re.S)
    assert found, f"{PAGE} has no class Leaky"
    names = {"neuron": neuron, "surrogate": surrogate}
    exec(found[1], names)  # of this repository
    return names["Leaky"], names["Synaptic"]


def ours(node, x):
    """Spikes, potentials and the gradient of the input."""
    node.step_mode, node.store_v_seq = "m", True
    x = x.clone().requires_grad_()
    spikes = node(x)
    (spikes * torch.linspace(0, 1, T)[:, None]).sum().backward()
    return spikes.detach(), node.v_seq.detach(), x.grad


def theirs(node, x):
    """The same of snnTorch, step by step."""
    x, state, spikes, potentials = x.clone().requires_grad_(), (), [], []
    for step in x:
        spike, *state = node(step, *state)
        spikes.append(spike)
        potentials.append(state[-1])
    spikes = torch.stack(spikes)
    (spikes * torch.linspace(0, 1, T)[:, None]).sum().backward()
    return spikes.detach(), torch.stack(potentials).detach(), x.grad


def main() -> None:
    leaky, synaptic = classes_of_the_page()
    generator, cases = torch.Generator().manual_seed(0), 0
    for beta, threshold, largest, curves, eighths in product(
        DECAYS, THRESHOLDS, LARGEST, SURROGATES, (False, True)
    ):
        x = largest * torch.rand(T, NEURONS, generator=generator)
        x = (8 * x).round() / 8 if eighths else x
        settings = {"v_threshold": threshold, "surrogate_function": curves[0]}
        others = {"threshold": threshold, "spike_grad": curves[1]}
        pairs = [(leaky(beta), snntorch.Leaky(beta, **others))]
        pairs += [(synaptic(alpha, beta), snntorch.Synaptic(alpha, beta, **others)) for alpha in DECAYS]
        for mine, other in pairs:
            for name, value in settings.items():
                setattr(mine, name, value)
            for name, one, two in zip(
                ("spikes", "potentials", "gradients"), ours(mine, x), theirs(other, x), strict=True
            ):
                assert torch.equal(one, two), f"{name} differ: {mine}, {beta=}, {largest=}, {eighths=}"
            cases += 1
    print(f"{cases} cases: spikes, potentials and gradients are snnTorch's to the bit")


if __name__ == "__main__":
    main()
