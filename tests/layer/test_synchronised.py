"""Batch normalisation over all processes: that of one process which has the whole batch."""

import copy
import pickle

import pytest
import torch
from torch import nn

from compare import assert_close, assert_same
from spikeloom import functional, layer
from train.together import in_processes

SHARES = {2: [3, 4], 3: [4, 0, 2]}  # samples of each process: not the same, and none at all


def norms(dtype):
    """Each kind, and an input ``[T, N, C, *]`` with channels far from 0, where squares would cancel."""
    made = {
        "1d": (layer.BatchNorm1d(3, step_mode="m"), (5,)),
        "2d": (layer.BatchNorm2d(3, momentum=None, step_mode="m"), (4, 2)),
        "3d": (layer.BatchNorm3d(3, affine=False, track_running_stats=False, step_mode="m"), (2, 3, 2)),
        "tdBN": (layer.ThresholdDependentBatchNorm2d(0.5, 2.0, 3), (4, 2)),
        "TEBN": (layer.TemporalEffectiveBatchNorm2d(4, 3), (4, 2)),
        "BNTT": (layer.BatchNormThroughTime2d(4, 3, step_mode="m"), (4, 2)),
        "torch": (layer.SeqToANNContainer(nn.BatchNorm2d(3)), (4, 2)),
    }
    random = torch.Generator().manual_seed(0)
    for name, (norm, grid) in made.items():
        for parameter in norm.parameters():
            nn.init.uniform_(parameter, 0.5, 2.0, generator=random)
        size = (4, 7, 3, *grid)
        x = torch.randn(size, generator=random) + torch.tensor([0.0, 30.0, -900.0]).view(-1, *[1] * len(grid))
        target = torch.randn(size, generator=random)
        yield name, norm.to(dtype), x.to(dtype), target.to(dtype)


def train(norm, x, target):
    """Two steps: outputs, gradient of the input, and of the parameters."""
    x = x.clone().requires_grad_()
    out = norm(0.5 * x)
    functional.reset_net(norm)
    out = norm(x)
    (out * target).sum().backward()
    return out.detach(), x.grad


def normalise(rank, shares, dtype):
    start = sum(shares[:rank])
    results = {}
    for name, norm, x, target in norms(dtype):
        layer.synchronise_batch_norm(norm)
        own = slice(start, start + shares[rank])
        out, grad = train(norm, x[:, own], target[:, own])
        for parameter in norm.parameters():
            torch.distributed.all_reduce(parameter.grad)
        grads = {key: parameter.grad for key, parameter in norm.named_parameters()}
        results[name] = (out, grad, grads, dict(norm.named_buffers()))
    return results


@pytest.mark.parametrize(("size", "dtype"), [(2, torch.float32), (3, torch.float64)])
def test_several_processes_normalise_as_one_with_all_samples(size, dtype):
    shares = SHARES[size]
    results = in_processes(size, normalise, shares, dtype)
    for name, norm, x, target in norms(dtype):
        used = slice(0, sum(shares))
        out, grad = train(norm, x[:, used], target[:, used])
        outs, grads, parameter_grads, buffers = zip(*(result[name] for result in results), strict=True)
        scale = 1000.0  # of the input, whose third channel is at -900: so coarse is `x - mean`
        assert_close(f"{name} output", out / scale, torch.cat(outs, 1) / scale)
        assert_close(f"{name} gradient", grad / scale, torch.cat(grads, 1) / scale)
        for key, parameter in norm.named_parameters():
            assert_close(f"{name} {key}", parameter.grad / scale, parameter_grads[0][key] / scale)
        for key, buffer in norm.named_buffers():
            if buffer.is_floating_point():
                assert_close(f"{name} {key}", buffer, buffers[0][key])
            for other in buffers:
                assert_same(f"{name} {key}", buffers[0][key], other[key])
            if key.endswith("tracked"):
                assert_same(f"{name} {key}", buffer, buffers[0][key])


def test_alone_it_is_the_same_layer():
    net = nn.Sequential(layer.BatchNorm2d(3), nn.BatchNorm2d(3), nn.GroupNorm(1, 3))
    twin = copy.deepcopy(net)
    layer.synchronise_batch_norm(net)
    assert isinstance(net[1], nn.BatchNorm2d)
    assert list(net.state_dict()) == list(twin.state_dict())
    x = torch.rand(4, 3, 5, 5)
    assert_same("output", twin(x), net(x))
    assert [pickle.loads(pickle.dumps(net))[place].synchronised for place in (0, 1)] == [True, True]
    layer.synchronise_batch_norm(net, False)
    assert [net[place].synchronised for place in (0, 1)] == [False, False]
