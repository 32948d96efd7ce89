"""The folder of compiled loops: private, shared by processes, and never trusted when it is damaged."""

import os
import stat
import sys
import textwrap
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from numba.core import dispatcher

from loom.scripts import finish, script, start
from spikeloom.loom import numba_job, numba_math
from spikeloom.loom.cache import load_module, reload_module
from spikeloom.loom.checked import compiled
from spikeloom.loom.native import Native

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="folders have no modes on Windows")

# A neuron that compiles quickly; the reference decides what is right.
USE = """
node = IFNode(step_mode='m', backend='numba')
got = result(node, x)
node.backend = 'torch'
assert close(got, result(node, x))
from spikeloom.loom import cache
from spikeloom.loom.select import find
print(find(node, (7, 7), torch.float32).module.__file__)
"""
# Its forward loop, which is in the cache as its backward loop is, and compiles in half the time.
FORWARD = "result = spikes\n" + USE
# A loop that compiles in a second, kept, checked and loaded by what keeps, checks and loads a neuron's.
LOOP = """
from spikeloom.loom.numba_job import done, take, vector, words_of


def add_job(real):
    def run(job):
        words = words_of(job)
        low, high = take(words)
        while low < high:
            given, result = vector(words, 0, real), vector(words, 1, real)
            for i in range(low, high):
                result[i] = given[i] + 1
            done(words)
            low, high = take(words)

    return run
"""
LIGHT = f"""
from spikeloom.loom.cache import load_module
from spikeloom.loom.native import Native
native, one = Native(load_module({LOOP!r})), torch.zeros(5)
native.run_pieces("add", torch.float32, 5, torch.arange(5.0), one)
assert one.tolist() == [1, 2, 3, 4, 5]
print(native.module.__file__)
"""
NO_COMPILE = """
from numba.core import dispatcher, compiler
def refuse(*args, **kwargs):
    raise SystemExit("compiles")
dispatcher._FunctionCompiler.compile = refuse
"""


def use_loop(folder):
    """Run the light loop in this process, as one that has not loaded it yet; its file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPIKELOOM_CACHE", str(folder))
        for name in [one for one in sys.modules if one.startswith("spikeloom_emitted.")]:
            patch.delitem(sys.modules, name)
        native, result = Native(load_module(LOOP)), torch.zeros(5)
        native.run_pieces("add", torch.float32, 5, torch.arange(5.0), result)
    assert result.tolist() == [1, 2, 3, 4, 5]
    return Path(native.module.__file__)


def compiles_nothing(folder, monkeypatch):
    """Whether the light loop is found in ``folder`` as it has to be."""
    with monkeypatch.context() as patch:
        patch.setattr(dispatcher._FunctionCompiler, "compile", lambda *_, **__: pytest.fail("compiles"))
        return use_loop(folder).parent == folder


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache with one neuron and the light loop in it, made once; tests copy it."""
    folder = tmp_path_factory.mktemp("loom") / "cache"
    script(USE, folder)
    use_loop(folder)
    return folder


@pytest.fixture
def cache(filled, tmp_path):
    import shutil

    return Path(shutil.copytree(filled, tmp_path / "cache", symlinks=True))


def test_the_folder_is_private(filled):
    assert stat.S_IMODE(filled.stat().st_mode) == 0o700
    assert list(filled.glob("loom_*.py"))
    assert list(filled.glob("__pycache__/*.nbc"))


def test_another_process_compiles_nothing(cache):
    assert Path(script(NO_COMPILE + USE, cache)).parent == cache


def test_another_process_compiles_no_loop_of_halves_and_no_random_numbers(tmp_path):
    text = """
    from spikeloom.encoding import SampleGenerator
    spikes(IFNode(step_mode='m', backend='numba'), x.bfloat16())
    SampleGenerator(0, range(4)).rand([4, 1 << 14])
    from spikeloom.encoding import random
    assert "numba" not in random._failed
    print("done")
    """
    assert script(text, tmp_path / "cache") == "done"
    assert script(NO_COMPILE + textwrap.dedent(text), tmp_path / "cache") == "done"


def test_a_loop_that_would_be_compiled_in_each_process_is_refused():
    @numba.njit
    def called(address):
        pass

    def loop(address):
        called(address)

    with pytest.raises(TypeError, match="close over"):
        compiled(loop, "void(voidptr)")


def test_what_is_compiled_into_loops_is_not_called_from_python():
    """It has no entry for that: Python would jump to nowhere."""
    with pytest.raises(TypeError, match="widen can only be called by compiled loops"):
        numba_math.widen(np.zeros(2), np.ones(2))


def test_the_folder_may_be_new_and_deep(tmp_path):
    folder = tmp_path / "a" / "b" / "c"
    assert Path(script(FORWARD, folder)).parent == folder


def test_without_a_setting_the_user_cache_is_used(tmp_path, filled):
    import shutil

    folder = tmp_path / "spikeloom" / "loom"
    shutil.copytree(filled, folder)
    folder.chmod(0o700)
    assert Path(script(USE, XDG_CACHE_HOME=str(tmp_path), SPIKELOOM_CACHE="")).parent == folder


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_folder_that_others_can_write_to_is_not_used(cache, mode):
    cache.chmod(mode)
    before = sorted(path.name for path in cache.rglob("*"))
    assert use_loop(cache).parent != cache
    assert sorted(path.name for path in cache.rglob("*")) == before


def test_a_folder_in_its_place_lives_as_long_as_the_process(tmp_path):
    (tmp_path / "cache").mkdir(mode=0o777)
    (tmp_path / "cache").chmod(0o777)
    other = Path(script(LIGHT, tmp_path / "cache")).parent
    assert other != tmp_path / "cache"
    assert not other.exists()


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give folders away")
def test_a_folder_of_another_user_is_not_used(cache):
    os.chown(cache, 65534, 65534)
    assert use_loop(cache).parent != cache


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give files away")
def test_files_of_another_user_are_not_loaded(cache):
    """Once the folder was open to others, for a while."""
    for path in cache.glob("__pycache__/*"):
        os.chown(path, 65534, 65534)
    with_payload = NO_COMPILE + USE
    process = start(with_payload, cache)
    out, err = process.communicate(timeout=100)
    assert process.returncode != 0
    assert "compiles" in err + out


def test_a_link_to_a_folder_of_another_kind(tmp_path, cache):
    (tmp_path / "link").symlink_to(cache)
    cache.chmod(0o777)
    assert use_loop(tmp_path / "link").parent not in (cache, tmp_path / "link")


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file" / "cache", tmp_path / "file", Path("/proc/nowhere/cache")):
        assert use_loop(folder).parent != folder


DAMAGES = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "noise": lambda data: bytes(range(256)) * (len(data) // 256 + 1),
    "changed inside": lambda data: data[: len(data) // 2] + b"\x00\xff" * 64 + data[len(data) // 2 + 128 :],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", ["py", "nbi", "nbc"])
def test_a_damaged_file_is_made_anew(cache, monkeypatch, suffix, damage):
    found = list(cache.rglob(f"*.{suffix}"))
    assert found
    for path in found:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    assert use_loop(cache).parent == cache
    assert compiles_nothing(cache, monkeypatch)  # it is whole again
    if damage == "cut":  # in a process of its own, with a neuron
        assert Path(script(FORWARD, cache)).parent == cache
        assert Path(script(NO_COMPILE + FORWARD, cache)).parent == cache


def test_damaged_code_in_a_folder_that_numba_was_given(tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKELOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "numba"))
    module = load_module("NUMBER = 2")
    damaged = tmp_path / "numba" / "cache_0123" / f"{Path(module.__file__).stem}.forward_row.nbc"
    other = damaged.with_name("other.nbc")
    damaged.parent.mkdir(parents=True)
    damaged.write_text(""), other.write_text("")
    assert reload_module(module).NUMBER == 2
    assert not damaged.exists()
    assert other.exists()


@pytest.mark.parametrize("module", [numba_job, numba_math])
def test_code_with_other_helpers_compiled_into_it_is_not_used(tmp_path, monkeypatch, module):
    """As after an upgrade: what a loop takes from a job may have moved."""
    monkeypatch.setenv("SPIKELOOM_CACHE", str(tmp_path / "cache"))
    before = load_module("NUMBER = 1")
    changed = tmp_path / "changed.py"
    changed.write_text(Path(module.__file__).read_text() + "# changed")
    monkeypatch.setattr(module, "__file__", str(changed))
    assert load_module("NUMBER = 1").__file__ != before.__file__


def test_files_that_vanish(cache, monkeypatch):
    assert compiles_nothing(cache, monkeypatch)
    for path in cache.glob("__pycache__/*.nbc"):
        path.unlink()
    with pytest.raises(pytest.fail.Exception, match="compiles"):
        compiles_nothing(cache, monkeypatch)
    assert use_loop(cache).parent == cache
    for path in cache.glob("*.py"):
        path.unlink()
    assert compiles_nothing(cache, monkeypatch)  # what was compiled of the same source is found again


@pytest.mark.parametrize("room", [100, 5000])  # bytes: too little for a module; for what is compiled of it
def test_a_full_disk_keeps_nothing_and_stops_nobody(tmp_path, room):
    text = f"""
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, ({room},) * 2)
    node = IFNode(step_mode='m', backend='numba')
    assert close(spikes(node, x), spikes(IFNode(step_mode='m', backend='torch'), x))
    from spikeloom.timing import SpikeProp
    assert SpikeProp(2, 3)(torch.rand(4, 2)).shape == (4, 3)
    print("done")
    """
    assert script(text, tmp_path / "cache") == "done"
    assert all(path.stat().st_size <= room for path in (tmp_path / "cache").rglob("*"))
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_a_cache_that_vanishes_while_it_is_used(tmp_path):
    text = """
    import shutil
    one = spikes(IFNode(step_mode='m'), x)
    shutil.rmtree(os.environ['SPIKELOOM_CACHE'])
    assert same(one, spikes(IFNode(step_mode='m'), x))
    got = spikes(IFNode(v_reset=None, step_mode='m', backend='numba'), x)
    assert close(got, spikes(IFNode(v_reset=None, step_mode='m', backend='torch'), x))
    print("done")
    """
    assert script(text, tmp_path / "cache") == "done"


def test_two_processes_at_once_on_an_empty_cache(tmp_path):
    processes = [start(FORWARD, tmp_path / "cache") for _ in range(3)]
    folders = {Path(finish(process)).parent for process in processes}
    assert folders == {tmp_path / "cache"}
    assert not list((tmp_path / "cache").rglob("*.part"))
    assert Path(script(NO_COMPILE + FORWARD, tmp_path / "cache")).parent == tmp_path / "cache"


def test_a_temporary_folder_outlives_a_forked_child(tmp_path):
    """The child ends in the ordinary way, and cleans up what is its own."""
    (tmp_path / "file").write_text("")
    text = """
    one = spikes(IFNode(step_mode='m', backend='numba'), x)
    pid = os.fork()
    if pid == 0:
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    got = spikes(IFNode(v_reset=None, step_mode='m', backend='numba'), x)
    assert close(got, spikes(IFNode(v_reset=None, step_mode='m', backend='torch'), x))
    print("done")
    """
    assert script(text, tmp_path / "file" / "cache", PYTHONWARNINGS="ignore") == "done"


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become another user")
def test_a_user_who_can_write_nowhere_but_to_a_temporary_folder():
    """As in a container: the package belongs to root, and there is no home."""
    text = """
    import numba, numba.extending, importlib.readers, llvmlite.binding, unittest.mock
    from spikeloom.loom.weave import plans
    numba.njit(lambda x: x + 1)(1)  # what that user may not be able to read: Python's own modules,
    plans(IFNode(), (7, 7), torch.float32)  # and what tracing imports
    os.setgid(65534); os.setuid(65534)
    os.environ['HOME'] = '/nonexistent'
    os.environ.pop('XDG_CACHE_HOME', None)
    try:
        open(neuron.__file__).close()
    except PermissionError:
        print("skipped")
        sys.exit()
    got = spikes(IFNode(step_mode='m', backend='numba'), x)
    assert close(got, spikes(IFNode(step_mode='m', backend='torch'), x))
    print("done")
    """
    if script(text, Path("/nonexistent/cache"), PYTHONDONTWRITEBYTECODE="1") == "skipped":
        pytest.skip("the package cannot be read by another user here")
