"""START HERE: from a photograph to an Explanation: preprocess, run the network, apply a method.

pipeline.py      the whole way, of one image or of many
at_size.py       a photograph at the size that the network is asked to see
drafting.py      by how much a JPEG may be decoded smaller, where no picture is asked for
likeness.py      why two photographs look alike to an embedding
run.py           how it is computed: where, until when, and who is told
looking.py       what one layer showed, and which classes are asked about
closed_form.py   a model file in closed form, without torch
seeing.py        what a network shows: one pass for each layer
observation.py   one pass of one input through a model, at a layer
attributing.py   what was observed, as numbers: an Attribution
sharp.py         one map from several sizes of an image, and from an earlier layer
diagnosis.py     when a map means nothing, or less than it seems to
estimate.py      how long each method would take
suitability.py   which methods do not go with a model, and why
questioned.py    an explanation as metrics see it, with the model to ask about changed inputs
trusting.py      how far each map can be trusted, for who asked
side_by_side.py  one photograph, several methods, classes or outputs
"""

from camserve.explain.pipeline import class_maps, explain, explain_classes, explain_many, open_photo
from camserve.models.inputs.preprocessing import to_input

__all__ = ["class_maps", "explain", "explain_classes", "explain_many", "open_photo", "to_input"]
