"""Encoders: codes by hand and as measured from SpikingJelly, rates, numbers per sample, clear refusals."""

import copy
import pickle

import pytest
import torch

from spikeloom import encoding, functional
from spikeloom.encoding import (
    LatencyEncoder,
    PeriodicEncoder,
    PoissonEncoder,
    PopulationEncoder,
    SampleGenerator,
    WeightedPhaseEncoder,
)
from spikeloom.errors import ShapeError

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
ENCODERS = {
    "PoissonEncoder": PoissonEncoder,
    "PopulationEncoder": lambda **mode: PopulationEncoder(4, **mode),
    "LatencyEncoder": lambda **mode: LatencyEncoder(5, **mode),
    "WeightedPhaseEncoder": lambda **mode: WeightedPhaseEncoder(5, **mode),
    "PeriodicEncoder": lambda **mode: PeriodicEncoder(torch.eye(5), **mode),
}
STATEFUL = ["LatencyEncoder", "WeightedPhaseEncoder"]
over_all = pytest.mark.parametrize("name", ENCODERS)
over_stateful = pytest.mark.parametrize("name", STATEFUL)


def steps(encoder, x: torch.Tensor | None, T: int) -> torch.Tensor:
    return torch.stack([encoder(x) if x is not None else encoder() for _ in range(T)])


def test_the_table_holds_every_encoder():
    others = {"StatefulEncoder", "DeltaEncoder"}  # the latter codes no value, but its changes over time
    assert {name for name in encoding.__all__ if name.endswith("Encoder")} == {*ENCODERS, *others}


@over_all
@pytest.mark.parametrize("dtype", FLOATS)
def test_types_shapes_and_gradients(name, dtype):
    x = torch.rand(2, 3, generator=torch.Generator().manual_seed(0)).mul(0.9).to(dtype).requires_grad_()
    single, multi = ENCODERS[name](), ENCODERS[name](step_mode="m")
    for spike in (single(x), multi(x.expand(7, 2, 3)), ENCODERS[name]().encode(x, T=7)):
        assert not spike.requires_grad
        assert ((spike == 0) | (spike == 1)).all()
    if name != "PeriodicEncoder":
        extra = (4,) if name == "PopulationEncoder" else ()
        assert ENCODERS[name]()(x).dtype == ENCODERS[name]().encode(x, T=7).dtype == dtype
        assert ENCODERS[name]()(x).shape == (2, 3, *extra)
        assert ENCODERS[name](step_mode="m")(x.expand(7, 2, 3)).shape == (7, 2, 3, *extra)
        assert ENCODERS[name]().encode(x, T=7).shape == (7, 2, 3, *extra)


@over_all
def test_copies(name):
    encoder = ENCODERS[name]()
    x = torch.full([2, 5], 0.5)
    encoder(x)
    for other in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        assert repr(other) == repr(encoder)
        assert other.state_dict() == {}
        if name in (*STATEFUL, "PeriodicEncoder"):
            assert torch.equal(steps(other, x, 6), steps(copy.deepcopy(encoder), x, 6))


@pytest.mark.parametrize("name", ["PoissonEncoder", "LatencyEncoder", "WeightedPhaseEncoder"])
@pytest.mark.parametrize("value", [-0.1, 1.5, torch.nan, torch.inf])
def test_values_outside_the_unit_interval_are_refused(name, value):
    x = torch.tensor([[0.5, value]])
    message = "must have no NaN" if value != value else r"`x` must be in \[0, .*\], got values from"
    with pytest.raises(ValueError, match=message):
        ENCODERS[name]()(x)
    with pytest.raises(ValueError, match=message):
        ENCODERS[name](step_mode="m")(x[None])
    with pytest.raises(ValueError, match=message):
        ENCODERS[name]().encode(x, T=2)


@pytest.mark.parametrize("name", ["PoissonEncoder", "LatencyEncoder", "WeightedPhaseEncoder"])
def test_an_image_of_bytes_is_told_to_be_divided(name):
    image = torch.tensor([[0, 128, 255]], dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"got values from 0 to 255\. Divide an image of bytes by 255"):
        ENCODERS[name]()(image)


@over_all
def test_an_empty_batch_is_accepted(name):
    if name != "PeriodicEncoder":
        assert ENCODERS[name]()(torch.rand(0, 3)).shape[0] == 0
        assert ENCODERS[name]().encode(torch.rand(0, 3), T=2).shape[:2] == (2, 0)


@over_all
@pytest.mark.parametrize("T", [0, -1, 2.0, True])
def test_the_number_of_steps_is_checked(name, T):
    with pytest.raises((TypeError, ValueError), match=r"`T` must be (an integer|at least 1)"):
        ENCODERS[name]().encode(torch.zeros(1), T)


# Poisson


def test_poisson_rates():
    x = torch.tensor([0.0, 1e-6, 0.25, 0.5, 0.9, 1.0])
    rate = PoissonEncoder(generator=torch.Generator().manual_seed(0)).encode(x, T=40_000).mean(0)
    torch.testing.assert_close(rate, x, rtol=0, atol=0.01)  # 4 standard deviations of the rate at 0.5
    assert rate[0] == 0
    assert rate[-1] == 1


@pytest.mark.parametrize("dtype", FLOATS)
def test_0_never_and_1_always(dtype):
    class Edge:
        def rand(self, shape, device, dtype):
            edge = torch.tensor(
                [0.0, torch.nextafter(torch.ones(()), torch.zeros(()))]
            )  # all that U[0, 1) allows
            return edge.to(device, dtype).expand(shape)

    for value in (0.0, 1.0):
        x = torch.full([3, 2], value, dtype=dtype)
        assert torch.equal(PoissonEncoder(generator=Edge())(x), x)
        assert torch.equal(PoissonEncoder("m", generator=Edge())(x[None]), x[None])


def test_poisson_follows_its_generator():
    x = torch.rand(3, 20)

    def encoder(step_mode="s"):
        return PoissonEncoder(step_mode, torch.Generator().manual_seed(7))

    assert torch.equal(encoder().encode(x, 5), encoder().encode(x, 5))
    assert torch.equal(encoder("m")(x.expand(5, 3, 20)), encoder().encode(x, 5))
    torch.manual_seed(3)
    first = PoissonEncoder().encode(x, 5)
    torch.manual_seed(3)
    assert torch.equal(PoissonEncoder().encode(x, 5), first)


def test_poisson_draws_anew_for_each_step():
    spike = PoissonEncoder("m", torch.Generator().manual_seed(0))(torch.full([2, 100], 0.5).expand(4, 2, 100))
    assert len({tuple(row.tolist()) for row in spike.flatten(0, 1)}) == 8


def test_poisson_of_integers_and_scalars():
    assert PoissonEncoder()(torch.tensor([True, False])).tolist() == [1.0, 0.0]
    spike = PoissonEncoder()(torch.tensor([[0, 1]], dtype=torch.uint8))
    assert spike.dtype == torch.float32
    assert spike.tolist() == [[0, 1]]
    assert PoissonEncoder()(torch.tensor(1.0)).shape == ()


def test_poisson_never_needs_a_reset():
    encoder = PoissonEncoder()
    for batch in (4, 2):
        assert encoder(torch.rand(batch, 3)).shape == (batch, 3)
    functional.reset_net(encoder)
    assert not list(encoder.memories())


def test_a_wrong_generator_is_refused():
    with pytest.raises(TypeError, match=r"`generator` must be a torch\.Generator, an object with rand"):
        PoissonEncoder(generator=0)
    encoder = PoissonEncoder()
    with pytest.raises(TypeError, match="`generator` must be"):
        encoder.generator = "seed"


def test_a_generator_on_another_device_is_refused():
    x = torch.rand(2, device="meta")
    with pytest.raises(ValueError, match="must be on the input's device meta, got one on cpu"):
        encoding.random.uniform(torch.Generator(), x)


# Numbers per sample


def generator(*indices: int, seed=0, names=("poisson", 3)) -> SampleGenerator:
    return SampleGenerator(seed, indices, *names)


@pytest.mark.parametrize("features", [(), (1,), (63,), (2, 5, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sample_has_the_same_numbers_in_any_batch(features, dtype):
    whole = generator(4, 8, 15, 16).rand_sequence(6, [4, *features], dtype=dtype)
    assert whole.shape == (6, 4, *features)
    assert whole.dtype == dtype
    for batch in ([2], [3, 0], [0, 1, 2, 3], [1, 1]):
        part = SampleGenerator(0, torch.tensor([4, 8, 15, 16])[batch], "poisson", 3)
        stepwise = torch.stack([part.rand([len(batch), *features], dtype=dtype) for _ in range(2)])
        rest = part.rand_sequence(4, [len(batch), *features], dtype=dtype)
        assert torch.equal(torch.cat([stepwise, rest]), whole[:, batch])


def test_seed_names_and_index_all_matter():
    variants = [
        generator(4),
        generator(4, seed=1),
        generator(5),
        generator(4, names=("poisson", 4)),
        generator(4, names=("noise", 3)),
        generator(4, names=("poisson", "3")),
        generator(4, names=("poisson",)),
        generator(3, names=("poisson", 4)),
    ]
    draws = torch.stack([variant.rand([1, 50])[0] for variant in variants])
    assert torch.corrcoef(draws).fill_diagonal_(0).abs().max() < 0.5  # 4 standard deviations of 1/sqrt(50)
    assert len(draws.unique()) == draws.numel()


def test_the_numbers_are_uniform():
    numbers = SampleGenerator(1, range(200), "uniform").rand([200, 1000])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = torch.histc(numbers, 20, 0, 1)
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 45  # chi-squared, 19 degrees of freedom, p = 0.0007
    first = numbers[:, 0].sort().values  # across samples too
    assert (first - torch.linspace(0, 1, 200)).abs().max() < 0.14  # Kolmogorov-Smirnov, p = 0.0007


def test_the_numbers_stay_the_same_over_versions():
    """Golden: recorded on 2026-11-22 with numpy 2.4.6; another numpy must not change what a seed means."""
    numbers = SampleGenerator(0, [7], "poisson", 3).rand([1, 3])
    torch.testing.assert_close(
        numbers, torch.tensor([[0.45757901668548584, 0.5595414638519287, 0.6272741556167603]]), rtol=0, atol=0
    )


def test_an_encoder_codes_a_sample_the_same_in_any_batch():
    x = torch.rand(4, 10)
    whole = PoissonEncoder(generator=generator(0, 1, 2, 3)).encode(x, 5)
    assert torch.equal(PoissonEncoder("m", generator(2, 3))(x[2:].expand(5, 2, 10)), whole[:, 2:])
    assert torch.equal(steps(PoissonEncoder(generator=generator(1)), x[1:2], 5), whole[:, 1:2])
    tuned = PopulationEncoder(4, generator=generator(0, 1, 2, 3)).encode(x, 5)
    assert torch.equal(steps(PopulationEncoder(4, generator=generator(3)), x[3:], 5), tuned[:, 3:])


def test_a_sample_generator_goes_on_where_its_copy_does():
    first = generator(1, 2)
    first.rand([2, 3])
    other = pickle.loads(pickle.dumps(first))
    assert torch.equal(other.rand([2, 3]), first.rand([2, 3]))


def test_sample_generator_errors():
    with pytest.raises(
        ValueError, match=r"`shape` must be \[N, \*\] with N = 2, the number of indices, got \[3, 4\]"
    ):
        generator(0, 1).rand([3, 4])
    with pytest.raises(ValueError, match="`shape` must be"):
        generator(0).rand([])
    with pytest.raises(ValueError, match=r"`dtype` must be torch\.float32 or torch\.float64"):
        generator(0).rand([1], dtype=torch.float16)
    with pytest.raises(ValueError, match="`indices` must be one-dimensional"):
        SampleGenerator(0, torch.tensor(3))
    for wrong in ({"seed": 0.5}, {"names": (None,)}):
        with pytest.raises(TypeError):
            generator(0, **wrong)
    with pytest.raises(TypeError):
        SampleGenerator(0, torch.tensor([[1, 2]]))


# Latency

# Measured from SpikingJelly 2.0.0: the step of the one spike of each of these values.
LATENCY_AT = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0]
LATENCY = [
    ("linear", 1, [0, 0, 0, 0, 0, 0, 0]),
    ("linear", 2, [1, 1, 1, 0, 0, 0, 0]),
    ("linear", 6, [5, 4, 4, 2, 1, 1, 0]),
    ("linear", 10, [9, 8, 7, 4, 2, 1, 0]),
    ("linear", 50, [49, 44, 37, 24, 12, 5, 0]),
    ("log", 1, [0, 0, 0, 0, 0, 0, 0]),
    ("log", 2, [1, 1, 1, 0, 0, 0, 0]),
    ("log", 6, [5, 2, 1, 1, 0, 0, 0]),
    ("log", 10, [9, 2, 1, 1, 0, 0, 0]),
    ("log", 50, [49, 2, 1, 1, 0, 0, 0]),
]


@pytest.mark.parametrize(("enc_function", "T", "expected"), LATENCY)
def test_latency_as_measured(enc_function, T, expected):
    encoder = LatencyEncoder(T, enc_function)
    spike = steps(encoder, torch.tensor(LATENCY_AT), T)
    assert spike.sum(0).tolist() == [1] * 7
    assert spike.argmax(0).tolist() == expected
    assert torch.equal(encoder.encode(torch.tensor(LATENCY_AT)), spike)


@pytest.mark.parametrize("T", [60, 81, 100, 1000])
def test_log_latency_is_right_for_many_steps(T):
    """Against float64; the exponential of the textbook form overflows float32 from T = 90 on."""
    x = torch.tensor([0.0, 1e-30, 1e-10, 0.013, 0.5, 0.99, 1.0])
    exact = [T - 1 - torch.logaddexp(torch.zeros(()).double(), value.double().log() + T - 1) for value in x]
    got = LatencyEncoder(T, "log").spike_time(x)
    assert (got - torch.stack(exact)).abs().max() <= 0.5001
    assert got[[0, -1]].tolist() == [T - 1, 0]


# Phase


def test_phase_as_measured():
    """Measured from SpikingJelly 2.0.0 with K = 4; the fifth step is the first again."""
    x = torch.tensor([0.0, 0.25, 0.3, 0.5, 0.6, 0.9375])
    expected = [
        [0, 0, 0, 1, 1, 1],
        [0, 1, 1, 0, 0, 1],
        [0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 1, 1],
        [0, 0, 0, 1, 1, 1],
    ]
    assert steps(WeightedPhaseEncoder(4), x, 5).tolist() == expected


@pytest.mark.parametrize("K", [1, 8, 24, 53])
def test_phases_weighted_by_powers_of_2_give_the_value_back(K):
    x = torch.rand(500, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).clamp(
        max=1 - 2.0**-K
    )
    weight = 0.5 ** torch.arange(1, K + 1, dtype=torch.float64)
    value = (WeightedPhaseEncoder(K).encode(x) * weight[:, None]).sum(0)
    assert (value <= x).all()
    assert (x - value).max() < 2.0**-K


@pytest.mark.parametrize("K", [8, 30, 53])
def test_phase_refuses_1(K):
    """Also where float32 cannot tell 1 - 2^-K from 1."""
    with pytest.raises(ValueError, match=r"Scale values that reach 1 by 1 - 2 \*\* -K"):
        WeightedPhaseEncoder(K)(torch.ones(2))
    with pytest.raises(ValueError, match="`K` must be at most 53, got 54"):
        WeightedPhaseEncoder(54)


# What the stateful ones share


@over_stateful
@pytest.mark.parametrize("inference", [False, True])
def test_an_input_that_is_overwritten_is_another_one(name, inference):
    with torch.inference_mode(inference):
        encoder, x = ENCODERS[name](), torch.full([2, 3], 0.3)
        code = encoder.encode(x)
        assert torch.equal(encoder(x), code[0])
        assert torch.equal(encoder(x), code[1])
        with pytest.warns(UserWarning, match="goes on with the code of its first input"):
            encoder(x.fill_(0.8))


@over_stateful
def test_another_input_at_the_address_of_the_first(name):
    encoder, x = ENCODERS[name](), torch.full([1000], 0.3)
    encoder(x)
    del x
    with pytest.warns(UserWarning, match="goes on with the code of its first input"):
        encoder(torch.full([1000], 0.8))


@over_stateful
def test_the_first_input_is_kept_until_reset(name):
    x, other = torch.full([2, 3], 0.3), torch.full([2, 3], 0.8)
    encoder = ENCODERS[name]()
    encoder(x)
    with pytest.warns(UserWarning, match=f"{name} goes on with the code of its first input"):
        second = encoder(other)
    assert torch.equal(second, encoder.encode(x)[1])
    assert torch.equal(encoder(other), encoder.encode(x)[2])  # told once
    assert torch.equal(encoder(), encoder.encode(x)[3])
    functional.reset_net(encoder)
    assert torch.equal(encoder(other), encoder.encode(other)[0])
    encoder.reset()
    with pytest.raises(ValueError, match=f"{name} needs an input in its first call"):
        encoder()


@over_stateful
def test_an_equal_input_brings_no_warning(name):
    encoder = ENCODERS[name]()
    assert torch.equal(
        torch.stack([encoder(torch.full([2], 0.3)) for _ in range(7)]),
        encoder.encode(torch.full([2], 0.3), 7),
    )


@over_stateful
def test_multi_step_equals_single_steps(name):
    x = torch.rand(2, 3).clamp(max=0.9)
    single, multi = ENCODERS[name](), ENCODERS[name](step_mode="m")
    expected = steps(single, x, 12)
    assert torch.equal(torch.cat([multi(x.expand(4, 2, 3)), multi(x.expand(8, 2, 3))]), expected)
    multi.reset()
    assert torch.equal(multi(x.expand(1, 2, 3)), expected[:1])
    assert torch.equal(multi(), expected[1:6])


@over_stateful
def test_a_sequence_that_changes_is_refused(name):
    with pytest.raises(ShapeError, match=r"got time steps that differ: .* Call encode\(x\)"):
        ENCODERS[name](step_mode="m")(torch.rand(5, 3).clamp(max=0.9))


@over_stateful
def test_another_batch_size_needs_a_reset(name):
    encoder = ENCODERS[name]()
    encoder(torch.zeros(4, 3))
    with pytest.raises(ShapeError, match=r"reset_net\(net\) before a batch of another size"):
        encoder(torch.zeros(2, 3))


@over_stateful
def test_the_code_is_safe_from_changes_of_its_output(name):
    encoder = ENCODERS[name]()
    x = torch.full([2], 0.3)
    encoder(x).fill_(7)
    assert torch.equal(steps(encoder, x, 5), encoder.encode(x, 6)[1:])


@over_stateful
def test_an_input_with_a_graph_brings_no_graph_into_the_memories(name):
    encoder = ENCODERS[name]()
    for _ in range(2):
        weight = torch.full([3], 0.4, requires_grad=True)
        (encoder(weight * 2) * weight).sum().backward()
    assert all(memory.grad_fn is None for memory in encoder.memories() if isinstance(memory, torch.Tensor))


def test_periodic():
    pattern = torch.tensor([[1, 0], [0, 1], [1, 1]])
    encoder = PeriodicEncoder(pattern)
    assert steps(encoder, None, 4).tolist() == [[1, 0], [0, 1], [1, 1], [1, 0]]
    assert encoder(torch.zeros(2)).tolist() == [0, 1]
    encoder.reset()
    assert encoder(torch.ones(2)).tolist() == [1, 0]
    assert encoder().dtype == torch.float32
    assert PeriodicEncoder(pattern.double()).encode(T=4).dtype == torch.float64
    multi = PeriodicEncoder(pattern, step_mode="m")
    assert multi(torch.zeros(2, 9)).tolist() == [[1, 0], [0, 1]]
    assert multi().tolist() == [[1, 1], [1, 0], [0, 1]]
    assert multi.encode().tolist() == pattern.tolist()
    for wrong in (torch.tensor(1.0), torch.zeros(0, 3), [1, 0]):
        with pytest.raises(ValueError, match=r"`spike` must be a tensor \[T, \*\] with T >= 1"):
            PeriodicEncoder(wrong)


@pytest.mark.parametrize("enc_function", ["exp", None])
def test_latency_function_is_checked(enc_function):
    with pytest.raises(ValueError, match="`enc_function` must be 'linear' or 'log'"):
        LatencyEncoder(4, enc_function)


# Population


def test_population_centres_and_width():
    """By hand, m = 8 on [0, 1]: centres -1/12, 1/12, 3/12, ..., 13/12, and a width of 1/9."""
    encoder = PopulationEncoder(8).double()
    centre = torch.arange(-1, 14, 2, dtype=torch.float64) / 12
    activity = encoder.activity(centre)  # [8, 8]
    torch.testing.assert_close(activity.diagonal(), torch.ones(8, dtype=torch.float64))
    distance = (centre[:, None] - centre[None]) * 9
    torch.testing.assert_close(activity, (-0.5 * distance**2).exp())


def test_population_spikes_follow_the_activity():
    encoder = PopulationEncoder(5, x_min=-2.0, x_max=3.0, generator=torch.Generator().manual_seed(0))
    x = torch.tensor([[-2.0, 0.3], [3.0, 9.0]])
    rate = encoder.encode(x, T=40_000).mean(0)
    torch.testing.assert_close(rate, encoder.activity(x), rtol=0, atol=0.01)
    assert rate[1, 1].sum() == 0


def test_population_with_a_range_per_feature():
    low, high = torch.tensor([0.0, -10.0]), torch.tensor([1.0, 10.0])
    x = torch.tensor([[0.3, 5.0]])
    both = PopulationEncoder(6, low, high).activity(x)
    torch.testing.assert_close(both[0, 0], PopulationEncoder(6, 0, 1).activity(x)[0, 0])
    torch.testing.assert_close(both[0, 1], PopulationEncoder(6, -10, 10).activity(x)[0, 1])


def test_ranges_of_features_fit_the_features():
    encoder = PopulationEncoder(4, torch.zeros(2), torch.ones(2))
    assert encoder.activity(torch.rand(3, 2)).shape == (3, 2, 4)
    for features in (1, 3):
        with pytest.raises(ShapeError, match=r"`x` must be \[N, 2\], a value for each range of `x_min`, got"):
            encoder.activity(torch.rand(3, features))


def test_population_errors():
    with pytest.raises(ValueError, match="`num_neurons` must be at least 3, got 2"):
        PopulationEncoder(2)
    with pytest.raises(
        ValueError, match=r"`x_min` must be less than `x_max`.* Leave out features that are constant"
    ):
        PopulationEncoder(4, torch.tensor([0.0, 1.0]), torch.tensor([1.0, 1.0]))
    assert PopulationEncoder(4, x_min=0.1, x_max=1e9 + 1).x_max.item() == 1e9 + 1  # not rounded to float32
    with pytest.raises(ValueError, match="`x_min` must be finite everywhere, got"):
        PopulationEncoder(4, -torch.inf)
    with pytest.raises(ValueError, match=r"must have one range for each feature, got \[2\] and \[3\]"):
        PopulationEncoder(4, torch.zeros(2), torch.ones(3))
    with pytest.raises(ValueError, match="`beta` must be a finite number greater than 0"):
        PopulationEncoder(4, beta=0)
    with pytest.raises(ValueError, match="must have no NaN"):
        PopulationEncoder(4)(torch.tensor([torch.nan]))


@pytest.mark.parametrize("make", [encoding.LatencyEncoder, encoding.WeightedPhaseEncoder])
def test_a_step_of_a_code_is_a_copy(make):
    encoder, x = make(2), torch.tensor([0.0, 0.75])
    expected = encoder.encode(x).sum(0)
    with torch.inference_mode():
        first = encoder(x)
        kept = first.clone()
        first.fill_(7.0)
        total = kept
        for _ in range(3):
            total += encoder()
    assert torch.equal(total, 2 * expected)


def test_values_with_a_gradient_are_coded():
    x = torch.rand(5, requires_grad=True)
    for encoder in (encoding.LatencyEncoder(3), encoding.WeightedPhaseEncoder(3)):
        assert not encoder.code(0.5 * x).requires_grad
