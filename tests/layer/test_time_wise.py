"""The layers of torch.nn over time: a sequence equals the loop over its steps; they stay nn layers."""

import copy
import inspect
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from compare import assert_close, assert_same
from spikeloom import functional, layer
from spikeloom.errors import ShapeError
from spikeloom.layer.time_wise import fold

L, HW, DHW = (3, 7), (3, 7, 9), (3, 5, 7, 6)  # one sample: channels, and an odd grid
# name: one sample's shape, arguments, named arguments
LAYERS: dict[str, tuple] = {
    "Conv1d": (L, (3, 5, 3), {"padding": 1}),
    "Conv2d": (HW, (3, 5, 3), {"stride": 2}),
    "Conv3d": (DHW, (3, 2, 3), {}),
    "ConvTranspose1d": (L, (3, 5, 3), {}),
    "ConvTranspose2d": (HW, (3, 5, 3), {"stride": 2}),
    "ConvTranspose3d": (DHW, (3, 2, 3), {}),
    "BatchNorm1d": (L, (3,), {}),
    "BatchNorm2d": (HW, (3,), {"affine": False}),
    "BatchNorm3d": (DHW, (3,), {"momentum": 0.2}),
    "GroupNorm": (HW, (3, 3), {}),
    "MaxPool1d": (L, (2,), {}),
    "MaxPool2d": (HW, (2,), {"padding": 1}),
    "MaxPool3d": (DHW, (2,), {}),
    "AvgPool1d": (L, (2,), {}),
    "AvgPool2d": (HW, (2,), {"ceil_mode": True}),
    "AvgPool3d": (DHW, (2,), {}),
    "AdaptiveAvgPool1d": (L, (2,), {}),
    "AdaptiveAvgPool2d": (HW, ((2, 3),), {}),
    "AdaptiveAvgPool3d": (DHW, (2,), {}),
    "AdaptiveMaxPool1d": (L, (2,), {}),
    "AdaptiveMaxPool2d": (HW, ((2, 3),), {}),
    "AdaptiveMaxPool3d": (DHW, (2,), {}),
    "Upsample": (HW, (), {"scale_factor": 2, "mode": "bilinear"}),
    "Linear": (HW, (9, 4), {}),
    "Flatten": (HW, (), {}),
    "WSConv2d": (HW, (3, 5, 3), {}),
    "WSLinear": (HW, (9, 4), {}),
    "ThresholdDependentBatchNorm1d": (L, (0.5, 2.0, 3), {}),
    "ThresholdDependentBatchNorm2d": (HW, (0.5, 2.0, 3), {}),
    "ThresholdDependentBatchNorm3d": (DHW, (0.5, 2.0, 3), {}),
}
# These have tests of their own: whole sequences only, more than one input, or another name.
KINDS = ("MaxUnpool", "TemporalEffectiveBatchNorm", "MultiStepThresholdDependentBatchNorm")
ELSEWHERE = {"TimeWise", *(f"{kind}{d}d" for kind in KINDS for d in (1, 2, 3))}
FAMILY = pytest.mark.parametrize("name", sorted(LAYERS))


def make(name, step_mode="s"):
    torch.manual_seed(3)
    _, args, kwargs = LAYERS[name]
    return getattr(layer, name)(*args, step_mode=step_mode, **kwargs)


def make_plain(name):
    """The layer of torch.nn itself."""
    _, args, kwargs = LAYERS[name]
    if name.startswith("ThresholdDependent"):
        args = args[2:]
    return getattr(nn, name.removeprefix("WS").removeprefix("ThresholdDependent"))(*args, **kwargs)


def over_time(module, x_seq):
    module.step_mode = "s"
    return torch.stack([module(x) for x in x_seq])


def test_the_whole_family_is_tested():
    family = {
        name
        for name in layer.__all__
        if isinstance(c := getattr(layer, name), type) and issubclass(c, layer.TimeWise)
    }
    assert family == set(LAYERS) | ELSEWHERE


@FAMILY
def test_a_sequence_equals_the_loop_over_its_steps(name):
    module, x_seq = make(name, "m").eval(), torch.randn(4, 3, *LAYERS[name][0], requires_grad=True)
    parts = []
    for run in (over_time, lambda module, x_seq: module(x_seq)):
        module.zero_grad()
        x_seq.grad = None
        out = run(module, x_seq)
        out.square().sum().backward()
        parts.append([out, x_seq.grad])
        module.step_mode = "m"
    assert_close("output", parts[0][0], parts[1][0])
    torch.testing.assert_close(parts[1][1], parts[0][1], rtol=1e-4, atol=1e-4)


@FAMILY
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_run_in_both_modes(name, dtype):
    if name == "AvgPool3d":
        pytest.skip("torch has no AvgPool3d for half types on CPU")
    x_seq = torch.rand(2, 3, *LAYERS[name][0]).to(dtype)
    for step_mode, x in (("s", x_seq[0]), ("m", x_seq)):
        assert make(name, step_mode).to(dtype)(x).dtype == dtype


@FAMILY
def test_it_is_the_nn_layer_with_its_keys_and_arguments(name):
    module, plain = make(name), make_plain(name)
    assert isinstance(module, type(plain))
    assert set(module.state_dict()) - {"gain"} == set(plain.state_dict())
    if type(module).__name__ == type(plain).__name__:
        expected = inspect.signature(type(plain)).parameters
        got = dict(inspect.signature(type(module)).parameters)
        assert got.pop("step_mode").default == "s"
        assert list(got) == [p for p in expected if expected[p].kind is not inspect.Parameter.VAR_KEYWORD]


@FAMILY
def test_copies_and_representation(name):
    module, x = make(name, "m").eval(), torch.rand(2, 3, *LAYERS[name][0])
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert type(twin) is type(module)
        assert twin.step_mode == "m"
        assert_same("copy", module(x), twin(x))
    assert "step_mode=m" in repr(module)


@FAMILY
def test_documentation_is_its_own(name):
    text = getattr(layer, name).__doc__
    assert "step_mode" in text
    assert "Shape:" in text


@FAMILY
def test_empty_batches_pass(name):
    x = torch.rand(4, 0, *LAYERS[name][0])
    out = make(name, "m").eval()(x)
    assert out.shape[:2] == (4, 0)


@pytest.mark.parametrize(
    "name", [name for name in sorted(LAYERS) if make_plain(name).state_dict() and "WS" not in name]
)
def test_the_weights_of_the_nn_layer_load(name):
    torch.manual_seed(4)
    plain, ours = make_plain(name), make(name, "m")
    ours.load_state_dict(plain.state_dict())
    x_seq = torch.rand(2, 3, *LAYERS[name][0])
    assert_same("output", plain(x_seq.flatten(0, 1)), ours(x_seq).flatten(0, 1))


@pytest.mark.parametrize("name", ["Conv2d", "MaxPool2d", "AvgPool2d", "BatchNorm2d", "Upsample"])
def test_channels_last_is_kept_without_a_copy(name):
    frames = torch.rand(6, 3, 7, 9).to(memory_format=torch.channels_last)
    x_seq = frames.unflatten(0, (2, 3))
    assert fold(x_seq).data_ptr() == frames.data_ptr()
    assert make(name, "m")(x_seq).flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("expanded", [False, True])
def test_folding_keeps_channels_last_where_it_must_copy(batch_first, expanded):
    frames = torch.rand(6, 3, 7, 9).to(memory_format=torch.channels_last)
    x_seq = frames.unflatten(0, (3, 2)).transpose(0, 1) if batch_first else frames.unflatten(0, (2, 3))
    if expanded:
        x_seq = x_seq[:1].expand(4, -1, -1, -1, -1)
    folded = fold(x_seq)
    assert folded.is_contiguous(memory_format=torch.channels_last)
    assert_same("folded", x_seq.reshape(-1, 3, 7, 9).contiguous(), folded.contiguous())


def test_pooling_with_indices_and_back():
    x = torch.rand(4, 2, 3, 6, 8)
    pool, unpool = layer.MaxPool2d(2, return_indices=True, step_mode="m"), layer.MaxUnpool2d(2, step_mode="m")
    values, indices = pool(x)
    assert values.shape == indices.shape == (4, 2, 3, 3, 4)
    restored = unpool(values, indices)
    reference = torch.stack([nn.MaxUnpool2d(2)(*nn.MaxPool2d(2, return_indices=True)(step)) for step in x])
    assert_same("unpooled", reference, restored)
    assert_same("to the size of the input", reference, unpool(values, indices, output_size=x.shape))


def test_transposed_convolution_takes_an_output_size():
    up = layer.ConvTranspose2d(3, 2, 3, stride=2, step_mode="m")
    x = torch.rand(4, 2, 3, 5, 5)
    whole = torch.Size([4, 2, 2, 12, 12])
    assert up(x, output_size=[12, 12]).shape == up(x, whole).shape == whole


@pytest.mark.parametrize(
    ("start", "end", "shape"),
    [(1, -1, (5, 2, 72)), (2, 3, (5, 2, 3, 24)), (-2, -1, (5, 2, 3, 24)), (0, 1, (5, 6, 4, 6))],
)
def test_flatten_counts_dimensions_without_time(start, end, shape):
    x = torch.rand(5, 2, 3, 4, 6)
    multi = layer.Flatten(start, end, step_mode="m")(x)
    assert multi.shape == shape
    assert_same("flattened", torch.stack([nn.Flatten(start, end)(step) for step in x]), multi)


@pytest.mark.parametrize(("start", "end"), [(-5, -1), (-5, 1), (-5, -5)])
def test_flatten_leaves_time_as_it_is(start, end):
    with pytest.raises(ShapeError, match=r"Flatten must leave time as it is, but -5 is .* \[5, 2, 3, 4, 6\]"):
        layer.Flatten(start, end, step_mode="m")(torch.rand(5, 2, 3, 4, 6))
    assert layer.Flatten(start, end)(torch.rand(5, 2, 3, 4, 6)).shape[-1] in (720, 72, 6)


def test_batch_norm_takes_its_statistics_over_time_and_batch():
    x = torch.randn(5, 4, 3, 6, 6) * torch.arange(1, 6).view(5, 1, 1, 1, 1)
    norm, plain = layer.BatchNorm2d(3, step_mode="m"), nn.BatchNorm2d(3)
    assert_close("output", plain(x.flatten(0, 1)), norm(x).flatten(0, 1))
    assert_close("running variance", plain.running_var, norm.running_var)
    assert norm.num_batches_tracked == 1


def test_a_subclass_with_its_own_constructor_shows_its_own_signature():
    class Block(layer.Conv2d):
        def __init__(self, channels):
            super().__init__(channels, channels, 3)

    assert list(inspect.signature(Block).parameters) == ["channels"]
    assert Block(2)(torch.rand(1, 2, 5, 5)).shape == (1, 2, 3, 3)


CURES = [
    (
        lambda: layer.Conv2d(3, 4, 3),
        (2, 2, 3, 5, 5),
        r"Conv2d.*single-step.*\[N, C, H, W\].*set_step_mode\(net, 'm'\)",
    ),
    (lambda: layer.Conv2d(3, 4, 3, step_mode="m"), (2, 3, 5, 5), r"\[T, N, C, H, W\].*time axis.*'s'"),
    (lambda: layer.Conv2d(3, 4, 3, step_mode="m"), (0, 2, 3, 5, 5), "at least one time step"),
    (lambda: layer.Conv2d(3, 4, 3), (5,), "Reshape"),
    (lambda: layer.Conv1d(3, 4, 3), (2, 2, 3, 5), "'m'"),
    (lambda: layer.BatchNorm2d(3), (2, 2, 3, 5, 5), "'m'"),
    (lambda: layer.BatchNorm2d(3, step_mode="m"), (2, 3, 5, 5), "'s'"),
    (lambda: layer.BatchNorm1d(3), (7, 2, 3), r"C = 3.*\[7, 2, 3\].*'m'"),
    (lambda: layer.BatchNorm1d(3, step_mode="m"), (7, 3, 2), "C = 3.*'s'"),
    (lambda: layer.MaxPool2d(2, step_mode="m"), (2, 3, 5, 5), "'s'"),
    (lambda: layer.Linear(3, 2), (), "Reshape"),
    (lambda: layer.Linear(3, 2, step_mode="m"), (3,), "time axis"),
    (lambda: layer.Upsample(scale_factor=2, mode="bilinear"), (2, 2, 3, 5, 5), "'m'"),
    (lambda: layer.Upsample(scale_factor=2, mode="bilinear", step_mode="m"), (2, 3, 5, 5), "'s'"),
]


@pytest.mark.parametrize(("make_layer", "shape", "message"), CURES)
def test_a_wrong_shape_names_the_cure(make_layer, shape, message):
    with pytest.raises(ShapeError, match=message):
        make_layer()(torch.rand(shape))


def test_the_error_names_the_place_and_its_cure_works():
    net = nn.Sequential(nn.Identity(), layer.Conv2d(3, 4, 3))
    x_seq = torch.rand(2, 2, 3, 5, 5)
    with pytest.raises(ShapeError, match="Conv2d '1'"):
        net(x_seq)
    functional.set_step_mode(net, "m")
    assert net(x_seq).shape == (2, 2, 4, 3, 3)


def test_single_steps_may_come_without_a_batch():
    assert layer.Conv2d(3, 4, 3)(torch.rand(3, 5, 5)).shape == (4, 3, 3)
    assert layer.Linear(3, 2)(torch.rand(3)).shape == (2,)


def test_spikes_may_be_truth_values_and_other_types_are_refused_with_a_cure():
    for made, shape in ((layer.Linear(3, 4), (2, 3)), (layer.Conv2d(3, 4, 3), (2, 3, 5, 5))):
        spikes = torch.rand(shape) < 0.5
        assert torch.equal(made(spikes), made(spikes.float()))
        with pytest.raises(TypeError, match=r"must be floating point, got torch.uint8. Use data.as_float"):
            made(spikes.byte())
        with pytest.raises(TypeError, match=r"must be a tensor, got a ndarray. Use torch.as_tensor"):
            made(spikes.numpy())
    assert layer.Flatten()(torch.ones(2, 3, 4, dtype=torch.uint8)).shape == (2, 12)


def test_step_mode_may_come_last_by_position():
    """As in scripts for SpikingJelly."""
    for made in (
        layer.Linear(3, 4, False, "m"),
        layer.Conv2d(3, 4, 3, 1, 1, 1, 1, False, "zeros", "m"),
        layer.MaxPool2d(2, 2, 0, 1, False, False, "m"),
        layer.BatchNorm2d(3, 1e-5, 0.1, True, True, "m"),
        layer.Flatten(1, -1, "m"),
        layer.AdaptiveAvgPool2d(2, "m"),
    ):
        assert made.step_mode == "m"
    assert layer.Conv2d(3, 4, 3, 1, 1, 1, 1, False, "reflect").step_mode == "s"


def test_step_mode_is_checked():
    with pytest.raises(ValueError, match="step_mode"):
        layer.Linear(3, 2, step_mode="x")


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(0, 3), st.integers(1, 4), st.integers(3, 8))
def test_convolution_at_any_size(num_steps, batch, channels, size):
    conv = layer.Conv2d(channels, 2, 3, step_mode="m")
    x_seq = torch.rand(num_steps, batch, channels, size, size)
    assert_close("output", over_time(copy.deepcopy(conv), x_seq), conv(x_seq))


def test_functional_calls_and_compilation_see_the_layer():
    conv = layer.Conv2d(2, 2, 3, step_mode="m")
    x = torch.rand(3, 1, 2, 5, 5)
    assert_close("compiled", conv(x), torch.compile(conv, backend="eager", fullgraph=True)(x))
    doubled = {name: parameter * 2 for name, parameter in conv.named_parameters()}
    assert_close("functional call", 2 * conv(x), torch.func.functional_call(conv, doubled, (x,)))


def test_a_sequence_for_a_network_of_linear_layers_in_single_step_mode():
    net = nn.Sequential(layer.Flatten(), layer.Linear(64, 10))
    with pytest.raises(ShapeError, match=r"expects \[\*, 64\], got \[5, 128\].*set_step_mode\(net, 'm'\)"):
        net(torch.rand(5, 2, 1, 8, 8))
    with pytest.raises(ShapeError, match="Reshape it, or make the layer"):
        layer.Linear(64, 10, step_mode="m")(torch.rand(5, 2, 128))
