"""The HTTP service. Flask is known only under this folder.

Nothing here imports torch before `Service.load`. So /livez answers while torch is being imported, and the process that
forks the workers never imports it.

    app.py              START HERE: the application, one blueprint per dialect over one service
    service.py          what one process owns: the gate, the workers and the models
    model_store.py      the models: which exist, which are loaded, which is removed to make room
    upload.py           the image of a request, and its options
    compression.py      compressed bodies
    bodies.py           JSON bodies: their validation, and the images in them
    mlflow.py           MLflow's JSON bodies
    tensors.py          tensors in requests and answers
    request_options.py  the options of a request, in all dialects
    request_record.py   the record of a running request
    responses.py        an explanation as the requested media type
    json_pieces.py      JSON in pieces, for large answers
    problems.py         one form of answer for all failures
    operations.py       descriptions of what each view takes and returns
    logs.py             the log: one JSON object per line, one line per request
    auth.py             authentication by token
    other_origins.py    what pages of other origins may do: frames and CORS
    traces.py           spans of each request for OpenTelemetry
    self_check.py       `camserve serve --check`
    work/               admission, cost, threads and results of requests
    routes/             the dialects
    server/             gunicorn, and what the server does without a thread
"""
