"""Triton's kernels without a GPU: under its interpreter, and compiled ahead of time for one."""

import importlib.util
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from packaging.version import Version

from loom.both import inputs, make
from spikeloom import loom, surrogate
from spikeloom.errors import BackendError
from spikeloom.loom import backends, select
from spikeloom.loom.interpret import interpret
from spikeloom.loom.running import Call
from spikeloom.loom.step import Woven
from spikeloom.loom.triton_loop import CHUNKS, chunk_of, emit, num_notes, width
from spikeloom.loom.triton_operations import on_cuda
from spikeloom.loom.weave import plans
from spikeloom.neuron import LIFNode

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="Triton is not installed (pip install triton)",
)

needs_interpreter = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or Version(metadata.version("triton")) < Version("3.7"),
    reason="the interpreter of Triton before 3.7 does not know NumPy 2.4; or there is no Triton",
)


def woven_of(name, **settings):
    woven = plans(make(name, **settings), (7, 7), torch.float32)
    return woven._replace(step=on_cuda(woven.step))


def step_of(name, **settings):
    return woven_of(name, **settings).step


@needs_interpreter
def test_under_the_interpreter():
    """It has to be asked for before Triton is imported, so in a process of its own."""
    tests = Path(__file__).parents[1]
    files = [str(tests / "loom" / "test_triton_kernels.py"), str(tests / "test_philox.py")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not gpu", *files]
    variables = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=tests.parent)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert re.search(r"\d{2,} passed", done.stdout)
    assert "skipped" not in done.stdout


def test_the_source_is_always_the_same():
    first, again = (emit(woven_of("AdExNode"), torch.float32, 4) for _ in range(2))
    assert first == again


def test_other_numbers_have_the_same_source():
    """So they compile nothing: numbers are arguments, and Triton does not look at those of a float."""
    first, other = (emit(woven_of("LIFNode", tau=tau), torch.float32, 4) for tau in (2.0, 3.0))
    assert first == other


def test_explain_shows_the_source():
    assert emit(woven_of("LIFNode"), torch.float32, 4) in loom.explain(make("LIFNode"))


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("num_steps", [1, 2, 3, 4, 5, 8, 11, 10_000])
def test_notes_are_made_before_each_chunk_and_each_step_after_the_last(num_steps, chunk):
    starts = [*range(0, num_steps - chunk + 1, chunk), *range(num_steps // chunk * chunk, num_steps)]
    assert num_notes(num_steps, chunk) == len(starts) - 1  # the first starts from what the caller gave


def test_short_sequences_are_one_chunk():
    assert [chunk_of(num_steps) for num_steps in (1, 2, 3, 4, 6, 8, 10_000)] == [4, 2, 3, 4, 3, 4, 4]
    assert [num_notes(num_steps, chunk_of(num_steps)) for num_steps in (1, 2, 3, 4, 6)] == [0, 0, 0, 0, 1]


def test_wide_neurons_get_fewer_per_thread():
    assert width(step_of("LIFNode"), False) == 4
    assert width(step_of("LIFNode"), True) < 4
    assert width(step_of("AdaptiveLIFNode"), False) < 4


def test_a_cuda_device_divides_by_a_number_as_aten_does_there():
    step, literals, *_ = plans(make("LIFNode", tau=3.0), (7,), torch.float32)
    cuda = on_cuda(step)
    assert "div" in str(step.forward)
    assert "div" not in str(cuda.forward) + str(cuda.backward)
    x, v = torch.rand(2, 10_000) + 0.5
    potential = v + (x - v) * (1 / torch.tensor(3.0))
    charged = [interpret(one.forward, literals, [x / 2, v])[1] for one in (step, cuda)]
    silent = (v + (x / 2 - v) / 3 < 1) & (potential < 1)
    assert not torch.equal(*charged)
    expected = (v + (x / 2 - v) * (1 / torch.tensor(3.0)))[silent]
    assert torch.equal(charged[1][silent], expected)


def test_auto_takes_numba_on_the_cpu():
    assert backends.target_of("auto", "cpu") == "numba"
    assert backends.target_of("auto", "cuda") == "triton"
    assert backends.misplaced("numba", "cpu") is None
    assert backends.misplaced("triton", "cuda") is None
    assert "its input is on cuda; Triton compiles for that" in backends.misplaced("numba", "cuda")


def test_a_tensor_on_the_cpu_is_refused_with_the_cure(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    x = inputs("LIFNode", 3, 4)
    with pytest.raises(BackendError, match=r"'triton': its input is on cpu; move .* TRITON_INTERPRET=1"):
        LIFNode(step_mode="m", backend="triton")(x)
    with loom.backend("triton"), pytest.raises(BackendError, match="its input is on cpu"):
        LIFNode(step_mode="m")(x)
    monkeypatch.setenv("SPIKELOOM_BACKEND", "triton")
    with pytest.raises(BackendError, match="its input is on cpu"):
        LIFNode(step_mode="m")(x)


def test_without_triton_the_reason_names_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    reason = select.find(LIFNode(tau=45.0, step_mode="m"), (4,), torch.float32, "triton")
    assert "Triton cannot be imported" in reason
    assert "pip install triton" in reason


class Kernel:
    """Stands in for a kernel, and for what Triton compiles of it for some arguments."""

    def __init__(self):
        self.compiled, self.calls = [], []

    def __getitem__(self, grid):
        def run(*arguments, **options):
            if not options:  # a compiled kernel takes everything in order
                self.calls.append((grid, arguments))
                return None
            made = Kernel()
            made.calls.append((grid, (*arguments, options["BLOCK"])))
            self.compiled.append(made)
            return made

        return run


@needs_triton
def test_what_is_compiled_is_launched_without_being_looked_up(monkeypatch):
    from spikeloom.loom.triton_run import TritonLoops

    kernel, step = Kernel(), step_of("LIFNode")
    loops = TritonLoops(Woven(step, (1.0,) * 99, (1.0,) * 99, ()))
    monkeypatch.setattr(loops, "_module", lambda *_: SimpleNamespace(forward_loop=kernel))

    def run(x, start=0.0):
        loops.forward(Call(x, [start], [False]))

    x = torch.rand(8, 64)
    for _ in range(3):
        run(x)
    run(x + 1)
    run(torch.rand(12, 64))  # other chunks would be another kernel
    (made,) = kernel.compiled
    assert len(made.calls) == 5
    (grid, first), (again_grid, again) = made.calls[:2]
    assert len(grid) == 3
    assert grid == again_grid
    assert [type(one) for one in first] == [type(one) for one in again]
    others = [x.bfloat16(), x.double(), torch.rand(8 * 64 + 1)[1:].view(8, 64)]
    others += [torch.rand(8, 63), torch.rand(8, 1), torch.rand(6, 64)]
    for count, other in enumerate(others, 2):
        run(other)
        run(other)
        assert len(kernel.compiled) == count, other.shape
    run(x, torch.rand(64))
    assert len(kernel.compiled) == len(others) + 2


@needs_triton
def test_auto_runs_the_reference_where_triton_cannot_compile(monkeypatch, caplog):
    """As without a C compiler, which Triton's driver is built with."""
    from spikeloom.loom.triton_run import TritonLoops

    class Failing:
        def __getitem__(self, grid):
            def run(*_arguments, **_options):
                raise RuntimeError("Failed to find C compiler")

            return run

    tried = []
    kernels = SimpleNamespace(forward_loop=Failing())
    monkeypatch.setattr(TritonLoops, "_module", lambda *_: tried.append(1) or kernels)
    monkeypatch.setitem(backends.COMPILED, "cpu", "triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    x = inputs("LIFNode", 4, 9)
    node, expected = LIFNode(tau=77.0, step_mode="m"), LIFNode(tau=77.0, step_mode="m", backend="torch")(x)
    select._told.clear()
    for _ in range(2):
        node.reset()
        assert torch.equal(node(x), expected)
    assert len(tried) == 1
    assert caplog.text.count("Triton cannot compile its forward loop (RuntimeError: Failed to find C") == 1
    with pytest.raises(BackendError, match="cannot run with backend 'triton': Triton cannot compile"):
        LIFNode(tau=78.0, step_mode="m", backend="triton")(x)


# Compiled ahead of time: nothing is spilled, and nothing fused but what is within CUDA's library, and two of
# a quick reciprocal.


def compiled(name, loop, dtype=torch.float32, x="fp32", **settings):
    """What Triton makes of a loop for compute capability 9.0, with all tensors; parameters are numbers."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from spikeloom.loom.cache import load_module
    from spikeloom.loom.triton_run import HELPERS, THREADS, WARPS

    woven, wide = woven_of(name, **settings), dtype == torch.float64
    kernel = getattr(load_module(emit(woven, dtype, 4), HELPERS), f"{loop}_loop")
    real = "fp64" if wide else "fp32"
    signature, constants, attributes = {}, {}, {}
    for place, argument in enumerate(kernel.arg_names):
        if argument == "BLOCK":
            constants[argument] = THREADS * width(woven.step, wide)
        elif argument.startswith("each_"):
            constants[argument] = argument[5] in "mg"
        elif argument in ("num_steps", "num_neurons"):
            signature[argument] = "i32"
        elif re.fullmatch(r"[cd]\d+", argument):
            signature[argument] = real
        else:
            signature[argument] = f"*{x if argument in ('x', 'out', 'go', 'gx') else real}"
        if argument in constants:
            signature[argument] = "constexpr"
        elif signature[argument].startswith("*") or argument == "num_neurons":
            attributes[place,] = [["tt.divisibility", 16]]
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes)
    options = {"num_warps": WARPS, "enable_fp_fusion": False}
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm


def registers_and_stack(binary, folder):
    """What a thread of a kernel takes: registers, and bytes in memory for those that do not suffice."""
    import triton

    program = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    (folder / "kernel.cubin").write_bytes(binary)
    command = [program, "--dump-resource-usage", folder / "kernel.cubin"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"_loop:\s+REG:(\d+) STACK:(\d+) .*LOCAL:(\d+)", said)
    assert found is not None, said
    return int(found[1]), int(found[2]) + int(found[3])


ATAN = {"surrogate_function": surrogate.ATan()}


@needs_triton
@pytest.mark.parametrize("name", ["LIFNode", "IzhikevichNode", "AdaptiveLIFNode"])
@pytest.mark.parametrize("loop", ["forward", "backward"])
def test_nothing_is_fused_or_spilled(name, loop, tmp_path):
    made = compiled(name, loop, **ATAN)
    ptx = made["ptx"]
    assert ptx.count("fma.rn") == 2 * ptx.count("rcp.approx")
    assert ("rcp.approx" in ptx) == (loop == "backward")  # of ATan's slope
    assert "div.full" not in ptx
    assert "div.approx" not in ptx
    assert re.search(r"ld\.global\S*\.v[24]\.b32", ptx), "loads are not wide"
    used, spilled = registers_and_stack(made["cubin"], tmp_path)
    assert spilled == 0
    assert used <= 128  # a quarter of what a multiprocessor can hold runs at once, or more


@needs_triton
def test_half_and_double_compile():
    for loop in ("forward", "backward"):
        assert "cvt.rn.bf16" in compiled("LIFNode", loop, x="bf16")["ptx"]
        assert "div.rn.f64" in compiled("ParametricLIFNode", loop, torch.float64, x="fp64", **ATAN)["ptx"]


@needs_triton
@pytest.mark.parametrize("name", ["EIFNode", "GLIFNode"])
def test_functions_of_the_library_compile(name, tmp_path):
    for loop in ("forward", "backward"):
        assert registers_and_stack(compiled(name, loop)["cubin"], tmp_path)[1] == 0
