"""Recurrent containers: numbers of SpikingJelly 2.0.0, resets, and outputs that may be changed in place."""

import copy
import pickle

import pytest
import torch
from torch import nn

from compare import assert_close, assert_same
from spikeloom import functional, layer, neuron
from spikeloom.errors import ForgottenResetError, ShapeError


def filled(module, start, end):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.linspace(start, end, parameter.numel()).view(parameter.shape))
    return module


def half_plus(y, x):
    return y * 0.5 + x


def run(container, x_seq, step_mode):
    functional.set_step_mode(container, step_mode)
    return container(x_seq) if step_mode == "m" else torch.stack([container(x) for x in x_seq])


# Every parameter is `linspace(start, end)` in its own shape; the peer's LinearRecurrentContainer and
# ElementWiseRecurrentContainer (spikingjelly 2.0.0, CPU, torch float32) were run on the same inputs.


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_linear_recurrence_around_a_linear_layer(step_mode):
    container = filled(layer.LinearRecurrentContainer(nn.Linear(2, 3), 2, 3), -1, 1)
    golden = [
        [[-0.4424242377281189, 0.46060603857040405, 1.3636363744735718],
         [0.38181817531585693, 0.7030302882194519, 1.0242424011230469]],
        [[0.379663348197937, 1.2525252103805542, 2.125387191772461],
         [1.5206732749938965, 1.6565654277801514, 1.7924575805664062]],
        [[1.7328333854675293, 2.26531982421875, 2.7978060245513916],
         [2.919527530670166, 2.777104377746582, 2.63468074798584]],
    ]  # fmt: skip
    assert_close(
        "output", torch.tensor(golden), run(container, torch.linspace(0, 3, 12).view(3, 2, 2), step_mode)
    )
    assert list(container.state_dict()) == ["rc.weight", "rc.bias", "sub_module.weight", "sub_module.bias"]


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_linear_recurrence_around_a_neuron_and_its_gradients(step_mode):
    container = filled(layer.LinearRecurrentContainer(neuron.LIFNode(v_reset=None), 2, 2), 1, -1)
    x = torch.linspace(0, 3, 20).view(5, 2, 2).requires_grad_()
    y = run(container, x, step_mode)
    assert y[:, :, 0].tolist() == [[0, 0], [1, 1], [1, 1], [1, 1], [1, 1]]
    assert not y[:, :, 1].any()
    y.sum().backward()
    x_grad = [
        [[0.3573512136936188, 0.2536618411540985], [0.4643550217151642, 0.33061856031417847]],
        [[0.3075512647628784, 0.21943651139736176], [0.08249984681606293, 0.05878783389925957]],
        [[0.030557876452803612, 0.021815171465277672], [0.004705552011728287, 0.0033548055216670036]],
    ]
    rc_grad = [
        [0.46748071908950806, 0.6647626161575317, 0.03636681288480759, 0.0],
        [0.0019972091540694237, 0.003475268604233861, 6.249801663216203e-05, 0.0],
    ]
    torch.testing.assert_close(x.grad[:3], torch.tensor(x_grad), rtol=2e-5, atol=1e-7)
    torch.testing.assert_close(container.rc.weight.grad, torch.tensor(rc_grad), rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_element_wise_recurrence(step_mode):
    container = layer.ElementWiseRecurrentContainer(neuron.LIFNode(v_reset=None), half_plus)
    x = torch.tensor([0.6, 1.6, 2.6, 0.2, 1.5, 2.0]).requires_grad_()
    y = run(container, x.unsqueeze(1), step_mode)
    assert y.flatten().tolist() == [0, 0, 1, 0, 1, 1]
    y.sum().backward()
    golden = [
        0.36695295572280884, 0.5804907083511353, 0.3384678363800049,
        0.5579711198806763, 0.5647135376930237, 0.3486086428165436,
    ]  # fmt: skip
    torch.testing.assert_close(x.grad, torch.tensor(golden), rtol=2e-6, atol=1e-7)


def test_the_function_gets_the_last_output_first():
    container = layer.ElementWiseRecurrentContainer(nn.Identity(), lambda y, x: y - 2 * x, step_mode="m")
    x = torch.tensor([[0.6], [0.6], [0.6], [0.2], [1.5]])
    assert_close("output", torch.tensor([[-1.2], [-2.4], [-3.6], [-4.0], [-7.0]]), container(x))


MAKERS = [
    lambda **k: layer.ElementWiseRecurrentContainer(neuron.LIFNode(), half_plus, **k),
    lambda **k: layer.LinearRecurrentContainer(neuron.LIFNode(), 3, 3, **k),
]


@pytest.mark.parametrize("make", MAKERS)
def test_reset_copies_and_the_boundary(make):
    container, x = make(step_mode="m"), torch.rand(5, 4, 3) * 3
    first = container(x)
    assert container.sub_module.step_mode == "s"
    for twin in (copy.deepcopy(container), pickle.loads(pickle.dumps(container))):
        assert_same("memory of the copy", container.y.detach(), twin.y)
        functional.reset_net(twin)
        assert_same("copy after reset", first.detach(), twin(x).detach())
    assert "y" not in container.state_dict()
    functional.reset_net(container)
    assert container.y is None
    assert_same("after reset", first, container(x))


@pytest.mark.parametrize("make", MAKERS)
def test_a_forgotten_reset_is_named(make):
    container, x = make(step_mode="m"), torch.rand(5, 4, 3, requires_grad=True)
    container(x).sum().backward()
    with pytest.raises(ForgottenResetError, match="reset_net"):
        container(x)


@pytest.mark.parametrize("make", MAKERS)
def test_spikes_may_be_counted_in_place(make):
    container, x = make(), torch.rand(6, 4, 3) * 3
    reference = run(container, x, "s").sum(0)
    functional.reset_net(container)
    count = container(x[0])
    for step in x[1:]:
        count += container(step)
    assert_same("count", reference, count)
    if count.requires_grad:
        count.sum().backward()


@pytest.mark.parametrize("make", MAKERS)
def test_half_input_keeps_its_type(make):
    container = make(step_mode="m").to(torch.bfloat16)
    assert container(torch.rand(3, 2, 3).bfloat16()).dtype == torch.bfloat16


def test_wrong_use_is_explained():
    with pytest.raises(ValueError, match="must be 's'"):
        layer.LinearRecurrentContainer(neuron.IFNode(step_mode="m"), 2, 2)
    with pytest.raises(ShapeError, match=r"2 features.*\[5, 3\]"):
        layer.LinearRecurrentContainer(neuron.IFNode(), 2, 2)(torch.rand(5, 3))
    container = layer.LinearRecurrentContainer(neuron.IFNode(), 2, 2)
    container(torch.rand(5, 2))
    with pytest.raises(ShapeError, match="reset_net"):
        container(torch.rand(4, 2))
