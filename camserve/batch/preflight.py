"""Checks the input of a run before the model is loaded, because loading takes seconds and these checks are fast."""

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
    """Check the arguments of `run_batch` that can be checked without a model.

    Raises OptionError if the source has no images, the beginning of the source or of the objects cannot be read, or OUT
    holds another run. Raises OutputError if OUT cannot be written, or another run is writing into it.
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
    """Raise OptionError if OUT holds a comparison, is the folder of the images, or would write pictures into it."""
    if os.path.exists(out / COMPARISON):  # noqa: PTH110 - also False for a name that the system does not allow
        raise OptionError(f"'{out}' holds the results of `camserve compare`: give another OUT")
    folder = folder_of(source)
    if folder is None:
        return
    if same_place(folder, out):
        raise OptionError(f"'{out}' is also the folder of the images: give another OUT, such as '{out}-explained'")
    if Results(out).of_folder(folder, linked=True) == OWN:
        raise OptionError(f"a run into '{out}' would write its pictures into '{folder}': give another OUT")


def check_exports(exports: Sequence[str], options: Options) -> None:
    """Raise OptionError before the work if an export could not be written after it."""
    for format in exports:
        if format not in EXPORTS:
            raise UnknownName("export", format, EXPORTS)
    if "parquet" in exports:
        check_parquet()
    if "fiftyone" in exports and "heatmap" not in options.outputs:
        raise OptionError("the FiftyOne export needs heatmaps: add --output heatmap besides others such as overlay")
    if "coco" in exports and not {BOXES, POLYGONS} & set(options.outputs):
        raise OptionError("the COCO export needs boxes: add --output boxes or polygons besides others such as overlay")


def check_ray() -> None:
    """Raise OptionError if Ray is not installed."""
    if find_spec("ray") is None:
        raise OptionError('a cluster needs Ray, which is not installed: pip install "camserve[ray]"')
