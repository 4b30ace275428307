"""Answers 429 without a thread. While the queue is full, refusals must not slow the accepted requests."""

from typing import TYPE_CHECKING

from camserve.web.server.bare_answers import bare_answer, head_of

if TYPE_CHECKING:
    from flask import Flask

    from camserve.errors import Busy


def refused(app: "Flask", busy: "Busy", data: bytes, client: object) -> bytes | None:
    """The answer to a request for which there is no place; None: let it in.

    busy: the reason. data: the bytes that have arrived. client: the address from the socket. The form of the page and
    preflight requests of browsers are let in; the application refuses the form itself.
    """
    from camserve.web.problems import RETRY_AFTER, Problem

    head = head_of(data)
    if head.path in ("", "/") or head.method == "OPTIONS":
        return None
    problem = Problem(busy.status, busy.code, str(busy), {"Retry-After": str(RETRY_AFTER[busy.status])})
    return bare_answer(app, problem, head, client)
