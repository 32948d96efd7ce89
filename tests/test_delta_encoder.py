"""The delta encoder: codes by hand and as measured from snnTorch, the way back, streams, clear refusals."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from spikeloom import functional
from spikeloom.encoding import DeltaEncoder
from spikeloom.errors import ShapeError

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


def test_a_long_signal_does_not_drift_away():
    signal = 20_000 + torch.arange(4000, dtype=torch.float64) * 0.0999  # where floats are 0.002 apart
    encoder = DeltaEncoder(0.1, start=20_000, step_mode="m")
    decoded = encoder.decode(encoder(signal.float()))
    assert (decoded - signal).abs().max() < 0.1 + 4e-3  # a plain sum of spikes was 1.5 off
    assert abs(encoder.value - decoded[-1]) < 4e-3
    coarse = DeltaEncoder(1.0, start=2.0**25, step_mode="m")  # where they are 4 apart
    assert coarse(torch.full([6], 2.0**25 + 4)).tolist() == [1, 1, 1, 0, 0, 0]


def test_decoded_spikes_start_where_the_encoder_did():
    signal = torch.tensor([5.0, 6.0, 6.0])
    encoder = DeltaEncoder(1.0, start=5.0, step_mode="m")
    spikes = encoder(signal)
    assert torch.equal(encoder.decode(spikes), signal)
    assert torch.equal(encoder.decode(spikes.int(), start=0), signal - 5)
    with pytest.raises(ShapeError, match=r"like one time step of `spikes`, \[\], got \[3\].*signal\[0\]"):
        encoder.decode(spikes, start=signal)
    many = torch.ones(4000, 1, dtype=torch.float16)  # whose sums it does not hold
    assert encoder.decode(many, start=-3000)[-1] == 1000


@pytest.mark.parametrize("reference", ["spikes", "step"])
def test_a_threshold_for_each_feature(reference):
    signal = torch.randn(20, 3, 2, generator=torch.Generator().manual_seed(1))
    encoder = DeltaEncoder(torch.tensor([0.5, 2.0]), reference=reference, step_mode="m")
    spikes = encoder(signal)
    for feature, threshold in enumerate((0.5, 2.0)):
        alone = DeltaEncoder(threshold, reference=reference, step_mode="m")
        assert torch.equal(alone(signal[..., feature]), spikes[..., feature])
        assert torch.equal(alone.decode(spikes[..., feature]), encoder.decode(spikes)[..., feature])
    assert not encoder.state_dict()
    assert "threshold=tensor[2]" in repr(encoder)
    with pytest.raises(ShapeError, match=r"`threshold` of shape \[2\], which does not broadcast.*\[3\]"):
        DeltaEncoder(torch.ones(2))(torch.ones(3))


def test_copies_go_on_from_where_it_was():
    signal = torch.randn(12, 3, generator=torch.Generator().manual_seed(2))
    encoder = DeltaEncoder(torch.tensor(0.3), step_mode="m")
    encoder(signal[:5])
    copies = [copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))]
    spikes = encoder(signal[5:])
    assert all(torch.equal(one(signal[5:]), spikes) for one in copies)


def test_in_a_network_on_meta_and_compiled():
    signal = torch.randn(7, 3, 2, generator=torch.Generator().manual_seed(3))
    net = nn.Sequential(DeltaEncoder(0.3), nn.Linear(2, 4))
    functional.set_step_mode(net, "m")
    output = net(signal)
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    functional.reset_net(net)
    assert net[0].value is None
    assert torch.equal(compiled(signal), output)
    functional.reset_net(net)
    assert net.to("meta")(signal.to("meta")).shape == (7, 3, 4)


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
    with pytest.raises(ValueError, match="greater than 0 everywhere"):
        DeltaEncoder(torch.tensor([1.0, 0.0]))
    with pytest.raises(ValueError, match="`start` must be a finite number"):
        DeltaEncoder(start=math.inf)
    with pytest.raises(TypeError, match="`spikes` must be a tensor"):
        DeltaEncoder().decode([1.0])
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
