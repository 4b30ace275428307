"""START HERE: a photograph, preprocessed and observed in a layer, to an Explanation.

pipeline.py      the whole way, of one image or of many
run.py           how it is computed: where, until when, and who is told
observation.py   one pass of one input through a model: what a worker does
attributing.py   what was observed, as numbers: an Attribution
sharp.py         one map from several sizes of an image, and from an earlier layer
diagnosis.py     when a map means nothing, or less than it seems to
estimate.py      how long each method would take
suitability.py   which methods do not go with a model, and why
side_by_side.py  one photograph, several methods, classes or outputs
"""

from camserve.explain.pipeline import class_maps, explain, explain_classes, explain_many, open_photo
from camserve.models.preprocessing import to_input

__all__ = ["class_maps", "explain", "explain_classes", "explain_many", "open_photo", "to_input"]
