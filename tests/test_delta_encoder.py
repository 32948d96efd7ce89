"""The delta encoder: codes by hand and as measured from snnTorch, the way back, streams, clear refusals."""

import math

import pytest
import torch

from spikeloom import functional
from spikeloom.encoding import DeltaEncoder

UP_AND_DOWN = torch.tensor([1.0, 2.0, 0.0, 2.0, 2.875])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [  # what snnTorch 1.0.0 gives for spikegen.delta(UP_AND_DOWN, threshold=1, padding=, off_spike=)
        ({"signed": False, "start": 0.0}, [1, 1, 0, 1, 0]),
        ({"signed": False}, [0, 1, 0, 1, 0]),
        ({"start": 0.0}, [1, 1, -1, 1, 0]),
        ({}, [0, 1, -1, 1, 0]),
    ],
)
def test_steps_as_snntorch_codes_them(settings, expected):
    encoder = DeltaEncoder(threshold=1.0, reference="step", step_mode="m", **settings)
    assert encoder(UP_AND_DOWN).tolist() == expected


def test_slow_changes_add_up_for_spikes_only():
    ramp = torch.arange(9) * 0.25
    assert DeltaEncoder(0.5, step_mode="m")(ramp).tolist() == [0, 0, 1, 0, 1, 0, 1, 0, 1]
    assert DeltaEncoder(0.5, reference="step", step_mode="m")(ramp).sum() == 0


def test_a_jump_is_told_in_the_steps_after_it():
    encoder = DeltaEncoder(1.0, start=0.0, step_mode="m")
    spikes = encoder(torch.tensor([3.0, 3.0, 3.0, 3.0, 0.0]))
    assert spikes.tolist() == [1, 1, 1, 0, -1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_what_is_decoded_is_good_to_the_threshold(dtype):
    time = torch.linspace(0, 2 * math.pi, 200, dtype=torch.float64)
    signal = torch.stack([time.sin(), (2 * time).cos()], 1).to(dtype)  # [T, N]
    encoder = DeltaEncoder(0.1, step_mode="m")
    spikes = encoder(signal)
    assert spikes.dtype == dtype
    assert set(spikes.unique().tolist()) == {-1, 0, 1}
    assert (encoder.decode(spikes, start=signal[0]) - signal).abs().max() < 0.1 + 2e-3


@pytest.mark.parametrize("reference", ["spikes", "step"])
def test_a_stream_is_coded_like_the_whole(reference):
    signal = torch.randn(12, 3, 2, generator=torch.Generator().manual_seed(0))
    whole = DeltaEncoder(0.3, reference=reference, step_mode="m")
    single = DeltaEncoder(0.3, reference=reference)
    spikes = whole(signal)
    assert 0.1 < spikes.abs().mean() < 0.95
    assert torch.equal(torch.stack([single(x) for x in signal]), spikes)
    functional.reset_net(whole)
    assert torch.equal(torch.cat([whole(signal[:5]), whole(signal[5:])]), spikes)


def test_the_signal_may_be_overwritten():
    buffer, encoder = torch.zeros(2), DeltaEncoder(1.0, reference="step")
    encoder(buffer)
    buffer += 1
    assert encoder(buffer).tolist() == [1, 1]


def test_no_gradient_and_integers():
    x = torch.ones(3, 2, requires_grad=True)
    assert not DeltaEncoder(step_mode="m")(x).requires_grad
    assert DeltaEncoder(1, step_mode="m")(torch.tensor([0, 1, 1])).tolist() == [0.0, 1.0, 0.0]


def test_refusals():
    with pytest.raises(ValueError, match="`threshold` must be a finite number greater than 0"):
        DeltaEncoder(0.0)
    with pytest.raises(ValueError, match="`reference` must be 'spikes' or 'step', got 'last'"):
        DeltaEncoder(reference="last")
    with pytest.raises(TypeError, match="`start` must be a number"):
        DeltaEncoder(start="first")
    with pytest.raises(ValueError, match="`x` must have no NaN"):
        DeltaEncoder()(torch.tensor([torch.nan]))
    with pytest.raises(ValueError, match="`x` must be finite"):
        DeltaEncoder()(torch.tensor([torch.inf]))
    encoder = DeltaEncoder(1.0)
    encoder(torch.zeros(2))
    with pytest.raises(ValueError, match="NaN"):
        encoder(torch.tensor([torch.nan, 0.0]))
    assert encoder(torch.ones(2)).tolist() == [1, 1]  # the step that failed left nothing behind
