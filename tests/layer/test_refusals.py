"""Wrong settings and inputs of layers are told by name, and right ones in another form are taken."""

import pytest
import torch

from spikeloom import encoding, functional, layer, model, neuron, surrogate
from spikeloom.errors import ShapeError
from spikeloom.model.network import Network


def test_standardised_weights_take_what_a_linear_layer_takes():
    wide = layer.WSLinear(4, 2)
    spikes = torch.rand(3, 4) < 0.5
    assert torch.equal(wide(spikes), wide(spikes.float()))
    with pytest.raises(ShapeError, match=r"expects \[\*, 4\], got \[3, 5\]"):
        wide(torch.rand(3, 5))
    with pytest.raises(TypeError, match="`x` of WSLinear must be a tensor, got a list"):
        wide([1.0])


@pytest.mark.parametrize("one", [layer.AvgPool2d(2), layer.MaxPool2d(2), layer.BatchNorm2d(2, affine=False)])
def test_layers_without_weights_take_truth_values(one):
    spikes = torch.rand(3, 2, 4, 4) < 0.5
    assert torch.equal(one.eval()(spikes), one(spikes.float()))


def test_tensors_that_are_given_by_name_have_time_too():
    pool, unpool = layer.MaxPool2d(2, return_indices=True), layer.MaxUnpool2d(2, step_mode="m")
    x = torch.rand(3, 2, 1, 4, 4)
    pooled, places = (torch.stack(parts) for parts in zip(*(pool(one) for one in x), strict=True))
    assert torch.equal(unpool(pooled, indices=places), unpool(pooled, places))


def test_delays_keep_no_more_than_they_need():
    for delay in (layer.Delay(2, step_mode="m"), layer.LearnableDelay(4, 3, step_mode="m")):
        delay(torch.rand(100, 2, 4))
        assert delay.queue.untyped_storage().nbytes() == delay.queue.numel() * 4


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: layer.LearnableDelay(2, 3, torch.ones(3)),
            ValueError,
            "`initial_delay` must be",
        ),
        (lambda: layer.SynapseFilter("4"), TypeError, "`tau` must be a number"),
        (lambda: neuron.PSN(3, surrogate.ATan), TypeError, "`surrogate_function` must be callable"),
        (lambda: neuron.MaskedPSN(2, 3, surrogate_function=surrogate.ATan), TypeError, "must be callable"),
        (lambda: neuron.SlidingPSN(2, surrogate_function=surrogate.ATan), TypeError, "must be callable"),
        (lambda: Network({"conv": layer.Conv2d(1, 2, 3)}, T=4), ValueError, "a convolution 'conv1'"),
        (lambda: Network({"conv1": layer.Conv2d(1, 2, 3)}, T=0), ValueError, "`T` must be at least 1"),
    ],
)
def test_wrong_settings(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_layer_that_drops_connections_takes_its_features():
    with pytest.raises(ShapeError, match=r"DropConnectLinear expects 3 features, got \[2, 4\]"):
        layer.DropConnectLinear(3, 2)(torch.ones(2, 4))


def test_a_recurrent_container_whose_module_gives_other_features():
    net = layer.LinearRecurrentContainer(layer.Linear(4, 3), 4, 5, step_mode="m")
    with pytest.raises(ShapeError, match=r"expects out_features=5 of its `sub_module`, got \[2, 3\]"):
        net(torch.rand(6, 2, 4))


@pytest.mark.parametrize(
    ("x_seq", "target"),
    [((5, 4, 3), (5,)), ((4, 3), (4,)), ((5, 4, 3), (4, 3)), ((5, 4, 3, 2), (4,))],
)
def test_outputs_over_time_that_fit_no_labels(x_seq, target):
    with pytest.raises(ShapeError, match=r"`x_seq` must be \[T, N, C\] and `target` classes \[N\]"):
        functional.temporal_efficient_training_cross_entropy(torch.rand(x_seq), torch.zeros(target).long())


def test_whole_numbers_excite_a_population_as_others_do():
    encoder = encoding.PopulationEncoder(4, x_min=0.5, x_max=3.5)
    assert torch.equal(encoder.activity(torch.tensor([1, 2])), encoder.activity(torch.tensor([1.0, 2.0])))


def test_layers_for_a_container_that_folds_time_may_be_encoders():
    layer.SeqToANNContainer(encoding.PoissonEncoder())(torch.rand(3, 2, 4))
    with pytest.raises(ValueError, match="IFNode, which has memories"):
        layer.SeqToANNContainer(neuron.IFNode())


def test_channels_of_numpy():
    numpy = pytest.importorskip("numpy")
    plan = (numpy.int64(8), "P", numpy.int64(16))
    net = model.create("spiking-vgg11-cifar", T=2, convolutions=plan)
    assert net(torch.rand(2, 3, 8, 8)).shape == (2, 2, 10)
