"""ONNX models of a time step give what the network gives, step by step, in another runtime."""

import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from compare import assert_close
from spikeloom import ann2snn, encoding, functional, layer, neuron
from spikeloom.errors import ConversionError
from spikeloom.exchange import export_to_onnx, onnx_step
from spikeloom.memory import MemoryModule

NEURONS = [
    name
    for name in neuron.__all__
    if issubclass(getattr(neuron, name), neuron.BaseNode)
    and not name.startswith(("Multi", "Base", "Simple", "NonSpikingBase"))
    and name not in ("AdaptBaseNode",)
]


class Together(nn.Module):
    """Every neuron, side by side."""

    def __init__(self):
        super().__init__()
        self.nodes = nn.ModuleDict()
        for name in NEURONS:
            try:
                node = getattr(neuron, name)()
                functional.set_step_mode(node, "s")
                node(torch.rand(2, 4))
            except (TypeError, ValueError, NotImplementedError):
                continue
            functional.reset_net(node)
            self.nodes[name] = node

    def forward(self, x):
        return torch.stack([node(x) for node in self.nodes.values()], 1)


def conv_net():
    return nn.Sequential(
        layer.Conv2d(1, 4, 3, padding=1),
        layer.BatchNorm2d(4),
        neuron.LIFNode(v_reset=-0.1),
        layer.MaxPool2d(2),
        layer.Dropout(0.5),
        layer.Flatten(),
        layer.Linear(64, 5),
        layer.Delay(2),
        layer.SynapseFilter(5.0),
        layer.LinearRecurrentContainer(neuron.CubaLIFNode(), 5, 5),
    )


def run(path, x):
    """The outputs of a model for the steps of ``x``, as anybody would write it."""
    session = onnxruntime.InferenceSession(path)
    stored = json.loads(session.get_modelmeta().custom_metadata_map["spikeloom.memories"])
    batch, given = x.shape[1], {}
    for one in session.get_inputs()[1:]:
        shape = [batch if isinstance(size, str) else size for size in one.shape]
        given[one.name] = np.broadcast_to(np.array(stored[one.name], np.float32), shape)
    names, outputs = list(given), []
    for step in x:
        output, *after = session.run(
            ["output", *(f"{name}.next" for name in names)], {"input": step, **given}
        )
        given = dict(zip(names, after, strict=True))
        outputs.append(output)
    return torch.from_numpy(np.stack(outputs)), stored


@pytest.mark.parametrize(
    ("make", "shape"), [(conv_net, (1, 8, 8)), (Together, (4,)), (lambda: nn.Linear(3, 2), (3,))]
)
def test_a_runtime_gives_the_same(make, shape, tmp_path):
    torch.manual_seed(0)
    net = make().eval()
    for one in net.modules():
        if isinstance(one, nn.Linear | nn.Conv2d):
            one.weight.data *= 3
    x = torch.rand(12, 5, *shape) * 1.5
    functional.set_step_mode(net, "m")
    starts = export_to_onnx(net, x, tmp_path / "net.onnx")
    assert [*tmp_path.iterdir()] == [tmp_path / "net.onnx"]
    onnx.checker.check_model(tmp_path / "net.onnx", full_check=True)
    got, stored = run(tmp_path / "net.onnx", x.numpy())
    assert stored == starts
    functional.set_step_mode(net, "s")
    with torch.no_grad():
        wanted = torch.stack([net(step) for step in x])
    assert wanted.std() > 0.1
    assert_close("output", wanted, got)


def test_there_are_neurons():
    assert len(Together().nodes) > 12


class Starting(MemoryModule):
    """Starts from a number of its own for each element."""

    def __init__(self):
        super().__init__()
        self.register_memory("total", torch.tensor([1.0, 2.0]))

    def single_step_forward(self, x):
        self.total = self.total + x
        return self.total


def test_a_memory_that_starts_from_a_tensor(tmp_path):
    assert export_to_onnx(Starting(), (2,), tmp_path / "net.onnx") == {"total": [1.0, 2.0]}
    got, _ = run(tmp_path / "net.onnx", np.ones((2, 3, 2), np.float32))
    assert got[:, 0].tolist() == [[2, 3], [3, 4]]


@pytest.mark.parametrize("calibrate", [None, "bias", "potential"])
def test_a_converted_network_starts_from_its_potentials(calibrate, tmp_path):
    torch.manual_seed(0)
    ann, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.rand(20, 4)
    snn = ann2snn.convert(ann, x, calibrate=calibrate)
    start = export_to_onnx(snn, (4,), tmp_path / "net.onnx")["graph_module.1.node.v"]
    assert np.shape(start) == ((6,) if calibrate == "potential" else ())
    got, _ = run(tmp_path / "net.onnx", x.expand(8, 20, 4).numpy())
    means = got.cumsum(0) / torch.arange(1, 9).view(-1, 1, 1)
    assert_close("mean of the outputs so far", ann2snn.outputs_over_time(snn, x, 8), means)


class Forgetful(nn.Module):
    """Changes with time, without a memory."""

    def __init__(self):
        super().__init__()
        self.steps = 0

    def forward(self, x):
        self.steps += 1
        return x * self.steps


class Counting(MemoryModule):
    def __init__(self):
        super().__init__()
        self.register_memory("steps", 0)

    def single_step_forward(self, x):
        self.steps += 1
        return x


class Flattened(nn.Module):
    """Fixes the size of its batch."""

    def forward(self, x):
        return x.view(len(x), -1)


class Wild(nn.Module):
    """Decides by the values of tensors."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (Forgetful(), "nothing but its input and its memories"),
        (nn.Sequential(encoding.PoissonEncoder(), neuron.IFNode()), "random numbers, as in an encoder"),
        (Counting(), "remember tensors, not 1 in its memory 'steps'"),
        (neuron.PSN(4), "must have a single-step mode"),
        (Wild(), "that PyTorch can export"),
        (Flattened(), "batches of any size"),
        (None, "`net` must be a network"),
    ],
    ids=lambda one: "" if isinstance(one, str) else type(one).__name__,
)
def test_what_is_refused(net, said, tmp_path):
    with pytest.raises(ConversionError, match=said):
        export_to_onnx(net, (3,), tmp_path / "net.onnx")
    assert not [*tmp_path.iterdir()]


def test_without_the_packages(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"pip install 'spikeloom\[onnx\]'"):
        export_to_onnx(neuron.IFNode(), (2,), tmp_path / "net.onnx")


def test_versions(tmp_path):
    net = nn.Sequential(nn.Linear(3, 2), neuron.IFNode())
    export_to_onnx(net, (3,), tmp_path / "net.onnx", opset_version=20)
    assert onnx.load(tmp_path / "net.onnx").opset_import[0].version == 20
    with pytest.raises(ConversionError, match="`opset_version` must be one that"):
        export_to_onnx(net, (3,), tmp_path / "other.onnx", opset_version=99)
    with pytest.raises(TypeError, match="`opset_version` must be an integer"):
        export_to_onnx(net, (3,), tmp_path / "other.onnx", opset_version="18")
    assert [*tmp_path.iterdir()] == [tmp_path / "net.onnx"]


def test_weights_that_one_file_cannot_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_step, "_is_large", lambda net: True)
    net = nn.Sequential(nn.Linear(300, 200), neuron.IFNode(v_threshold=0.2))
    export_to_onnx(net, (300,), tmp_path / "net.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "net.onnx.data"]
    x = torch.rand(3, 2, 300)
    with torch.no_grad():
        wanted = torch.stack([net(step) for step in x])
    got, _ = run(tmp_path / "net.onnx", x.numpy())
    assert_close("output", wanted, got)
