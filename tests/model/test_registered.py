"""Every registered network: its name, its parameters, what it makes of images and of frames."""

import copy
import pickle
import re
from itertools import pairwise

import pytest
import torch

from compare import assert_close, assert_same
from model.narrow import FAMILIES, NUM_CLASSES, N, T, image_for, make, make_for_evaluation
from spikeloom import functional, model
from spikeloom.errors import UnknownNameError

SEW = "sew-resnet-mini-cifar"
over_names = pytest.mark.parametrize("name", model.names())


def convolutions(*channels):
    """The weights of a row of convolutions of 3 x 3."""
    return sum(9 * one * other for one, other in pairwise(channels))


# A residual network has as many parameters as the ResNet that it comes from, a VGG network as many as VGG
# with normalisation (torchvision's counts); an MS-ResNet has a shortcut more: its first stage has stride 2.
FIRST_SHORTCUT = 64 * 64 + 2 * 64
RESNETS = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}
LARGE = {
    **{f"{kind}-resnet{number}": count for number, count in RESNETS.items() for kind in ("sew", "spiking")},
    **{f"ms-resnet{number}": RESNETS[number] + FIRST_SHORTCUT for number in (18, 34)},
    "ms-resnet104": 77_280_040 + FIRST_SHORTCUT,  # 77.28 M is published
    "spiking-vgg11": 132_868_840,
    "spiking-vgg13": 133_053_736,
    "spiking-vgg16": 138_365_992,
    "spiking-vgg19": 143_678_248,
}
MINI = convolutions(3, 64, 64, 64, 128, 128, 256, 256) + 6 * (64 + 128 + 256) + 2570
MINI_SHORTCUTS = 64 * 128 + 128 * 256
CPU_SIZES = {
    "mini": MINI + MINI_SHORTCUTS,
    "small": convolutions(3, *[128] * 3, *[256] * 4) + 128 * 256 + 6 * 128 + 10 * 256 + 2570,
}
VOTE = 2048 * 100 + 100
BLOCK_OF_32, BLOCK_OF_64, BLOCK_OF_128 = (convolutions(n, n, n) + 2 * (2 * n + 1) for n in (32, 64, 128))
SMALL = {
    **{
        f"{kind}-resnet-{size}-cifar": count
        for kind in ("sew", "spiking", "ms")
        for size, count in CPU_SIZES.items()
    },
    "plif-net": convolutions(3, *[256] * 6) + 6 * 513 + 16384 * 2048 + 2048 + 1 + VOTE + 1,
    "plif-net-mnist": convolutions(3, 128, 128) + 2 * 257 + 128 * 49 * 2048 + 2048 + 1 + VOTE + 1,
    "plif-net-cifar10-dvs": convolutions(3, *[128] * 4) + 4 * 257 + 8192 * 512 + 513 + 51_300 + 1,
    "plif-net-dvs-gesture": convolutions(3, *[128] * 5) + 5 * 257 + 2048 * 512 + 513 + 51_300 + 1,
    "sew-resnet-dvs-gesture": 3 * 32 + 65 + 7 * BLOCK_OF_32 + 330,  # published, with 2 channels: 0.13 M
    "sew-resnet-cifar10-dvs": 3 * 64
    + 129
    + 4 * BLOCK_OF_64
    + 64 * 128
    + 257
    + 3 * BLOCK_OF_128
    + 1290,  # 1.19 M
    "stbp-cifar": convolutions(3, 128, 256, 512, 1024, 512)
    + 2432
    + 32768 * 1024
    + 1024
    + 1025 * 512
    + 51_300,
    "vgg-snn": convolutions(3, 64, 128, 256, 256, *[512] * 4) + 3 * (192 + 512 + 2048) + 46_090,
    # Published: 9.32 M. Patches and positions, four blocks of 1,779,840, the classifier.
    "spikformer-4-384": convolutions(3, 48, 96, 192, 384, 384) + 2208 + 4 * 1_779_840 + 3850,
}


def num_parameters(name, num_classes):
    with torch.device("meta"):
        net = model.create(name, num_classes=num_classes)
    return sum(parameter.numel() for parameter in net.parameters())


def expected_parameters(name):
    """By hand: with 1000 classes those for large images, with 10 the others."""
    if name in LARGE or name in SMALL:
        return LARGE.get(name) or SMALL[name]
    large = name.removesuffix("-cifar")
    if "vgg" in name:  # one classifier instead of three fully connected layers
        hidden = 25088 * 4096 + 4096 + 4097 * 4096 + 4097 * 1000
        return LARGE[large] - hidden + 513 * 10
    features = 512 if re.search("18|34|104", name) else 2048
    smaller_stem = 3 * (49 - 9) * 64 + (FIRST_SHORTCUT if name.startswith("ms") else 0)
    return LARGE[large] - smaller_stem - 990 * (features + 1)


def test_the_names():
    families = {"sew-resnet": (18, 34, 50, 101, 152), "spiking-resnet": (18, 34, 50, 101, 152)}
    families |= {"ms-resnet": (18, 34, 104), "spiking-vgg": (11, 13, 16, 19)}
    numbered = [f"{family}{number}" for family, numbers in families.items() for number in numbers]
    assert set(model.names()) == {*numbered, *(f"{name}-cifar" for name in numbered), *SMALL}
    assert model.names("ms-resnet???") == ["ms-resnet104"]


@over_names
def test_the_parameters(name):
    assert num_parameters(name, 1000 if name in LARGE else 10) == expected_parameters(name)


@over_names
def test_images_frames_and_single_steps_give_the_same(name):
    torch.manual_seed(0)
    image = image_for(name)
    net = make_for_evaluation(name, image)
    with torch.no_grad():
        of_image = net(image)
        functional.reset_net(net)
        of_frames = net(image.expand(T, *image.shape))
        functional.reset_net(net)
        functional.set_step_mode(net, "s")
        of_steps = torch.stack([net(image) for _ in range(T)])
    assert of_image.shape == (T, N, NUM_CLASSES)
    assert not torch.equal(of_image[:, 0], of_image[:, 1]), "the network is silent"
    assert_close("frames", of_image, of_frames)
    assert_close("single steps", of_image, of_steps)


@over_names
def test_the_gradient_reaches_the_first_layer(name):
    torch.manual_seed(0)
    net = make(name)
    frames = torch.stack([image_for(name) for _ in range(T + 1)])
    output = net(frames)
    assert output.shape == (T + 1, N, NUM_CLASSES)
    (output * torch.randn_like(output)).sum().backward()
    gradient = net.conv1.weight.grad
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("name", FAMILIES)
def test_copies_and_stored_weights_are_the_same_network(name):
    torch.manual_seed(0)
    image = image_for(name)
    net = make_for_evaluation(name, image)
    other = make(name).eval()
    with torch.no_grad():
        output = net(image)
        copied = pickle.loads(pickle.dumps(copy.deepcopy(net)))
        functional.reset_net(copied)
        other.load_state_dict(net.state_dict())
        assert not torch.equal(output[:, 0], output[:, 1]), "the network is silent"
        assert_same("copy", output, copied(image))
        assert_same("loaded", output, other(image))


@pytest.mark.parametrize(
    ("name", "options", "scale"),
    [
        (SEW, {}, 1.0),
        (SEW, {"connect": "AND"}, 0.0),
        (SEW, {"connect": "IAND"}, 0.0),
        (SEW, {"connect": "IAND", "zero_init_residual": False}, 1.0),
        (SEW, {"zero_init_residual": True}, 0.0),
        ("sew-resnet-dvs-gesture", {}, 0.0),
        ("sew-resnet-dvs-gesture", {"zero_init_residual": False}, 1.0),
        ("spiking-resnet50", {}, 1.0),
        ("spiking-resnet50", {"zero_init_residual": True}, 0.0),
        ("ms-resnet18", {}, 0.0),
        ("ms-resnet18", {"zero_init_residual": False}, 0.5),
    ],
)
def test_blocks_start_as_the_identity_where_they_should(name, options, scale):
    blocks = [one for one in make(name, **options).modules() if isinstance(one, model.ResidualBlock)]
    norms = [getattr(block, f"bn{block.num_convolutions}") for block in blocks]
    assert {value for norm in norms for value in norm.weight.tolist()} == {scale}
    firing = options.get("connect") == "AND"
    assert {value for norm in norms for value in norm.bias.tolist()} == {float(firing)}


def test_an_unknown_name_gets_close_matches():
    with pytest.raises(UnknownNameError, match="Did you mean 'sew-resnet18'"):
        model.create("sew-resnet-18")


def test_what_is_wrong_is_refused():
    with pytest.raises(TypeError, match=r"`conect` is no option .* connect, .* Did you mean 'connect'"):
        model.create("sew-resnet18", conect="AND")
    with pytest.raises(TypeError, match="`connect` is no option of model 'ms-resnet18'"):
        model.create("ms-resnet18", connect="AND")
    with pytest.raises(ValueError, match="`connect` must be one of"):
        model.create("sew-resnet-mini-cifar", connect="OR")
    with pytest.raises(ValueError, match="`T` must be at least 1, got 0"):
        model.create("sew-resnet18", T=0)
    with pytest.raises(TypeError, match="`neuron` must make a new module for each layer, got IFNode"):
        model.create("sew-resnet18", neuron=model.resnet.integrate_and_fire())
    with pytest.raises(ValueError, match="`pool` must be 'average' or 'max'"):
        model.create("plif-net", pool="mean")
    with pytest.raises(ValueError, match="`size` must be at least 4"):
        model.create("plif-net", size=3)
    with pytest.raises(ValueError, match="`size` must be at least 128"):
        model.create("sew-resnet-dvs-gesture", size=64)
    with pytest.raises(ValueError, match="`channels` must be at least 1, got 0"):
        model.create("sew-resnet-dvs-gesture", channels=(8, 0))
    with pytest.raises(ValueError, match="`convolutions` must have one before each 'P'"):
        model.create("plif-net", convolutions=(8, "P", "P"))
    with pytest.raises(TypeError, match="`depths` must be the blocks of each stage"):
        model.create("sew-resnet18", depths=2)
    with pytest.raises(ValueError, match="`width` must be a multiple of num_heads"):
        model.create("spikformer-4-384", width=40, num_heads=12)
