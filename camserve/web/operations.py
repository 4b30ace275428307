"""What each view takes and gives, written beside it; /openapi.json is made of this."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel
from typing_extensions import TypedDict  # before Python 3.12 pydantic reads only these

JSON, HTML, PLAIN = "application/json", "text/html", "text/plain"

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Operation:
    """gives: by media type, what comes back: a TypedDict, or None for bytes. body: the JSON that is taken.

    image: whether an image or a form is, with options in the query. files: what else the form may carry. query: what
    it must have beside the options, and headers: which are read, with what they mean. status: where all went well.
    statuses: beyond that and those
    that are described anyway: of all 401, 404, 503 and what the server refuses by itself, and of every POST what
    reading a body may end in. A view that loads a model may run out of time, too: 504.
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
    """Marks a view with its Operation. answer: of its JSON; types: of all its media types, where there are others."""
    operation = Operation(
        types or {JSON: answer}, body, image, statuses, headers or {}, query or {}, files or {}, status
    )

    def mark(view: View) -> View:
        view.operation = operation  # type: ignore[attr-defined]
        return view

    return mark


def operation_of(view: Callable[..., Any]) -> Operation | None:
    """What `gives` marked a view with; None: it is not described."""
    return getattr(view, "operation", None)


class Status(TypedDict):
    """How a probe is answered."""

    status: str


class Names(TypedDict):
    """The names of all models."""

    models: list[str]


class Ready(TypedDict):
    """A model that answers."""

    name: str
    ready: bool
