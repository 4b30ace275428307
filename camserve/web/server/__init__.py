"""gunicorn, started from Python: one worker process with many threads and its own models.

serve.py            START HERE
gunicorn_worker.py  gunicorn's threaded worker, changed so that slow clients hold no threads
incoming.py         incoming requests: no thread before enough bytes have arrived
outgoing.py         outgoing answers: no thread while a client reads slowly
chunks.py           bodies in chunks: where they end, and how many chunks are read
bare_answers.py     answers that the server gives without the application
load_shedding.py    429 without a thread
protocol_errors.py  requests that are not valid HTTP or are too large
proxies.py          the client's address behind proxies
"""
