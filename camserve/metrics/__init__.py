"""Metrics of explanations: one paper, one function, of numbers and callables only. numpy, no torch, no model.

The registry is catalogue/metrics.py.

measure.py       START HERE: one metric of one explanation, by its entry in the registry
subject.py       what metrics measure: an input, its map, and the model's score of changed inputs
trust.py         how far one map can be trusted: hide the hottest places, random places; the mirror image
heat.py          heat as metrics read it: pixels that the model did not see have no heat
localisation.py  does the heat lie where the object is?
faithfulness.py  does the map show what the network uses?
imputation.py    removed pixels are computed from their neighbours, for ROAD
robustness.py    how noise changes the map, and how hiding a place changes the target
randomisation.py does the map depend on what the network learned?
complexity.py    how simple is a map?
baselines.py     heat that does not depend on the image: every metric must be better than that
of_scipy.py      the functions that need scipy, the extra `metrics`
"""
