"""What is wrong with a run's input, said before a model is loaded: that takes seconds, and this none."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from camserve.batch.batch_options import BOXES, POLYGONS, Options
from camserve.batch.earlier_run import check_out
from camserve.catalogue.run_files import COMPARISON
from camserve.datasets.batch_results import Results, same_place
from camserve.datasets.ground_truth import check_objects
from camserve.datasets.inputs import check_source, folder_of
from camserve.datasets.left_out import OWN
from camserve.errors import OptionError, UnknownName
from camserve.findings.exports import EXPORTS, check_parquet
from camserve.system.files import check_folder
from camserve.system.folder_lock import check_free


def check_run(
    source: str,
    out: Path,
    *,
    folders_are_classes: bool = False,
    objects: Path | None = None,
    resume: bool = False,
    restart: bool = False,
) -> None:
    """The arguments of `run_batch` that need no model.

    Raises OptionError where the source has no images or its beginning cannot be read, the objects cannot, or OUT holds
    another run; OutputError where OUT cannot be written, or another run is writing into it.
    """
    check_apart(source, out)
    check_folder(out)
    if out.is_dir():
        check_free(out)
    earlier = None if restart else check_out(out, source, resume=resume)
    if earlier is None or not resume:
        check_source(source, out, folders_are_classes=folders_are_classes)
    if objects is not None:
        check_objects(objects)


def check_apart(source: str, out: Path) -> None:
    """Raise OptionError where OUT is that of a comparison, the images' folder, or one that holds it among pictures."""
    if os.path.exists(out / COMPARISON):  # noqa: PTH110 - False, too, where there can be no such name
        raise OptionError(f"'{out}' holds what `camserve compare` wrote: give OUT another place")
    folder = folder_of(source)
    if folder is None:
        return
    if same_place(folder, out):
        raise OptionError(
            f"'{out}' is the folder of the images, too: give OUT another place, such as '{out}-explained'"
        )
    if Results(out).of_folder(folder, linked=True) == OWN:
        raise OptionError(f"'{folder}' is where pictures of '{out}' are written to: give OUT another place")


def check_exports(exports: Sequence[str], options: Options) -> None:
    """Raise OptionError before the work, not after it, where it could not be written."""
    for format in exports:
        if format not in EXPORTS:
            raise UnknownName("export", format, EXPORTS)
    if "parquet" in exports:
        check_parquet()
    if "fiftyone" in exports and "heatmap" not in options.outputs:
        raise OptionError("FiftyOne shows heatmaps: add --output heatmap, beside others such as overlay")
    if "coco" in exports and not {BOXES, POLYGONS} & set(options.outputs):
        raise OptionError("COCO is made of boxes: add --output boxes or polygons, beside others such as overlay")


def check_ray() -> None:
    """Raise OptionError where Ray is not installed."""
    if find_spec("ray") is None:
        raise OptionError('a cluster is run by Ray, which is not installed: pip install "camserve[ray]"')
