"""Two photographs that look alike, at every door: the command line, HTTP, batch; and a card of an embedding."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

import camserve
from camserve.batch import Options, run_batch
from camserve.cli import main
from camserve.config import load_settings
from camserve.findings.results import read_rows
from camserve.web.app import create_app
from camserve.web.service import Service

CAT, COFFEE = Path("photos/cat.jpg"), Path("photos/coffee.jpg")
CARD = """
architecture = "./net.py:tiny"
scores = "embedding"
[input]
size = 32
mean = [0, 0, 0]
std = [255, 255, 255]
"""
NET = """
import torch
from torch import nn
def tiny():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
"""


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    (folder / "card.toml").write_text(CARD)
    (folder / "net.py").write_text(NET)
    return folder


@pytest.fixture(scope="module")
def client(card: Path) -> Iterator[FlaskClient]:
    settings = load_settings(
        environ={}, overrides={"models": {"folders": [str(card.parent)]}, "explain": {"model": "tiny"}}
    )
    service = Service(settings)
    service.load()
    yield create_app(service=service).test_client()
    service.close()


def form(**more: str) -> dict[str, object]:
    return {"image": (io.BytesIO(CAT.read_bytes()), "cat.jpg"), **more}


def with_coffee(**more: str) -> dict[str, object]:
    return {**form(**more), "like": (io.BytesIO(COFFEE.read_bytes()), "coffee.jpg")}


def test_http_gives_a_map_of_each(client: FlaskClient, card: Path) -> None:
    made = camserve.load(card).explain(CAT, target=COFFEE)
    accept = {"Accept": "application/json"}
    answer = client.post("/api/v1/explain", data=with_coffee(outputs="mask"), headers=accept)
    found = answer.get_json()
    assert found["target"]["name"] == "likeness to coffee.jpg"
    assert found["target"]["value"] == pytest.approx(made.value)
    np.testing.assert_allclose(found["map"], made.map, atol=1e-6)
    np.testing.assert_allclose(found["other"]["map"], made.other.map, atol=1e-6)
    assert found["other"]["outputs"]["mask"]["b64"] != found["outputs"]["mask"]["b64"]
    archive = client.post("/api/v1/explain", data=with_coffee(), headers={"Accept": "application/zip"})
    names = zipfile.ZipFile(io.BytesIO(archive.data)).namelist()
    assert names == ["overlay.png", "heatmap.npy", "other-overlay.png", "other-heatmap.npy", "facts.json"]


def test_http_tells_answers_about_other_pairs_apart(client: FlaskClient) -> None:
    alone, pair = (client.post("/api/v1/explain", data=data) for data in (form(), with_coffee()))
    assert alone.headers["ETag"] != pair.headers["ETag"]
    assert [one.headers["X-Cam-Class-Name"] for one in (alone, pair)] == [
        "likeness to itself",
        "likeness to coffee.jpg",
    ]
    assert client.post("/api/v1/explain", data=form()).headers["X-Cam-Class-Name"] == "likeness to itself"


def test_http_opens_no_file_that_text_names(client: FlaskClient) -> None:
    refused = client.post("/api/v1/explain", data=form(target=str(CAT.absolute())))
    assert refused.status_code == 400
    assert "the form's file 'like'" in refused.get_json()["detail"]


@pytest.mark.parametrize(
    ("path", "more", "said"),
    [
        ("/api/v1/explain", {"target": "feature 1"}, "give only one of them"),
        ("/api/v1/explain/classes", {"targets": "2"}, "allowed is one file, named"),
    ],
)
def test_http_says_where_a_second_image_has_no_place(
    client: FlaskClient, path: str, more: dict[str, str], said: str
) -> None:
    refused = client.post(path, data=with_coffee(**more))
    assert refused.status_code == 400
    assert said in refused.get_json()["detail"]


def test_the_command_line_writes_both(tmp_path: Path, card: Path) -> None:
    command = ["explain", str(CAT), "--like", str(COFFEE), "-m", str(card), "-o", str(tmp_path)]
    ran = CliRunner().invoke(main, command)
    assert ran.exit_code == 0, ran.output
    made = camserve.load(card).explain(CAT, target=COFFEE)
    assert f"cat.jpg: likeness to coffee.jpg {made.value:.4g} -> " in ran.output
    assert np.array_equal(np.load(tmp_path / "cat.jpg" / "other-map.npy"), made.other.map)
    assert json.loads((tmp_path / "cat.jpg" / "manifest.json").read_text())["other"]["map"] == made.other.map.tolist()
    several = CliRunner().invoke(main, [*command, "--method", "cam,gradcam"])
    assert several.exit_code == 0, several.output


@pytest.mark.parametrize("more", [["--top", "2"], ["--target", "3"]])
def test_the_command_line_takes_one_of_them(more: list[str], card: Path) -> None:
    ran = CliRunner().invoke(main, ["explain", str(CAT), "--like", str(COFFEE), "-m", str(card), *more])
    assert ran.exit_code != 0
    assert "give one of them" in ran.output


def test_a_photograph_that_is_not_there_is_said_before_anything(card: Path) -> None:
    ran = CliRunner().invoke(main, ["explain", str(CAT), "--like", "gone.jpg", "-m", str(card)])
    assert "gone.jpg" in ran.output


def test_batch_says_what_each_embedding_is_made_of(tmp_path: Path, card: Path) -> None:
    run_batch(camserve.load(card), "photos", tmp_path, Options())
    rows = read_rows(tmp_path)
    assert rows
    assert {one["class_name"] for row in rows for one in row["explanations"]} == {"likeness to itself"}
