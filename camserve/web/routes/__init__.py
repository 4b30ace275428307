"""One blueprint a dialect, over the same service.

api.py             the native dialect, /api/v1
classes.py         several classes of one image, from one forward pass
jobs.py            explanations that take longer than a request may
kserve.py          KServe V1
open_inference.py  V2, the Open Inference Protocol
aliases.py         SageMaker, MLflow, TorchServe
page.py            the page at /
health.py          whether the process lives, and can take work
prometheus.py      what the service does, in numbers
openapi.py         /openapi.json, from the views themselves
api_docs.py        the page at /docs: the same, to read
"""
