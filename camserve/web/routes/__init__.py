"""One blueprint per dialect, over the same service.

api.py             the native dialect, /api/v1
classes.py         several classes of one image, from one forward pass
jobs.py            explanations that take too long for one request
kserve.py          KServe V1
open_inference.py  V2, the Open Inference Protocol
aliases.py         SageMaker, MLflow, TorchServe
page.py            the page at /
health.py          health checks
prometheus.py      metrics for Prometheus
openapi.py         /openapi.json, built from the views
api_docs.py        the page at /docs, which shows /openapi.json
"""
