"""What the recipes share that learn without labels: settings, data, network, and the loop around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from spikeloom.errors import RunError
from spikeloom.recipe.base import Validated

if TYPE_CHECKING:
    from spikeloom.data import Dataset
    from spikeloom.learning import DiehlCookConstants
    from spikeloom.train.run import Run
    from spikeloom.train.unsupervised import UnsupervisedTrainer


@dataclass(frozen=True, kw_only=True)
class Competition(Validated):
    """Neurons that compete for images, and are labelled afterwards. A subclass says how long they learn."""

    dataset: Literal["digits", "mnist", "fashion-mnist"] = "digits"
    """Images to learn; digits needs no download."""
    neurons: int | None = None
    """Excitatory neurons; the paper has 100, 400, 1600 and 6400. Default: 100 for digits, else 400."""
    label_images: int = 10_000
    """Training images that label the neurons after a pass; after the last pass, all do."""
    checkpoint_minutes: float = 5.0
    """Time between checkpoints within a pass; one is written after each pass in any case."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.fill(neurons=100 if self.dataset == "digits" else 400)

    @property
    def constants(self) -> DiehlCookConstants:
        """The network's constants."""
        from spikeloom.learning import DiehlCookConstants

        return DiehlCookConstants()

    def train(self, run: Run) -> None:
        with run.locked():
            self.trainer(run).fit()

    def test(self, run: Run, state: dict[str, Any], device: str) -> str:
        if device not in ("auto", "cpu"):
            raise RunError(
                f"`device` must be 'cpu' or 'auto', got '{device}': this network learns on the CPU."
            )
        return f"test accuracy {self._labelled(run).accuracy():.2%}{self._tested_on}"

    def plot(self, run: Run, state: dict[str, Any], sample: int) -> None:
        from spikeloom.train.unsupervised_report import draw, draw_sample

        trainer = self._labelled(run)
        draw(trainer)
        draw_sample(trainer, sample)

    def _labelled(self, run: Run) -> UnsupervisedTrainer:
        """The trainer, its neurons labelled as they are now."""
        trainer = self.trainer(run)
        if trainer.progress.sample:  # the labels are those after the last whole epoch, if there is one
            trainer.labels = trainer.label()
        return trainer

    def trainer(self, run: Run) -> UnsupervisedTrainer:
        """The network, its data, and its last checkpoint in the run folder if there is one."""
        import torch

        from spikeloom.encoding import derive_seed
        from spikeloom.learning import DiehlCook
        from spikeloom.train.unsupervised import UnsupervisedTrainer
        from spikeloom.train.unsupervised_report import draw

        assert self.neurons is not None
        dataset = self.images()
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "network"))
        inputs = dataset.train_x[0].numel()
        return UnsupervisedTrainer(
            DiehlCook(inputs, self.neurons, self.constants, generator),
            dataset,
            run,
            epochs=self.num_epochs,
            seed=self.seed,
            label_samples=self.label_images,
            checkpoint_minutes=self.checkpoint_minutes,
            report=draw,
        )

    def images(self) -> Dataset:
        """The images to learn and those to test on, of 28 x 28 pixels."""
        from spikeloom import data

        dataset = self.parts(data.load(self.dataset, self.data_dir))
        return enlarged(dataset) if self.dataset == "digits" else dataset


def enlarged(digits: Dataset) -> Dataset:
    """Images of 8 x 8 pixels as 28 x 28, each pixel a square of 3 x 3, so that the paper's constants fit: as
    many inputs share a neuron's sum of weights."""
    from dataclasses import replace

    from torch import Tensor
    from torch.nn.functional import pad

    def enlarge(images: Tensor) -> Tensor:
        return pad(images.repeat_interleave(3, -1).repeat_interleave(3, -2), (2, 2, 2, 2))

    return replace(digits, train_x=enlarge(digits.train_x), test_x=enlarge(digits.test_x))
