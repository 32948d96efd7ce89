"""Event-driven layers, each against the layer that it was."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from spikeloom import event, layer
from spikeloom.event import compiled

sides = st.integers(1, 6)
pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))


def whole_numbers(module, seed=0):
    """The module with weights whose sums are exact, in whatever order they are added."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randint(-8, 9, parameter.shape, generator=generator))
    return module


def spikes(*shape, rate=0.3, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator) < rate).to(dtype)


def run(module, x):
    with torch.no_grad():
        return module(x)


def additions(conv, x):
    """How many weights the inputs that are not zero meet, by a convolution with ones."""
    ones = F.conv2d(
        (x != 0).double(), torch.ones_like(conv.weight, dtype=torch.float64), None,
        conv.stride, conv.padding, conv.dilation, conv.groups,
    )  # fmt: skip
    return int(ones.sum())


@settings(deadline=None, max_examples=150)
@given(
    *(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 2, 3])),
    *(st.tuples(sides, sides), pairs, pairs, st.tuples(st.integers(0, 4), st.integers(0, 4)), pairs),
    *(st.booleans(), st.sampled_from([torch.float32, torch.float64]), st.sampled_from([0.0, 0.1, 0.5, 1.0])),
)
def test_a_convolution(N, to, channels, groups, size, kernel, stride, padding, dilation, bias, dtype, rate):
    reached = [s + 2 * p - d * (k - 1) for s, p, d, k in zip(size, padding, dilation, kernel, strict=True)]
    if min(reached) < 1:
        return
    conv = nn.Conv2d(channels * groups, to * groups, kernel, stride, padding, dilation, groups, bias)
    conv = whole_numbers(conv).to(dtype)
    x = spikes(N, channels * groups, *size, rate=rate, dtype=dtype)
    fast = event.event_driven(conv)
    output = run(fast, x)
    assert torch.equal(output, run(conv, x))
    found = event.report(fast)
    assert found.operations == additions(conv, x)
    assert found.dense_operations == additions(conv, torch.ones_like(x))


@pytest.mark.parametrize("channels", [1, 3, 16, 17, 63, 64, 500])
@pytest.mark.parametrize("to", [1, 7, 33, 500])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_linear_layer(channels, to, num_threads):
    linear = whole_numbers(nn.Linear(channels, to))
    x = spikes(300, channels)
    fast, before = event.event_driven(linear), torch.get_num_threads()
    try:
        torch.set_num_threads(num_threads)
        output = run(fast, x)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(output, run(linear, x))
    assert event.report(fast).operations == int(x.sum()) * to


def test_several_threads_share_the_samples(monkeypatch):
    """Enough work for two threads, in ranges that do not divide the samples."""
    taken = []
    run_threads = compiled.threads.run
    monkeypatch.setattr(
        compiled.threads, "run", lambda f, job, number: (taken.append(number), run_threads(f, job, number))
    )
    conv, x = whole_numbers(nn.Conv2d(3, 8, 3)), spikes(37, 3, 32, 32)
    fast, before = event.event_driven(conv), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        output = run(fast, x)
    finally:
        torch.set_num_threads(before)
    assert taken == [2]
    assert torch.equal(output, run(conv, x))


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (2, 0, 3, 4), (0, 4)])
def test_a_linear_layer_takes_any_dimensions(shape):
    linear = whole_numbers(nn.Linear(4, 3))
    x = spikes(*shape)
    output = run(event.event_driven(linear), x)
    assert output.shape == (*shape[:-1], 3)
    assert torch.equal(output, run(linear, x))


@pytest.mark.parametrize("shape", [(2, 5, 6), (3, 2, 5, 6), (0, 2, 5, 6)])
def test_a_convolution_takes_one_image_and_none(shape):
    conv = whole_numbers(nn.Conv2d(2, 3, 3))
    x = spikes(*shape)
    assert torch.equal(run(event.event_driven(conv), x), run(conv, x))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("kernel", [2, 3, (4, 1)])
def test_padding_by_name(kernel):
    """With an even window, 'same' pads more behind the image than before it."""
    for padding in ("same", "valid"):
        conv = whole_numbers(nn.Conv2d(2, 3, kernel, padding=padding))
        x = spikes(2, 2, 5, 6)
        assert torch.equal(run(event.event_driven(conv), x), run(conv, x))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_either_layout_in_memory(memory_format):
    conv = whole_numbers(nn.Conv2d(4, 3, 3))
    x = spikes(2, 4, 5, 6).to(memory_format=memory_format)
    output = run(event.event_driven(conv), x)
    assert torch.equal(output, run(conv, x))
    assert output.is_contiguous(memory_format=torch.channels_last)


def test_other_values_than_spikes():
    """Averages, negative numbers, and minus zero, which is no event."""
    for module, shape in ((nn.Linear(40, 30), (5, 40)), (nn.Conv2d(4, 6, 3), (5, 4, 7, 8))):
        x = torch.randn(shape) * spikes(*shape)
        x = torch.where(x == 0, -torch.zeros(()), x)
        fast = event.event_driven(module)
        torch.testing.assert_close(run(fast, x), run(module, x))
        assert event.report(fast).layers[0].work.events == int(x.count_nonzero())


def test_what_is_no_number_reaches_its_outputs():
    linear, x = (
        whole_numbers(nn.Linear(4, 3)),
        torch.tensor([[0.0, torch.nan, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]]),
    )
    output = run(event.event_driven(linear), x)
    assert output[0].isnan().all()
    assert torch.equal(output[1], run(linear, x)[1])


def test_a_view_is_read_as_it_is():
    linear, x = whole_numbers(nn.Linear(4, 3)), spikes(4, 8)
    fast = event.event_driven(linear)
    for view in (x.t(), x[:, ::2], x[:1, :4].expand(5, 4)):
        assert torch.equal(run(fast, view), run(linear, view))


@pytest.mark.parametrize("cls", [layer.Linear, layer.Conv2d])
def test_step_modes(cls):
    module = whole_numbers(cls(4, 3) if cls is layer.Linear else cls(4, 3, 3))
    x = spikes(5, 2, 4) if cls is layer.Linear else spikes(5, 2, 4, 6, 7)
    fast = event.event_driven(module)
    single = torch.stack([run(fast, one) for one in x])
    fast.step_mode = module.step_mode = "m"
    assert torch.equal(run(fast, x), run(module, x))
    assert torch.equal(single, run(module, x))


@pytest.mark.parametrize(
    ("module", "wrong"),
    [
        (nn.Linear(4, 3), torch.zeros(2, 6)),
        (nn.Linear(4, 3), torch.zeros(2, 4, dtype=torch.int64)),
        (nn.Linear(4, 3), torch.zeros(2, 4, dtype=torch.float64)),
        (nn.Conv2d(2, 3, 3), torch.zeros(1, 4, 5, 5)),
        (nn.Conv2d(2, 3, 3), torch.zeros(1, 2, 2, 5)),
        (nn.Conv2d(2, 3, 3), torch.zeros(2, 5)),
        (layer.Conv2d(2, 3, 3), torch.zeros(2, 5)),
    ],
)
def test_wrong_input_is_refused_as_the_layer_refuses_it(module, wrong):
    with pytest.raises(Exception) as expected:
        run(module, wrong)
    with pytest.raises(type(expected.value)) as found:
        run(event.event_driven(module), wrong)
    assert str(found.value).replace("TimeWiseEvent", "") == str(expected.value)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_run_in_the_layer_itself(dtype):
    linear = nn.Linear(4, 3).to(dtype)
    x = spikes(2, 4, dtype=dtype)
    fast = event.event_driven(linear)
    assert torch.equal(run(fast, x), run(linear, x))
    assert event.report(fast).layers[0].work.calls == 0


def test_autocast_runs_the_layer_itself():
    linear, x = nn.Linear(4, 3), spikes(2, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert run(event.event_driven(linear), x).dtype == torch.bfloat16


def test_a_gradient_of_the_input():
    linear, x = nn.Linear(4, 3), spikes(2, 4).requires_grad_()
    event.event_driven(linear)(x).sum().backward()
    torch.testing.assert_close(x.grad, linear.weight.sum(0).expand(2, 4))


def test_layers_take_all_inputs_where_many_are_not_zero():
    linear = nn.Linear(100, 3)
    fast = event.event_driven(linear, dense_above=0.1)
    few, many = spikes(2, 100, rate=0.02), spikes(2, 100, rate=0.5)
    for x in (few, many):
        torch.testing.assert_close(run(fast, x), run(linear, x))
    work = event.report(fast).layers[0].work
    assert (work.calls, work.dense_calls) == (2, 1)
    assert work.operations == int(few.sum()) * 3 + many.numel() * 3
    assert "1 of 2" in str(event.report(fast))


def test_changed_weights_take_effect():
    linear, other, x = whole_numbers(nn.Linear(4, 3)), whole_numbers(nn.Linear(4, 3), seed=1), spikes(2, 4)
    fast = event.event_driven(linear)
    run(fast, x)
    fast.load_state_dict(other.state_dict())
    assert torch.equal(run(fast, x), run(other, x))
    with torch.no_grad():
        fast.weight.mul_(2)
        fast.bias.mul_(2)
    assert torch.equal(run(fast, x), 2 * run(other, x))
    fast.weight.data, fast.bias.data = linear.weight.data.clone(), linear.bias.data.clone()
    assert torch.equal(run(fast, x), run(linear, x))
    assert torch.equal(run(fast.double(), x.double()), run(linear, x).double())


@pytest.mark.parametrize("module", [nn.Linear(4, 3), nn.Conv2d(4, 3, 1), layer.Linear(4, 3)])
def test_copies_and_files(module):
    x = spikes(2, 4) if isinstance(module, nn.Linear) else spikes(2, 4, 5, 5)
    fast = event.event_driven(module)
    expected = run(fast, x)
    file = io.BytesIO()
    torch.save(fast, file)
    file.seek(0)
    for again in (
        copy.deepcopy(fast),
        pickle.loads(pickle.dumps(fast)),
        torch.load(file, weights_only=False),
    ):
        assert torch.equal(run(again, x), expected)
    plain = copy.deepcopy(module)
    plain.load_state_dict(fast.state_dict())
    assert torch.equal(run(event.event_driven(plain), x), expected)


def test_torch_compile_takes_the_layer_itself():
    linear, x = nn.Linear(4, 3), spikes(2, 4)
    compiled_net = torch.compile(event.event_driven(linear), backend="eager", fullgraph=True)
    torch.testing.assert_close(run(compiled_net, x), run(linear, x))
