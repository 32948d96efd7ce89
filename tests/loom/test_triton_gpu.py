"""What only a CUDA device can show: streams, graphs, several devices, sizes, and that little is compiled.

The comparisons with the reference are in test_triton_kernels.py. Both, on a machine with a GPU:

    pytest tests/loom/test_triton_kernels.py tests/loom/test_triton_gpu.py
"""

import importlib.util

import pytest
import torch
from torch import nn

from compare import assert_close, assert_same
from loom.both import FUSED, inputs, is_exact, make, run
from spikeloom import functional, layer, loom
from spikeloom.loom import select
from spikeloom.loom.backends import interprets
from spikeloom.neuron import LIFNode, ParametricLIFNode
from train.together import in_processes

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        interprets() or not torch.cuda.is_available() or importlib.util.find_spec("triton") is None,
        reason="needs Triton and a CUDA device",
    ),
]


def outcome(node, x, backend="triton"):
    """Output, potential, and the gradients of the input and of parameters."""
    node.backend = backend
    node.reset()
    node.zero_grad()
    leaf = x.clone().requires_grad_()
    output = node(leaf)
    (output * torch.linspace(-1, 1, output.numel(), device=x.device).reshape(output.shape)).sum().backward()
    return [output.detach(), node.v.detach(), leaf.grad, *(value.grad for value in node.parameters())]


@pytest.mark.parametrize("name", FUSED)
def test_a_million_steps_have_the_bits_of_the_reference(name):
    """Of exact neurons; the others step by step, each from the reference's state."""
    node, x = make(name).cuda(), inputs(name, 20, 10_000, 5).cuda()
    if is_exact(make(name), 2):
        results = [run(node, backend, x) for backend in ("torch", "triton")]
        for key in ("output", *node._memories):
            assert_same(f"{name} {key}", results[0][key], results[1][key])
        return
    fast, wrong = make(name).cuda(), 0
    node.backend, fast.backend = "torch", "triton"
    with torch.no_grad():
        for step in x[:12]:
            for memory, value in node.named_memories():
                setattr(fast, memory, value.clone() if isinstance(value, torch.Tensor) else value)
            reference, got = node(step[None]), fast(step[None])
            same = (reference == got)[0]
            wrong += int((~same).sum())
            for memory, value in node.named_memories():
                scale = torch.maximum(value.abs(), step.abs()).clamp(min=1.0)
                error = ((value - getattr(fast, memory)).abs() / scale / 2**-23)[same]
                assert error.max() <= 4, f"{memory}: {error.max()} units"
    assert wrong <= 5  # of 600,000


@pytest.mark.parametrize("name", ["IFNode", "LIFNode", "ILIFNode", "TernaryLIFNode"])
def test_the_cpu_and_the_gpu_agree(name):
    """Bit by bit where nothing is divided but by powers of 2."""
    x = inputs(name, 20, 1000, 5)
    node = make(name, tau=2.0) if name in ("LIFNode", "ILIFNode") else make(name)
    on_cpu, on_gpu = run(node, "numba", x), run(node.cuda(), "triton", x.cuda())
    for key in ("output", "v"):
        assert_same(f"{name} {key}", on_cpu[key], on_gpu[key].cpu())


def test_neither_steps_nor_numbers_compile_anew():
    """But for chunks of two or three steps instead of four, once each."""
    node, x = LIFNode(tau=2.0, step_mode="m"), torch.rand(40, 512, device="cuda")
    for steps in (40, 3, 2):
        outcome(node, x[:steps])
    modules = select.find(node, (512,), torch.float32, "triton").modules.values()
    kernels = [getattr(module, f"{name}_loop") for module in modules for name in ("forward", "backward")]

    def known():
        return [len(kernel.device_caches[0][0]) for kernel in kernels]

    before = known()
    assert len(before) == 6
    for steps in (1, 2, 3, 16, 17, 39):
        node.tau = 2.0 + steps
        outcome(node, x[:steps])
    assert known() == before


def test_sums_do_not_depend_on_chance():
    node, x = ParametricLIFNode(step_mode="m").cuda(), torch.randn(16, 100_000, device="cuda")
    first, again = outcome(node, x), outcome(node, x)
    for one, other in zip(first, again, strict=True):
        assert_same("result", one, other)


def test_a_graph_captures_a_training_step():
    node, x = ParametricLIFNode(step_mode="m").cuda(), torch.rand(8, 1000, device="cuda")
    expected = outcome(node, x)
    still, graph, stream = torch.zeros_like(x), torch.cuda.CUDAGraph(), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        outcome(node, still)
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(graph):
        results = outcome(node, still)
    still.copy_(x)
    graph.replay()
    for one, other in zip(expected, results, strict=True):
        assert_same("result", one, other)


def test_the_current_stream_is_used():
    node, stream = LIFNode(tau=3.0, step_mode="m", backend="triton"), torch.cuda.Stream()
    x = torch.rand(16, 1 << 20, device="cuda")
    expected = node(x)
    node.reset()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)  # whoever does not queue behind it reads too early
        late = x.clone()
        got = node(late)
    stream.synchronize()
    assert_same("output", expected, got)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_a_neuron_runs_where_its_input_is():
    node, x = LIFNode(tau=3.0, step_mode="m"), torch.rand(5, 300)
    results = [outcome(node, x.to(f"cuda:{number}")) for number in (0, 1)]
    for one, other in zip(*results, strict=True):
        assert_same("result", one.cpu(), other.cpu())


def test_more_numbers_than_32_bits_count():
    """Of an input that is silent but for its end."""
    steps, neurons = 40, (1 << 31) // 32
    if torch.cuda.mem_get_info()[0] < 24 << 30:
        pytest.skip("needs 24 GiB of free memory on the device")
    x = torch.zeros(steps, neurons, device="cuda", dtype=torch.bfloat16)
    x[-1, -1000:] = 3.0
    with torch.no_grad():
        output, _ = select.run(LIFNode(tau=2.0, step_mode="m", backend="triton"), x)
    assert output.numel() > 1 << 31
    assert output[-1, -1000:].float().sum() == 1000
    assert output[:, :-1000].sum() == 0


def test_mixed_precision_is_that_of_the_reference():
    torch.manual_seed(0)
    net = nn.Sequential(
        layer.Conv2d(2, 8, 3, padding=1), LIFNode(tau=2.0), layer.Flatten(), layer.Linear(512, 3)
    )
    functional.set_step_mode(net, "m")
    net, x, results = net.cuda(), torch.rand(4, 2, 2, 8, 8, device="cuda") * 3, []
    for backend in ("torch", "triton"):
        functional.reset_net(net)
        net.zero_grad()
        with torch.autocast("cuda", torch.bfloat16), loom.backend(backend):
            loss = net(x).float().square().sum()
        loss.backward()
        results.append([loss.detach(), *(value.grad.clone() for value in net.parameters())])
    assert_same("loss", results[0][0], results[1][0])
    for one, other in zip(*results, strict=True):
        assert (one - other).abs().max() <= 2**-7 * one.abs().max()  # a rounding to bfloat16 may differ


@pytest.mark.parametrize("compiler", ["eager", "aot_eager", "inductor"])
def test_in_graphs(compiler):
    node, x = ParametricLIFNode(step_mode="m").cuda(), torch.rand(8, 300, device="cuda")
    expected = outcome(node, x)
    node.backend = "auto"
    node.reset()
    node.zero_grad()
    leaf = x.clone().requires_grad_()
    output = torch.compile(node, fullgraph=True, backend=compiler)(leaf)
    (output * torch.linspace(-1, 1, output.numel(), device="cuda").reshape(output.shape)).sum().backward()
    for one, other in zip(expected, [output.detach(), node.v.detach(), leaf.grad, node.w.grad], strict=True):
        assert_same("result", one, other)


def test_an_exported_network_runs_there():
    net, x = nn.Sequential(LIFNode(tau=2.0, step_mode="m")), torch.rand(8, 300, device="cuda")
    exported = torch.export.export(net, (x,))
    assert "spikeloom.woven" in str(exported.graph)
    assert_same("output", net(x), exported.module()(x))


def learning_net():
    torch.manual_seed(0)
    net = nn.Sequential(layer.Linear(6, 40), ParametricLIFNode(), layer.Linear(40, 3))
    functional.set_step_mode(net, "m")
    return net


def gradients_of_half(rank, x, device):
    """Those of a process that sees every other sample."""
    net = nn.parallel.DistributedDataParallel(learning_net().to(device))
    net(x[:, rank::2].to(device)).square().mean().backward()
    return [value.grad.cpu() for value in net.parameters()]


def test_two_processes_learn_what_one_does():
    """On one device, where they exchange gradients by way of the CPU."""
    x, net = torch.rand(5, 8, 6) * 4, learning_net().cuda()
    net(x.cuda()).square().mean().backward()
    results = in_processes(2, gradients_of_half, x, "cuda")
    for value, *others in zip(net.parameters(), *results, strict=True):
        assert value.grad.abs().sum() > 0
        for other in others:
            assert_close("gradient", value.grad.cpu(), other)
