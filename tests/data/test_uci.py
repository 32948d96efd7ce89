import pytest
import torch

from spikeloom.data import landsat, load, uci
from spikeloom.errors import DataError

ROWS = {"sat.trn": [(7, 3), (1, 1), (5, 2), (2, 5)], "sat.tst": [(4, 7), (3, 4)]}  # first attribute, class


@pytest.fixture
def tiny_landsat(monkeypatch, site, helpers):
    """Contents of two small files that ``landsat()`` takes for the real ones; its mirror has nothing yet."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    contents = {}
    for name, rows in ROWS.items():
        lines = [" ".join(map(str, [*range(first, first + 36), label])) for first, label in rows]
        contents[name] = ("\n".join(lines) + "\n").encode()
    monkeypatch.setattr(uci, "_FILES", tuple(helpers.known(*item) for item in contents.items()))
    monkeypatch.setattr(uci, "_MIRROR", f"{site.address}/satimage/")
    return contents


def put(contents, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("layout", ["landsat", "statlog", "uci/statlog", "."])
def test_files_are_found_where_they_usually_lie(tmp_path, tiny_landsat, site, layout):
    put(tiny_landsat, tmp_path / layout)
    data = load("landsat", tmp_path)
    assert data.train_x[:, 0].tolist() == [7, 1, 5, 2]
    assert data.test_x[1].tolist() == list(range(3, 39))
    assert (data.train_x.dtype, data.sample_shape, data.num_classes) == (torch.float32, (36,), 6)
    assert not site.asked


def test_class_seven_follows_class_five(tmp_path, tiny_landsat):
    put(tiny_landsat, tmp_path)
    data = landsat(tmp_path)
    assert data.train_y.tolist() == [2, 0, 1, 4]
    assert data.test_y.tolist() == [5, 3]
    assert data.classes[5] == "very damp grey soil"


def test_missing_files_are_downloaded_once(tmp_path, tiny_landsat, site):
    site.pages = {f"/satimage/{name}": content for name, content in tiny_landsat.items()}
    first, second = landsat(tmp_path), landsat(tmp_path)
    assert torch.equal(first.train_x, second.train_x)
    assert sorted(site.asked) == ["/satimage/sat.trn", "/satimage/sat.tst"]
    assert sorted(path.name for path in (tmp_path / "landsat").iterdir()) == ["sat.trn", "sat.tst"]


def test_files_that_are_nowhere_are_named_with_a_cure(tmp_path, tiny_landsat):
    put({"sat.trn": tiny_landsat["sat.trn"]}, tmp_path)
    with pytest.raises(DataError, match=r"(?s)'landsat' is not in .*put its files.*missing:\n  sat.tst"):
        landsat(tmp_path)


def test_damaged_files_are_refused(tmp_path, tiny_landsat):
    put({**tiny_landsat, "sat.tst": b"1 2 3\n"}, tmp_path)
    with pytest.raises(DataError, match=r"sat.tst is damaged: .*got 6 bytes with SHA-256"):
        landsat(tmp_path)


def test_the_real_files(shared):
    data = landsat(shared / "data")
    assert (len(data.train_y), len(data.test_y)) == (4435, 2000)
    assert data.train_y.bincount().tolist() == [1072, 479, 961, 415, 470, 1038]
    assert data.test_y.bincount().tolist() == [461, 224, 397, 211, 237, 470]
    # The example of UCI's description: the four bands of the top left pixel, and the class.
    assert data.train_x[0, :4].tolist() == [92, 115, 120, 94]
    assert data.classes[data.train_y[0]] == "grey soil"
