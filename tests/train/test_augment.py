"""Augmentation: it moves images as told, each by its own numbers, in training only, and resumes exactly."""

import math
import sys

import pytest
import torch

from compare import assert_same
from spikeloom import data, functional, layer, neuron
from spikeloom.encoding import PoissonEncoder, SampleGenerator
from spikeloom.errors import ShapeError
from spikeloom.train import checkpoint
from spikeloom.train.augment import cutout, random_affine, random_crop
from spikeloom.train.experiment import Experiment
from spikeloom.train.launch import build_seeded, make_fabric
from spikeloom.train.loop import Trainer
from spikeloom.train.run import Run
from spikeloom.train.schedule import warmup_cosine


class Fixed:
    """A source of numbers that are all the same: 0 is the largest change to one side, 1 to the other."""

    def __init__(self, *numbers):
        self.numbers = numbers

    def rand(self, shape, device, dtype):
        return torch.tensor(self.numbers, device=device, dtype=dtype).expand(shape)


def spot(row, column, size=9):
    image = torch.zeros(1, 1, size, size)
    image[0, 0, row, column] = 1.0
    return image


def random(*indices):
    return SampleGenerator(0, indices, "augment", 0)


MIDDLE = (0.5, 0.5, 0.5, 0.5)


def test_without_amounts_or_with_numbers_from_the_middle_nothing_moves():
    images = torch.rand(3, 2, 7, 10, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(random_affine(images, random(0, 1, 2)), images)
    moved = random_affine(images, Fixed(*MIDDLE), shift=3, degrees=90, scale=0.5)
    torch.testing.assert_close(moved, images)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_shifts_are_in_pixels(mode):
    right = random_affine(spot(4, 4), Fixed(0.5, 0.5, 0.0, 0.5), shift=2, mode=mode)
    torch.testing.assert_close(right, spot(4, 6))
    up = random_affine(spot(4, 4), Fixed(0.5, 0.5, 0.5, 1.0), shift=2, mode=mode)
    torch.testing.assert_close(up, spot(2, 4))
    gone = random_affine(spot(4, 8), Fixed(0.5, 0.5, 0.0, 0.5), shift=2, mode=mode)
    assert gone.sum() == 0


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_rotation_turns_around_the_middle(mode):
    turned = random_affine(spot(4, 7), Fixed(1.0, 0.5, 0.5, 0.5), degrees=90, mode=mode)
    torch.testing.assert_close(turned, spot(1, 4), rtol=0, atol=1e-5)
    wide = torch.zeros(1, 1, 5, 9)
    wide[0, 0, 2, 5] = 1.0  # pixels are square, also in an image that is not
    turned = random_affine(wide, Fixed(1.0, 0.5, 0.5, 0.5), degrees=90, mode=mode)
    assert turned[0, 0, 1, 4] > 0.999


def test_scale_makes_larger_and_smaller():
    square = torch.zeros(1, 1, 20, 20)
    square[..., 6:14, 6:14] = 1.0
    for number, side in ((1.0, 12), (0.0, 4)):
        assert random_affine(square, Fixed(0.5, number, 0.5, 0.5), scale=0.5).sum() == pytest.approx(
            side**2, rel=0.1
        )


def test_values_stay_within_range():
    images = torch.ones(50, 1, 8, 8)
    moved = random_affine(images, random(*range(50)), shift=1, degrees=20, scale=0.2)
    assert moved.max() <= 1.0
    assert moved.min() >= 0.0
    PoissonEncoder().encode(moved, 2)  # refuses what is outside


def test_a_sample_is_moved_alike_whatever_its_batch():
    images = torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    amounts = {"shift": 2.0, "degrees": 10.0, "scale": 0.1}
    together = random_affine(images, random(*range(64)), **amounts)
    for part in (slice(0, 63), slice(5, 6), slice(1, 64, 2)):
        alone = random_affine(images[part], random(*range(64)[part]), **amounts)
        assert_same("moved", together[part], alone)
    assert not torch.equal(together[0], together[1])


@pytest.mark.parametrize(
    "wrong",
    [{"shift": -1.0}, {"degrees": -1.0}, {"scale": -0.1}, {"scale": 1.0}, {"shift": math.inf}],
)
def test_wrong_amounts_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"`{name}` must be .*at least 0"):
        random_affine(spot(1, 1), random(0), **wrong)


@pytest.mark.parametrize("name", ["shift", "degrees", "scale"])
def test_an_amount_that_is_no_number_is_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be a number, got NaN"):
        random_affine(spot(1, 1), random(0), **{name: math.nan})


def crop(images, *numbers, **settings):
    """A crop whose offset down, offset across and mirroring are chosen by numbers in [0, 1)."""
    return random_crop(images, Fixed(*numbers), **settings)


def test_a_crop_shifts_by_whole_pixels_and_brings_in_zeros():
    images = torch.rand(2, 3, 5, 7) + 0.1
    assert_same("middle", images, crop(images, 0.5, 0.5, 0.9, padding=2, flip=True))
    moved = crop(images, 0.0, 0.99, 0.9, padding=2)  # the window begins at the top right of the padded image
    assert_same("moved", images[..., :-2, 2:], moved[..., 2:, :-2])
    assert (moved[..., :2, :] == 0).all()
    assert (moved[..., -2:] == 0).all()
    assert_same("mirrored", images.flip(-1), crop(images, 0.5, 0.5, 0.1, padding=2, flip=True))
    assert_same("not mirrored", images, crop(images, 0.5, 0.5, 0.1, padding=2))


def test_a_crop_takes_every_offset_and_mirrors_half():
    pixel = torch.zeros(600, 1, 5, 5)
    pixel[:, :, 2, 1] = 1.0
    found = random_crop(pixel, random(*range(600)), padding=1, flip=True).nonzero()[:, 2:]  # row, column
    counts = found.unique(dim=0, return_counts=True)[1]
    assert len(counts) == 3 * 5  # mirrored or not, a column can come out at 0, 1, 2 or 2, 3, 4
    assert counts.min() > 10
    assert sum(found[:, 1] > 2) == pytest.approx(200, abs=40)


def test_a_hole_is_a_square_inside_the_image():
    images = torch.ones(1, 2, 6, 8)
    assert (cutout(images, Fixed(0.5, 0.5), size=4)[0, 0] == 0).nonzero().aminmax(dim=0) == (
        pytest.approx([1, 2]),
        pytest.approx([4, 5]),
    )
    corner = cutout(images, Fixed(0.0, 0.0), size=4)
    assert (corner == 0).sum() == 2 * 2 * 2
    assert (corner[..., :2, :2] == 0).all()
    assert_same("size 0", images, cutout(images, Fixed(0.5, 0.5), size=0))
    assert (images == 1).all()


@pytest.mark.parametrize(
    "change", [lambda x, r: random_crop(x, r, flip=True), lambda x, r: cutout(x, r, size=5)]
)
def test_a_sample_is_cropped_and_cut_alike_whatever_its_batch(change):
    images = torch.rand(64, 3, 12, 12)
    together = change(images, random(*range(64)))
    alone = change(images[5:6], random(5))
    assert_same("changed", together[5:6], alone)
    assert (
        len(
            {
                tuple(one.flatten().tolist())
                for one in change(images[:1].expand(64, -1, -1, -1), random(*range(64)))
            }
        )
        > 20
    )


def test_wrong_sizes_of_windows_and_holes_are_refused():
    with pytest.raises(ValueError, match="`padding` must be at least 0, got -1"):
        random_crop(spot(1, 1), random(0), padding=-1)
    with pytest.raises(ValueError, match="`size` must be at least 0, got -2"):
        cutout(spot(1, 1), random(0), size=-2)


def test_what_is_no_batch_of_images_is_refused():
    for change in (
        lambda x: random_crop(x, random(0), padding=1),
        lambda x: cutout(x, random(0), size=2),
        lambda x: random_affine(x, random(0), shift=1),
    ):
        with pytest.raises(ShapeError, match=r"`images` must be \[N, C, H, W\], got \[3, 3, 1, 8, 8\]"):
            change(torch.rand(3, 3, 1, 8, 8))


SEEN = []  # by `augment`, of each call the images before
BREAK_AT = []  # numbers of calls at which it is interrupted


def build():
    digits = data.digits().take(96, 40)
    net = torch.nn.Sequential(layer.Flatten(), layer.Linear(64, 10), neuron.LIFNode())
    functional.set_step_mode(net, "m")
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)

    def augment(x, random):
        SEEN.append(x)
        if len(SEEN) in BREAK_AT:
            raise KeyboardInterrupt
        return random_affine(x, random, shift=1, degrees=10)

    return Experiment(
        net,
        digits,
        encode=lambda x, random: PoissonEncoder(generator=random).encode(x, 4),
        loss=functional.firing_rate_mse,
        predict=lambda spikes: spikes.sum(0).argmax(-1),
        optimizer=optimizer,
        scheduler=warmup_cosine(optimizer, 4 * 3, 2),
        augment=augment,
    )


def trained(folder, epochs):
    """A training to ``epochs`` of 4, continued if there is one already."""
    run = Run.open(folder) if folder.exists() else Run.create(folder, "none", {})
    fabric = make_fabric("cpu")
    fabric.launch()
    SEEN.clear()
    every_step = 1e-9
    Trainer(
        fabric, build_seeded(build, 0), run, epochs=epochs, batch_size=32, checkpoint_minutes=every_step
    ).fit()
    return checkpoint.load_last(run.checkpoints)


def test_only_training_images_are_augmented(tmp_path):
    trained(tmp_path / "run", 1)
    assert [len(x) for x in SEEN] == [32, 32, 32]
    train = data.as_float(data.digits().train_x[:96])
    seen = torch.cat(SEEN).flatten(1)
    assert torch.equal(seen.sort(0).values, train.flatten(1).sort(0).values)


def test_a_resumed_training_sees_the_same_images_and_learning_rates(tmp_path, monkeypatch):
    unbroken = trained(tmp_path / "unbroken", 4)
    monkeypatch.setattr(sys.modules[__name__], "BREAK_AT", [5])  # in epoch 2, then in epoch 3
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "broken", 4)
    BREAK_AT.clear()
    broken = trained(tmp_path / "broken", 4)
    assert len(SEEN) == 4 * 3 - 2 * 4  # steps that were left
    for name, weight in unbroken["net"].items():
        assert_same(name, weight, broken["net"][name])
    assert unbroken["scheduler"] == broken["scheduler"]
    assert unbroken["optimizer"]["param_groups"] == broken["optimizer"]["param_groups"]


def test_a_moved_image_does_not_depend_on_the_others():
    images = torch.rand(8, 1, 9, 9, generator=torch.Generator().manual_seed(0)) * torch.linspace(
        0.1, 2, 8
    ).view(8, 1, 1, 1)
    together = random_affine(images, SampleGenerator(0, range(8)), shift=2, degrees=20, scale=0.2)
    for i in range(8):
        alone = random_affine(images[i : i + 1], SampleGenerator(0, [i]), shift=2, degrees=20, scale=0.2)
        assert torch.equal(alone[0], together[i])
