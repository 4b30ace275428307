"""gunicorn, started from Python: one worker process of many threads, whose models are its own.

serve.py            START HERE
gunicorn_worker.py  gunicorn's threaded worker, held to what this service promises
incoming.py         a request on its way in: no thread before it is known to come
load_shedding.py    429 without a thread
"""
