"""What cannot be converted is refused: with its name, the reason, and what to do."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from spikeloom import ann2snn, neuron
from spikeloom.errors import ConversionError, ShapeError


class Applies(nn.Module):
    """Calls a function between a layer and a ReLU."""

    def __init__(self, function):
        super().__init__()
        self.fc, self.function = nn.Linear(4, 4), function

    def forward(self, x):
        return F.relu(self.function(self.fc(x)))


def refused(model, match, x=None, **options):
    with pytest.raises(ConversionError, match=match):
        ann2snn.convert(model, torch.rand(8, 4) if x is None else x, **options)


@pytest.mark.parametrize(("function", "reason"), [
    (torch.sigmoid, r"sigmoid \(sigmoid\): it is neither linear"),
    (F.gelu, r"gelu \(gelu\): it is neither linear"),
    (lambda x: x * x, r"mul \(mul\): it multiplies or divides two things that both depend"),
    (lambda x: x * x.mean(1, keepdim=True), r"mul \(mul\): it multiplies or divides"),
    (lambda x: 1 / (x + 2), r"truediv \(truediv\): it is not linear in the input"),
    (lambda x: x.exp(), r"exp \(exp\): it is neither linear"),
    (lambda x: x.max(1)[0], r"max_1 \(max\): it is neither linear"),
    (lambda x: x - x.mean(), r"mean \(mean\): it must keep the samples in the first dimension, gives \[\]"),
    (lambda x: x[0], r"getitem \(getitem\): it must keep the samples in the first"),
    (lambda x: torch.stack([x, x]), r"stack \(stack\): it must keep the samples in the first"),
    (lambda x: x.argmax(1), r"argmax \(argmax\): it is neither linear"),
    (lambda x: torch.div(x, 0.3, rounding_mode="floor"), r"div \(div\): it rounds to whole numbers"),
    (lambda x: x.to(torch.int).float(), r"to \(to\): it rounds to whole numbers"),
    (lambda x: torch.mul(x, other=x), r"mul \(mul\): it multiplies or divides"),
    (lambda x: F.max_pool1d(x, x.size(1)), r"max_pool1d \(max_pool1d\): its size is computed: give numbers"),
    (lambda x: torch.cat([x, x]), r"cat \(cat\): it must keep the samples in the first"),
])  # fmt: skip
def test_functions_that_spikes_cannot_do(function, reason):
    refused(Applies(function), reason + r".*strict=False")


@pytest.mark.parametrize(("module", "reason"), [
    (nn.Sigmoid(), r"1 \(Sigmoid\): it is neither linear, nor a ReLU"),
    (nn.LeakyReLU(), r"1 \(LeakyReLU\): it is neither linear"),
    (nn.LayerNorm(4), r"1 \(LayerNorm\): it is neither linear"),
    (nn.BatchNorm1d(4, track_running_stats=False), r"1 \(BatchNorm1d\): it uses the statistics of each"),
    (neuron.IFNode(0.01), r"1 \(IFNode\): it is neither linear"),
    (neuron.LIFNode(), r"1 \(LIFNode\): it is neither linear"),
])  # fmt: skip
def test_modules_that_spikes_cannot_do(module, reason):
    refused(nn.Sequential(nn.Linear(4, 4), module, nn.ReLU()), reason)


def test_pooling_that_gives_indices():
    class Indices(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = nn.MaxPool1d(2, return_indices=True)

        def forward(self, x):
            return torch.relu(self.pool(x)[0])

    refused(Indices(), r"pool \(MaxPool1d\): it returns indices", torch.rand(8, 1, 4))


def test_all_that_is_refused_is_named_at_once():
    refused(nn.Sequential(nn.Tanh(), nn.ReLU(), nn.Softmax(1)), r"0 \(Tanh\).*2 \(Softmax\)")


def test_a_function_that_gives_indices():
    refused(Applies(lambda x: torch.adaptive_max_pool1d(x, 2)[0]), r"adaptive_max_pool1d.*it returns indices")


class Decides(nn.Module):
    def forward(self, x):
        return torch.relu(x) if x.sum() > 0 else x


def test_what_cannot_be_traced():
    refused(Decides(), r"`model` must be a network that torch.fx can trace, got TraceError: .*decide")


def changed_part(x):
    x[:, :2].sub_(1)
    return x


def second_name(x):
    y = x
    y += 1  # which torch.fx takes for y = y + 1
    return x + y


@pytest.mark.parametrize("function", [second_name, changed_part, F.dropout])
def test_what_is_traced_to_something_else(function):
    refused(Applies(function), "must give in evaluation mode what torch.fx traces of it, got outputs that di")


def test_weights_that_hooks_compute_with_gradients():
    model = nn.Sequential(nn.utils.spectral_norm(nn.Linear(4, 4)), nn.ReLU())
    model(torch.rand(8, 4))
    refused(model, "must be a network that copy.deepcopy can copy, got .*remove_spectral_norm")


class TwoOutputs(nn.Module):
    def forward(self, x):
        return torch.relu(x), x


def test_a_model_of_two_outputs():
    refused(TwoOutputs(), "`model` must return one tensor, got a tuple")


class Sum(nn.Module):
    def forward(self, x, y, factor=2.0):
        return torch.relu(x + factor * y)


def test_a_model_of_two_inputs():
    refused(Sum(), "`model` must take one tensor, got a forward\\(\\) of 2: x, y")


def test_an_input_with_a_default_keeps_it():
    class Scaled(nn.Module):
        def forward(self, x, factor=2.0, mask=None):
            return factor * torch.relu(x if mask is None else x * mask)

    x = torch.rand(8, 4)
    snn = ann2snn.convert(Scaled(), x)
    assert snn.report.unconverted == []
    torch.testing.assert_close(ann2snn.outputs_over_time(snn, x, 2000)[-1], 2 * x, atol=2e-3, rtol=0.0)


def test_what_is_no_model():
    with pytest.raises(TypeError, match=r"`model` must be a torch.nn.Module, got a builtin_function"):
        ann2snn.convert(torch.relu, torch.rand(8, 4))


def test_a_model_without_activations():
    refused(nn.Linear(4, 2), "`model` must have at least one ReLU or QCFS activation, got none")


def test_qcfs_needs_qcfs():
    model = nn.Sequential(ann2snn.QCFS(), nn.Linear(4, 4), nn.ReLU())
    refused(model, r"every activation must be an ann2snn.QCFS, got others: 2\. .*'percentile'", method="qcfs")


def test_activations_that_are_not_finite():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    nn.init.constant_(model[0].weight, float("nan"))
    refused(model, "The output of '1' must be finite on `calibration_data`")


def test_activations_that_float32_cannot_hold():
    model, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).double(), torch.ones(8, 4).double()
    nn.init.constant_(model[0].weight, 1e39)
    refused(
        model, "The output of '1' must be finite .* or more than float32 can hold", x, method="percentile"
    )


@pytest.mark.parametrize(("options", "message"), [
    ({"method": "maximum"}, r"`method` must be one of \('max', 'percentile', 'qcfs'\), got 'maximum'"),
    ({"calibrate": "weights"}, r"`calibrate` must be one of \(None, 'bias', 'potential'\), got 'weights'"),
    ({"percentile": 0}, "`percentile` must be a number greater than 0 and at most 100, got 0"),
    ({"percentile": 101.0}, "`percentile` must be a number greater than 0 and at most 100, got 101.0"),
    ({"scale": 0.0}, "`scale` must be a finite number greater than 0, got 0.0"),
    ({"initial_potential": 1.5}, "`initial_potential` must be a number from 0 to 1, got 1.5"),
    ({"T": 0}, "`T` must be at least 1, got 0"),
])  # fmt: skip
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        ann2snn.convert(nn.ReLU(), torch.rand(8, 4), **options)


@pytest.mark.parametrize("data", [[], torch.zeros(0, 4), iter([]), [torch.zeros(0, 4)], torch.tensor(1.0)])
def test_no_calibration_data(data):
    with pytest.raises(ValueError, match="`calibration_data` must hold at least one sample, got none"):
        ann2snn.convert(nn.ReLU(), data)


@pytest.mark.parametrize(("data", "message"), [
    (3, "`calibration_data` must be a tensor .* or an iterable of batches, such as a DataLoader, got a int"),
    ([3], r"A batch of `calibration_data` must be a tensor \[N, \*\], or begin with one, got a int"),
    ([{"x": torch.zeros(2, 4)}], r"must be a tensor \[N, \*\], or begin with one, got a dict"),
    ([torch.tensor(1.0)], "or begin with one, got a tensor without a dimension"),
])  # fmt: skip
def test_wrong_calibration_data(data, message):
    with pytest.raises(TypeError, match=message):
        ann2snn.convert(nn.ReLU(), data)


@pytest.mark.parametrize("place", [1, 2, 3, 4])
def test_hooks_that_would_be_lost(place):
    layers = [nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Identity(), nn.Linear(8, 3)]
    net, seen = nn.Sequential(*layers).eval(), []
    handle = net[place].register_forward_hook(lambda module, args, output: seen.append(output))
    with pytest.raises(ConversionError, match=f"got some on '{place}'.*handle.remove"):
        ann2snn.convert(net, torch.rand(8, 6))
    assert not seen
    handle.remove()
    ann2snn.convert(net, torch.rand(8, 6))


def test_a_division_by_what_depends_on_the_input():
    class Dividing(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.k = nn.Linear(6, 6), nn.Parameter(torch.ones(6))

        def forward(self, x):
            return torch.div(input=self.k, other=torch.relu(self.fc(x)) + 0.5)

    with pytest.raises(ConversionError, match="it is not linear in the input"):
        ann2snn.convert(Dividing(), torch.rand(8, 6))


def test_calibration_data_that_is_not_finite():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    with pytest.raises(ConversionError) as caught:
        ann2snn.convert(net, torch.full((4, 4), float("nan")))
    assert "The output of '1' must be finite" in str(caught.value)
    assert "While executing" not in str(caught.value)


def test_an_output_that_is_not_one_number_for_each_class():
    net, x = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 10, 6)), torch.rand(5, 1, 8, 8)
    data = [(x, torch.arange(5))]
    for accuracy in (
        lambda: ann2snn.accuracy_over_time(ann2snn.convert(net, x), data, T=2),
        lambda: ann2snn.ann_accuracy(net, data),
    ):
        with pytest.raises(ShapeError, match=r"output must be \[N, classes\], got \[5, 10, 1, 1\]"):
            accuracy()


def test_images_of_several_sizes_have_no_potentials_in_common():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    batches = [torch.rand(3, 1, size, size) for size in (8, 10)]
    with pytest.raises(ShapeError, match="`calibration_data` must hold samples of one shape"):
        ann2snn.convert(net, batches, calibrate="potential")
    assert ann2snn.convert(net, batches, calibrate="bias").graph_module.get_submodule("1").shift.shape == (
        2,
        1,
        1,
    )


def test_curves_without_a_value():
    with pytest.raises(ShapeError, match="`curves` must have at least one value each, got none for 'max'"):
        ann2snn.draw_accuracy({"ANN": [0.9], "max": []})


def test_labels_of_another_number():
    for labels in (torch.tensor([0]), torch.zeros(3, 1, dtype=torch.long)):
        with pytest.raises(ShapeError, match=r"`data` must be pairs of samples"):
            ann2snn.ann_accuracy(nn.ReLU(), [(torch.ones(3, 3), labels)])


def test_the_accuracy_of_an_ann_is_that_in_evaluation_mode():
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.9), nn.Linear(8, 3))
    net[2].eval()
    modes, mean = [module.training for module in net.modules()], net[1].running_mean.clone()
    x, y = torch.rand(50, 6), torch.randint(0, 3, (50,))
    first = ann2snn.ann_accuracy(net, [(x, y)])
    assert [module.training for module in net.modules()] == modes
    assert torch.equal(net[1].running_mean, mean)
    assert first == (net.eval()(x).argmax(1) == y).float().mean().item()


@pytest.mark.parametrize(
    "scaled", [lambda y: y / y.size(0), lambda y: y + torch.arange(y.shape[0]).view(-1, 1)]
)
def test_the_size_of_the_batch_in_a_computation(scaled):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 8)

        def forward(self, x):
            return scaled(torch.relu(self.fc(x)))

    with pytest.raises(ConversionError, match="whatever their number in the batch"):
        ann2snn.convert(Scaled(), torch.rand(30, 6))


@pytest.mark.parametrize(("shape", "got"), [
    ((1, 9, 9), r"\[N, 1, 9, 9\], of which Linear '2.1' got \[N, 196\]"),
    ((3, 8, 8), r"\[N, 3, 8, 8\], of which Conv2d '0' got \[N, 3, 8, 8\]"),
    ((64,), r"\[N, 64\], of which Conv2d '0' got \[N, 64\]"),
])  # fmt: skip
def test_samples_that_do_not_fit_name_the_layer_and_its_shape(shape, got):
    head = nn.Sequential(nn.Flatten(), nn.Linear(4 * 6 * 6, 2))
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), head)
    match = r"`calibration_data` must fit `model`, got torch.float32 " + got + r"\. PyTorch says: .*"
    refused(net, match, torch.rand(5, *shape))
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in net.modules())
    refused(net, match, [torch.rand(5, 1, 8, 8), torch.rand(5, *shape)])


def test_what_else_goes_wrong_in_a_model_is_told_as_it_is():
    class Views(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, x):
            return F.relu(self.fc(x.view(-1, 3)))

    with pytest.raises(RuntimeError, match="is invalid for input of size"):
        ann2snn.convert(Views(), torch.rand(5, 4))
