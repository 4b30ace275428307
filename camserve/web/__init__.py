"""The HTTP service. Flask is known only under this folder.

    app.py        START HERE: the application, put together
    service.py    what one process owns: the pool of workers and the loaded models
    options.py    the options of a request, whichever way they came
    upload.py     the image of a request
    answer.py     an Explanation as the media type that was asked for
    problem.py    every failure as one form of answer
    api.py health.py page.py    one blueprint per dialect, over the same service
    server.py     gunicorn, started from Python

Nothing here imports torch before `Service.load` does: /livez answers while torch is still being read, and the
process that forks the workers never has it.
"""
