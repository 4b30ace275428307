"""gunicorn, started from Python: one worker process of many threads, whose models are its own.

serve.py            START HERE
gunicorn_worker.py  gunicorn's threaded worker, held to what this service promises
incoming.py         a request on its way in: no thread before it is known to come
outgoing.py         an answer on its way out: no thread for what a client does not take at once
chunks.py           where a body in chunks ends, and how many are read
bare_answers.py     answers that the server gives without the application
load_shedding.py    429 without a thread
protocol_errors.py  what is no HTTP, or too much of it
proxies.py          who is asked for by a proxy
"""
