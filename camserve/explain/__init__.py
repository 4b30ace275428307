"""START HERE: from a photograph to an Explanation: preprocess, run the network, apply a method.

pipeline.py      all steps from an image to an Explanation, for one image or many
at_size.py       a photograph at the requested input size, or squeezed to the network's own
drafting.py      by how much a JPEG may be decoded smaller, if no picture is requested
likeness.py      why two photographs look alike to an embedding
run.py           how an explanation is computed: workers, deadline, progress
looking.py       what one layer showed, and which classes are explained
closed_form.py   a model file in closed form, without torch
seeing.py        what a network shows: one pass for each layer
observation.py   one pass of one input through a model, at a layer
attributing.py   what was observed, as numbers: an Attribution
sharp.py         one map from several sizes of an image, and from an earlier layer
diagnosis.py     warnings: when a map means nothing, or less than it seems to
estimate.py      how long each method would take
suitability.py   which methods do not work with a model, and why
questioned.py    an explanation as metrics see it, with the model that scores changed inputs
trusting.py      how far each map can be trusted, if the option trust is on
side_by_side.py  one photograph, several methods, classes or outputs
"""

from camserve.explain.pipeline import class_maps, explain, explain_classes, explain_many, open_photo
from camserve.models.inputs.preprocessing import to_input

__all__ = ["class_maps", "explain", "explain_classes", "explain_many", "open_photo", "to_input"]
