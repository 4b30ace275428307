"""Whatever bytes come, the answer is 200 or a documented 4xx; and clients side by side get what each gets alone."""

import io
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import picture
from flask import Flask

import camserve
from camserve.config import load_settings
from camserve.images.reading import encode
from camserve.web.app import create_app
from camserve.web.service import Service

ALLOWED = {200, 400, 413, 415, 422}


@pytest.fixture(scope="module")
def app() -> Iterator[Flask]:
    service = Service(load_settings(environ={}, overrides={"serve": {"memory_megabytes": 0}}))
    service.load()
    yield create_app(service=service)
    service.close()


def status(app: Flask, data: bytes) -> int:
    response = app.test_client().post("/api/v1/explain?format=jpeg", data=data, content_type="image/png")
    if response.status_code != 200:
        assert response.get_json(force=True)["code"] != "internal_error"
    return response.status_code


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    """A copy with a few bytes changed, one part cut out or doubled, or its end missing."""
    changed = bytearray(data)
    first, last = sorted(int(place) for place in random.integers(0, len(data), 2))
    kind = int(random.integers(4))
    if kind == 0:
        for place in random.integers(0, len(data), int(random.integers(1, 20))):
            changed[place] = int(random.integers(256))
    elif kind == 1:
        del changed[first:last]
    elif kind == 2:
        changed[first:first] = changed[first:last]
    else:
        del changed[last:]
    return bytes(changed)


@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
def test_mutations_of_good_images(app: Flask, format: str, pytestconfig: pytest.Config) -> None:
    good, random = encode(picture(), format), np.random.default_rng(7)
    count = 2000 if pytestconfig.getoption("--large") else 60
    statuses = Counter(status(app, mutated(good, random)) for _ in range(count))
    assert set(statuses) <= ALLOWED
    assert statuses[422] > 0


def test_hostile_files(app: Flask, data: Path, pytestconfig: pytest.Config) -> None:
    files = sorted(path for path in (data / "hostile").rglob("*") if path.is_file())
    chosen = files if pytestconfig.getoption("--large") else files[::10]
    statuses = Counter(status(app, path.read_bytes()) for path in chosen)
    assert set(statuses) <= ALLOWED
    assert statuses[200] > 0


def test_four_clients_at_once_get_what_python_gives_alone(app: Flask, model: camserve.Model) -> None:
    asked: list[dict[str, Any]] = [
        {"target": "207"},
        {"target": "tabby-tiger cat", "method": "gradcam"},
        {"method": "layercam", "layer": "blocks.10", "size": "crop"},
        {"method": "gradcam++", "size": "200"},
    ]
    images = [encode(picture(seed, (90 + 20 * seed, 70)), "png") for seed in range(4)]

    def client(number: int) -> list[Any]:
        headers = {"Accept": "application/json"}
        asks = [(image, asked[(number + turn) % 4]) for turn, image in enumerate(images)]
        posts = [
            app.test_client().post("/api/v1/explain", query_string=how, data=io.BytesIO(image), headers=headers)
            for image, how in asks
        ]
        return [json.loads(one.data) for one in posts]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(client, range(4)))
    for number, several in enumerate(answers):
        for turn, answer in enumerate(several):
            made = model.explain(images[turn], **asked[(number + turn) % 4])
            assert answer == json.loads(json.dumps(made.to_dict()))
