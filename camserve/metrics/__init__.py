"""Metrics of explanations: one paper, one function, of numbers and callables only. numpy, no torch, no model.

The registry is catalogue/metrics.py.

measure.py       START HERE: one metric of one explanation, by its entry in the registry
subject.py       what metrics ask about: an input, its map, and what the model says of changed inputs
trust.py         how far one map can be trusted: hidden places, random ones, the mirror image
heat.py          heat as metrics read it: what was not seen has none
localisation.py  does the heat lie where the object is?
faithfulness.py  does the map show what the network uses?
imputation.py    pixels taken away and made anew from their neighbours, for ROAD
robustness.py    what small noise does to the map, and hiding a place to the target
randomisation.py does the map depend on what was learned?
complexity.py    how simple is a map?
baselines.py     heat that knows nothing of the image: what every figure has to beat
of_scipy.py      what scipy is used for: the extra `metrics`
"""
