"""The triplet rule: against a loop written from its equations, and its dependence on the rate."""

import math

import pytest
import torch
from torch import nn

from compare import assert_close
from learning.spikes import random_spikes
from spikeloom import learning


def by_hand(pre, post, taus, amplitudes, nearest):
    """One synapse, in plain Python: traces decay, spikes change the weight, spikes enter the traces."""
    d = {name: math.exp(-1 / tau) for name, tau in taus.items()}
    a2p, a3p, a2m, a3m = amplitudes
    r1 = r2 = o1 = o2 = change = 0.0
    for before, behind in zip(pre, post, strict=True):
        r1, r2, o1, o2 = r1 * d["tau_plus"], r2 * d["tau_x"], o1 * d["tau_minus"], o2 * d["tau_y"]
        r2_before, o2_before = r2, o2
        if before:
            r1, r2 = (1.0, 1.0) if nearest else (r1 + 1, r2 + 1)
        if behind:
            o1, o2 = (1.0, 1.0) if nearest else (o1 + 1, o2 + 1)
        change += behind * r1 * (a2p + a3p * o2_before) - before * o1 * (a2m + a3m * r2_before)
    return change


@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize("cuts", [[40], [7, 1, 32]])
def test_the_rule_is_its_equations(nearest, cuts):
    taus = {"tau_plus": 4.0, "tau_x": 9.0, "tau_minus": 6.0, "tau_y": 12.0}
    amplitudes = (0.1, 0.7, 0.2, 0.3)
    pre, post = random_spikes(40, 2, 3), random_spikes(40, 2, 2, seed=1)
    fc, sn = nn.Linear(3, 2, bias=False, dtype=torch.float64), nn.Identity()
    names = dict(zip(("a2_plus", "a3_plus", "a2_minus", "a3_minus"), amplitudes, strict=True))
    learner = learning.TripletSTDPLearner("m", fc, sn, **taus, **names, nearest=nearest)
    change = torch.zeros(2, 3, dtype=torch.float64)
    for before, behind in zip(pre.split(cuts), post.split(cuts), strict=True):
        fc(before), sn(behind)
        change += learner.step(on_grad=False)
    expected = [
        [
            sum(by_hand(pre[:, n, j], post[:, n, i], taus, amplitudes, nearest).item() for n in range(2))
            for j in range(3)
        ]
        for i in range(2)
    ]
    assert_close("change", torch.tensor(expected, dtype=torch.float64), change)


def test_the_rate_decides_what_pairs_in_the_wrong_order_do():
    """Sixty pairs, 10 ms from spike behind to spike before, at 5 and at 50 Hz; steps of 1 ms. Pair STDP can
    only weaken at both (Sjöström et al. 2001)."""
    for period, sign in ((200, -1), (20, 1)):
        pre, post = torch.zeros(2, 60 * period, 1, 1)
        post[::period], pre[10::period] = 1, 1
        fc, sn = nn.Linear(1, 1, bias=False), nn.Identity()
        learner = learning.TripletSTDPLearner("m", fc, sn)
        fc(pre), sn(post)
        assert learner.step(on_grad=False).item() * sign > 0.05


def test_wrong_time_constants():
    for name in ("tau_plus", "tau_x", "tau_minus", "tau_y"):
        with pytest.raises(ValueError, match=f"`{name}` must be a finite number greater than 0"):
            learning.TripletSTDPLearner("s", nn.Linear(1, 1), nn.Identity(), **{name: 0.0})
