"""Threads, forks, data loading workers: the same bits everywhere, and no deadlock."""

import ctypes
import os
import signal
import threading
import time
from concurrent.futures import Future

import pytest
import torch

from compare import assert_same
from loom.both import inputs, make, run
from loom.scripts import script
from spikeloom import loom
from spikeloom.loom import loops, threads
from spikeloom.loom.numba_job import BLOCK
from spikeloom.neuron import BaseNode, LIFNode, ParametricLIFNode

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@pytest.fixture(autouse=True)
def dispatch_flags(monkeypatch):
    """PyTorch's marks of a mode being on belong to the process: what a test leaves behind ends with it."""
    for name in (
        "_is_in_torch_dispatch_mode",
        "_is_in_non_infra_torch_dispatch_mode",
        "_is_in_any_mode_without_ignore_compile_internals",
    ):
        monkeypatch.setattr(torch.utils._python_dispatch, name, False, raising=False)


@pytest.fixture
def thread_count():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["LIFNode", "ParametricLIFNode", "GLIFNode", "CLIFNode"])
def test_the_number_of_threads_changes_no_bit(thread_count, name):
    """16 * 5003 * 5 element-steps: enough work to be split; the last block is not full."""
    node, x, results = make(name), inputs(name, 16, 5003, 5), []
    for count in (1, 2, 3, 8):
        thread_count(count)
        results.append(run(node, "numba", x))
    for got in results[1:]:
        for key, value in results[0].items():
            assert_same(key, value, got[key])


@pytest.fixture(params=["team", "helpers"])
def runner(request, monkeypatch):
    """PyTorch's own threads, and those that take their place."""
    if request.param == "helpers":
        monkeypatch.setattr(threads, "_teams", [None])
    elif threads._openmp() is None:
        pytest.skip("PyTorch's OpenMP library was not found, or has no GOMP_parallel")
    return threads.run


def native(function):
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_so_many_threads_call_the_function(runner, count):
    """Each waits in it until all of them are there."""
    seen, barrier = [], threading.Barrier(count)

    def work(job):
        seen.append((threading.get_ident(), job))
        barrier.wait(timeout=20)

    runner(native(work), 4711, count)
    assert len({ident for ident, _ in seen}) == len(seen) == count
    assert {job for _, job in seen} == {4711}
    assert threading.get_ident() in {ident for ident, _ in seen}


def test_a_helper_that_comes_late_does_nothing(monkeypatch):
    monkeypatch.setattr(threads, "_teams", [None])
    free, seen = threading.Event(), []

    def held_up(job):
        free.wait(timeout=20)

    threads._helpers(1).put((Future(), native(held_up), 0))
    threads.run(native(lambda job: seen.append(threading.get_ident())), 1, 2)  # the helper is busy elsewhere
    assert seen == [threading.get_ident()]
    free.set()


def test_work_is_split_as_pytorch_is_told(thread_count, monkeypatch):
    asked = []

    def run_alone(function, job, num_threads):
        asked.append(num_threads)
        function(job)

    monkeypatch.setattr(threads, "run", run_alone)
    node = LIFNode(step_mode="m", backend="numba")
    for count in (1, 2, 3):
        thread_count(count)
        with torch.no_grad():
            node(torch.ones(16, 10_000))
            node.reset()
            node(torch.ones(3, 1000))  # little work stays in the calling thread
            node.reset()
    assert asked == [1, 1, 2, 1, 3, 1]


def test_a_loop_that_fails_is_not_taken_for_done(monkeypatch):
    """Compiled code cannot raise: it only leaves its range uncounted."""
    monkeypatch.setattr(threads, "run", lambda function, job, num_threads: None)
    with pytest.raises(MemoryError, match="memory for a forward loop over 2 steps of 5 neurons"):
        LIFNode(step_mode="m", backend="numba")(torch.ones(2, 5))


def together(functions):
    """Run functions in threads that start at once; their results, or the first error."""
    barrier, results = threading.Barrier(len(functions)), [None] * len(functions)

    def call(place, function):
        barrier.wait(timeout=60)
        try:
            results[place] = function()
        except BaseException as error:
            results[place] = error

    workers = [threading.Thread(target=call, args=pair) for pair in enumerate(functions)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    assert not any(worker.is_alive() for worker in workers)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def test_several_threads_at_once(thread_count):
    thread_count(2)
    x = [inputs("LIFNode", 16, 3000, 3, seed=seed) for seed in range(4)]
    nodes = [LIFNode(tau=3.0, step_mode="m"), ParametricLIFNode(step_mode="m")] * 2
    expected = [run(node, "numba", value) for node, value in zip(nodes, x, strict=True)]
    jobs = [
        lambda node=node, value=value: [run(node, "numba", value) for _ in range(5)]
        for node, value in zip(nodes, x, strict=True)
    ]
    for wanted, found in zip(expected, together(jobs), strict=True):
        for got in found:
            for key, value in wanted.items():
                assert_same(key, value, got[key])


def test_several_threads_weave_one_neuron_at_once():
    """Nothing of it is compiled yet: a class of its own, with a plan of its own."""

    class Fresh(BaseNode):
        def __init__(self):
            super().__init__(step_mode="m")
            self.offset = torch.rand(7).sum().item() + os.getpid()

        def neuronal_charge(self, x):
            self.v = self.v * 0.5 + x - (x - self.v).abs() * x * 0.25 + self.v * x * 0.125

    nodes = [Fresh() for _ in range(4)]
    x = inputs("LIFNode", 9, 300)
    results = together([lambda node=node: run(node, "numba", x) for node in nodes])
    reference = run(nodes[0], "torch", x)
    for got in results:
        assert_same("output", reference["output"], got["output"])
        assert_same("x", results[0]["gradient of x"], got["gradient of x"])


def test_weaving_in_several_threads_leaves_the_loom_usable():
    """A mode of PyTorch that is entered in several threads at once must not seem to be left on."""
    nodes = [type(f"Own{place}", (LIFNode,), {})(tau=3.0, step_mode="m") for place in range(6)]
    x = inputs("LIFNode", 6, 40)
    for _ in range(3):
        together([lambda node=node: loom.explain(node, dims=1) for node in nodes])
        for node in nodes:
            type(node).other = object()  # so that it is woven anew
    run(LIFNode(tau=3.0, step_mode="m"), "numba", x)


def test_a_backward_pass_of_autograd_in_another_thread():
    x = inputs("LIFNode", 16, 3000).requires_grad_()
    output = LIFNode(tau=3.0, step_mode="m", backend="numba")(x)
    together([lambda: output.sum().backward()])
    assert x.grad.abs().sum() > 0


FORKED = """
def child(expected):
    import signal
    signal.alarm(60)
    status = 1
    try:
        status = 0 if same(expected, result(node, x)) else 2
    finally:
        os._exit(status)


node = {node}
torch.set_num_threads(2)
expected = result(node, x)
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        child(expected)
    assert os.waitpid(pid, 0)[1] == 0
    assert same(expected, result(node, x))
print("done")
"""


@needs_fork
@pytest.mark.parametrize("kind", ["LIFNode(step_mode='m')", "ParametricLIFNode(step_mode='m')"])
def test_a_fork_after_use(kind):
    assert script(FORKED.format(node=kind), PYTHONWARNINGS="ignore") == "done"


@needs_fork
def test_a_fork_of_a_fork_and_threads_in_it():
    text = """
    import threading, signal
    node = LIFNode(step_mode='m')
    expected = result(node, x)

    def work(depth):
        results = []
        workers = [
            threading.Thread(target=lambda: results.append(same(expected, result(LIFNode(step_mode='m'), x))))
            for _ in range(2)
        ]
        [worker.start() for worker in workers]
        [worker.join() for worker in workers]
        good = results == [True, True]
        if depth:
            pid = os.fork()
            if pid == 0:
                signal.alarm(60)
                status = 1
                try:
                    status = 0 if work(depth - 1) else 2
                finally:
                    os._exit(status)
            good = good and os.waitpid(pid, 0)[1] == 0
        return good

    assert work(2)
    print("done")
    """
    assert script(text, PYTHONWARNINGS="ignore") == "done"


@needs_fork
def test_multiprocessing_by_fork():
    text = """
    import multiprocessing
    node = ParametricLIFNode(step_mode='m')
    expected = result(node, x)

    def work(queue):
        queue.put(same(expected, result(node, x)))

    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=work, args=(queue,)) for _ in range(2)]
    [process.start() for process in processes]
    assert [queue.get(timeout=60) for _ in processes] == [True, True]
    [process.join() for process in processes]
    assert [process.exitcode for process in processes] == [0, 0]
    print("done")
    """
    assert script(text, PYTHONWARNINGS="ignore") == "done"


@needs_fork
def test_workers_of_a_data_loader_may_run_neurons():
    text = """
    node = LIFNode(step_mode='m')
    with torch.no_grad():
        expected = torch.stack([node(x[:, i]) for i in range(2) if node.reset() is None])

    class Encoded(torch.utils.data.Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            node.reset()
            with torch.no_grad():
                return node(x[:, i])

    from torch.utils.data import DataLoader
    warnings.filterwarnings("ignore", "This DataLoader will create")  # a machine may have one core only
    loader = DataLoader(Encoded(), batch_size=1, num_workers=2, multiprocessing_context="fork")
    for _ in range(2):
        assert torch.equal(expected, torch.cat(list(loader)))
    print("done")
    """
    assert script(text, PYTHONWARNINGS="ignore") == "done"


def test_nothing_uninitialised_is_read():
    """Every tensor that PyTorch leaves uninitialised is filled with NaN here."""
    text = """
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    kinds = (LIFNode, ParametricLIFNode, neuron.IzhikevichNode)
    for node in (kind(step_mode='m', store_v_seq=True) for kind in kinds):
        for shape in ([70, 63], [2, 8, 500], [1, 1], [3, 4100], [5]):
            x = torch.randn(shape)
            node.backend = 'numba'
            got = result(node, x) + [value for value in node.memories()]
            node.backend = 'torch'
            assert not any(value.isnan().any() for value in got)
            assert close(got, result(node, x) + [value for value in node.memories()])
    print("done")
    """
    assert script(text) == "done"


def test_buffers_of_the_loop_itself_may_hold_anything(monkeypatch):
    """Those that NumPy leaves uninitialised are not under PyTorch's control: dirty the allocator before."""
    x = inputs("LIFNode", 70, 500)
    node = make("IzhikevichNode")
    expected = run(node, "numba", x)
    for block in (500, 64):
        monkeypatch.setattr(loops, "BLOCK", block)
        for _ in range(3):
            dirt = [
                torch.full((size,), torch.nan).numpy() for size in (64, 500, 1024, 64 * 64, 500 * 64, 500 * 9)
            ]
            del dirt
            got = run(node, "numba", x)
            for key, value in expected.items():
                assert_same(key, value, got[key])


def test_ctrl_c_waits_for_the_helpers(monkeypatch):
    """They write into memory that is freed once the call has ended."""
    monkeypatch.setattr(threads, "_teams", [None])
    helping, finished = threading.Event(), []
    caller = threading.get_ident()

    def work(job):
        if threading.get_ident() == caller:
            helping.wait(timeout=20)
            return
        helping.set()
        for _ in range(3):
            time.sleep(0.1)
            signal.pthread_kill(caller, signal.SIGINT)
        time.sleep(0.1)
        finished.append(job)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background job
    try:
        with pytest.raises(KeyboardInterrupt):
            threads.run(native(work), 7, 2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert finished == [7]


def test_a_system_that_allows_no_more_threads(monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "_teams", [None])
    monkeypatch.setattr(threads, "_queues", {})
    monkeypatch.setattr(threading.Thread, "start", refuse)
    seen = []
    threads.run(native(seen.append), 7, 3)
    assert seen == [7]


def test_threads_that_need_helpers_at_once_share_them(monkeypatch):
    class Queues(dict):
        def __contains__(self, number):
            found = super().__contains__(number)
            barrier.wait(timeout=20)  # all have looked before the first one goes on
            return found

    barrier = threading.Barrier(3)
    monkeypatch.setattr(threads, "_queues", Queues())
    first, *others = together([lambda: threads._helpers(2)] * 3)
    assert all(one is first for one in others)


def test_the_library_is_found_in_a_folder_with_blanks(tmp_path):
    team = threads._openmp()
    if team is None:
        pytest.skip("PyTorch's OpenMP library was not found")
    text = """
    import pathlib
    from spikeloom.loom import threads
    maps = pathlib.Path("/proc/self/maps").read_text()
    folder = str(pathlib.Path(torch.__file__).parent)
    pathlib.Path.read_text = lambda self: maps.replace(folder, "/a folder/torch")
    torch.__file__ = "/a folder/torch/__init__.py"
    found = []
    threads.ctypes.CDLL = lambda path: found.append(path)
    threads._find_openmp()
    assert found[0].startswith("/a folder/torch/"), found
    print("done")
    """
    assert script(text) == "done"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_fails_leaves_the_treatment_of_denormals(runner, monkeypatch):
    def run_without_memory(function, job, num_threads):
        words = ctypes.cast(job, ctypes.POINTER(ctypes.c_int64))
        words[BLOCK] = 1 << 45
        runner(function, job, 1)

    monkeypatch.setattr(threads, "run", run_without_memory)
    with pytest.raises(MemoryError):
        LIFNode(step_mode="m", backend="numba")(torch.ones(2, 5))
    assert (torch.full((5,), 1e-40) * 0.5).all()
