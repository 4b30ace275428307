"""The photographs for the calibration of a network, for compute.precision = "int8". No torch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from camserve.config.schema import Compute, Settings
from camserve.errors import CamserveError, ConfigError
from camserve.models.card_input import Input
from camserve.models.inputs.framing import Sizes, frame_of
from camserve.models.inputs.local_photos import read_local
from camserve.models.inputs.preprocessing import to_array

Float32 = npt.NDArray[np.float32]

# Most photographs, chosen at equal steps from the sorted names; and the fewest.
MOST, LEAST = 200, 20


class _File(NamedTuple):
    path: Path
    size: int
    changed: int


@dataclass(frozen=True)
class Calibration:
    """mark: changes with the photographs. images: the prepared photographs, each (1, c, H, W)."""

    mark: str
    images: Callable[[], Iterator[Float32]]


def calibration_mark(compute: Compute) -> str:
    """A hash of the photographs that calibrate a network; "" without calibration.

    Raises ConfigError as `calibration_of`.
    """
    return "" if compute.precision != "int8" else _mark(_files(compute))


def calibration_of(settings: Settings, spec: Input, sizes: Sizes) -> Calibration | None:
    """The photographs of compute.calibration, prepared for a network with such an input; None unless precision is int8.

    sizes: input sizes of the network. Raises ConfigError if there are too few photographs.
    """
    if settings.compute.precision != "int8":
        return None
    files = _files(settings.compute)

    def images() -> Iterator[Float32]:
        count = 0
        for file in files:
            try:
                photo = read_local(file.path, settings, spec.of_bands)
            except CamserveError:  # not a photograph, or an unreadable one
                continue
            count += 1
            yield to_array(photo, frame_of(spec, settings.explain, sizes, photo.size, settings.explain.size), spec)
        if count < LEAST:
            raise _too_few(settings.compute, count)

    return Calibration(_mark(files), images)


def _files(compute: Compute) -> list[_File]:
    if not compute.calibration:
        raise ConfigError(
            "compute.precision = 'int8' needs photographs like those that you will explain: give their folder as "
            f"compute.calibration, with {LEAST} to {MOST} photographs"
        )
    folder = Path(compute.calibration).expanduser()
    try:
        found = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
    except OSError as error:
        raise ConfigError(f"compute.calibration: cannot read '{folder}': {error.strerror}") from None
    if len(found) < LEAST:
        raise _too_few(compute, len(found))
    step = max(1.0, len(found) / MOST)
    chosen = [found[int(place * step)] for place in range(min(MOST, len(found)))]
    return [_File(path, about.st_size, about.st_mtime_ns) for path, about in chosen]


def _too_few(compute: Compute, count: int) -> ConfigError:
    return ConfigError(
        f"compute.calibration = '{compute.calibration}' has {count} photographs; allowed are {LEAST} or more, "
        f"{MOST} are better"
    )


def _mark(files: list[_File]) -> str:
    return sha256(repr([(str(file.path), *file[1:]) for file in files]).encode()).hexdigest()[:32]
