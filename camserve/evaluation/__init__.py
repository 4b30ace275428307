"""Measures whether explanations can be trusted: metrics over a user's images, and checks of a model. Runs the network.

Which method is best for some images:

comparing_methods.py  START HERE: compares methods over a list of images in memory; measures one explanation
examining.py          the metrics of one image's explanations and of baselines
mosaics.py            GridPG: pictures made of four of the user's labelled images
intervals.py          means with bootstrap confidence intervals
standings.py          the figures of every method, their order, and the recommended method
standings_tables.py   the figures as text and as CSV
evaluation_page.py    the figures as a page with pictures
figures.py            the figures as plots for a paper

Whether explanations of a model are sound, as a list of checks:

checklist.py          START HERE: all checks in order, and their report
check.py              one check: numbers, a limit, what they mean
bench.py              what all checks share: model, layer, method, pictures, maps
checked_pictures.py   the pictures for the checks
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
    """Load the checks at their first use, because they need torch and a batch without metrics does not."""
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from camserve.evaluation import checklist

    return getattr(checklist, name)
