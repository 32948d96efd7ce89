"""e-prop against autograd with the spikes cut where e-prop cuts them; its memory; and that it learns."""

import copy
import math
import warnings

import pytest
import torch

from compare import assert_close
from spikeloom import functional, learning, loom
from spikeloom.errors import BackendError, ForgottenResetError, ShapeError, SpikeloomError
from spikeloom.learning.eprop import sequence
from spikeloom.learning.eprop.figures import draw_decision

SIZES = (3, 6, 2)
SETTINGS = {"tau": 5.0, "tau_out": 4.0, "tau_adaptation": 12.0, "v_threshold": 0.6}


class Triangle(torch.autograd.Function):
    """A step whose derivative is e-prop's, dampened by 0.3, at a threshold of 0.6."""

    @staticmethod
    def forward(ctx, distance):
        ctx.save_for_backward(distance)
        return (distance >= 0).to(distance)

    @staticmethod
    def backward(ctx, grad):
        (distance,) = ctx.saved_tensors
        return grad * 0.3 / 0.6 * (1 - distance.abs() / 0.6).clamp(min=0)


def through_time(net, x, beta, refractory=0):
    """Outputs and spikes, for autograd; spikes are cut on their way to other neurons and to the reset, not on
    their way to the neuron's own threshold."""
    alpha, kappa, rho = (math.exp(-1 / tau) for tau in (5.0, 4.0, 12.0))
    v = a = z = torch.zeros(x.shape[1], SIZES[1], dtype=x.dtype)
    y, outputs, spikes = 0.0, [], []
    last, now = torch.full_like(z, -math.inf), 0
    for step in x:
        a = rho * a + z
        v = alpha * v + torch.cat([step, z.detach()], 1) @ net.weight.T - 0.6 * z.detach()
        z = Triangle.apply(v - 0.6 - beta * a) * (now - last > refractory)
        last, now = torch.where(z > 0, float(now), last), now + 1
        y = kappa * y + z @ net.readout.weight.T + net.readout.bias
        outputs.append(y)
        spikes.append(z)
    return torch.stack(outputs), torch.stack(spikes)


def sequences(num_steps=25, batch=4, **settings):
    torch.manual_seed(0)
    net = learning.EProp(*SIZES, **SETTINGS, **settings).double()
    return net, torch.rand(num_steps, batch, 3).double() * 2, torch.randn(num_steps, batch, 2).double()


@pytest.mark.parametrize(("beta", "refractory"), [(0.0, 0), (0.4, 0), (0.4, 1), (0.4, 3)])
def test_the_gradient_is_that_through_time_with_the_spikes_cut(beta, refractory):
    net, x, targets = sequences(beta=beta, refractory=refractory)
    y_seq, spikes = through_time(net, x, beta, refractory)
    assert spikes.sum() > 20
    loss = (y_seq - targets).square().sum() / 2
    expected = list(torch.autograd.grad(loss, [*net.parameters()]))
    expected[0][:, 3:].fill_diagonal_(0)  # no synapse to itself
    for step, target in zip(x, targets, strict=True):
        net.learn(net(step) - target)
    for reference, got in zip(expected, net.parameters(), strict=True):
        assert reference.abs().max() > 0.1
        assert_close("gradient", reference, got.grad)


def test_memory_does_not_grow_with_time():
    sizes = []
    for num_steps in (2, 40):
        net, x, targets = sequences(num_steps)
        for step, target in zip(x, targets, strict=True):
            net.learn(net(step) - target)
        held = [value for value in net.memories() if isinstance(value, torch.Tensor)]
        assert not any(value.requires_grad for value in held)
        sizes.append(sum(value.numel() for value in held))
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("feedback", ["symmetric", "random"])
def test_it_learns_a_pattern_over_time(feedback, step_mode):
    """Frozen noise in, a sine wave out."""
    torch.manual_seed(0)
    net = learning.EProp(10, 40, 1, feedback=feedback, tau_out=5.0, step_mode=step_mode)
    x = (torch.rand(50, 1, 10) < 0.2).float()
    target = torch.sin(torch.arange(50) * 2 * math.pi / 50)
    optimizer, errors = torch.optim.Adam(net.parameters(), lr=0.01), []
    for _ in range(80):
        optimizer.zero_grad()
        if step_mode == "s":
            error = 0.0
            for step, wanted in zip(x, target, strict=True):
                difference = net(step) - wanted
                net.learn(difference / 50)
                error += difference.square().item() / 50
        else:
            loss = (net(x)[:, 0, 0] - target).square().mean()
            (loss / 2).backward()
            error = loss.item()
        optimizer.step()
        net.reset()
        errors.append(error)
    assert errors[-1] < 0.1 * errors[0]


def test_evaluation_keeps_no_traces_and_learns_nothing():
    net, x, _ = sequences()
    trained = [net(step) for step in x]
    net.reset()
    net.eval()
    assert all(torch.equal(one, net(step)) for one, step in zip(trained, x, strict=True))
    assert all(getattr(net, name) is None for name in ("seen", "adapted", "eligible"))
    with pytest.raises(SpikeloomError, match="in training mode"):
        net.learn(trained[0])


def test_autocast_changes_no_type_of_a_gradient():
    torch.manual_seed(3)  # with which neurons fire
    net = learning.EProp(3, 4, 2)
    with torch.autocast("cpu", torch.bfloat16):
        for x in torch.ones(5, 2, 3) * 3:
            net.learn(net(x).bfloat16() - 1)
    for parameter in net.parameters():
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.abs().sum() > 0


def test_wrong_arguments():
    for name in ("tau", "tau_out", "tau_adaptation", "v_threshold", "dampening"):
        with pytest.raises(ValueError, match=f"`{name}` must be a finite number greater than 0"):
            learning.EProp(1, 1, 1, **{name: 0.0})
    with pytest.raises(ValueError, match="`feedback`"):
        learning.EProp(1, 1, 1, feedback="other")
    with pytest.raises(ShapeError, match=r"`beta` must be a number or \[4\], got \[3\]"):
        learning.EProp(3, 4, 2, beta=torch.ones(3))
    with pytest.raises(ValueError, match="`out_features` must be at least 1"):
        learning.EProp(3, 4, 0)
    with pytest.raises(TypeError, match="`v_threshold` must be a number"):
        learning.EProp(3, 4, 2, v_threshold=torch.ones(4))
    net = learning.EProp(3, 4, 2)
    with pytest.raises(SpikeloomError, match="before learn"):
        net.learn(torch.zeros(1, 2))
    with pytest.raises(ShapeError, match=r"input \[N, 3\], got steps of shape \[5, 4\]"):
        net(torch.zeros(5, 4))
    net.reset()
    net(torch.zeros(5, 3))
    with pytest.raises(ShapeError, match=r"`error` must have the output's shape \[5, 2\], got \[5, 1\]"):
        net.learn(torch.zeros(5, 1))


BACKENDS = ["torch", "numba"]


def in_sequences(net, x, targets, parts=1):
    """The gradients of half the squared error, of sequences; the outputs and the spikes."""
    net.step_mode = "m"
    net.zero_grad()
    outputs, spikes = [], []
    for some in x.chunk(parts):
        outputs.append(net(some))
        spikes.append(net.z_seq)
    y_seq = torch.cat(outputs)
    ((y_seq - targets).square().sum() / 2).backward()
    return [one.grad for one in net.parameters()], y_seq.detach(), torch.cat(spikes).detach()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("feedback", ["symmetric", "random"])
@pytest.mark.parametrize(("beta", "refractory"), [(0.0, 0), (0.375, 3), (torch.arange(6) / 8, 1)])
def test_a_sequence_gives_the_outputs_and_gradients_of_its_steps(beta, refractory, feedback, parts, backend):
    net, x, targets = sequences(beta=beta, refractory=refractory, feedback=feedback, backend=backend)
    outputs, spikes = [], []
    for step, target in zip(x, targets, strict=True):
        outputs.append(net(step))
        net.learn(outputs[-1] - target)
        spikes.append(net.z)
    expected = [one.grad.clone() for one in net.parameters()]
    last = [net.v, net.z, net.a, net.silent]
    net.reset()
    got, y_seq, z_seq = in_sequences(net, x, targets, parts)
    assert torch.equal(torch.stack(spikes), z_seq)
    assert_close("outputs", torch.stack(outputs), y_seq)
    for reference, gradient in zip(expected, got, strict=True):
        assert reference.abs().max() > 0.1
        assert_close("gradient", reference, gradient)
    for reference, memory in zip(last, [net.v, net.z, net.a, net.silent], strict=True):
        assert_close("state", reference, memory.detach())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("num_steps", [1, 2, 25])
def test_gradients_of_firing_rates_and_of_the_input(num_steps, backend):
    """Through a gain in front of the layer, and with a state between two sequences."""
    net, x, _ = sequences(num_steps, beta=0.4, refractory=1, step_mode="m", backend=backend)
    gain = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    x = (x[..., :1].expand_as(x)).transpose(0, 1).contiguous().transpose(0, 1)  # not contiguous
    found = []
    for from_autograd in (True, False):
        if from_autograd:
            y_seq, z_seq = through_time(net, gain * x, 0.4, 1)
        else:
            parts = [(net(gain * part), net.z_seq) for part in x.split([num_steps - 1, 1]) if len(part)]
            y_seq, z_seq = (torch.cat(one) for one in zip(*parts, strict=True))
        loss = (z_seq.mean((0, 1)) - 0.1).square().sum() + y_seq.square().mean()
        found.append(torch.autograd.grad(loss, [gain, *net.parameters()]))
    expected, got = found
    expected[1][:, 3:].fill_diagonal_(0)  # no synapse to itself
    for reference, gradient in zip(expected, got, strict=True):
        assert num_steps < 25 or reference.abs().max() > 0.01
        assert_close("gradient", reference, gradient)


@pytest.mark.parametrize("sizes", [(3, 63, 2), (5, 500, 1), (1, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_compiled_loop_is_the_reference(sizes, dtype):
    """One step at a time from the same state, with sums that are exact: no rounding makes another spike."""
    torch.manual_seed(0)
    nets = [
        learning.EProp(*sizes, beta=0.1, step_mode="m", backend=backend).to(dtype) for backend in BACKENDS
    ]
    for parameter in nets[0].parameters():
        parameter.data.mul_(64).round_().div_(64)
    nets[1].load_state_dict(nets[0].state_dict())
    for x in torch.rand(20, 1, 7, sizes[0], dtype=dtype).mul(32).round().div(8):
        outputs = [net(x).detach() for net in nets]
        assert torch.equal(nets[0].z, nets[1].z)
        assert_close("output", *outputs)
        for net in nets:
            net.detach()
        for name in ("v", "a", "y"):
            assert_close(name, getattr(nets[0], name), getattr(nets[1], name))
            setattr(nets[1], name, getattr(nets[0], name))


@pytest.mark.parametrize("backend", BACKENDS)
def test_time_in_chunks_gives_the_gradients_of_the_whole(backend):
    net, x, targets = sequences(beta=0.375, backend=backend)
    expected, *_ = in_sequences(net, x, targets)
    expected = [one.clone() for one in expected]
    net.zero_grad()
    net.reset()
    y_seq = functional.checkpoint_time(net, x, 7)
    ((y_seq - targets).square().sum() / 2).backward()
    for reference, one in zip(expected, net.parameters(), strict=True):
        assert_close("gradient", reference, one.grad)


def test_results_do_not_depend_on_the_number_of_threads():
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            net, x, targets = sequences(batch=11, beta=0.375)
            found.append(in_sequences(net, x, targets))
    finally:
        torch.set_num_threads(before)
    for one, other in zip(found[0][0], found[1][0], strict=True):
        assert_close("gradient", one, other)  # whose matrix products may
    assert all(torch.equal(one, other) for one, other in zip(found[0][1:], found[1][1:], strict=True))


def test_a_sequence_without_gradients_and_the_steps_after_it():
    net, x, targets = sequences()
    net.step_mode = "m"
    with torch.no_grad():
        net(x)
    assert not net.z_seq.requires_grad
    net.step_mode = "s"
    with pytest.raises(SpikeloomError, match="call backward"):
        net.learn(targets[0])
    net.learn(net(x[0]) - targets[0])
    assert all(one.grad is not None for one in net.parameters())


def test_a_forgotten_reset_is_noticed():
    net, x, targets = sequences()
    in_sequences(net, x, targets)
    with pytest.raises(ForgottenResetError, match="reset_net"):
        net(x)


def test_no_neuron_has_a_synapse_to_itself():
    net, x, targets = sequences()
    expected = in_sequences(net, x, targets)[1]
    net.reset()
    net.weight.data[:, 3:].fill_diagonal_(9.0)
    gradients, got, _ = in_sequences(net, x, targets)
    assert torch.equal(expected, got)
    assert gradients[0][:, 3:].diagonal().abs().sum() == 0
    net.reset()
    net.step_mode = "s"
    assert_close("steps", expected, torch.stack([net(step) for step in x]))


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize(("weights", "given"), [(0, 1), (1, 0), (2, 0), (0, 2)])
def test_the_type_of_the_input_need_not_be_that_of_the_weights(weights, given, step_mode):
    """Memories follow the input; the layer computes in the weights' type, or in float32."""
    types = torch.float32, torch.float64, torch.float16
    net, x, _ = sequences(step_mode=step_mode)
    net.to(types[weights])
    twin = copy.deepcopy(net).to(torch.float32 if weights == 2 else types[weights])
    x = x.to(types[given])
    for _ in range(2):
        got, wanted = (
            one(x.to(one.weight.dtype) if one is twin else x)
            if step_mode == "m"
            else torch.stack([one(step.to(one.weight.dtype) if one is twin else step) for step in x])
            for one in (net, twin)
        )
        torch.testing.assert_close(got.float(), wanted.float(), rtol=2e-3, atol=2e-3)
        if step_mode == "m":
            got.sum().backward()
        else:
            net.learn(torch.ones_like(net.y))
        assert all(one.grad.dtype == one.dtype for one in net.parameters())
        functional.detach_net(net)
        functional.detach_net(twin)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_memory_of_another_size_is_refused(backend):
    net, x, _ = sequences(step_mode="m", backend=backend)
    net(x)
    for name in ("v", "z", "a", "silent", "y"):
        setattr(net, name, getattr(net, name).detach())
    with pytest.raises(
        ShapeError, match=r"memory 'v' of .* has shape \[4, 6\], which does not fit an input of 9"
    ):
        net(torch.rand(5, 9, 3).double())
    net.beta = torch.ones(5)
    net.reset()
    with pytest.raises(RuntimeError, match="expand"):
        net(x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_stays_nan(backend):
    net, x, _ = sequences(step_mode="m", beta=0.4, refractory=1, backend=backend)
    net.weight.data[2] = math.nan
    y_seq = net(x)
    assert y_seq[1:].isnan().all()
    y_seq.sum().backward()
    assert net.weight.grad.isnan().any()
    assert net.readout.weight.grad.isnan().any()


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_frozen_parameters_get_no_gradient(step_mode):
    net, x, targets = sequences(step_mode=step_mode)
    net.readout.requires_grad_(False)
    if step_mode == "s":
        net.learn(net(x[0]) - targets[0])
    else:
        (net(x) - targets).square().sum().backward()
    assert net.weight.grad.abs().sum() > 0
    assert net.readout.weight.grad is None
    assert net.readout.bias.grad is None


def test_the_spikes_of_a_sequence_are_no_memory_and_are_not_copied():
    net, x, _ = sequences(step_mode="m")
    assert net.z_seq is None
    state = net.memory_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net(x)
        net.load_memory_state(state)
        net(x)
    assert "z_seq" not in dict(net.named_memories())
    assert net.z_seq.shape == (25, 4, 6)
    assert copy.deepcopy(net).z_seq is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_empty_batch(backend):
    net, x, _ = sequences(step_mode="m", backend=backend)
    net(x[:, :0]).sum().backward()
    assert net.z_seq.shape == (25, 0, 6)
    assert net.weight.grad.abs().sum() == 0


def test_without_gradients_no_slopes_are_kept(monkeypatch):
    net, x, _ = sequences(step_mode="m")
    rooms = []
    run = sequence._run
    monkeypatch.setattr(sequence, "_run", lambda *given: (rooms.append(given[-2].numel()), run(*given)))
    net(x)
    net.reset()
    with torch.no_grad():
        net(x)
    assert rooms == [25 * 4 * 6, 0]


def test_the_compiled_gradient_is_not_differentiated_again():
    net, x, _ = sequences(step_mode="m")
    loss = net(x).square().sum()
    with pytest.raises(BackendError, match="gradients of EProp cannot be differentiated again"):
        torch.autograd.grad(loss, net.weight, create_graph=True)
    net.reset()
    with loom.backend("triton"), pytest.raises(BackendError, match="EProp cannot run with backend 'triton'"):
        net(x)


def test_a_sequence_ends_what_single_steps_have_traced():
    net, x, targets = sequences()
    net.learn(net(x[0]) - targets[0])
    net.step_mode = "m"
    net(x)
    with pytest.raises(SpikeloomError, match=r"After a whole sequence, call backward\(\)"):
        net.learn(targets[0])


def test_sequences_under_autocast_have_the_same_bits():
    net, x, _ = sequences(step_mode="m")
    expected = net(x)
    net.reset()
    with torch.autocast("cpu", torch.bfloat16):
        got = net(x)
    assert torch.equal(expected, got)


def test_checkpoints_hold_thresholds_that_differ_and_old_ones_load():
    net, *_ = sequences(beta=torch.arange(6) / 8)
    assert "beta" in net.state_dict()
    old, *_ = sequences(beta=0.4)
    assert list(old.state_dict()) == ["weight", "B", "readout.weight", "readout.bias"]


def test_steps_in_evaluation_end_what_was_traced():
    """The gradient is then that of the steps since, and of no stale trace."""
    torch.manual_seed(0)
    net, x = learning.EProp(3, 20, 2), torch.rand(9, 2, 3)
    seen = []
    for warm in (net.train, net.eval):
        net.reset()
        net.zero_grad()
        warm()
        for step in x[:3]:
            net(step)
        net.eval()(x[3])
        net.train()
        for step in x[4:]:
            net.learn(net(step) - 1)
        seen.append(net.weight.grad.clone())
    assert seen[0].any()
    assert torch.equal(*seen)


def test_the_figure_names_inputs_and_outputs():
    net = learning.EProp(4, 6, 2, beta=0.1, step_mode="m")
    names = {"xlabel": "time in ms", "groups": ("cue", "noise"), "classes": ("left", "right")}
    inputs, _, rising, outputs = draw_decision(net, torch.ones(20, 1, 4), **names)["decision"].axes
    (side,) = inputs.child_axes
    assert [label.get_text() for label in side.get_yticklabels()] == ["cue", "noise"]
    assert side.get_yticks().tolist() == [0.5, 2.5]  # in the middle of rows 0 and 1, and of 2 and 3
    assert [text.get_text() for text in outputs.get_legend().get_texts()] == ["left", "right"]
    assert outputs.get_xlabel() == "time in ms"
    assert len(rising.get_legend().get_texts()) == 5
    net.reset()
    inputs, *_, outputs = draw_decision(net, torch.ones(20, 1, 4))["decision"].axes
    assert [text.get_text() for text in outputs.get_legend().get_texts()] == ["output 0", "output 1"]
    assert not inputs.child_axes
