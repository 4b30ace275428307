"""POST /api/v1/explain/classes: several classes of one image, from one forward pass."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request
from typing_extensions import TypedDict
from werkzeug.exceptions import NotAcceptable

from camserve.catalogue.targets import Above, Best, parse_targets
from camserve.errors import OptionError, TooMuch
from camserve.images.reading import encode
from camserve.system.timing import Timing
from camserve.web.json_pieces import Large, json_pieces
from camserve.web.operations import JSON, gives
from camserve.web.request_options import LONGEST, Options, parse_options
from camserve.web.request_record import record
from camserve.web.responses import IMAGES, choose_type, json_body
from camserve.web.service import service
from camserve.web.upload import read_upload
from camserve.web.work.pricing import demand_of

if TYPE_CHECKING:
    from camserve.explanation.explanation import Explanation

classes = Blueprint("classes", __name__, url_prefix="/api/v1")

# Assumed number of classes above a score, before it is known. So many classes are costly.
_MANY = 16
Pairs = list[tuple[str, str]]


class ClassesExplained(TypedDict):
    """The explanation of each class, in the requested order, in the form of /explain."""

    explanations: list[dict[str, Any]]


ANSWERS: dict[str, Any] = {**dict.fromkeys(IMAGES), JSON: ClassesExplained}
TARGETS = {
    "targets": "classes separated by semicolons; or a number of best classes, such as 3 or top 3; or a minimum score, "
    "such as above 0.5; may also be a field of the form"
}


@classes.post("/explain/classes")
@gives(types=ANSWERS, image=True, statuses=(406,), query=TARGETS)
def explain_classes() -> Response:
    """Explain several classes (`targets`) of one image: a list of explanations, or one sheet of pictures."""
    ours, now = service(), record()
    query = list(request.args.items(multi=True))
    parse_options(_without_targets(query))
    upload = read_upload(request)
    given = [*query, *upload.fields]
    targets, options = _targets(given), parse_options(_without_targets(given))
    kind = choose_type(request, options)
    if kind not in ANSWERS:
        raise NotAcceptable(f"several classes cannot be returned as {kind}; allowed are {', '.join((JSON, *IMAGES))}")

    def work(until: float) -> list[bytes]:
        own = ours.model(options.model, until, options.output).labels
        _check_count(targets, options.question().labels or own)
        explained = ours.explain_classes(upload.image, targets, options, now, until)
        return _listed(explained, options, now.timing) if kind == JSON else _sheet(explained, options, kind, now.timing)

    count = targets.count if isinstance(targets, Best) else len(targets) if isinstance(targets, list) else _MANY
    response = Response(ours.answered(now, demand_of([upload.image], options, count), work), content_type=kind)
    response.vary.add("Accept")
    return response


def _without_targets(pairs: Pairs) -> Pairs:
    return [(name, value) for name, value in pairs if name != "targets"]


def _targets(pairs: Pairs) -> Best | Above | list[str]:
    given = [value for name, value in pairs if name == "targets"]
    if len(given) != 1 or any(name == "target" and value for name, value in pairs):
        raise OptionError(
            "give targets once, and no target: classes separated by semicolons, a number of best classes, or a minimum "
            "score, such as targets=tabby;tiger cat, targets=3 or targets=above 0.5"
        )
    if len(given[0]) > LONGEST:
        raise OptionError(f"targets has {len(given[0])} characters; allowed are {LONGEST}")
    found = parse_targets(given[0])
    if isinstance(found, Above):
        return replace(found, most=service().settings.limits.explanations, setting="limits.explanations")
    return found


def _check_count(targets: Best | Above | list[str], labels: Sequence[str]) -> None:
    """Raise TooMuch before anything is decoded. More classes than the model has are another error."""
    limit = service().settings.limits.explanations
    wanted = targets if isinstance(targets, list) else targets.among(labels)
    if isinstance(wanted, Above):  # the number of classes is known only after the network has run
        return
    count = len(wanted) if isinstance(wanted, list) else wanted if wanted <= len(labels) else 0
    if count > limit:
        raise TooMuch(f"targets asks for {count} classes; allowed are {limit} (limits.explanations)")


def _listed(explained: "list[Explanation]", options: Options, timing: Timing) -> list[bytes]:
    each = [Large(json_body(one, options, timing)) for one in explained]
    return json_pieces({"explanations": each})


def _sheet(explained: "list[Explanation]", options: Options, kind: str, timing: Timing) -> list[bytes]:
    from camserve.explanation.contact_sheet import class_entries, draw_sheet

    first, style = explained[0], explained[0].style
    with timing("render"):
        sheet = draw_sheet(
            first.photo.image, first.photo.name, list(class_entries(explained)), options.drawing(style.threshold)
        )
    with timing("encode"):
        return [encode(sheet, IMAGES[kind], quality=style.quality, subsampling=style.subsampling)]
