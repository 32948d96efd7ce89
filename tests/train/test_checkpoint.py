"""Checkpoints: exact, safe to open, and never half written."""

import struct

import pytest
import safetensors.torch
import torch

from compare import assert_same
from spikeloom.errors import CheckpointError
from spikeloom.files import write_beside
from spikeloom.train import checkpoint

STATE = {
    "net": {"weight": torch.randn(3, 4), "steps": torch.tensor(7), "mask": torch.tensor([True, False])},
    "optimizer": {"state": {0: {"exp_avg": torch.zeros(0), "betas": (0.9, 0.999)}}, "groups": [{"lr": 0.3}]},
    "half": torch.randn(5).bfloat16(),
    "strided": torch.randn(4, 6).t(),
    "nothing": None,
    "nan": float("nan"),
    "name": "Überprüfung",
    "keys": {1: "whole", 1.5: "real", ("a", 2): "tuple", None: "none"},
}  # fmt: skip


def assert_equal(reference, got):
    assert type(reference) is type(got)
    if isinstance(reference, torch.Tensor):
        assert_same("tensor", reference, got)
    elif isinstance(reference, dict):
        assert reference.keys() == got.keys()
        for key in reference:
            assert_equal(reference[key], got[key])
    elif isinstance(reference, list | tuple):
        assert len(reference) == len(got)
        for one, other in zip(reference, got, strict=True):
            assert_equal(one, other)
    else:
        assert reference == got or (reference != reference and got != got)


def test_a_state_comes_back_exactly(tmp_path):
    checkpoint.save(tmp_path / "a.safetensors", STATE)
    assert_equal(STATE, checkpoint.load(tmp_path / "a.safetensors"))


def test_tied_tensors_are_saved(tmp_path):
    weight = torch.randn(3)
    checkpoint.save(tmp_path / "a.safetensors", {"one": weight, "two": weight})
    assert_same("two", weight, checkpoint.load(tmp_path / "a.safetensors")["two"])


def test_keys_that_look_like_paths_are_keys(tmp_path):
    state = {"a/b": torch.tensor(1), "a": {"b": torch.tensor(2)}, 1: torch.tensor(3), "1": torch.tensor(4)}
    checkpoint.save(tmp_path / "a.safetensors", state)
    assert_equal(state, checkpoint.load(tmp_path / "a.safetensors"))


@pytest.mark.parametrize("value", [object(), {object(): 1}, {"f": print}])
def test_what_could_run_code_is_refused(tmp_path, value):
    with pytest.raises(TypeError, match="checkpoint"):
        checkpoint.save(tmp_path / "a.safetensors", {"x": value})
    assert not list(tmp_path.iterdir())


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"There is no checkpoint .*a\.safetensors"):
        checkpoint.load(tmp_path / "a.safetensors")


def flip_a_bit_of_a_weight(data):
    header = 8 + struct.unpack("<Q", data[:8])[0]
    place = header + (len(data) - header) // 2
    return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-1], lambda data: data[:20], lambda _: b"", lambda _: b"<p>", flip_a_bit_of_a_weight],
    ids=["one byte short", "header only", "empty", "a web page", "one bit"],
)  # fmt: skip
def test_damage_is_noticed_and_the_one_before_is_used(tmp_path, damage):
    checkpoint.save_last(tmp_path, {"epoch": 1, "w": torch.ones(64)})
    checkpoint.save_last(tmp_path, {"epoch": 2, "w": torch.ones(64)})
    last = tmp_path / checkpoint.LAST
    last.write_bytes(damage(last.read_bytes()))
    with pytest.raises(CheckpointError, match=r"last\.safetensors is damaged"):
        checkpoint.load(last)
    with pytest.warns(UserWarning, match=r"damaged.*Using the one before it, previous\.safetensors"):
        assert checkpoint.load_last(tmp_path)["epoch"] == 1


def test_when_all_are_damaged_it_says_so(tmp_path):
    for epoch in (1, 2):
        checkpoint.save_last(tmp_path, {"epoch": epoch})
    for path in tmp_path.iterdir():
        path.write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"last.*previous.*Start the training again"):
        checkpoint.load_last(tmp_path)


def test_a_crash_between_the_two_renames_leaves_the_previous_one(tmp_path):
    checkpoint.save_last(tmp_path, {"epoch": 1})
    (tmp_path / checkpoint.LAST).replace(tmp_path / checkpoint.PREVIOUS)
    assert checkpoint.load_last(tmp_path) == {"epoch": 1}


def test_a_crash_between_the_two_renames_after_damage_leaves_the_new_one(tmp_path):
    for epoch in (1, 2):
        checkpoint.save_last(tmp_path, {"epoch": epoch})
    (tmp_path / checkpoint.LAST).write_bytes(b"x")
    with pytest.warns(UserWarning, match="Using the one before it, previous"):
        state = checkpoint.load_last(tmp_path)
    checkpoint.save(tmp_path / "new.safetensors", {"epoch": state["epoch"] + 1})  # and killed between the two
    (tmp_path / checkpoint.LAST).replace(tmp_path / checkpoint.PREVIOUS)
    assert checkpoint.load_last(tmp_path) == {"epoch": 2}


def test_before_the_first_checkpoint_there_is_none(tmp_path):
    assert checkpoint.load_last(tmp_path / "nothing") is None


def test_foreign_files_are_refused(tmp_path):
    safetensors.torch.save_file({"w": torch.ones(2)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="not a checkpoint of Spikeloom's"):
        checkpoint.load(tmp_path / "a.safetensors")


def test_a_name_may_be_as_long_as_any(tmp_path):
    path = tmp_path / ("a" * 250 + ".json")
    write_beside(path, "whole")
    assert path.read_text() == "whole"


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_beside(path, "old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_beside(path, "new")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("tree", ["no JSON", "[1, 2]", '["tensor", "absent"]', '["dict", [1]]'])
def test_a_tree_of_another_form_is_no_checkpoint(tmp_path, tree):
    metadata = {"state": tree, "sha256": checkpoint._checksum({}, tree)}
    write_beside(tmp_path / checkpoint.LAST, safetensors.torch.save({}, metadata))
    with pytest.raises(CheckpointError, match="holds what this version cannot read"):
        checkpoint.load(tmp_path / checkpoint.LAST)
    checkpoint.save(tmp_path / checkpoint.PREVIOUS, STATE)
    with pytest.warns(UserWarning, match=r"Using the one before it"):
        assert_equal(STATE, checkpoint.load_last(tmp_path))


def test_a_changed_type_of_a_tensor_is_noticed(tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, {"w": torch.ones(4)})
    path.write_bytes(path.read_bytes().replace(b'"F32"', b'"I32"'))
    with pytest.raises(CheckpointError, match="does not match its SHA-256"):
        checkpoint.load(path)
