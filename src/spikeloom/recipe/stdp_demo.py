"""stdp-demo: one synapse, and what the time between two spikes does to it.

Draws the STDP window of a rule, that is the change of a weight against the time from the spike before the
synapse to the spike behind it, and compares it with its closed form. Beside it: the spikes on both sides of a
synapse, the traces that remember them, and the weight, when the neuron behind follows the one before.

Command   spikeloom train stdp-demo                        pairs of spikes
          spikeloom train stdp-demo --rule soft-bound      less change the nearer the bound
          spikeloom train stdp-demo --rule triplet         pairs that follow a spike count more
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from spikeloom.recipe.base import RECIPES, BaseRecipe, Steps

if TYPE_CHECKING:
    from torch import Tensor, nn

    from spikeloom.learning import STDPLearner, TripletSTDPLearner
    from spikeloom.learning.correlation import Synapse
    from spikeloom.train.run import Run

A_PLUS, A_MINUS = 0.05, 0.0525  # of a pair of spikes in the same step
START = 0.5  # of the weight; its bounds are 0 and 1
RATE = 0.03  # spikes per time step


@RECIPES.register("stdp-demo")
@dataclass(frozen=True, kw_only=True)
class StdpDemo(BaseRecipe):
    """One synapse: the window of a plasticity rule, its traces, and a weight that follows spike trains."""

    claim: ClassVar[str] = "the closed form of the window, within 0.0001 %"
    cost: ClassVar[str] = "under ten seconds (one core)"
    UNUSED: ClassVar[frozenset[str]] = frozenset({"data_dir"})

    rule: Literal["pair", "nearest", "soft-bound", "triplet"] = "pair"
    """pair: all pairs of spikes count. nearest: a spike sees the last one only. soft-bound: as pair, times
    the distance to the bound. triplet: a pair counts more after a spike, as in visual cortex."""
    tau_pre: float = 20.0
    """Time constant of the trace before the synapse, in time steps."""
    tau_post: float = 20.0
    """Time constant of the trace behind the synapse, in time steps."""
    T: Steps = 500
    """Time steps of the spike trains."""
    lag: int = 5
    """Time steps by which the neuron behind follows the one before."""
    reach: int = 80
    """Longest delay of the window, in time steps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("tau_pre", "tau_post"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1 time step, got {getattr(self, name)}.")
        if self.lag >= self.T:
            raise ValueError(f"`lag` must be less than `T`, got {self.lag} and {self.T}.")

    @property
    def dataset_name(self) -> str:
        return "spike-pairs"

    @property
    def num_epochs(self) -> int:
        return 1

    def train(self, run: Run) -> None:
        import time

        from spikeloom.train import checkpoint

        with run.locked():
            if checkpoint.load_last(run.checkpoints) is not None:
                return
            started = time.perf_counter()
            weight = self.follow()[2]
            row = {"epoch": 1, "window_error": self.window_error(), "weight": float(weight[-1])}
            row["seconds"] = round(time.perf_counter() - started, 1)
            self.plot(run, {}, 0)
            run.write_metrics([row])
            checkpoint.save_last(run.checkpoints, {"progress": {"history": [row]}})

    def test(self, run: Run, state: dict[str, Any], device: str) -> str:
        return f"the {self.rule} window differs by {self.window_error():.1e} from its closed form"

    def plot(self, run: Run, state: dict[str, Any], sample: int) -> None:
        from matplotlib.figure import Figure

        from spikeloom.learning.figures import draw_traces, draw_window
        from spikeloom.train.report import save_figure

        figure = Figure(figsize=(12, 5), layout="constrained")
        figure.suptitle(f"One synapse, {self.rule} rule; the neuron behind fires {self.lag} steps later")
        axes = figure.subplot_mosaic([["window", "0"], ["window", "1"], ["window", "2"]])
        draw_window(*self.window(), axes["window"])
        draw_traces([axes["0"], axes["1"], axes["2"]], *self.follow())
        save_figure(run, figure, "stdp")

    def summary(self, history: list[dict[str, Any]]) -> str:
        row = history[-1]
        return (
            f"the {self.rule} window differs by {row['window_error']:.1e} from its closed form; the weight "
            f"went from {START} to {row['weight']:.3f}"
        )

    def learner(
        self, step_mode: str, synapse: Synapse, neurons: nn.Module
    ) -> STDPLearner | TripletSTDPLearner:
        """The learner of the chosen rule."""
        from spikeloom import learning

        if self.rule == "triplet":
            return learning.TripletSTDPLearner(
                step_mode, synapse, neurons, tau_plus=self.tau_pre, tau_minus=self.tau_post
            )
        factors = learning.soft_bounds if self.rule == "soft-bound" else learning.additive
        return learning.STDPLearner(
            step_mode,
            synapse,
            neurons,
            self.tau_pre,
            self.tau_post,
            *factors(A_PLUS, A_MINUS),
            nearest=self.rule == "nearest",
        )

    def window(self) -> tuple[Tensor, Tensor]:
        """Delays, and the change of the weight for each."""
        from spikeloom import learning

        return learning.stdp_window(self.learner, self.reach, START)

    def closed_form(self, delays: Tensor) -> Tensor:
        """What the window has to be: an exponential on each side."""
        import math

        import torch

        if self.rule == "triplet":
            plus, minus = 5e-10, 7e-3
            decays = math.exp(-1 / self.tau_pre), math.exp(-1 / self.tau_post)
        else:
            soft = self.rule == "soft-bound"
            plus, minus = A_PLUS * (1 - START if soft else 1), A_MINUS * (START if soft else 1)
            decays = 1 - 1 / self.tau_pre, 1 - 1 / self.tau_post
        after = torch.where(delays >= 0, plus * decays[0] ** delays.double(), 0.0)
        before = torch.where(delays <= 0, minus * decays[1] ** -delays.double(), 0.0)
        return after - before

    def window_error(self) -> float:
        """The largest difference between the window and its closed form, as a part of the largest change."""
        delays, changes = self.window()
        expected = self.closed_form(delays)
        return ((changes - expected).abs().max() / expected.abs().max()).item()

    def follow(self) -> tuple[Tensor, Tensor, Tensor]:
        """Spikes and traces before and behind a synapse ``[T, 2]``, and its weight ``[T]``, when the neuron
        behind follows the one before."""
        import torch
        from torch import nn

        from spikeloom import learning

        synapse, neurons = nn.Linear(1, 1, bias=False), nn.Identity()
        nn.init.constant_(synapse.weight, START)
        learner = self.learner("s", synapse, neurons)
        optimizer = torch.optim.SGD(synapse.parameters(), lr=1.0)
        generator = torch.Generator().manual_seed(self.seed)
        before = torch.rand(self.T, generator=generator) < RATE
        behind = torch.cat([torch.zeros(self.lag, dtype=torch.bool), before[: -self.lag]])
        spikes = torch.stack([before, behind], 1).float()  # [T, 2]
        traces, weights = [], []
        for now in spikes:
            synapse(now[:1])
            neurons(now[1:])
            optimizer.zero_grad()
            learner.step()
            optimizer.step()
            learning.clamp_weights(synapse, 0.0, 1.0)
            names = ("r1", "o1") if self.rule == "triplet" else ("trace_pre", "trace_post")
            traces.append(torch.cat([getattr(learner, name) for name in names]))
            weights.append(synapse.weight.item())
        return spikes, torch.stack(traces), torch.tensor(weights)
