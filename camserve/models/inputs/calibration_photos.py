"""The photographs that a network is calibrated on for compute.precision = "int8". No torch."""

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

# Photographs at most, evenly spread over the names in their order; and at least.
MOST, LEAST = 200, 20


class _File(NamedTuple):
    path: Path
    size: int
    changed: int


@dataclass(frozen=True)
class Calibration:
    """mark: another one where the photographs are others. images: what a network takes of them, each (1, c, H, W)."""

    mark: str
    images: Callable[[], Iterator[Float32]]


def calibration_mark(compute: Compute) -> str:
    """What decides the numbers of a calibrated network beside itself: "" of one that is not calibrated.

    Raises ConfigError as `calibration_of`.
    """
    return "" if compute.precision != "int8" else _mark(_files(compute))


def calibration_of(settings: Settings, spec: Input, sizes: Sizes) -> Calibration | None:
    """The photographs of compute.calibration, as a network with such an input sees them; None where none are asked for.

    sizes: those that the network takes. Raises ConfigError where there are too few photographs.
    """
    if settings.compute.precision != "int8":
        return None
    files = _files(settings.compute)

    def images() -> Iterator[Float32]:
        count = 0
        for file in files:
            try:
                photo = read_local(file.path, settings, spec.of_bands)
            except CamserveError:  # no photograph, or none that can be read
                continue
            count += 1
            yield to_array(photo, frame_of(spec, settings.explain, sizes, photo.size, settings.explain.size), spec)
        if count < LEAST:
            raise _too_few(settings.compute, count)

    return Calibration(_mark(files), images)


def _files(compute: Compute) -> list[_File]:
    if not compute.calibration:
        raise ConfigError(
            "compute.precision = 'int8' needs photographs of the kind that will come: give their folder as "
            f"compute.calibration, {LEAST} to {MOST} of them"
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
        f"compute.calibration = '{compute.calibration}' has {count} photographs; allowed are {LEAST} and more, "
        f"{MOST} are better"
    )


def _mark(files: list[_File]) -> str:
    return sha256(repr([(str(file.path), *file[1:]) for file in files]).encode()).hexdigest()[:32]
