"""/api/v1/jobs: explanations that take too long for one request."""

from dataclasses import dataclass, replace
from typing import Any, NotRequired

from flask import Blueprint, Response, jsonify, request, url_for
from typing_extensions import TypedDict

from camserve.web.operations import gives
from camserve.web.problems import Problem, problem_of
from camserve.web.request_options import Options, parse_options
from camserve.web.request_record import record
from camserve.web.responses import choose_type
from camserve.web.routes import api
from camserve.web.service import Found, service
from camserve.web.upload import Upload, options_with, read_upload
from camserve.web.work.job_store import Job, JobRecord
from camserve.web.work.pricing import demand_of

jobs = Blueprint("jobs", __name__, url_prefix="/api/v1/jobs")


class JobState(TypedDict):
    """The state of a job. state: waiting, running, done, failed or cancelled.

    forwards: runs of the network so far; forwards_in_all: runs in total, null while unknown. seconds: how long the job
    has run. result: the address of the result of a finished job. status, code, detail: the error of a failed job, as
    explain would have answered it.
    """

    id: str
    state: str
    forwards: int
    forwards_in_all: int | None
    seconds: float
    result: NotRequired[str]
    status: NotRequired[int]
    code: NotRequired[str]
    detail: NotRequired[str]


@dataclass(frozen=True)
class _Asked:
    upload: Upload
    options: Options


@jobs.post("")
@gives(JobState, image=True, statuses=(406,), files=api.LIKE_FILE, status=202)
def begin() -> Response:
    """Start a job that explains an image, with the options of explain. Location is the address of the job."""
    choose_type(request, parse_options(request.args.items(multi=True)))
    ours, now = service(), record()
    upload = read_upload(request, two=True)
    options = options_with(request, upload)
    choose_type(request, options)
    like = None if upload.like is None else upload.like.image
    about = replace(demand_of(upload.images, options), known=True)
    ours.answered(now, about, lambda until: ours.check(upload.image, options, now, until, like))

    def work(mine: JobRecord, until: float) -> tuple[Any, int]:
        other = None if upload.like is None else upload.like.image
        made = ours.explain(upload.image, options, mine, until, like=other)
        found = Found(made.attribution, None if made.other is None else made.other.attribution)
        return found, found.nbytes

    size = len(upload.data) + (0 if upload.like is None else len(upload.like.data))
    job = ours.jobs.begin(ours.pools.jobs, _Asked(upload, options), size, work, problem_of, now.id)
    response = _told(job)
    response.status_code = 202
    response.headers["Location"] = url_for("jobs.show", job=job.id)
    return response


@jobs.get("/<job>")
@gives(JobState)
def show(job: str) -> Response:
    """Show the state of a job."""
    return _told(service().jobs.get(job))


@jobs.get("/<job>/result")
@gives(types=api.ANSWERS, statuses=(304, 406, 409, 429, 504), headers=api.NONE_MATCH)
def result(job: str) -> Response:
    """The result of a job: the answer of explain, as the requested media type."""
    known = service().jobs.get(job)
    if isinstance(known.failure, Problem):
        return known.failure.response(record(), request.path)
    found, asked = known.result(), known.asked
    return api.explained(asked.upload, asked.options, found)


@jobs.delete("/<job>")
@gives(JobState)
def cancel(job: str) -> Response:
    """Cancel a job between two runs of the network. A job that has ended is deleted."""
    return _told(service().jobs.cancel(job))


def _told(job: Job) -> Response:
    now = job.record
    said: JobState = {
        "id": job.id,
        "state": job.state,
        "forwards": now.done,
        "forwards_in_all": now.total,
        "seconds": round(job.seconds, 3),
    }
    if job.state == "done":
        said["result"] = url_for("jobs.result", job=job.id)
    if isinstance(job.failure, Problem):
        said |= {"status": job.failure.status, "code": job.failure.code, "detail": job.failure.detail}
    response = jsonify(said)
    response.headers["Cache-Control"] = "no-store"
    return response
