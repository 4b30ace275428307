"""A run over a dataset: plan, work, resume, cluster.

    inputs -> plan (inputs.jsonl, run.json) -> work, on threads or a cluster -> results.jsonl -> exports, report

Memory grows with the number of classes, never with the number of images: whatever is about all of them is a pass
over a file. Results come in the order of the plan, so a run goes on after the number of rows it has.

    runner.py         START HERE: a run from beginning to end, or from where it was
    plan.py           what a run is to do, written down before it starts
    preflight.py      what is wrong with a run's input, said before a model is loaded
    earlier_run.py    what OUT holds from before: gone on with, finished, or not to be overwritten
    batch_options.py  what is made of every image, and what a run must have in common with the one it goes on with
    explain_item.py   one image: explained, its files written, and its row
    open_item.py      the photograph of one item of a plan
    examine_item.py   the metrics of one image, where they are asked for
    outputs.py        the files of one explanation, and what they are called
    progress.py       what a person is told while a run works
    failing_alike.py  a run whose images all fail for one reason is stopped
    shortcut_test.py  a suspected shortcut put to the test: the place is covered
    ray_cluster.py    a run on a Ray cluster

torch is loaded when a run begins, so that what is wrong with its input can be said at once.
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
