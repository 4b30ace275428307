"""A batch run over a dataset: plan, work, resume, cluster.

    inputs -> plan (inputs.jsonl, run.json) -> work, on threads or a cluster -> results.jsonl -> exports, report

Memory grows with the number of classes, never with the number of images: a step over all images reads a file line by
line. Results come in the order of the plan, so a resumed run continues after the number of rows that exist.

    runner.py         START HERE: a run from its start, or from the point where it was interrupted
    plan.py           the inputs and the options of a run, written before it starts
    preflight.py      checks the input of a run before the model is loaded
    earlier_run.py    decides whether OUT holds a run to resume, a finished run, or one that must not be overwritten
    batch_options.py  the options of a batch, and the facts that a resumed run must share with the earlier one
    explain_item.py   explains one image, writes its files and returns its row
    open_item.py      opens the photograph of one item of a plan
    examine_item.py   measures the metrics of one image, if the user asks for metrics
    outputs.py        the files of one explanation, and their names
    progress.py       the progress bar and the log lines of a run
    failing_alike.py  stops a run if all its images fail for the same reason
    shortcut_test.py  tests a suspected shortcut: it covers the place
    ray_cluster.py    a run on a Ray cluster

torch is loaded when a run begins, so that errors in the input are reported at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from camserve.batch.batch_options import Options
    from camserve.batch.runner import Summary, run_batch
    from camserve.datasets.inputs import IMAGE_ENDINGS, find_images

_HOMES = {
    "IMAGE_ENDINGS": "camserve.datasets.inputs",
    "Options": "camserve.batch.batch_options",
    "Summary": "camserve.batch.runner",
    "find_images": "camserve.datasets.inputs",
    "run_batch": "camserve.batch.runner",
}

__all__ = ["IMAGE_ENDINGS", "Options", "Summary", "find_images", "run_batch"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'camserve.batch' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
