"""The closed form of a card's network, cached on disk so that the next start needs no torch.

Each card has one file in `compute.cache`: the facts about its layer, the matrix of the classifier, the completed card,
and the path and hash of the converted network. The key is made of all that decides them: the card, the weights,
camserve's own code, the versions of torch, OpenVINO and the library of the architecture. A file that cannot be read, or
that changed, is ignored: the network is then inspected as at the first start.
"""

import hashlib
import json
import logging
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from camserve.catalogue.head_kinds import HeadKind
from camserve.config.schema import Compute
from camserve.errors import CamserveError
from camserve.geometry.cells import Cells
from camserve.geometry.receptive_field import Axis, Field
from camserve.models.card import Card
from camserve.models.compiled.closed import EngineFacts
from camserve.models.compiled.closed_network import ClosedFacts
from camserve.models.inputs.calibration_photos import calibration_mark
from camserve.system.cores import granted_cores

log = logging.getLogger("camserve")

_UNREADABLE = (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile, zlib.error, CamserveError)
KEPT = 64  # files, of a few megabytes each
_PACKAGE = Path(__file__).parents[2]
# Architectures whose code is fixed by the version of a package; a user's own file may import anything.
_LIBRARIES = {"torchvision": "torchvision", "timm": "timm", "camserve.nets": "camserve"}


def place_of(card: Card, weights_sha256: str, labels: tuple[str, ...] | None, compute: Compute) -> Path | None:
    """The cache file of a card with these weights and class names; the file need not exist.

    None if there is no cache, if another engine is chosen, or if no version fixes the architecture's code.
    """
    library = _LIBRARIES.get(card.architecture.partition(":")[0])
    may_be_openvino = compute.engine in ("auto", "openvino") and compute.device == "cpu"
    if compute.cache is None or library is None or not may_be_openvino:
        return None
    if find_spec("openvino") is None:
        return None
    precision = compute.precision, calibration_mark(compute)
    about = [card.model_dump_json(), weights_sha256, labels, precision, _own_code(), _versions(library)]
    digest = hashlib.sha256(repr(about).encode()).hexdigest()[:32]
    return Path(compute.cache).expanduser() / "closed" / f"{digest}.npz"


def _versions(library: str) -> list[str]:
    found = []
    for name in ("torch", "openvino", library):
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return found


@cache
def _own_code() -> str:
    """A hash that changes with every change of camserve's own files."""
    files = sorted(_PACKAGE.rglob("*.py"))
    about = [(str(file.relative_to(_PACKAGE)), (found := file.stat()).st_size, found.st_mtime_ns) for file in files]
    return hashlib.sha256(repr(about).encode()).hexdigest()


def keep(place: Path, facts: ClosedFacts, card: Card, labels: tuple[str, ...], model: Path) -> None:
    """Write the facts to disk as a whole, and delete the files used longest ago. model: the converted network."""
    cells, period = facts.cells, facts.cells.period
    said = {
        "name": facts.name,
        "kind": facts.kind.name,
        "rectified": facts.rectified,
        "engine": asdict(facts.engine),
        "any_size": facts.any_size,
        "multiple": facts.multiple,
        "trained": cells.trained,
        "stride": cells.stride,
        "centred": cells.centred,
        "measured": cells.measured,
        "fields": [None if one is None else asdict(one) for one in map(cells.field_by_side, range(period))],
        "card": card.model_dump(mode="json"),
        "labels": labels,
        "model": [str(model), _hash_of(model)],
    }
    arrays: dict[str, Any] = {"said": np.frombuffer(json.dumps(said).encode(), np.uint8), "bias": facts.bias}
    if facts.weight is not None:
        arrays["weight"] = facts.weight
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor, part = tempfile.mkstemp(dir=place.parent, suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as file:
                np.savez(file, **arrays)
            Path(part).replace(place)
        finally:
            Path(part).unlink(missing_ok=True)
        for old in sorted(place.parent.glob("*.npz"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            old.unlink(missing_ok=True)
    except OSError as error:
        log.warning("cannot write the cache of the network in '%s': %s (compute.cache)", place.parent, error.strerror)


def opened(place: Path, compute: Compute) -> tuple[ClosedFacts, Card, tuple[str, ...]] | None:
    """Read a cache file: the facts, the completed card, the class names; None if it is missing, damaged or changed."""
    try:
        with place.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        said: dict[str, Any] = json.loads(arrays["said"].tobytes())
        model, sha256 = Path(said["model"][0]), said["model"][1]
        if _hash_of(model) != sha256:
            return None
        with suppress(OSError):  # a read-only cache works, too
            place.touch()
            model.touch()
        return _facts(said, arrays, model, compute), Card.model_validate(said["card"]), tuple(said["labels"])
    except _UNREADABLE as error:
        if place.exists():
            log.warning(
                "the cache of the network in '%s' cannot be read: %s; the network is loaded again", place, error
            )
        return None


def _facts(said: dict[str, Any], arrays: dict[str, Any], model: Path, compute: Compute) -> ClosedFacts:
    from camserve.models.engines.compiled_model import Compiled, compiled_beside

    fields = [None if one is None else _field(one) for one in said["fields"]]
    trained, stride, centred, measured = (
        None if said[name] is None else tuple(said[name]) for name in ("trained", "stride", "centred", "measured")
    )
    cells = Cells(trained, stride, centred, measured, fields.__getitem__, len(fields))  # type: ignore[arg-type]
    made = partial(compiled_beside, threads=compute.threads, precision=compute.precision)
    compiled = Compiled(model, made, compute.workers or granted_cores())
    return ClosedFacts(
        said["name"], HeadKind[said["kind"]], said["rectified"], arrays.get("weight"), arrays["bias"], cells,
        EngineFacts(**said["engine"]), said["any_size"], said["multiple"], compiled,
    )  # fmt: skip


def _field(said: dict[str, Any]) -> Field:
    return Field(**{**said, "x": Axis(**said["x"]), "y": Axis(**said["y"])})


def _hash_of(model: Path) -> str:
    """SHA-256 of a converted network with its weights."""
    digest = hashlib.sha256()
    for part in _files(model):
        with part.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _files(model: Path) -> Iterator[Path]:
    yield model
    yield model.with_suffix(".bin")
