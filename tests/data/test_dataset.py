import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.data import Dataset, as_float, blobs


def table(train, test, num_classes=2):
    train, test = torch.tensor(train), torch.tensor(test)
    labels = torch.arange(len(train)) % num_classes, torch.arange(len(test)) % num_classes
    return Dataset("table", tuple(map(str, range(num_classes))), train, labels[0], test, labels[1])


def pictures(train, test):
    return Dataset(
        "pictures", ("a",), train, train.new_zeros(len(train)).long(), test, test.new_zeros(len(test)).long()
    )


def test_as_float_maps_every_byte_into_the_unit_interval_and_leaves_floats_alone():
    values = as_float(torch.arange(256, dtype=torch.uint8))
    assert values.dtype == torch.float32
    assert values.min() == 0
    assert values.max() == 1
    assert torch.equal((values * 255).round().byte(), torch.arange(256, dtype=torch.uint8))
    assert torch.equal(as_float(torch.tensor([-3.0, 2.5])), torch.tensor([-3.0, 2.5]))


def test_as_float_leaves_counts_and_spikes_unscaled():
    counts = as_float(torch.tensor([0, 1, 127], dtype=torch.int8))
    spikes = as_float(torch.tensor([False, True]))
    assert (counts.dtype, spikes.dtype) == (torch.float32, torch.float32)
    assert (counts.tolist(), spikes.tolist()) == ([0, 1, 127], [0, 1])


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.bool, torch.float32])
def test_event_frames_are_samples(dtype):
    frames = (torch.arange(3 * 4 * 2 * 5 * 5).reshape(3, 4, 2, 5, 5) % 2).to(dtype)
    data = pictures(frames, frames[:1])
    assert data.sample_shape == (4, 2, 5, 5)
    assert torch.equal(data.take(2).train_x, frames[:2])


def test_event_frames_are_scaled_per_polarity():
    frames = torch.zeros(2, 3, 2, 4, 4, dtype=torch.int8)
    frames[0, 0, 0], frames[1, 2, 1] = 4, 8
    data = pictures(frames, frames[:1]).min_max()
    assert data.train_x.dtype == torch.float32
    assert data.train_x.amax((0, 1, 3, 4)).tolist() == [1, 1]
    torch.testing.assert_close(data.train_x[0, 0, 0], torch.ones(4, 4))
    mean = pictures(frames, frames[:1]).standardised().train_x.mean((0, 1, 3, 4))
    torch.testing.assert_close(mean, torch.zeros(2), atol=1e-6, rtol=0)


def test_spike_sequences_are_samples_scaled_per_channel():
    spikes = torch.tensor([[[0, 5], [1, 5]], [[2, 5], [0, 9]]], dtype=torch.int8)  # [N, T, F]
    data = pictures(spikes, spikes[:1])
    assert data.sample_shape == (2, 2)
    assert data.min_max().train_x.tolist() == [[[0.0, 0.0], [0.5, 0.0]], [[1.0, 0.0], [0.0, 1.0]]]
    torch.testing.assert_close(data.standardised().train_x.mean((0, 1)), torch.zeros(2))


def test_parts_are_datasets_of_pytorchs():
    images = torch.arange(2 * 4, dtype=torch.uint8).reshape(2, 1, 2, 2)
    data = pictures(images, images[:1])
    loaded = [*torch.utils.data.DataLoader(data.train, batch_size=2), *torch.utils.data.DataLoader(data.test)]
    assert torch.equal(loaded[0][0], as_float(images))
    assert [y.tolist() for _, y in loaded] == [[0, 0], [0]]
    assert (len(data.train), len(data.test)) == (2, 1)
    with pytest.raises(IndexError):
        data.train[2]


def test_a_set_as_a_whole_says_that_it_has_two_parts():
    data = blobs()
    uses = (len, iter, lambda it: it[0], lambda it: [*torch.utils.data.DataLoader(it, shuffle=True)])
    for use in uses:
        with pytest.raises(TypeError, match=r"'blobs' has two parts, .* its `train` or its `test`"):
            next(use(data))
    assert data


def test_statistics_come_from_the_training_part_only():
    data = table([[0.0, 10.0], [2.0, 30.0]], [[1.0, 40.0], [5.0, 0.0]])
    torch.testing.assert_close(data.standardised().train_x, torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
    torch.testing.assert_close(data.standardised().test_x, torch.tensor([[0.0, 2.0], [4.0, -2.0]]))
    torch.testing.assert_close(data.min_max().test_x, torch.tensor([[0.5, 1.0], [1.0, 0.0]]))
    torch.testing.assert_close(data.min_max(clip=False).test_x, torch.tensor([[0.5, 1.5], [2.5, -0.5]]))


@given(constant=st.floats(-1e6, 1e6, width=32), count=st.integers(1, 100))
def test_a_constant_feature_becomes_zero_in_both_parts(constant, count):
    data = table([[constant, float(i)] for i in range(count)], [[constant + 1, 0.5]])
    for scaled in (data.standardised(), data.min_max(), data.min_max(clip=False)):
        assert not scaled.train_x[:, 0].any()
        assert not scaled.test_x[:, 0].any()
        assert scaled.train_x.isfinite().all()


def test_images_are_scaled_per_channel():
    train = torch.stack([torch.full([2, 3, 3], 10), torch.full([2, 3, 3], 20)]).byte()
    train[:, 1] += 100
    data = pictures(train, train[:1]).standardised()
    assert data.train_x.dtype == torch.float32
    torch.testing.assert_close(data.train_x[0], torch.full([2, 3, 3], -1.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(data.test_x, data.train_x[:1])


def test_min_max_of_training_data_fills_the_unit_interval_exactly():
    data = table(torch.randn(500, 3, generator=torch.Generator().manual_seed(0)).tolist(), [[0.0] * 3])
    scaled = data.min_max().train_x
    assert torch.equal(scaled.amin(0), torch.zeros(3))
    assert torch.equal(scaled.amax(0), torch.ones(3))


def test_scaling_leaves_the_original_alone():
    data = table([[0.0], [2.0]], [[1.0]])
    data.standardised(), data.min_max()
    assert torch.equal(data.train_x, torch.tensor([[0.0], [2.0]]))


def test_take_keeps_the_first_samples():
    data = table([[0.0], [1.0], [2.0]], [[3.0], [4.0]]).take(2, 1)
    assert data.train_x.tolist() == [[0.0], [1.0]]
    assert data.train_y.tolist() == [0, 1]
    assert data.test_x.tolist() == [[3.0]]
    assert len(data.take().train_x) == 2
    with pytest.raises(ValueError, match="`num_test` must be at least 0, got -1"):
        data.take(num_test=-1)


def test_what_is_held_out_comes_from_the_training_part_of_every_class():
    whole = table([[float(i)] for i in range(60)], [[-1.0], [-2.0]], num_classes=3)
    held = whole.held_out(seed=1)
    assert sorted([*held.train_x.flatten().tolist(), *held.test_x.flatten().tolist()]) == [*range(60)]
    assert held.test_y.bincount().tolist() == [3, 3, 3]  # a sixth of 20, rounded
    for x, y in ((held.train_x, held.train_y), (held.test_x, held.test_y)):
        assert torch.equal(x.flatten().long() % 3, y)
    assert not torch.equal(whole.held_out(seed=2).test_x, held.test_x)
    assert len(whole.held_out(fraction=0.5).test_y) == 30


def test_what_is_held_out_of_made_points_is_shuffled():
    """And not in the order of the numbers that the points were made from."""
    held = blobs().held_out()
    centres = torch.stack([held.train_x[held.train_y == one].mean(0) for one in (0, 1)])
    distances = (held.train_x - centres[held.train_y]).norm(dim=1)
    places = torch.arange(len(distances)).float()
    assert abs(torch.corrcoef(torch.stack([places, distances]))[0, 1]) < 0.15


def test_scaling_needs_training_samples():
    with pytest.raises(ValueError, match="must hold samples"):
        table([[0.0]], [[1.0]]).take(0).standardised()


def test_it_is_frozen_and_short_in_print():
    data = table([[0.0]], [[1.0]])
    assert repr(data) == "Dataset('table', 1 training and 1 test samples of shape (1,), 2 classes)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "other"


def test_arrays_are_refused():
    data = table([[0.0]], [[1.0]])
    for name in ("train_x", "test_y"):
        with pytest.raises(
            TypeError, match=rf"`{name}` must be a tensor, got a ndarray. Use torch.as_tensor"
        ):
            dataclasses.replace(data, **{name: getattr(data, name).numpy()})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train_x": torch.zeros(2, 3).double()}, r"`train_x` must be images uint8 .* got torch.float64"),
        ({"train_x": torch.zeros(2, 3, dtype=torch.uint8)}, r"`train_x` must be images uint8 \[N, C, H, W\]"),
        ({"test_x": torch.zeros(2, 4)}, r"`test_x` must have the type and sample shape of `train_x`"),
        ({"train_y": torch.zeros(3).long()}, r"`train_y` must be labels int64 \[2\], got torch.int64 \[3\]"),
        ({"train_y": torch.zeros(2)}, r"`train_y` must be labels int64 \[2\], got torch.float32 \[2\]"),
        ({"test_y": torch.tensor([0, 2])}, r"`test_y` must lie in 0..1, got 0..2"),
        ({"train_y": torch.tensor([-1, 0])}, r"`train_y` must lie in 0..1, got -1..0"),
        ({"train_x": torch.full([2, 3], torch.nan)}, r"`train_x` must be finite"),
        ({"train_x": torch.zeros(2, 3, 2, 4, 4).byte()}, r"event frames \[N, T, C, H, W\]"),
        ({"train_x": torch.zeros(2, 2, 4, 4).bool()}, r"event frames \[N, T, C, H, W\]"),
        ({"train_x": torch.full([2, 3, 2, 4, 4], 200).to(torch.int8)}, r"counts of at least 0, got -56"),
        ({"train_x": torch.full([2, 3, 2, 4, 4], 40_000).short()}, r"counts of at least 0, got -25536"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changed, message):
    good = {
        "train_x": torch.zeros(2, 3),
        "train_y": torch.zeros(2).long(),
        "test_x": torch.zeros(2, 3),
        "test_y": torch.zeros(2).long(),
    }
    with pytest.raises(ValueError, match=message):
        Dataset("bad", ("a", "b"), **(good | changed))
