"""Responses: an Explanation as the media type that the caller requests."""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from zipfile import ZipFile, ZipInfo

from flask import Request, Response
from werkzeug.exceptions import NotAcceptable

from camserve.config.schema import Settings
from camserve.errors import shown
from camserve.explanation.manifest import class_maps_of
from camserve.explanation.overlay_size import overlay_facts
from camserve.images.reading import OUTPUTS as FORMATS
from camserve.images.reading import encode
from camserve.system.timing import Timing
from camserve.web.json_pieces import in_base64, json_pieces
from camserve.web.operations import JSON
from camserve.web.request_options import Options
from camserve.web.upload import Upload

if TYPE_CHECKING:
    from camserve.explanation.explanation import Explanation

NPY = "application/x-npy"
ZIP = "application/zip"
# Most numbers of class maps in one answer: 4 MB.
MOST_NUMBERS = 2**20
IMAGES = {kind.content_type: name for name, kind in FORMATS.items()}


def choose_type(request: Request, options: Options) -> str:
    """The media type of the answer: the best match of Accept; if it allows several, `format`, or else PNG.

    Raises NotAcceptable, which lists the available types.
    """
    first = FORMATS[options.format or "png"].content_type
    offered = [first, *(kind for kind in (*IMAGES, JSON, NPY, ZIP) if kind != first)]
    if not request.accept_mimetypes:
        return first
    chosen = request.accept_mimetypes.best_match(offered)
    if chosen is None:
        given = request.headers.get("Accept", "")
        raise NotAcceptable(f"none of Accept {shown(given)} is available; allowed are {', '.join(offered)}")
    return chosen


def answer(explanation: "Explanation", options: Options, kind: str, timing: Timing) -> Response:
    """The response. kind: from `choose_type`. The X-Cam headers contain facts, whatever the body is."""
    if kind == JSON:
        body = json_body(explanation, options, timing)
    elif kind == NPY:
        body = list(_made("heatmap", explanation, options, timing)[1])
    elif kind == ZIP:
        body = [zip_body(explanation, options, timing)]
    else:
        body = [overlay_bytes(explanation, options, IMAGES[kind], timing)]
    response = Response(body, content_type=kind)
    response.headers.update(_facts(explanation))
    response.vary.add("Accept")
    return response


def etag(
    model: Mapping[str, Any], settings: Settings, upload: Upload, options: Options, kind: str, digests: tuple[str, ...]
) -> str:
    """A hash of everything that the answer depends on: images, model, options, settings and versions.

    model: from `Classifier.described`. digests: SHA-256 of the image, and of the one that it is compared with.
    """
    from camserve.system.versions import versions

    parts = (
        *versions().values(),
        kind,
        upload.name or "",
        "" if upload.like is None else upload.like.name or "",
        digests,
        model,
        (settings.compute.engine, settings.compute.precision, settings.compute.calibration),
        *(
            part.model_dump_json()
            for part in (options, settings.explain, settings.sharp, settings.render, settings.images)
        ),
    )
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def unchanged(tag: str) -> Response:
    """The response 304: the caller already has the answer.

    RFC 9110 asks for 412 after a POST, which may change something. Explaining changes nothing, so 304 is right here.
    """
    response = Response(status=304)
    response.set_etag(tag)
    response.vary.add("Accept")
    return response


def overlay_bytes(explanation: "Explanation", options: Options, format: str, timing: Timing) -> bytes:
    """The overlay as an encoded image. format: a key of `camserve.images.reading.OUTPUTS`."""
    style = explanation.style
    with timing("render"):
        overlay = explanation.drawn(options.drawing(style.threshold))
    with timing("encode"):
        return encode(overlay, format, quality=style.quality, subsampling=style.subsampling)


def json_body(explanation: "Explanation", options: Options, timing: Timing) -> list[bytes]:
    """`Explanation.to_dict()` with the caller's threshold and top_k, and `outputs` in base64."""
    body = _facts_for(explanation, options)
    if options.outputs:
        body["outputs"] = {name: output(name, explanation, options, timing) for name in options.outputs}
        if (other := explanation.other) is not None:
            body["other"]["outputs"] = {name: output(name, other, options, timing) for name in options.outputs}
    with timing("encode"):
        return json_pieces(body)


def zip_body(explanation: "Explanation", options: Options, timing: Timing) -> bytes:
    """A zip of the `outputs` (default overlay and heatmap) and facts.json, whose "outputs" describe each file."""
    facts, packed = _facts_for(explanation, options), io.BytesIO()
    facts["outputs"] = {}
    # stored, not deflated: for a heatmap, deflating saves 30 % but takes longer than everything else
    with ZipFile(packed, "w") as archive:
        each = {"": explanation} if explanation.other is None else {"": explanation, "other-": explanation.other}
        for prefix, one in each.items():
            for name in options.outputs or ("overlay", "heatmap"):
                about, chunks = _made(name, one, options, timing)
                if "reason" in about:
                    facts["outputs"][f"{prefix}{name}"] = about
                    continue
                file = f"{prefix}{name}.{_ending(name, options)}"
                facts["outputs"][f"{prefix}{name}"] = {"file": file, **about}
                _pack(archive, file, chunks)
        _pack(archive, "facts.json", [json.dumps(facts, allow_nan=False, indent=1).encode()])
    return packed.getvalue()


def output(name: str, explanation: "Explanation", options: Options, timing: Timing) -> dict[str, Any]:
    """One of OUTPUTS in base64 with its description, for `json_pieces`; or the reason why it is missing."""
    about, chunks = _made(name, explanation, options, timing)
    return about if "reason" in about else {**about, "b64": in_base64(chunks)}


def _facts_for(explanation: "Explanation", options: Options) -> dict[str, Any]:
    return explanation.to_dict(top=options.top_k, threshold=options.threshold, questions=options.questions)


def _made(
    name: str, explanation: "Explanation", options: Options, timing: Timing
) -> tuple[dict[str, Any], Iterable[bytes]]:
    """One of OUTPUTS: its description and its bytes in pieces; or a `reason` and no bytes."""
    if name == "heatmap":
        width, height = explanation.photo.size
        about = {"shape": [height, width], "datatype": "FP32", "encoding": "npy"}
        return about, _timed(explanation.heatmap_npy(), timing)
    if name == "mask":
        return {"content_type": "image/png"}, [_mask_bytes(explanation, options, timing)]
    if name == "maps":
        about, npy = class_maps_of(explanation, MOST_NUMBERS)
        return about, [npy]
    format = options.format or "png"
    return {"content_type": FORMATS[format].content_type}, [overlay_bytes(explanation, options, format, timing)]


def _ending(name: str, options: Options) -> str:
    return {"heatmap": "npy", "maps": "npy", "mask": "png"}.get(name) or options.format or "png"


def _pack(archive: ZipFile, name: str, chunks: Iterable[bytes]) -> None:
    entry = ZipInfo(name)  # dated 1980, so that equal answers have equal bytes
    entry.external_attr = 0o644 << 16
    with archive.open(entry, "w") as file:
        for chunk in chunks:
            file.write(chunk)


def _timed(chunks: Iterable[bytes], timing: Timing) -> Iterator[bytes]:
    with timing("render"):
        yield from chunks


def _mask_bytes(explanation: "Explanation", options: Options, timing: Timing) -> bytes:
    """The mask as a PNG in the size of the original: white where the heat reaches the threshold."""
    with timing("render"):
        mask = explanation.mask_image(options.threshold)
    with timing("encode"):
        return encode(mask, "png")


def _facts(explanation: "Explanation") -> dict[str, str]:
    facts = {
        "X-Cam-Class": str(explanation.class_index),
        "X-Cam-Class-Name": header_safe(explanation.class_name),
        "X-Cam-Method": header_safe(explanation.method),
        "X-Cam-Layer": header_safe(explanation.layer),
        "X-Cam-Warnings": str(len(explanation.warnings)),
    }
    if explanation.trust is not None:
        facts["X-Cam-Trust"] = header_safe(explanation.trust.sentence)
    for overlay in overlay_facts(explanation.size, explanation.style.max_side).values():
        facts["X-Cam-Overlay-Scale"] = repr(overlay["scale"])
    if explanation.score is not None:
        return {**facts, "X-Cam-Score": repr(explanation.score)}
    return facts if explanation.value is None else {**facts, "X-Cam-Value": repr(explanation.value)}


def header_safe(text: str) -> str:
    """`text` for a header: printable ASCII stays; all other characters, and %, become percent-encoded UTF-8."""
    printable = "".join(map(chr, range(32, 127))).replace("%", "")
    return quote(text, safe=printable)
