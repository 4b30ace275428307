"""The result: its numbers, and the same with the photograph. No torch, no Classifier.

attribution.py      the numbers: no pixels of the photograph, no network
class_scores.py     the answer for one class, and scores and order of all classes
explanation.py      START HERE: the numbers with their photograph, and everything made from both
contributions.py    which part of a logit comes from where
receptive_box.py    which pixels of the photograph a cell can have seen
expectation.py      the class that an image shows, compared with the model's answer
overlay_size.py     how large an overlay is painted
manifest.py         an explanation as JSON, with what is needed to repeat it
common_scale.py     one scale for the pictures of several classes, images or checkpoints
against.py          one class and not another: both maps and their difference on one scale
contact_sheet.py    several explanations of one photograph as one picture
several.py          a list of explanations, which a notebook shows as a sheet
matplotlib_axes.py  an explanation in axes of matplotlib, as SVG and as PDF
live_canvas.py      an explanation as a widget for notebooks
showing.py          a picture or a page on the screen
"""

from camserve.explanation.explanation import Explanation
from camserve.explanation.several import Explanations

__all__ = ["Explanation", "Explanations"]
