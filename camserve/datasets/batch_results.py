"""Finds the places that hold results of a batch, so that a run does not explain its own pictures."""

import os
from pathlib import Path

from camserve.catalogue.run_files import INPUTS, PICTURES, RUN
from camserve.datasets.left_out import LINKED, OWN, RESULTS_OF_A_BATCH


class Results:
    """Decides which folders hold results of a batch. out: the OUT of this run; it need not exist yet."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def of_folder(self, folder: Path, *, linked: bool) -> tuple[str, str] | None:
        """Why a folder below the source is left out; None if it is not.

        linked: whether a link leads to it; then also the folders above its real place are checked.
        """
        if same_place(folder, self._out):
            return OWN
        if is_run(folder):
            return RESULTS_OF_A_BATCH
        real = Path(os.path.realpath(folder)) if linked else folder
        for place in (real, *real.parents) if linked else (real,):
            if place.name in PICTURES and same_place(place.parent, self._out):
                return OWN
            if place.name in PICTURES and is_run(place.parent):
                return RESULTS_OF_A_BATCH
        return None

    def of_link(self, file: Path) -> tuple[str, str] | None:
        """Why a link to a file is left out; None if it is not."""
        real = Path(os.path.realpath(file))
        return LINKED if self.of_folder(real.parent, linked=True) else None


def is_run(folder: Path) -> bool:
    """Whether a folder is the OUT of a batch."""
    return all(os.path.isfile(folder / name) for name in (RUN, INPUTS))  # noqa: PTH113 - False if it cannot be read


def same_place(one: Path, other: Path) -> bool:
    """Whether both paths exist and lead to the same place, with or without links."""
    try:
        return os.path.samefile(one, other)  # noqa: PTH121 - as above
    except (OSError, ValueError):
        return False
