"""ann2snn: an ordinary convolutional network is trained, and then made to spike.

Two networks learn side by side, one with ReLU and one with QCFS, a ReLU in steps. Then the ReLU network is
converted with thresholds at the largest activation ('max') and at the 99.9th percentile ('percentile'), the
other with the thresholds that it has learned ('qcfs'), and all three are tested after each time step.
docs/ann2snn.md explains the methods.

Command   spikeloom train ann2snn                       on the built-in digits
          spikeloom train ann2snn --dataset mnist
          spikeloom train ann2snn --dataset cifar10
Source    Rueckauer et al., Front. Neurosci. 11:682, 2017; Bu et al., ICLR 2022
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from spikeloom.recipe.base import RECIPES, Recipe, Validated, is_main_process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.figure import Figure
    from torch import Tensor, nn

    from spikeloom.ann2snn import ConvertedNet
    from spikeloom.data import Dataset
    from spikeloom.train.run import Run

CHANNELS = {"digits": (16, 32), "mnist": (16, 32), "cifar10": (16, 32, 64)}
HIDDEN = {"digits": 64, "mnist": 128, "cifar10": 128}
EPOCHS = {"digits": 20, "mnist": 5, "cifar10": 5}
STEPS = {"digits": 32, "mnist": 32, "cifar10": 64}
QCFS_THRESHOLD = 4.0  # at the start
CALIBRATION_SAMPLES = 1000
TEST_BATCH = 50
WARMUP = 0.1  # of the steps
Method = Literal["max", "percentile", "qcfs"]
Curves = dict[str, list[float]]
# The methods, and which of the two networks each converts.
METHODS: dict[Method, str] = {"max": "relu", "percentile": "relu", "qcfs": "qcfs"}
HEADING = "test accuracy in %, and of the networks before conversion"
SHOWN = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # time steps


@RECIPES.register("ann2snn")
@dataclass(frozen=True, kw_only=True)
class Ann2Snn(Validated, Recipe):
    """A small convolutional network, trained as usual and converted to a spiking one by three methods."""

    claim: ClassVar[str] = "99.2 % on MNIST (T=32), 77 % on CIFAR-10 (T=64), nothing lost to the ANN (qcfs)"
    cost: ClassVar[str] = "digits: half a minute; MNIST: 14 minutes, CIFAR-10: 17 (2 cores)"
    OVER_TIME: ClassVar[bool] = False
    MAY_BE_ZERO: ClassVar[frozenset[str]] = frozenset({"weight_decay"})

    dataset: Literal["digits", "mnist", "cifar10"] = "digits"
    """Images to classify; digits needs no download."""
    epochs: int | None = None
    """Passes over the training images; default: 20 for digits, 5 for the others."""
    T: Annotated[int | None, tyro.conf.arg(aliases=["-T"])] = None
    """Time steps of the spiking networks; default: 32, for cifar10 64."""
    L: int = 8
    """Steps of the QCFS activation."""
    lr: float = 2e-3
    """Highest learning rate of AdamW; it rises over a tenth of the steps, and falls to 0."""
    weight_decay: float = 5e-2
    """Decay of the weights per step, as a part of the learning rate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.fill(epochs=EPOCHS[self.dataset], T=STEPS[self.dataset])

    def network(
        self, shape: Sequence[int], num_classes: int, activation: Callable[[], nn.Module]
    ) -> nn.Module:
        """Convolutions with batch norm, activation and maximum pooling, then two fully connected layers."""
        from torch import nn

        channels, *_, width = shape
        layers: list[nn.Module] = []
        for features in CHANNELS[self.dataset]:
            layers += [nn.Conv2d(channels, features, 3, padding=1, bias=False), nn.BatchNorm2d(features)]
            layers += [activation(), nn.MaxPool2d(2)]
            channels, width = features, width // 2
        hidden = HIDDEN[self.dataset]
        layers += [nn.Flatten(), nn.Linear(channels * width**2, hidden), activation()]
        return nn.Sequential(*layers, nn.Linear(hidden, num_classes))

    def build(self):
        import torch
        from torch import nn
        from torch.nn.functional import cross_entropy

        from spikeloom import ann2snn, data
        from spikeloom.train.experiment import Experiment

        dataset = self.parts(data.load(self.dataset, self.data_dir))
        shape, classes = dataset.sample_shape, dataset.num_classes
        net = ann2snn.SideBySide(
            {
                "relu": self.network(shape, classes, nn.ReLU),
                "qcfs": self.network(shape, classes, lambda: ann2snn.QCFS(self.L, QCFS_THRESHOLD)),
            }
        ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(net.parameters(), self.lr, weight_decay=self.weight_decay)
        return Experiment(
            net,
            dataset,
            encode=lambda x, _random: x.contiguous(memory_format=torch.channels_last),
            loss=lambda outputs, y: cross_entropy(outputs[0], y) + cross_entropy(outputs[1], y),
            predict=lambda outputs: outputs[0].argmax(-1),
            optimizer=optimizer,
            scheduler=self.warmup_cosine(optimizer, dataset, WARMUP),
            draw=self._draw,
        )

    def train(self, run: Run) -> None:
        super().train(run)
        if not is_main_process():
            return
        from spikeloom.train import checkpoint

        with run.locked():
            curves = self.convert(run, checkpoint.load_last(run.checkpoints), self.device)
            write_curves(run, curves, self.dataset)
        print("\n" + "\n".join([HEADING + self._tested_on, *table(curves)]))

    def test(self, run: Run, state: dict[str, Any], device: str) -> str:
        curves = self.convert(run, state, device)
        return "\n".join([HEADING + self._tested_on, *table(curves)])

    def summary(self, history: list[dict[str, Any]]) -> str:
        return f"before conversion: {super().summary(history)}"

    def plot(self, run: Run, state: dict[str, Any], sample: int) -> None:
        super().plot(run, state, sample)
        epoch = state["progress"]["epoch"]
        if epoch < self.num_epochs:  # conversion.json is of the end, or of a training before this one
            where = f"{self.dataset}, after {epoch} of {self.num_epochs} epochs"
            draw_curves(run, self.convert(run, state, self.device), where)
            return
        try:
            curves = json.loads((run.folder / "conversion.json").read_text())
        except (FileNotFoundError, ValueError):  # it is missing or damaged
            curves = self.convert(run, state, self.device)
        write_curves(run, curves, self.dataset)

    def test_event_driven(self, run: Run, state: dict[str, Any]) -> str:
        from spikeloom import ann2snn
        from spikeloom.event import Runner

        assert self.T is not None
        snn, data = self._converted(run, state)
        runner, correct, parts = Runner(snn, data.sample_shape), 0, _test_parts(data)
        for x, y in parts:
            runner.reset()
            outputs = runner(x.expand(self.T, *x.shape)).mean(0)
            correct += int((outputs.argmax(-1) == y).sum())
        accuracies = {
            "event-driven": correct / len(data.test_y),
            "all inputs": ann2snn.accuracy_over_time(snn, parts, self.T)[-1],
        }
        lines = [f"{name:12}  test accuracy {accuracy:.2%}" for name, accuracy in accuracies.items()]
        report = runner.report(len(data.test_y))
        return "\n".join([f"qcfs, T={self.T}{self._tested_on}", *lines, "", "per sample", str(report)])

    def profile(self, run: Run, state: dict[str, Any], samples: int, mac: float, ac: float) -> str:
        from spikeloom import profile
        from spikeloom.data import as_float
        from spikeloom.train.profile import write_profile

        assert self.T is not None
        snn, data = self._converted(run, state)
        parts = as_float(data.test_x[:samples]).split(TEST_BATCH)
        counted = profile.count(snn, (x.expand(self.T, *x.shape) for x in parts))
        return write_profile(run, counted, None, network="(qcfs)", mac=mac, ac=ac)

    def spiking(self, run: Run, state: dict[str, Any]) -> tuple[nn.Module, Tensor]:
        from spikeloom.data import as_float

        snn, data = self._converted(run, state)
        return snn, as_float(data.test_x[:1])

    def _converted(self, run: Run, state: dict[str, Any]) -> tuple[ConvertedNet, Dataset]:
        """The network that the QCFS method makes, and its data."""
        from spikeloom import ann2snn
        from spikeloom.data import as_float

        experiment = self.restored(run, state)
        calibration = as_float(experiment.data.train_x[:CALIBRATION_SAMPLES])
        net = experiment.net.get_submodule("qcfs").eval()
        return ann2snn.convert(net, calibration, "qcfs"), experiment.data

    def convert(self, run: Run, state: Any, device: str) -> Curves:
        """Convert the networks of a checkpoint, and test them.

        Returns:
            the test accuracy after each time step for each method, and that of each ANN
        """
        from spikeloom import ann2snn
        from spikeloom.data import as_float
        from spikeloom.train.launch import make_fabric

        assert self.T is not None
        experiment = self.restored(run, state)
        nets, data = experiment.net.to(make_fabric(device).device).eval(), experiment.data
        samples = as_float(data.train_x[:CALIBRATION_SAMPLES])
        test = _test_parts(data)
        curves = {}
        for name in ("relu", "qcfs"):
            curves[f"{name} ANN"] = [round(ann2snn.ann_accuracy(nets.get_submodule(name), test), 6)]
        for method, name in METHODS.items():
            snn = ann2snn.convert(nets.get_submodule(name), samples, method)
            curves[method] = [round(one, 6) for one in ann2snn.accuracy_over_time(snn, test, self.T).tolist()]
        return curves

    def _draw(self, nets: nn.Module, x: Tensor, title: str) -> dict[str, Figure]:
        from spikeloom import ann2snn

        assert self.T is not None
        snn = ann2snn.convert(nets.get_submodule("qcfs"), x, "qcfs")
        title = f"{title} by the relu ANN\nSpikes of the network that qcfs converts"
        return {"raster": ann2snn.draw_spikes(snn, x, self.T, title)}


def _test_parts(data: Dataset) -> list[tuple[Tensor, Tensor]]:
    """The test samples and their classes, in batches."""
    import torch

    from spikeloom.data import as_float

    parts = zip(data.test_x.split(TEST_BATCH), data.test_y.split(TEST_BATCH), strict=True)
    return [(as_float(x).contiguous(memory_format=torch.channels_last), y) for x, y in parts]


def write_curves(run: Run, curves: Curves, dataset: str) -> None:
    """Write the accuracies to conversion.json, and draw them."""
    from spikeloom.files import write_beside

    write_beside(run.folder / "conversion.json", json.dumps(curves) + "\n")
    draw_curves(run, curves, dataset)


def draw_curves(run: Run, curves: Curves, where: str) -> None:
    """Draw the accuracies to figures/accuracy_over_time.png."""
    from spikeloom.ann2snn import draw_accuracy
    from spikeloom.train.report import save_figure

    save_figure(run, draw_accuracy(curves, f"Converted networks on {where}"), "accuracy_over_time")


def table(curves: Curves) -> list[str]:
    """Lines of text: the accuracy of each method at some time steps, of its ANN, and the points lost."""
    T = len(curves["max"])
    steps = sorted({*(t for t in SHOWN if t < T), T})
    lines = [f"{'method':10}" + "".join(f"{f'T={t}':>8}" for t in steps) + f"{'ANN':>8}{'lost':>8}"]
    for method, name in METHODS.items():
        curve, (ann,) = curves[method], curves[f"{name} ANN"]
        shown = "".join(f"{100 * curve[t - 1]:8.2f}" for t in steps)
        lost = round(100 * (ann - curve[-1]), 2) + 0.0  # which makes 0 of -0
        lines.append(f"{method:10}{shown}{100 * ann:8.2f}{lost:8.2f}")
    return lines
