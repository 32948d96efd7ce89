import numpy as np
import pytest
import torch

from spikeloom.data import as_float, breast_cancer, builtin, digits, iris, load


def test_digits_are_images_of_the_whole_range():
    data = digits()
    assert (data.train_x.dtype, data.sample_shape, data.num_classes) == (torch.uint8, (1, 8, 8), 10)
    assert len(data.train_y) + len(data.test_y) == 1797
    levels = as_float(data.train_x) * 16
    assert (levels.round().min(), levels.round().max()) == (0, 16)
    assert (levels - levels.round()).abs().max() <= 16 * 0.5 / 255 + 1e-6


def test_digits_hold_the_published_numbers_of_each_class():
    data = digits()
    counts = torch.bincount(torch.cat([data.train_y, data.test_y]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # UCI's optdigits.names


def test_iris_is_ucis_file():
    data = iris()
    samples = torch.cat([data.train_x, data.test_x])
    torch.testing.assert_close(samples.amin(0), torch.tensor([4.3, 2.0, 1.0, 0.1]))  # UCI's iris.names
    torch.testing.assert_close(samples.amax(0), torch.tensor([7.9, 4.4, 6.9, 2.5]))
    torch.testing.assert_close(samples.mean(0), torch.tensor([5.84, 3.05, 3.76, 1.20]), atol=0.006, rtol=0)
    assert torch.bincount(torch.cat([data.train_y, data.test_y])).tolist() == [50, 50, 50]
    raw, _ = builtin._read_csv("iris.csv")
    np.testing.assert_allclose(raw[[34, 37]], [[4.9, 3.1, 1.5, 0.1]] * 2)  # not Fisher's values


def test_missing_values_are_replaced_by_the_median_of_the_training_part(monkeypatch):
    x = np.full((8, 2), 3.0, np.float32)
    x[:, 1] = np.arange(8)
    x[5, 1] = np.nan
    y = np.array([0, 1] * 4)
    monkeypatch.setattr(builtin, "_read_csv", lambda name: (x, y))
    for seed in range(5):
        train, test = builtin.stratified_split(y, 0.5, seed)
        data = breast_cancer(seed)
        got = torch.cat([data.train_x, data.test_x])[np.concatenate([train, test]) == 5, 1]
        assert got.item() == np.nanmedian(x[train, 1])


def test_breast_cancer_holds_the_published_numbers():
    data = breast_cancer()
    assert torch.bincount(torch.cat([data.train_y, data.test_y])).tolist() == [458, 241]
    samples = torch.cat([data.train_x, data.test_x])
    assert samples.isfinite().all()
    assert (samples.min(), samples.max()) == (1, 10)
    raw, _ = builtin._read_csv("breast_cancer.csv")
    assert np.isnan(raw).sum(0).tolist() == [0] * 5 + [16] + [0] * 3


@pytest.mark.parametrize("name", ["digits", "iris", "breast-cancer", "blobs", "yin-yang"])
def test_the_seed_decides_the_split(name):
    first, again, other = load(name), load(name, seed=0), load(name, seed=1)
    assert torch.equal(first.train_x, again.train_x)
    assert torch.equal(first.test_y, again.test_y)
    assert not torch.equal(first.train_x, other.train_x)
    assert torch.bincount(first.train_y).tolist() == torch.bincount(other.train_y).tolist()


def test_sources_agree_with_the_original_files(shared):
    raw, labels = builtin._read_csv("iris.csv")
    kinds = ["Iris-setosa", "Iris-versicolor", "Iris-virginica"]
    rows = [line.split(",") for line in (shared / "data/uci/iris/iris.data").read_text().split()]
    np.testing.assert_array_equal(raw, np.array([row[:4] for row in rows], np.float32))
    assert [kinds[label] for label in labels] == [row[4] for row in rows]
    raw, labels = builtin._read_csv("breast_cancer.csv")
    text = (shared / "data/uci/wbc/breast-cancer-wisconsin.data").read_text().replace("?", "nan")
    rows = np.array([line.split(",") for line in text.split()], np.float32)
    np.testing.assert_array_equal(raw, rows[:, 1:-1])
    np.testing.assert_array_equal(labels, rows[:, -1] / 2 - 1)
