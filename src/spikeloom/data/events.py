"""What an event camera records: one entry for each pixel and moment at which the brightness changed."""

from dataclasses import dataclass

import numpy as np

from spikeloom.checks import checked_number


@dataclass(frozen=True, eq=False, repr=False)
class Events:
    """A recording of an event camera, in order of time.

    Args:
        x: column of each event, in ``0..width-1``; any array or list of integers.
        y: its row, in ``0..height-1``.
        polarity: 0 or False where the pixel became darker (OFF), 1 or True where it became brighter (ON).
        t: its time in microseconds, at least 0; never decreasing.
        sensor_size: ``(height, width)`` of the sensor, in pixels.
    Shape:
        each array ``[N]``, N the number of events, which may be 0; kept as copies, ``x``, ``y`` and ``t`` as
        int64, ``polarity`` as bool.
    Raises:
        ValueError: an array has another shape or holds no integers, a coordinate is out of the sensor, a
            polarity is neither 0 nor 1, or time runs backwards.
    Example:
        >>> events = Events(x=[0, 2, 1], y=[1, 0, 0], polarity=[1, 0, 1], t=[5, 5, 90], sensor_size=(2, 3))
        >>> events
        Events(3 events of a 2 x 3 sensor within 85 us, 2 ON and 1 OFF)
    """

    x: np.ndarray
    y: np.ndarray
    polarity: np.ndarray
    t: np.ndarray
    sensor_size: tuple[int, int]

    def __post_init__(self) -> None:
        height, width = self.sensor_size
        if not (height >= 1 and width >= 1):
            raise ValueError(f"`sensor_size` must be (height, width) of at least 1, got {self.sensor_size}.")
        for name, below in (("x", width), ("y", height), ("polarity", 2), ("t", None)):
            object.__setattr__(self, name, _checked(name, getattr(self, name), below))
        counts = [len(self.x), len(self.y), len(self.polarity), len(self.t)]
        if len(set(counts)) > 1:
            raise ValueError(f"`x`, `y`, `polarity` and `t` must have one length, got {counts}.")
        object.__setattr__(self, "polarity", self.polarity.astype(bool))
        backwards = np.flatnonzero(self.t[1:] < self.t[:-1])
        if len(backwards):
            late = int(backwards[0]) + 1
            raise ValueError(
                f"`t` must not decrease, got {self.t[late]} us after {self.t[late - 1]} us at event {late}."
            )

    def __len__(self) -> int:
        return len(self.t)

    def __repr__(self) -> str:
        height, width = self.sensor_size
        on = int(self.polarity.sum())
        return (
            f"Events({len(self)} events of a {height} x {width} sensor within {self.duration} us, "
            f"{on} ON and {len(self) - on} OFF)"
        )

    def between(self, start: int, end: int) -> "Events":
        """The events from ``start`` up to and without ``end``, in microseconds.

        Their times stay as they are.

        Raises:
            TypeError, ValueError: ``start`` or ``end`` is no number.
        """
        checked_number("start", start)
        checked_number("end", end)
        first, last = np.searchsorted(self.t, [start, end])
        part = slice(first, last)
        return Events(self.x[part], self.y[part], self.polarity[part], self.t[part], self.sensor_size)

    @property
    def duration(self) -> int:
        """Microseconds from the first event to the last; 0 without events."""
        return int(self.t[-1] - self.t[0]) if len(self) else 0


def _checked(name: str, values: object, below: int | None) -> np.ndarray:
    """A copy of ``values`` as int64 ``[N]``, each of at least 0 and less than ``below``."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "biu"):
        raise ValueError(f"`{name}` must be integers [N], got {array.dtype} {list(array.shape)}.")
    array = array.astype(np.int64)
    most = np.iinfo(np.int64).max if below is None else below - 1
    if array.size and not 0 <= array.min() <= array.max() <= most:
        event = int(((array < 0) | (array > most)).argmax())
        rule = "be at least 0" if below is None else f"lie in 0..{below - 1}"
        raise ValueError(f"`{name}` must {rule}, got {array[event]} at event {event}.")
    return array
