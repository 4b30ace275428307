"""The work of the service: admission of requests, their cost, the threads that run them, and kept results.

admission.py     limits: bodies being read, waiting requests, requests with a decoded image
desks.py         the queue in which requests wait for their turn
pricing.py       the cost of a request, estimated before any work
job_store.py     work that continues after its request, within limits
worker_pools.py  the threads that run the models
forecasts.py     the estimated times of methods, and methods that cannot explain a model
result_cache.py  the cache of results
"""
