"""Sentences over HTTP, on the page and on the command line: as Python gives them, bounded, refused by other models."""

import io
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from page_driving import drawn, explained, upload
from PIL import Image
from towers import SENTENCES, saved

import camserve
from camserve.cli import main
from camserve.config import load_settings
from camserve.errors import ModelError
from camserve.images.reading import encode
from camserve.web.app import create_app
from camserve.web.service import Service

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest.importorskip("transformers")

PICTURE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
PNG = encode(Image.fromarray(PICTURE), "png")
OTHERS = "a dog; a well-known cat, and a dog; the red car"
EXPLAIN = "/api/v1/explain"


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """What transformers says of its own code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The card of a small CLIP."""
    home = tmp_path_factory.mktemp("models")
    saved("clip", home / "clip")
    (home / "pets").mkdir()
    labels = ", ".join(f'"{one}"' for one in SENTENCES)
    text = f'architecture = "clip:../clip"\n[zero_shot]\nlabels = [{labels}]\n'
    (home / "pets" / "card.toml").write_text(text)
    return home / "pets" / "card.toml"


@pytest.fixture(scope="module")
def service(card: Path) -> Iterator[Service]:
    made = Service(load_settings(environ={}, overrides={"models": {"folders": [str(card.parent.parent)]}}))
    made.load()
    yield made
    made.close()


@pytest.fixture
def client(service: Service) -> FlaskClient:
    return create_app(service=service).test_client()


def test_a_request_may_bring_sentences_of_its_own(client: FlaskClient, card: Path) -> None:
    expected = camserve.load(card).explain(PICTURE, labels=OTHERS, target="a well-known cat, and a dog")
    fields = {"model": "pets", "labels": OTHERS.replace("; ", "\n"), "target": "a well-known cat, and a dog"}
    answers = [
        client.post(
            EXPLAIN, data={**fields, "image": (io.BytesIO(PNG), "x.png")}, headers={"Accept": "application/json"}
        )
        for _ in range(2)
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.data
        found = answer.get_json()
        assert {one["class_name"] for one in found["top"]} == set(OTHERS.split("; "))
        assert found["target"] == expected.to_dict()["target"]
        np.testing.assert_allclose(np.array(found["map"]), expected.map, atol=1e-6)
    again = client.post(
        EXPLAIN,
        data={**fields, "image": (io.BytesIO(PNG), "x.png")},
        headers={"Accept": "application/json", "If-None-Match": answers[0].headers["ETag"]},
    )
    assert again.status_code == 304
    own = client.post(EXPLAIN, query_string={"model": "pets"}, data=PNG, content_type="image/png",
                      headers={"Accept": "application/json"}).get_json()  # fmt: skip
    assert {one["class_name"] for one in own["top"]} == set(SENTENCES)


def test_predictions_and_several_classes_take_them_as_well(client: FlaskClient) -> None:
    query = {"labels": OTHERS}
    told = client.post("/v1/models/pets:predict", query_string=query, data=PNG, content_type="image/png").get_json()
    assert {one["class_name"] for one in told["predictions"][0]["top_k"]} == set(OTHERS.split("; "))
    several = client.post(
        EXPLAIN + "/classes",
        query_string={"model": "pets", "targets": "a dog;the red car", **query},
        data=PNG,
        content_type="image/png",
        headers={"Accept": "application/json"},
    ).get_json()
    assert [one["target"]["name"] for one in several["explanations"]] == ["a dog", "the red car"]


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (
            {"model": "efficientnet-lite0", "labels": "a cat; a dog"},
            400,
            "the classes of 'efficientnet-lite0' are fixed",
        ),
        ({"model": "pets", "labels": ";".join(f"cat {n}" for n in range(101))}, 422, "allowed are 100 sentences"),
        ({"model": "pets", "labels": "x" * 301}, 422, "has 301 characters; allowed are 300"),
        ({"model": "pets", "labels": " ; "}, 400, "there are no sentences"),
        ({"model": "pets", "labels": "a cat;a cat"}, 400, "'a cat' was given twice"),
        ({"model": "pets", "labels": "a cat " * 20}, 400, "is too long: this model reads 16 tokens"),
        ({"model": "pets", "labels": "x" * 40_000}, 400, "at most 30200 characters"),
    ],
)
def test_what_it_does_not_take_is_said(client: FlaskClient, options: dict[str, str], status: int, said: str) -> None:
    answer = client.post(EXPLAIN, data={**options, "image": (io.BytesIO(PNG), "x.png")})
    assert (answer.status_code, said in answer.get_json()["detail"]) == (status, True), answer.data


def test_the_page_has_a_field_for_them_where_a_model_takes_them(client: FlaskClient, model: camserve.Model) -> None:
    listed = {one["name"]: one["takes_labels"] for one in client.get("/api/v1/models").get_json()["models"]}
    assert listed["pets"] is True
    assert listed["efficientnet-lite0"] is False
    page = client.get("/", headers={"Accept": "text/html"}).text
    assert '<textarea id="labels" name="labels"' in page
    assert 'data-models="pets"' in page
    asked = {"model": "pets", "labels": "a dog\nthe red car", "image": (io.BytesIO(PNG), "x.png")}
    answered = client.post("/", data=asked).text
    assert "<span>the red car</span>" in answered
    assert "a dog\nthe red car</textarea>" in answered
    without = create_app(service=Service(load_settings(environ={}))).test_client()
    assert '<textarea id="labels"' not in without.get("/", headers={"Accept": "text/html"}).text


def test_the_command_line_takes_them_and_files_of_them(card: Path, tmp_path: Path) -> None:
    photo, sentences = tmp_path / "x.png", tmp_path / "sentences.txt"
    Image.fromarray(PICTURE).save(photo)
    sentences.write_text("\n".join(OTHERS.split("; ")) + "\n")
    folder = f"clip:{card.parent.parent / 'clip'}"
    for name in (str(card), folder):
        for labels in (OTHERS, str(sentences)):
            asked = ["explain", str(photo), "-m", name, "--labels", labels, "--json", "-o", str(tmp_path / "out")]
            found = CliRunner().invoke(main, asked, catch_exceptions=False)
            assert found.exit_code == 0, found.output
            assert json.loads(found.stdout.splitlines()[-1])["class_name"] in OTHERS.split("; ")
    out = tmp_path / "batch"
    asked = ["batch", str(tmp_path), str(out), "-m", str(card), "--labels", OTHERS, "--target", "a dog-the red car"]
    found = CliRunner().invoke(main, [*asked, "--output", "none", "--quiet"], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    row = json.loads((out / "results.jsonl").read_text().splitlines()[0])
    assert row["explanations"][0]["target"] == "a dog - the red car"
    refused = CliRunner().invoke(main, ["explain", str(photo), "--labels", "a; b", "-o", str(tmp_path / "out")])
    assert refused.exit_code == 2


def test_add_makes_a_card_of_its_folder_and_sentences(card: Path, tmp_path: Path) -> None:
    sentences, given = tmp_path / "sentences.txt", f"clip:{card.parent.parent / 'clip'}"
    sentences.write_text("\n".join(OTHERS.split("; ")) + "\n")
    asked = ["add", given, "--labels", str(sentences), "--name", "zoo", "--folder", str(tmp_path / "models")]
    added = CliRunner().invoke(main, [*asked, "--template", "a photo of {}"], catch_exceptions=False)
    assert added.exit_code == 0, added.output
    made = camserve.load(tmp_path / "models" / "zoo")
    assert made.labels == tuple(OTHERS.split("; "))
    expected = camserve.load(given, labels=OTHERS.split("; "), templates=["a photo of {}"])
    assert made.explain(PICTURE).logits == pytest.approx(expected.explain(PICTURE).logits, abs=1e-5)
    for wrong, said in (
        (["add", given, "--folder", str(tmp_path)], "give the sentences, one per line, with --labels FILE"),
        (["add", given, "-a", "timm:resnet18"], "leave out --architecture"),
        (["add", "x.pth"], "give --architecture"),
        ([*asked, "--mean", "0"], "--mean: clip:FOLDER already defines this"),
    ):
        refused = CliRunner().invoke(main, wrong)
        assert (refused.exit_code, said in refused.output) == (2, True), refused.output


def test_a_card_reads_no_folder_of_others(card: Path, tmp_path: Path) -> None:
    (tmp_path / "cards" / "pets").mkdir(parents=True)
    other = tmp_path / "cards" / "pets" / "card.toml"
    other.write_text(card.read_text().replace("../clip", str(card.parent.parent / "clip")))
    with pytest.raises(ModelError, match="is not a folder that this card may read"):
        camserve.load(other)


def test_the_page_draws_the_map_of_a_sentence(page: "Page", card: Path) -> None:
    asked = OTHERS.replace("; ", "\n")
    page.select_option("#model", "pets")
    page.fill("#labels", asked)
    upload(page, data=PNG)
    first = explained(page)
    found = camserve.load(card).explain(PICTURE, labels=OTHERS)
    assert first == found.class_name
    assert np.abs(drawn(page) - np.asarray(found.overlay()).astype(np.int16)).max() <= 6
    page.click("#top li:nth-child(2) button")
    page.wait_for_selector("#top li:nth-child(2) [aria-pressed=true]")
    explained(page)
    second = camserve.load(card).explain(PICTURE, labels=OTHERS, target=found.top(2)[1].class_index)
    assert np.abs(drawn(page) - np.asarray(second.overlay()).astype(np.int16)).max() <= 6
    page.hover("#frame")
    assert re.match("The place |Which classes a place supports is not known here: ", page.inner_text("#place"))
