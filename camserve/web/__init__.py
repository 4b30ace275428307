"""The HTTP service. Flask is known only under this folder.

Nothing here imports torch before `Service.load` does: /livez answers while torch is still being read, and the
process that forks the workers never has it.

    app.py              START HERE: the application, one blueprint a dialect over one service
    service.py          what one process owns: the way in, the workers and the models
    model_store.py      which models there are, which are loaded, and which has to go for another
    upload.py           the image of a request, and the options that came with it
    compression.py      compressed bodies
    bodies.py           JSON bodies: what they are held against, and the images in them
    mlflow.py           MLflow's JSON bodies
    tensors.py          tensors on the wire
    request_options.py  the options of a request, whichever dialect they came in
    request_record.py   what is known of one request while it lasts
    responses.py        an explanation as the media type that was asked for
    json_pieces.py      JSON in pieces, for what is large
    problems.py         every failure as one form of answer
    operations.py       what each view takes and gives
    logs.py             one JSON object a line, one line a request
    auth.py             who may ask
    other_origins.py    what pages of other origins may do: frames and CORS
    traces.py           spans of each request for OpenTelemetry
    self_check.py       `camserve serve --check`
    work/               what is taken, what it costs, where it runs
    routes/             the dialects
    server/             gunicorn, and what it does without a thread
"""
