"""What a network is made of, what it costs, and what it takes.

    print(camserve.load("efficientnet-lite0").inspect().macs)

operation.py is one node of the graph, cost.py what it costs and kinds.py what it is called; layers.py lists them
and blocks.py gathers them into a few rows; separable.py, sizes.py and heads.py answer a question each; summary.py
is all of it, and words.py says it in sentences.
"""

from camserve.models.inspection.summary import Inspection, inspect_model

__all__ = ["Inspection", "inspect_model"]
