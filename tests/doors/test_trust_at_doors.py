"""How far a map can be trusted, the same at every door: Python, command line, HTTP, page, batch and its exports."""

import base64
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

import camserve
from camserve.cli import main
from camserve.config import load_settings
from camserve.web.app import create_app
from camserve.web.request_options import make_options
from camserve.web.service import Service
from camserve.web.work.pricing import Demand, is_costly

CAT, COFFEE = Path("photos/cat.jpg"), Path("photos/coffee.jpg")


@pytest.fixture(scope="module")
def known(model: camserve.Model) -> dict[str, Any]:
    found = model.explain(CAT, trust=True).trust
    assert found is not None and found.probability is not None
    return found.to_dict()


@pytest.fixture(scope="module")
def client() -> Iterator[FlaskClient]:
    service = Service(load_settings(environ={}))
    service.load()
    yield create_app(service=service).test_client()
    service.close()


def test_the_command_line(known: dict[str, Any], tmp_path: Path) -> None:
    words = CliRunner().invoke(main, ["explain", str(CAT), "-o", str(tmp_path), "--trust"])
    assert f"  trust: {known['sentence']}\n" in words.output
    assert json.loads((tmp_path / "cat.jpg" / "manifest.json").read_text())["trust"] == known


def test_http(client: FlaskClient, known: dict[str, Any]) -> None:
    answers = [
        client.post("/api/v1/explain?trust=on", data=CAT.read_bytes(), headers={"Accept": accept})
        for accept in ("application/json", "image/png")
    ]
    assert answers[0].get_json()["trust"] == known
    assert unquote(answers[1].headers["X-Cam-Trust"]) == known["sentence"]
    named = "/api/v1/explain?outputs=trust,heatmap"
    among = client.post(named, data=CAT.read_bytes(), headers={"Accept": "application/json"}).get_json()
    assert among["trust"] == known and list(among["outputs"]) == ["heatmap"]
    plain = client.post("/api/v1/explain", data=CAT.read_bytes(), headers={"Accept": "application/json"})
    assert plain.get_json()["trust"] is None and "X-Cam-Trust" not in plain.headers
    assert plain.headers["ETag"] != answers[0].headers["ETag"]


def test_the_page_as_a_form(client: FlaskClient, known: dict[str, Any]) -> None:
    form = {"image": (io.BytesIO(CAT.read_bytes()), "cat.jpg"), "trust": "on"}
    page = client.post("/", data=form).get_data(as_text=True)
    said = known["sentence"].replace("'", "&#39;")
    assert (
        f'<p id="trust"><b>Can I trust this map?</b> <span>{said}</span></p>' in page
        and 'name="trust" value="on" checked' in page
    )
    assert '<p id="trust" hidden><b>Can I trust this map?</b> <span></span></p>' in client.get(
        "/", headers={"Accept": "text/html"}
    ).get_data(as_text=True)


def test_it_is_costly(model: camserve.Model) -> None:
    assert is_costly(model, Demand(make_options({"trust": "on"}), 60_000))
    assert not is_costly(model, Demand(make_options({}), 60_000))


def test_batch_its_exports_and_findings(known: dict[str, Any], tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for photo in (CAT, COFFEE):
        (photos / photo.name).write_bytes(photo.read_bytes())
    command = ["batch", str(photos), str(out), "--trust", "--output", "none", "--export", "csv", "--quiet"]
    assert CliRunner().invoke(main, command).exit_code == 0
    rows = [json.loads(line)["explanations"][0]["trust"] for line in (out / "results.jsonl").read_text().splitlines()]
    assert rows[0] == known
    table = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    assert [(float(row["trust"]), row["trust_verdict"]) for row in table] == [
        (row["probability"], row["verdict"]) for row in rows
    ]
    found = json.loads((out / "findings.json").read_text())["trust"]
    assert sum(found["verdicts"].values()) == 2
    assert [one["probability"] for one in found["least"]] == sorted(row["probability"] for row in rows)


def test_kserve_and_open_inference(client: FlaskClient, known: dict[str, Any]) -> None:
    image = base64.b64encode(CAT.read_bytes()).decode()
    body = {"instances": [{"b64": image}], "parameters": {"trust": True}}
    answer = client.post("/v1/models/efficientnet-lite0:explain", json=body).get_json()
    assert answer["explanations"][0]["trust"] == known
    inputs = [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [image]}]
    asked = {"inputs": inputs, "outputs": [{"name": "scores"}], "parameters": {"trust": True}}
    answer = client.post("/v2/models/efficientnet-lite0/infer", json=asked).get_json()
    assert known["sentence"] in json.dumps(answer, ensure_ascii=False)
