"""POST /api/v1/explain/classes: several classes of one image, from one forward pass."""

import json
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request
from typing_extensions import TypedDict
from werkzeug.exceptions import NotAcceptable

from camserve.catalogue.targets import Best, parse_targets
from camserve.errors import OptionError
from camserve.images.reading import encode
from camserve.system.timing import Timing
from camserve.web.operations import JSON, gives
from camserve.web.request_options import LONGEST, Options, parse_options
from camserve.web.request_record import record
from camserve.web.responses import IMAGES, choose_type, json_facts
from camserve.web.service import service
from camserve.web.upload import read_upload

if TYPE_CHECKING:
    from camserve.explanation.explanation import Explanation

classes = Blueprint("classes", __name__, url_prefix="/api/v1")

Pairs = list[tuple[str, str]]


class ClassesExplained(TypedDict):
    """The explanation of each class, in the order asked for, as /explain gives one."""

    explanations: list[dict[str, Any]]


ANSWERS: dict[str, Any] = {**dict.fromkeys(IMAGES), JSON: ClassesExplained}
TARGETS = {"targets": "classes separated by semicolons, or how many of the best, as in 3 or top 3; a form may carry it"}


@classes.post("/explain/classes")
@gives(types=ANSWERS, image=True, statuses=(406,), query=TARGETS)
def explain_classes() -> Response:
    """One image and `targets` in; a list of explanations, or a sheet of them, out."""
    ours, now = service(), record()
    query = list(request.args.items(multi=True))
    parse_options(_without_targets(query))
    upload = read_upload(request)
    given = [*query, *upload.fields]
    targets, options = _targets(given), parse_options(_without_targets(given))
    kind = choose_type(request, options)
    if kind not in ANSWERS:
        raise NotAcceptable(f"several classes are not given as {kind}; there are {', '.join((JSON, *IMAGES))}")
    with ours.gate.turn(now) as until:
        explained = ours.explain_classes(upload.image, targets, options, now, until)
        body = _listed(explained, options, now.timing) if kind == JSON else _sheet(explained, options, kind, now.timing)
    response = Response(body, content_type=kind)
    response.vary.add("Accept")
    return response


def _without_targets(pairs: Pairs) -> Pairs:
    return [(name, value) for name, value in pairs if name != "targets"]


def _targets(pairs: Pairs) -> Best | list[str]:
    given = [value for name, value in pairs if name == "targets"]
    if len(given) != 1 or any(name == "target" and value for name, value in pairs):
        raise OptionError(
            "give targets once, and no target: classes separated by semicolons, or how many of the best, such as "
            "targets=tabby;tiger cat or targets=3"
        )
    if len(given[0]) > LONGEST:
        raise OptionError(f"targets has {len(given[0])} characters; allowed are {LONGEST}")
    return parse_targets(given[0])


def _listed(explained: "list[Explanation]", options: Options, timing: Timing) -> bytes:
    body = {"explanations": [json_facts(one, options, timing) for one in explained]}
    with timing("encode"):
        return json.dumps(body, allow_nan=False).encode()


def _sheet(explained: "list[Explanation]", options: Options, kind: str, timing: Timing) -> bytes:
    from camserve.explanation.contact_sheet import class_entries, draw_sheet

    first, style = explained[0], explained[0].style
    with timing("render"):
        sheet = draw_sheet(
            first.photo.image, first.photo.name, list(class_entries(explained)), options.drawing(style.threshold)
        )
    with timing("encode"):
        return encode(sheet, IMAGES[kind], quality=style.quality)
