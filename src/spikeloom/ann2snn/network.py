"""The converted network."""

import copy
import operator

from torch import Tensor, fx, nn

from spikeloom.ann2snn.report import Report
from spikeloom.ann2snn.spiking import SpikingActivation, SpikingMaxPool
from spikeloom.layer.shapes import Shapes
from spikeloom.layer.time_wise import fold, unfold
from spikeloom.steps import StepModule

Replacements = dict[str, SpikingActivation | SpikingMaxPool]


class ConvertedNet(StepModule, nn.Module):
    """A spiking network that :func:`convert` made of an ANN.

    Its input is a current, the ANN's own input, again at every step; its output is the ANN's output as it
    looks from that step. Their mean over time approaches the output of the ANN.

    Attributes:
        graph_module: the network as a graph; its neurons are ``neuron.IFNode`` in multi-step mode, also when
            the network takes single steps.
        report: what became of each operation of the ANN.
    Shape:
        input ``[N, *]`` (single-step, as it is at first) or ``[T, N, *]`` (multi-step); output likewise.
    """

    step_mode_boundary = True  # functional.set_step_mode leaves what is within as it is
    _shapes = Shapes("N *")

    def __init__(self, ann: fx.GraphModule, replacements: Replacements, report: Report):
        super().__init__()
        self.graph_module = _replaced(ann, replacements)
        self.report = report

    @property
    def graph(self) -> fx.Graph:
        """The graph of :attr:`graph_module`."""
        return self.graph_module.graph

    def forward(self, x: Tensor) -> Tensor:
        self._shapes.check(self, x)
        if self.step_mode == "s":
            return self.graph_module(x)
        return unfold(self.graph_module(fold(x), x.shape[0]), x.shape[:2])

    def extra_repr(self) -> str:
        return f"step_mode={self.step_mode}"


def _replaced(ann: fx.GraphModule, replacements: Replacements) -> fx.GraphModule:
    """The graph with the replacements in place of the nodes of their names. Beside its input, it takes how
    many time steps are folded into the batch."""
    graph = copy.deepcopy(ann.graph)
    x = next(iter(graph.nodes))  # the input
    with graph.inserting_after(x):
        name = "num_steps" if x.target != "num_steps" else "num_steps_"
        num_steps = graph.placeholder(name, int, default_value=1)
    parts = {
        str(node.target): operator.attrgetter(str(node.target))(ann)
        for node in graph.nodes
        if node.op in ("call_module", "get_attr") and node.name not in replacements
    }
    for node in graph.nodes:
        if node.name in replacements:
            place = str(node.target) if node.op == "call_module" else node.name
            while place in parts:
                place += "_"
            parts[place] = replacements[node.name]
            node.op, node.target = "call_module", place
            node.args, node.kwargs = (node.all_input_nodes[0], num_steps), {}
    return fx.GraphModule(parts, graph)
