"""429 without a thread: while the queue is full most of what comes is refused, which must not slow what was taken."""

from typing import TYPE_CHECKING

from camserve.web.server.bare_answers import bare_answer, head_of

if TYPE_CHECKING:
    from flask import Flask

    from camserve.errors import Busy


def refused(app: "Flask", busy: "Busy", data: bytes, client: object) -> bytes | None:
    """The answer to a request that there is no place for; None: let it in.

    busy: why. data: what has come of it. client: its address, as sockets have it. The page's form is
    let in, and refused there; so is what a browser asks before a page of another origin may ask.
    """
    from camserve.web.problems import RETRY_AFTER, Problem

    head = head_of(data)
    if head.path in ("", "/") or head.method == "OPTIONS":
        return None
    problem = Problem(busy.status, busy.code, str(busy), {"Retry-After": str(RETRY_AFTER[busy.status])})
    return bare_answer(app, problem, head, client)
