"""Descriptions of what each view takes and returns; /openapi.json is built from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel
from typing_extensions import TypedDict  # before Python 3.12 pydantic reads only these

JSON, HTML, PLAIN = "application/json", "text/html", "text/plain"

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Operation:
    """What a view takes and returns.

    gives: the answer by media type: a TypedDict, or None for bytes. body: the JSON that the view takes. image: whether
    it takes an image or a form, with options in the query. files: other files in the form. query: required parameters
    besides the options. headers: the request headers that it reads. query, files and headers map names to descriptions.
    status: the status of success. statuses: other statuses, besides those that are always described: 401, 404, 503 and
    the statuses of the server for all views, and those of reading a body for every POST. A view that loads a model may
    also answer 504.
    """

    gives: Mapping[str, Any]
    body: type[BaseModel] | None = None
    image: bool = False
    statuses: tuple[int, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


def gives(
    answer: Any = None,
    *,
    types: Mapping[str, Any] | None = None,
    body: type[BaseModel] | None = None,
    image: bool = False,
    statuses: tuple[int, ...] = (),
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
    status: int = 200,
) -> Callable[[View], View]:
    """Mark a view with its Operation. answer: the type of its JSON; types: all media types, if there are others."""
    operation = Operation(
        types or {JSON: answer}, body, image, statuses, headers or {}, query or {}, files or {}, status
    )

    def mark(view: View) -> View:
        view.operation = operation  # type: ignore[attr-defined]
        return view

    return mark


def operation_of(view: Callable[..., Any]) -> Operation | None:
    """The Operation of a view; None if it has no description."""
    return getattr(view, "operation", None)


class Status(TypedDict):
    """The answer to a probe."""

    status: str


class Names(TypedDict):
    """The names of all models."""

    models: list[str]


class Ready(TypedDict):
    """A model that is ready for requests."""

    name: str
    ready: bool
