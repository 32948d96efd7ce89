"""Diehl & Cook's network: the engine against the plain loop, its rules, its random input, what is refused."""

import copy
import math
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from compare import assert_close, assert_same
from spikeloom.errors import ShapeError
from spikeloom.learning import DiehlCook, DiehlCookConstants
from spikeloom.learning.diehl_cook import compiled, reference
from spikeloom.learning.diehl_cook.constants import EXCITATORY
from spikeloom.learning.diehl_cook.input import draw

SHORT = {"shown": 40.0, "pause": 10.0, "max_delay": 3.0, "min_spikes": 2, "presentations": 3, "total": 14.0}


def network(inputs=30, neurons=7, seed=0, **constants):
    numbers = DiehlCookConstants(**{**SHORT, **constants})
    return DiehlCook(inputs, neurons, numbers, torch.Generator().manual_seed(seed))


def images(count=6, inputs=30, rate=260.0):
    """Rates of which a third is 0; the second image is empty, the third faint."""
    generator = torch.Generator().manual_seed(1)
    rates = torch.rand(count, inputs, generator=generator) * rate
    rates[torch.rand(count, inputs, generator=generator) < 1 / 3] = 0
    rates[1], rates[2] = 0, rates[2] / 40
    return rates


def assert_same_state(reference, got):
    """All numbers agree bit by bit; those that the engine flushes to 0 count as 0."""
    states = [{**dict(one.named_buffers()), **one.memories} for one in (reference, got)]
    for name, expected in states[0].items():
        tiny = torch.finfo(torch.float32).tiny
        values = [torch.where(one.abs() < tiny, 0, one) for one in (expected, states[1][name])]
        assert_same(name, *values)


VARIANTS = {
    "as it is": {},
    "weights reach their bounds": {"nu_pre": 0.05, "nu_post": 0.6},
    "no inhibition": {"lateral": 0.0},
    "fixed thresholds": {"theta_plus": 0.0},
    "fast thresholds": {"theta_plus": 1.0, "tau_theta": 500.0},
    "steps of 1 ms, no pause": {"dt": 1.0, "pause": 0.0},
    "no delays": {"max_delay": 0.0},
}


@pytest.mark.parametrize("constants", VARIANTS.values(), ids=VARIANTS)
def test_the_engine_learns_as_the_reference_does(constants):
    fast, plain = network(**constants), network(**constants)
    spikes = fast.learn(images(), range(6))
    assert_same("spikes", reference.show(plain, images(), range(6), learn=True), spikes)
    assert_same_state(plain, fast)
    assert spikes.sum() >= 20
    assert len(set(spikes[0].tolist())) > 1  # neurons differ
    assert not torch.equal(fast.weight, network(**constants).weight)


def test_variants_reach_what_they_are_named_after():
    strong = network(**VARIANTS["weights reach their bounds"])
    strong.learn(images(20), range(20))
    assert (strong.weight == 0).any()
    assert (strong.weight == 1).any()


def test_the_engine_responds_as_the_reference_does():
    fast = network()
    fast.learn(images(), range(6))
    before = copy.deepcopy(fast)
    spikes = fast.respond(images(12), range(12))
    expected = reference.show(copy.deepcopy(fast), images(12), range(12), learn=False)
    assert_same("spikes", expected, spikes)
    assert spikes.sum() >= 20
    assert_same_state(before, fast)  # it has learned nothing, and remembers nothing


def test_each_response_starts_from_the_memories():
    """A threshold below rest is reached without input, and the first neuron to do so keeps others down."""
    for first in (2, 5):
        one = network()
        one.theta.fill_(6.5)  # the threshold is -65.5 mV, and rest -65 mV
        one.memories["v_excitatory"].fill_(-90.0)
        one.memories["v_excitatory"][first] = -65.0
        spikes = one.respond(torch.zeros(3, one.inputs), range(3))
        assert (spikes.argmax(1) == first).all()
        assert_same("every sample", spikes[:1].expand(3, -1), spikes)


def test_responses_depend_neither_on_other_samples_nor_on_threads():
    one = network()
    together = one.respond(images(), range(6))
    alone = torch.cat([one.respond(images()[n : n + 1], [n]) for n in range(6)])
    assert_same("alone", together, alone)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        assert_same("4 threads", together, one.respond(images(), range(6)))
    finally:
        torch.set_num_threads(threads)


def test_learning_in_parts_is_learning_in_one_go():
    whole, parts = network(), network()
    whole.learn(images(), range(6))
    for n in range(6):
        parts.learn(images()[n : n + 1], [n])
    assert_same_state(whole, parts)


def test_a_network_that_was_saved_goes_on():
    whole, first, second = network(), network(), network(seed=9)
    whole.learn(images(), range(6))
    first.learn(images()[:3], range(3))
    second.load_state_dict(first.state_dict())
    second.memories = first.memories
    second.learn(images()[3:], range(3, 6))
    assert_same_state(whole, second)


def test_empty_and_faint_images_end():
    many = network(presentations=1000)
    spikes = many.learn(torch.zeros(2, 30), [0, 1])
    assert spikes.sum() == 0
    assert int(many.memories["last_input"].max()) < -1000  # no input ever spiked
    faint = torch.full((1, 30), 1e-3)
    assert network(presentations=3).learn(faint, [0]).sum() < 2


def test_an_image_is_shown_more_intensely_until_it_causes_spikes():
    faint = images()[2:3]
    assert network(presentations=1).respond(faint, [2]).sum() < 2
    assert network(presentations=200).respond(faint, [2]).sum() >= 2


def test_each_presentation_starts_from_normalised_weights():
    one = network(nu_pre=0.0, nu_post=0.0)
    one.weight[:, 3] = 0
    one.learn(images(), range(6))
    total = torch.tensor([14.0] * 7)
    total[3] = 0
    assert_close("sums", total, one.weight.sum(0))


def test_thresholds_rise_by_spikes_and_fade():
    one = network(theta_plus=1.0, tau_theta=1e12, presentations=1)
    spikes = one.learn(images()[:1], [0])[0]
    rises = one.theta - 20
    assert_same("whole rises", rises.round(), rises)
    assert (rises >= spikes).all()  # those in the pause raise it too, but do not count
    assert rises.sum() <= spikes.sum() + 7
    fading = network(theta_plus=0.0, tau_theta=100.0, presentations=1)
    fading.learn(torch.zeros(1, 30), [0])
    assert_close("fading", torch.full((7,), 20 * math.exp(-0.5)), fading.theta)


@pytest.mark.parametrize("a", [0.05, 0.5])
def test_potentials_follow_the_equation_to_second_order(a):
    """Halving the time step divides the error by four, for conductances that are constant."""
    memory = {"excitation": torch.tensor([a / 0.005 / 2]), "inhibition": torch.tensor([a / 0.005 / 2])}
    total = 1 + 2 * memory["excitation"].double().item()
    limit = (-65 - 100 * memory["inhibition"].double().item()) / total
    exact = limit + (-65 - limit) * math.exp(-total * 0.5 / 100)
    errors = []
    for parts in (1, 2, 4):
        state = {name: value.double() for name, value in memory.items()}
        state |= {"v_excitatory": torch.tensor([-65.0]).double(), "last_excitatory": torch.tensor([-9999])}
        for _ in range(parts):
            constants = DiehlCookConstants(dt=0.5 / parts)
            reference.advance(constants, EXCITATORY, state, "excitatory", torch.tensor(999.0), 0)
        errors.append(abs(state["v_excitatory"].item() - exact))
    for coarse, fine in pairwise(errors):
        assert 3 < coarse / fine < 5


@pytest.mark.parametrize("dt", [0.5, 0.25, 0.1])
@pytest.mark.parametrize("spike", ["excitatory", "inhibitory"])
def test_a_spike_moves_the_potential_as_in_continuous_time(dt, spike):
    """For any time step; a conductance that acted with its first value would move it by a quarter more."""
    constants = DiehlCookConstants(dt=dt, theta_start=999.0)
    one = DiehlCook(1, 1, constants)
    one.weight[:], one.delay[:] = 0.3, 0
    memory, steps = one.memories, constants.steps(20.0)
    if spike == "inhibitory":
        memory["inhibition"][:] = 17.0 * constants.mean(constants.tau_inhibition)
        reference._present(one, [[] for _ in range(steps)], learn=False)
        tau, g, reversal = 2.0, 17.0, -100.0
    else:
        reference._present(one, [[0], *([] for _ in range(steps))], learn=False)
        tau, g, reversal = 1.0, 0.3, 0.0
    v, fine = -65.0, 1e-3
    for _ in range(round(20.0 / fine)):
        v += fine / 100 * (-65.0 - v + g * (reversal - v))
        g -= fine / tau * g
    assert memory["v_excitatory"].item() + 65 == pytest.approx(v + 65, rel=0.02)


def test_potentials_stay_between_the_reversal_potentials_for_any_conductance():
    one = network(relay=1e6, lateral=1e6)
    one.learn(images(rate=2000.0), range(6))
    for name in ("v_excitatory", "v_inhibitory"):
        assert (one.memories[name] >= -100).all()
        assert (one.memories[name] <= 0).all()


def test_stdp_by_hand():
    one = network(inputs=2, neurons=2)
    one.weight[:] = 0.5
    one.memories["last_excitatory"][:] = torch.tensor([90, -9999])  # 10 time steps, 5 ms, before step 100
    one.memories["last_input"][:] = torch.tensor([96, -9999])
    reference.depress(one, [1], 100)
    lowered = 0.5 - 1e-4 * math.exp(-5 / 20)
    assert_close("depressed", torch.tensor([[0.5, 0.5], [lowered, 0.5]]), one.weight)
    reference.potentiate(one, torch.tensor([1.0, 1.0]), 100)
    raised = 0.5 + 1e-2 * math.exp(-2 / 20) * math.exp(-5 / 40)
    assert_close("potentiated", torch.tensor([[raised, 0.5], [lowered, 0.5]]), one.weight)


def spikes_of(chance, key=0, presentation=0, shown=4000, pause=0):
    """Dense spikes ``[steps, inputs]`` of one presentation."""
    steps = shown + pause
    starts, room = np.empty(steps + 1, np.int64), np.empty((2, len(chance) * shown), np.int32)
    sources = draw(key, presentation, np.asarray(chance), 1.0, shown, starts, room)
    dense = np.zeros((steps, len(chance)), int)
    for step in range(steps):
        of_step = sources[starts[step] : starts[step + 1]]
        assert (np.diff(of_step) > 0).all()  # in order, and each input once
        dense[step, of_step] = 1
    return dense


def test_inputs_spike_with_their_chance_independently_of_the_past():
    chance = np.array([0.0, 0.02, 0.3, 1.0])
    spikes = spikes_of(chance, shown=40_000)
    deviation = np.sqrt(chance * (1 - chance) / len(spikes))
    assert (abs(spikes.mean(0) - chance) <= 4 * deviation).all()
    for lag in (1, 2, 7):
        both = (spikes[lag:] * spikes[:-lag]).mean(0)
        assert (abs(both - chance**2) <= 5 * np.sqrt(chance**2 / len(spikes)) * (chance < 1)).all()
    assert abs((spikes[:, 1] * spikes[:, 2]).mean() - 0.006) < 4 * math.sqrt(0.006 / len(spikes))


def test_another_key_or_presentation_has_other_spikes_and_the_same_has_not():
    chance = [0.1] * 20
    first = spikes_of(chance)
    assert (first == spikes_of(chance)).all()
    for other in (spikes_of(chance, key=1), spikes_of(chance, presentation=1)):
        assert abs((first * other).mean() - 0.01) < 0.002


def test_there_are_no_spikes_in_the_pause():
    chance = [0.2, 0.5]
    spikes = spikes_of(chance, pause=10)
    assert (spikes[:4000] == spikes_of(chance)).all()
    assert spikes[4000:].sum() == 0


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_a_spike_reaches_each_neuron_after_the_delay_of_its_synapse(steps):
    one = network(inputs=2, neurons=4, theta_start=999.0, tau_excitation=1e9)  # what arrives stays
    one.weight[:] = 0.5
    one.delay[:] = torch.tensor([[0, 1, 2, 6], [1, 1, 0, 5]])
    reference._present(one, [[0, 1], *([] for _ in range(steps - 1))], learn=False)
    arrived = (one.delay < steps).sum(0) * 0.5
    assert_close("excitation", arrived, one.memories["excitation"])


def test_delays_are_drawn_for_each_synapse_up_to_the_longest():
    delay = network(inputs=50, neurons=40, max_delay=10.0).delay
    assert delay.unique().tolist() == list(range(21))
    assert (delay.float().mean() - 10).abs() < 0.5
    assert (delay[0] != delay[1]).any()
    assert (delay[:, 0] != delay[:, 1]).any()


def test_vanishing_rates_are_silence():
    assert spikes_of([1e-300, 1e-30, 0.5])[:, :2].sum() == 0


def test_memories_of_another_network_are_refused():
    one = network()
    one.memories = network(neurons=8).memories
    with pytest.raises(ShapeError, match=r"`v_excitatory` of the memories must be torch.float32 \[7\]"):
        one.learn(images(), range(6))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weight", torch.rand(30, 6)),
        ("weight", torch.rand(30, 7).double()),
        ("weight", torch.rand(7, 30).t()),
        ("weight", torch.rand(30, 7, device="meta")),
        ("weight", torch.rand(30, 7).requires_grad_()),
        ("theta", torch.rand(8)),
        ("delay", torch.zeros(30, 7, dtype=torch.int64)),
        ("delay", torch.zeros(30, dtype=torch.uint8)),
    ],
)
def test_what_is_not_of_this_network_is_refused(name, value):
    """The compiled loop would read and write beyond its end."""
    one = network()
    setattr(one, name, value)
    for show in (one.learn, one.respond):
        with pytest.raises(ShapeError, match=f"`{name}` of the network must be"):
            show(images(), range(6))


def test_delays_that_would_overtake_the_next_round_are_refused():
    one = network()
    one.delay[3] = 7
    with pytest.raises(ValueError, match="`delay` must be at most 6 time steps, got 7"):
        one.learn(images(), range(6))
    with pytest.raises(ValueError, match=r"`max_delay` must be at most 127.5 ms, 255 time steps, got 130"):
        DiehlCookConstants(max_delay=130.0)


def test_damaged_compiled_code_is_made_anew(monkeypatch):
    network().learn(images(), range(6))
    engine, reloaded = compiled.engine(), []
    whole = engine.module

    class Damaged:
        @staticmethod
        def compile(_):
            raise EOFError

    def reload_module(_):
        reloaded.append(1)
        return whole

    monkeypatch.setattr(engine, "module", SimpleNamespace(run=Damaged))
    monkeypatch.setattr(compiled, "reload_module", reload_module)
    fast, plain = network(), network()
    spikes = fast.learn(images(), range(6))
    assert_same("spikes", reference.show(plain, images(), range(6), learn=True), spikes)
    assert reloaded


def test_compiled_code_is_made_anew_when_a_part_of_it_changes(tmp_path, monkeypatch):
    """A part is whatever file the engine takes a compiled function from."""
    parts, names = compiled.PARTS, vars(compiled.engine().module)
    called = {one.__module__ for one in names.values() if hasattr(one, "signatures")}
    assert called - {compiled.engine().module.__name__} <= {part.__name__ for part in parts}
    for part in parts:
        changed = tmp_path / f"{part.__name__}.py"
        changed.write_text(Path(part.__file__).read_text() + "# changed")
        monkeypatch.setattr(part, "__file__", str(changed))
        assert engine_name() != compiled.engine().module.__name__
        monkeypatch.undo()
    assert engine_name() == compiled.engine().module.__name__


def engine_name():
    return compiled.engine.__wrapped__().module.__name__


def test_without_a_compiler_the_reference_runs(monkeypatch):
    compiled, plain = network(), network()
    results = [compiled.learn(images(), range(6)), compiled.respond(images(), range(6))]
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    for expected, method in zip(results, (plain.learn, plain.respond), strict=True):
        assert_same("spikes", expected, method(images(), range(6)))
    assert_same_state(plain, compiled)
    assert plain.learn(images()[:0], []).shape == (0, plain.neurons)


@pytest.mark.parametrize(
    ("rates", "keys", "error", "message"),
    [
        (torch.zeros(2, 29), [0, 1], ShapeError, r"`rates` must be \[N, 30\], got \[2, 29\]"),
        (torch.zeros(30), [0], ShapeError, r"`rates` must be \[N, 30\], got \[30\]"),
        (torch.zeros(2, 30), [0], ShapeError, r"`keys` must be one per sample, \[2\], got \[1\]"),
        (torch.zeros(1, 30), [-1], ValueError, r"`keys` must be whole numbers of at least 0, got \[-1\]"),
        (torch.zeros(1, 30), [1.5], ValueError, r"`keys` must be whole numbers of at least 0, got \[1.5\]"),
        (torch.full((1, 30), -0.5), [0], ValueError, "`rates` must be finite and at least 0, got -0.5"),
        (torch.full((1, 30), math.nan), [0], ValueError, "`rates` must be finite and at least 0, got nan"),
    ],
)
def test_wrong_samples_are_refused(rates, keys, error, message):
    for show in (network().learn, network().respond):
        with pytest.raises(error, match=message):
            show(rates, keys)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dt": 0.0}, "`dt` must be a number greater than 0, got 0.0"),
        ({"tau_pre": 0.0}, "`tau_pre` must be a number greater than 0"),
        ({"nu_post": -0.1}, "`nu_post` must be a number at least 0, got -0.1"),
        ({"total": math.inf}, "`total` must be a number at least 0, got inf"),
        ({"presentations": 0}, "`presentations` must be a number greater than 0"),
        ({"presentations": 2.5}, "`presentations` must be a whole number, got 2.5"),
        ({"intensity": 0}, "`intensity` must be a number greater than 0"),
        ({"dt": 1000.0}, "`shown` must be at least one time step, 1000.0 ms, got 350.0"),
        ({"tau_pre": 1e5}, "`tau_pre` must be less than 52428.8 ms, got 100000.0"),
    ],
)
def test_wrong_constants_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        DiehlCookConstants(**wrong)


@pytest.mark.parametrize("name", ["inputs", "neurons"])
def test_a_network_has_inputs_and_neurons(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1, got 0"):
        network(**{name: 0})


def test_no_samples_are_no_spikes():
    assert network().learn(torch.zeros(0, 30), []).shape == (0, 7)
    assert network().respond(torch.zeros(0, 30), []).shape == (0, 7)
