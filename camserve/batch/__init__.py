"""Folders of any size: what to explain, each result written whole, and what they show together.

    inputs -> plan (inputs.jsonl, run.json) -> work, on threads or a cluster -> results.jsonl -> exports, report

Memory grows with the number of classes, never with the number of images: whatever is about all of them is a pass
over a file. Results come in the order of the plan, so a run goes on after the number of rows it has.
"""

from camserve.batch.batch_options import Options
from camserve.batch.runner import Summary, run_batch
from camserve.datasets.inputs import IMAGE_ENDINGS, find_images

__all__ = ["IMAGE_ENDINGS", "Options", "Summary", "find_images", "run_batch"]
