"""The work of the service: what is taken, what it costs, where it runs, and what is remembered of it.

admission.py     how many bodies are read, how many requests wait, how many hold a decoded image
desks.py         where requests wait for room to work
pricing.py       what a request costs, judged before any of it is done
job_store.py     work that outlives its request, bounded and forgotten
worker_pools.py  the threads that own the models
forecasts.py     what methods take, and which do not go with a model
result_cache.py  what was computed, kept for who asks again
"""
