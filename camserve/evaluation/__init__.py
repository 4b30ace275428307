"""Whether explanations can be trusted: metrics over a user's images, and checks of a model. Runs the network.

Which method is best, over images:

comparing_methods.py  START HERE: methods over a list of images, in memory; one explanation
examining.py          the metrics of one image's explanations, and of baselines beside them
mosaics.py            GridPG: pictures made of four of the user's own labelled images
intervals.py          means with bootstrap confidence intervals
standings.py          the figures of every method, their order, and what is recommended
standings_tables.py   the same as text and as CSV
evaluation_page.py    the same as a page with pictures
figures.py            the same as figures for a paper

Whether explanations of a model are sound, as a list of checks:

checklist.py          START HERE: all checks in order, and their report
check.py              one line of the list: numbers, a limit, what it means
bench.py              what all checks share: model, layer, method, pictures, maps
checked_pictures.py   the pictures that a model is checked with
of_network.py         trained, steady, autograd, engine, repeats, batches
of_maps.py            completeness, layer, placement, flip
of_learning.py        other class, weights
randomised.py         copies of a network with random weights
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from camserve.evaluation.checklist import Sanity, sanity

__all__ = ["Sanity", "sanity"]


def __getattr__(name: str) -> object:
    """The checks are loaded at their first use: they need torch, and a batch without metrics does not."""
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from camserve.evaluation import checklist

    return getattr(checklist, name)
