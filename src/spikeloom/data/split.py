"""A split into training and test part, the same on every machine and with every version of NumPy."""

import numpy as np

from spikeloom.checks import checked_count


def random_words(count: int, *seed: int) -> np.ndarray:
    """``count`` random 64-bit words. NumPy keeps this stream from version to version, not ``Generator``'s.

    Zeros at the end of ``seed`` make no stream of their own.
    """
    for number in seed:
        checked_count("seed", number, least=0)
    return np.random.PCG64(list(seed)).random_raw(count)


def random_uniform(count: int, *seed: int) -> np.ndarray:
    """``count`` numbers in [0, 1), of :func:`random_words`."""
    return (random_words(count, *seed) >> np.uint64(11)) * 2.0**-53


def stratified_split(
    labels: np.ndarray, test_fraction: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Shuffled indices of a training and a test part that both hold every class in the same proportion.

    Args:
        labels: one integer per sample, ``[N]``.
        test_fraction: share of each class that goes to the test part, rounded to whole samples; in (0, 1).
        seed: another seed, another split.
    Shape:
        two integer arrays, which together hold 0..N-1 once.
    Raises:
        TypeError: the labels are no integers.
        ValueError: ``test_fraction`` is not between 0 and 1, or ``seed`` is negative.
    Example:
        >>> train, test = stratified_split(np.array([0, 0, 0, 0, 1, 1]), test_fraction=0.5)
        >>> len(train), len(test), sorted([*train.tolist(), *test.tolist()])
        (3, 3, [0, 1, 2, 3, 4, 5])
    """
    if not 0 < test_fraction < 1:
        raise ValueError(f"`test_fraction` must lie between 0 and 1, got {test_fraction}.")
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise TypeError(f"`labels` must be integers [N], got {labels.dtype} {list(labels.shape)}.")
    words = random_words(2 * len(labels), seed)
    draw, order = np.argsort(words.reshape(2, -1), axis=1, kind="stable")  # [N] each, independent
    in_test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = draw[labels[draw] == label]
        in_test[members[: round(len(members) * test_fraction)]] = True
    return order[~in_test[order]], order[in_test[order]]
