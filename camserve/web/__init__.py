"""The HTTP service. Flask is known only under this folder.

    app.py        START HERE: the application, put together
    service.py    what one process owns: gate.py the way in, shelf.py the models, memory.py what was computed
    upload.py bodies.py    the body of a request, as an image, a form or JSON
    options.py    the options of a request, whichever way they came
    answer.py     an Explanation as the media type that was asked for
    problem.py    every failure as one form of answer
    record.py timing.py    what is known of one request; logs.py and metrics.py tell it
    access.py     who may ask
    api.py kserve.py open_inference.py aliases.py health.py page.py    one blueprint per dialect, over the same service
    server.py worker.py    gunicorn, started from Python

Nothing here imports torch before `Service.load` does: /livez answers while torch is still being read, and the
process that forks the workers never has it.
"""
