"""Spike-timing-dependent plasticity of triplets of spikes."""

import torch
from torch import Tensor, nn

from spikeloom.learning.bounds import additive
from spikeloom.learning.correlation import Synapse, correlate
from spikeloom.learning.learner import Modulation, SynapseLearner
from spikeloom.learning.traces import before_each_step, exponential_decay, trace_sequence

_NO_FACTORS = additive(1.0, 1.0)


class TripletSTDPLearner(SynapseLearner):
    r"""Triplet STDP: a pair of spikes counts more when one side has fired shortly before.

    Each side has a fast and a slow trace, :math:`r_1, r_2` before the synapse and :math:`o_1, o_2` behind it,
    which decay by :math:`e^{-1/\tau}` per step and take a spike by adding 1.

    .. math:: \Delta w = f_{post}(w)\, s^{post}_t\, r_{1,t} \left(A_2^+ + A_3^+\, o_{2,t}^-\right)
              - f_{pre}(w)\, s^{pre}_t\, o_{1,t} \left(A_2^- + A_3^-\, r_{2,t}^-\right)

    summed over time and batch. :math:`r_1` and :math:`o_1` have taken this step's spikes, as in
    :class:`STDPLearner`; :math:`o_2^-` and :math:`r_2^-` have not: a spike is no triplet with itself. The
    defaults are the all-to-all fit to visual cortex, for time steps of 1 ms. Unlike pair STDP, the rule
    strengthens at high rates and weakens at low ones.

    Args:
        step_mode, synapse, sn: as for :class:`SynapseLearner`.
        tau_plus, tau_x: time constants of the fast and the slow trace before the synapse, in time steps.
        tau_minus, tau_y: of those behind it.
        a2_plus, a3_plus: strengthening by a pair, and by a triplet, at :math:`f_{post} = 1`.
        a2_minus, a3_minus: weakening by a pair, and by a triplet.
        f_pre, f_post: factors of the weight, as for :class:`STDPLearner`; default 1.
        nearest: whether a spike sets its traces to 1 instead of adding 1.
    Shape:
        as for :class:`STDPLearner`.
    Raises:
        SpikeloomError, ShapeError: as for :class:`STDPLearner`.
    Source: Pfister & Gerstner, Triplets of spikes in a model of spike timing-dependent plasticity, Journal of
        Neuroscience 2006.
    Example:
        >>> from spikeloom import layer, neuron
        >>> net = nn.Sequential(layer.Linear(1, 1, bias=False, step_mode="m"), neuron.IFNode(step_mode="m"))
        >>> _ = net[0].weight.data.fill_(1.0)
        >>> learner = TripletSTDPLearner("m", *net)
        >>> _ = net(torch.ones(3, 1, 1))
        >>> learner.step(on_grad=False).shape
        torch.Size([1, 1])
    """

    def __init__(
        self,
        step_mode: str,
        synapse: Synapse,
        sn: nn.Module,
        tau_plus: float = 16.8,
        tau_x: float = 101.0,
        tau_minus: float = 33.7,
        tau_y: float = 125.0,
        a2_plus: float = 5e-10,
        a3_plus: float = 6.2e-3,
        a2_minus: float = 7e-3,
        a3_minus: float = 2.3e-4,
        f_pre: Modulation = _NO_FACTORS[0],
        f_post: Modulation = _NO_FACTORS[1],
        *,
        nearest: bool = False,
    ):
        times = {"tau_plus": tau_plus, "tau_x": tau_x, "tau_minus": tau_minus, "tau_y": tau_y}
        decays = [exponential_decay(name, tau) for name, tau in times.items()]
        super().__init__(step_mode, synapse, sn, f_pre, f_post)
        self.decays: dict[str, float] = dict(zip(("r1", "r2", "o1", "o2"), decays, strict=True))
        self.a2_plus, self.a3_plus, self.a2_minus, self.a3_minus = a2_plus, a3_plus, a2_minus, a3_minus
        self.nearest = nearest
        for name in self.decays:
            self.register_memory(name, None)

    @torch.no_grad()
    def step(self, on_grad: bool = True, scale: float = 1.0) -> Tensor | None:
        """Learn from the spikes since the last step; arguments and result as for :meth:`STDPLearner.step`."""
        spikes = self._take_spikes(scale)
        if spikes is None:
            return None
        pre, post = spikes
        r1, o1 = self._trace("r1", pre), self._trace("o1", post)
        r2, o2 = self._trace("r2", pre, before=True), self._trace("o2", post, before=True)
        stronger = correlate(self.synapse, r1, post * (self.a2_plus + self.a3_plus * o2))
        weaker = correlate(self.synapse, pre * (self.a2_minus + self.a3_minus * r2), o1)
        weight = self._weight
        change = self.f_post(weight) * stronger - self.f_pre(weight) * weaker
        return self._give(change * scale, on_grad)

    def _trace(self, name: str, spikes: Tensor, before: bool = False) -> Tensor:
        """A trace after each step's spikes, or ``before`` them; its memory goes to the sequence's end."""
        start, decay = self._started(name, spikes[0]), self.decays[name]
        after = trace_sequence(spikes, start, decay, self.nearest)
        setattr(self, name, after[-1].clone())
        return before_each_step(after, start, decay) if before else after
