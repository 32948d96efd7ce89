"""Every registered network, narrow enough for a test, with all its layers."""

import torch

from spikeloom import functional, model

NUM_CLASSES, IN_CHANNELS, T, N = 5, 2, 3, 2
_PLIF = {"plif-net": (8, 8, 8, "P") * 2} | {
    f"plif-net-{name}": (8, "P") * depth
    for name, depth in (("mnist", 2), ("cifar10-dvs", 4), ("dvs-gesture", 5))
}

SEW_EVENTS = {"sew-resnet-dvs-gesture": (32,) * 7, "sew-resnet-cifar10-dvs": (64,) * 4 + (128,) * 3}


def options(name):
    """What makes the network narrow."""
    if name in _PLIF:
        return {"convolutions": _PLIF[name], "hidden": 32, "size": size(name)}
    if name == "stbp-cifar":
        return {"convolutions": (16, 32, "P", 64, "P", 64, 32), "hidden": (64, 32), "size": 16}
    if name.startswith("spikformer"):
        return {"width": 32, "num_heads": 4}
    if name in SEW_EVENTS:
        return {"channels": [entry // 16 for entry in SEW_EVENTS[name]]}
    if "vgg" in name:
        plan = model.MODELS[name].keywords["convolutions"]
        return {"convolutions": [entry if entry == "P" else entry // 8 for entry in plan], "hidden": (16,)}
    return {"width": 4}


def size(name):
    """Height and width of its images."""
    if name in SEW_EVENTS:
        return 128
    if name == "plif-net-dvs-gesture":  # which halves them five times
        return 64
    return 32 if "vgg" in name or "plif" in name or not name.endswith(("-cifar", "-384")) else 16


def make(name, backend="torch", **more):
    """The narrow network."""
    settings = {"num_classes": NUM_CLASSES, "in_channels": IN_CHANNELS, "T": T} | options(name) | more
    net = model.create(name, **settings).double()  # in which rounding turns no spike
    functional.set_backend(net, backend)
    if name in _PLIF:  # whose last layers are silent at first
        torch.nn.init.normal_(net.fc1.weight)
        torch.nn.init.normal_(net.fc.weight)
    return net


def make_for_evaluation(name, image, **more):
    """The narrow network with the statistics of these images, so that its neurons fire."""
    if name in SEW_EVENTS:  # whose blocks are the identity at first, and its pooling then hides what comes in
        more = {"zero_init_residual": False} | more
    net = make(name, **more)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # keeps the average over all batches
    with torch.no_grad():
        net(image)
    functional.reset_net(net)
    return net.eval()


def image_for(name):
    """A batch of images, for every time step."""
    return 2 * torch.rand(N, IN_CHANNELS, size(name), size(name), dtype=torch.float64)


FAMILIES = [
    "sew-resnet18",
    "sew-resnet50-cifar",
    "spiking-resnet-mini-cifar",
    "ms-resnet18",
    "spiking-vgg11",
    "plif-net",
    "stbp-cifar",
    "spikformer-4-384",
]
"""One network of each kind."""
