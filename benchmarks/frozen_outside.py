"""The command line and HTTP for frozen_record.py: answers as plain values to compare."""

import base64
import contextlib
import io
import json
import os
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from frozen_cases import EMBEDDED, WRONG, Case, Value
from trees import command

PICTURES, JSON = Path("../../pictures"), "application/json"
# Keys whose values differ between runs and versions.
PASSING = {"versions", "version", "request_id", "id", "milliseconds", "load_milliseconds"}
READ: dict[str, Callable[[str], Any]] = {
    ".json": json.loads,
    ".jsonl": lambda text: [json.loads(line) for line in text.splitlines()],
}
TEXTS = {*READ, ".html", ".csv", ".toml", ".txt"}
ENDINGS = {JSON: ".json", "application/problem+json": ".json", "application/x-npy": ".npy"}
Answer = dict[str, Any]
Works = Iterator[tuple[str, Callable[[], Any]]]


def clean(value: Any) -> Any:
    """Return `value` without the keys of PASSING, and without the paths of this folder and this checkout."""
    if isinstance(value, dict):
        return {key: clean(one) for key, one in value.items() if key not in PASSING}
    if isinstance(value, list | tuple):
        return [clean(one) for one in value]
    if not isinstance(value, str):
        return value
    value = re.sub(r"^[\d.]+ m?s, ", "", value)  # what a method took, of how `explain --method all` tells of it
    return value.replace(str(Path.cwd()), "HERE").replace(os.environ["PYTHONPATH"], "TREE")


def content(name: str, data: bytes) -> Any:
    """Return the content of a file as plain values."""
    ending = Path(name).suffix
    if ending == ".npy":
        return np.load(io.BytesIO(data))
    return clean(READ.get(ending, str)(data.decode())) if ending in TEXTS else data


def run(*words: str, out: str | None = None, leave: str = "") -> Answer:
    """Run a command: exit status, output, and the files below `out`. leave: a file to skip, because it shows times."""
    done = subprocess.run(command(words), capture_output=True, text=True, check=False)
    said: Any = done.stdout
    with contextlib.suppress(ValueError):
        said = [json.loads(line) for line in said.splitlines()]
    found = {"status": done.returncode, "said": clean(said), "complained": clean(done.stderr.splitlines())}
    files = {str(file.relative_to(out)): file for file in sorted(Path(out).rglob("*")) if file.is_file()} if out else {}
    return found | {name: content(name, file.read_bytes()) for name, file in files.items() if name != leave}


def flags(options: dict[str, Value]) -> list[str]:
    """Return options as words of a command line."""
    names = {name: "--" + name.replace("_", "-") for name in options}
    return [names[name] if value is True else f"{names[name]}={value}" for name, value in options.items()]


def by_command(case: Case, out: str) -> Answer:
    """Return the output of one explanation, and its files."""
    words = ["explain", str(PICTURES / case.image), "-o", out, "--model", case.model, "--json", *flags(case.options)]
    return run(*words, out=out)


def commands() -> Works:
    """Yield batches and the other commands."""
    photo, waves, strip = (str(PICTURES / name) for name in ("photo.png", "waves.png", "strip.png"))
    asked = ["explain", photo, "-o", "words", "--at=60,50", "--region=0,0,99,99", "--top=2"]
    yield "explain, in words", lambda: run(*asked)
    for name in ("tiny", "tokens"):
        each = ["explain", strip, "-o", f"all-{name}", "--model", name, "--method=all", "--limit=0", "--json"]
        yield f"explain, all methods, {name}", lambda each=each: run(*each, out=each[3], leave="strip.png/sheet.jpg")
    classes = ["explain", photo, "-o", "classes", "--target=tabby", "--target=-tiger cat", "--contour=0.3"]
    yield "explain, several classes", lambda: run(*classes, out="classes")
    several = [
        "explain",
        photo,
        waves,
        str(PICTURES / "broken.jpg"),
        "-o",
        "several",
        "--top=3",
        "--signed",
        "--legend",
    ]
    yield "explain, common scale", lambda: run(*several, "--common-scale", out="several")
    every = [f"--output={kind}" for kind in ("overlay", "heatmap", "mask", "npy", "map", "boxes", "polygons")]
    every += [
        "--method=cam,gradcam",
        "--top=2",
        "--export=csv",
        "--export=coco",
        "--format=png",
        "--legend",
        "--signed",
    ]
    yield "batch", lambda: run("batch", str(PICTURES), "b1", "--json", out="b1")
    yield "batch, everything", lambda: run("batch", str(PICTURES), "b2", "--quiet", *every, out="b2")
    yield "batch, small", lambda: run("batch", str(PICTURES), "b3", "--model", "small", "--json", out="b3")
    yield "compare", lambda: run("compare", "b1", "b2", "-o", "compared", "--json", out="compared")
    lists = ("models", "methods", "inspect small")
    yield "lists", lambda: {words: run(*words.split()) for words in lists}
    yield "wrong questions", lambda: {str(o): run("explain", photo, "-o", "wrong", *flags(o)) for o in WRONG[::3]}


def ask(
    url: str, path: str, body: bytes | None = None, kind: str = "image/png", accept: str = "*/*", **query: Value
) -> Answer:
    """Return one answer: status, type, the facts in its headers, and the body. kind: the type of the request body."""
    words = {name: str(value).lower() if isinstance(value, bool) else value for name, value in query.items()}
    head = {"Content-Type": kind, "Accept": accept}
    request = urllib.request.Request(f"{url}{path}?{urllib.parse.urlencode(words)}", body, head)
    try:
        answer = urllib.request.urlopen(request, timeout=600)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        data, given = answer.read(), str(answer.headers["Content-Type"])
        found = {"status": answer.status, "type": given}
        found |= {name: value for name, value in answer.headers.items() if name.startswith("X-Cam")}
    if given == "application/zip":
        with ZipFile(io.BytesIO(data)) as archive:
            return found | {name: content(name, archive.read(name)) for name in archive.namelist()}
    return found | {"body": content(f"x{ENDINGS.get(given, '.txt' if given.startswith('text/') else '')}", data)}


def by_http(url: str, case: Case) -> Answer:
    """Return the JSON of one explanation, pictures included."""
    image = (PICTURES / case.image).read_bytes()
    kind = "image/jpeg" if case.image.endswith("jpg") else "image/png"
    asked = {"model": case.model, "outputs": "overlay,heatmap,mask", "top_k": 7} | case.options
    return ask(url, "/api/v1/explain", image, kind, JSON, **asked)


def requests(url: str) -> Works:
    """Yield requests for other types, dialects, lists and errors."""
    photo = (PICTURES / "photo.png").read_bytes()
    coded = base64.b64encode(photo).decode()
    types = ("image/png", "image/jpeg", "image/webp", "application/x-npy", "application/zip", "text/html")
    look: dict[str, Value] = {"signed": True, "legend": True, "contour": 0.4, "outputs": "overlay,mask,heatmap"}
    v1 = json.dumps({"instances": [{"b64": coded}], "parameters": {"target": "tabby"}}).encode()
    v2 = json.dumps({"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [coded]}]}).encode()
    yield "every type", lambda: {kind: ask(url, "/api/v1/explain", photo, accept=kind, **look) for kind in types}
    best = "/api/v1/explain/classes"
    yield "classes", lambda: {kind: ask(url, best, photo, accept=kind, targets="top 3") for kind in ("image/png", JSON)}
    yield "V1 predict", lambda: ask(url, f"/v1/models/{EMBEDDED}:predict", v1, JSON)
    yield "V1 explain", lambda: ask(url, f"/v1/models/{EMBEDDED}:explain", v1, JSON)
    yield "V2 infer", lambda: ask(url, f"/v2/models/{EMBEDDED}/infer", v2, JSON)
    yield "TorchServe", lambda: ask(url, f"/predictions/{EMBEDDED}", photo)
    lists = ["/api/v1/methods", "/api/v1/models", "/api/v1/models/small/layers", "/v1/models", "/v2", "/v2/models"]
    lists += [f"/v2/models/{EMBEDDED}", "/openapi.json", "/livez", "/readyz", "/ping"]
    yield "lists", lambda: {path: ask(url, path) for path in lists}
    yield "page", lambda: ask(url, "/", accept="text/html")
    yield "wrong questions", lambda: {str(o): ask(url, "/api/v1/explain", photo, accept=JSON, **o) for o in WRONG}
    bodies = {"/api/v1/explain": b"GIF87a", "/v1/models/none:explain": v1, "/v2/models/small/infer": b"{", "/none": b""}
    yield "wrong bodies", lambda: {path: ask(url, path, body, JSON) for path, body in bodies.items()}
