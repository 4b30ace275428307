"""Networks that answer with numbers, not classes: an age, three angles. Nothing breaks where scores are missing."""

import base64
import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from flask.testing import FlaskClient
from PIL import Image
from torch import nn

import camserve
from camserve.batch import Options, run_batch
from camserve.catalogue.run_files import KINDS
from camserve.cli import main
from camserve.config import load_settings
from camserve.errors import ModelError, OptionError
from camserve.findings.results import read_rows
from camserve.images.reading import encode
from camserve.models.card import read_card
from camserve.web.app import create_app
from camserve.web.service import Service

INPUT: dict[str, Any] = {"size": 32, "crop": 1.0, "mean": (0, 0, 0), "std": (255, 255, 255)}
# White to the left, black to the right.
PHOTO = np.zeros((32, 32, 3), np.uint8)
PHOTO[:, :16] = 255
PNG = encode(Image.fromarray(PHOTO), "png")
NET = """
import torch
from torch import nn
def tiny():
    return nn.Sequential(nn.Conv2d(3, 1, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1)).apply(known)
def known(part):
    if hasattr(part, "weight"):
        nn.init.constant_(part.weight, 1 / 48 if part.weight.ndim == 4 else 100)
        nn.init.constant_(part.bias, 0 if part.weight.ndim == 4 else 8.25)
"""
CARD = """
architecture = "./net.py:tiny"
labels = "labels.txt"
scores = "none"
[input]
size = 32
crop = 1.0
mean = [0, 0, 0]
std = [255, 255, 255]
"""


def brightness(*weights: float, end: nn.Module | None = None) -> nn.Module:
    """The mean brightness, 0..1, times each weight."""
    net = nn.Sequential(nn.Conv2d(3, 1, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, len(weights)))
    with torch.no_grad():
        net[0].weight.fill_(1 / 48)
        net[0].bias.zero_()
        net[3].weight.copy_(torch.tensor(weights)[:, None])
        net[3].bias.zero_()
    return net if end is None else nn.Sequential(net, end)


@pytest.fixture(scope="module")
def age() -> camserve.Model:
    return camserve.load(brightness(116.6), labels=["age"], scores="none", **INPUT)


def test_a_number_is_given_as_it_is(age: camserve.Model) -> None:
    made = age.explain(PHOTO)
    assert (made.score, made.scores, made.class_name, made.unit) == (None, None, "age", "output")
    assert made.value == made.logit == pytest.approx(58.3, abs=1e-4)
    assert (made.in_short, made.top(1)[0].in_short) == ("age 58.3", "58.3")
    assert repr(made).startswith("<camserve.Explanation age 58.3 of ")
    facts = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert (facts["score"], facts["logit"], facts["top"][0]["score"]) == (None, made.logit, None)
    assert made.warnings == ()
    assert float(made.map.mean()) == pytest.approx(58.3, abs=1e-4)  # the bias is 0
    assert made.share((0, 0, 32, 32)) == pytest.approx(58.3, abs=1e-4)


def test_numbers_have_names_of_their_own_and_are_told_apart() -> None:
    model = camserve.load(brightness(1, 30, -2000), scores="none", **INPUT)
    assert model.labels == ("output 0", "output 1", "output 2")
    several = model.explain_classes(PHOTO, ["output 1", 2, "1-0", "-2"], expected=0)
    assert [one.in_short for one in several] == [
        "output 1 15", "output 2 -1000", "output 1 - output 0: 14.5", "against output 2: 1000",
    ]  # fmt: skip
    assert [one.score for one in several] == [None] * 4
    assert several[1].warnings[0].startswith("all evidence is against")
    assert "the model says 'output 1' 15; expected was 'output 0', its number 2 with 0.5" in several[0].warnings[-1]
    assert several[0].to_dict()["expected"]["score"] is None
    assert not any("of the model's answers" in text for one in several for text in one.warnings)


@pytest.mark.parametrize("end", [nn.Sigmoid(), nn.Softmax(1)])
def test_numbers_between_0_and_1_are_no_probabilities(end: nn.Module) -> None:
    net = brightness(1, 2, 3, end=end)
    model = camserve.load(net, scores="none", **INPUT)
    made = model.explain(PHOTO)
    with torch.no_grad():
        np.testing.assert_allclose(made.logits, net(torch.from_numpy(PHOTO).permute(2, 0, 1)[None] / 255)[0], atol=1e-6)
    assert (made.score, made.unit) == (None, "own")
    assert not any("probabilit" in text for text in made.warnings)


def test_numbers_may_be_a_direction() -> None:
    class Direction(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = brightness(3, -4)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return nn.functional.normalize(self.net(images))

    with pytest.raises(ModelError, match="it is an embedding"):
        camserve.load(Direction(), **INPUT)
    np.testing.assert_allclose(camserve.load(Direction(), scores="none", **INPUT).explain(PHOTO).logits, [0.6, -0.8])


@pytest.mark.parametrize("method", ["occlusion", "gradcam", "rise", "scorecam", "layercam"])
def test_every_kind_of_method_explains_a_number(age: camserve.Model, method: str) -> None:
    made = age.explain(PHOTO, method=method)
    assert np.isfinite(made.map).all()
    assert made.heatmap[:, :12].mean() > made.heatmap[:, 20:].mean()
    assert not any("saturated" in text for text in made.warnings)


def test_occlusion_says_what_a_number_loses(age: camserve.Model) -> None:
    """A sigmoid of 58 would not move at all."""
    assert age.explain(PHOTO, method="occlusion").map.max() > 1


def test_scores_cannot_be_asked_for(age: camserve.Model) -> None:
    with pytest.raises(
        OptionError,
        match="quantity 'log-softmax' is about classes that share one probability, and this model gives numbers",
    ):
        age.explain(PHOTO, quantity="log-softmax")


def test_pictures_and_sheets_carry_the_number(age: camserve.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from camserve.explanation.contact_sheet import class_entries, draw_sheet
    from camserve.render import overlay as render

    drawn: list[Any] = []

    def placed(canvas: Image.Image, legend: Any, *how: Any) -> Image.Image:
        drawn.append(legend)
        return canvas

    monkeypatch.setattr(render, "place_legend", placed)
    age.explain(PHOTO).overlay(legend=True)
    assert (drawn[0].caption, "logits" in drawn[0].high) == ("age 58.3", False)
    entries = list(class_entries(age.explain_classes(PHOTO, [0, "-0"])))
    assert [entry.detail for entry in entries] == ["58.3", "-58.3"]
    draw_sheet(Image.fromarray(PHOTO), "age", entries)


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "age"
    folder.mkdir()
    for name, text in {"net.py": NET, "labels.txt": "age", "card.toml": CARD}.items():
        (folder / name).write_text(text)
    return folder


def test_a_batch_of_numbers(card: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "age").mkdir(parents=True)
    for place in range(12):
        (tmp_path / "in" / "age" / f"{place}.png").write_bytes(PNG)
    options = Options(outputs=(*KINDS, "boxes"), targets=("predicted", "-age"))
    exports = ("csv", "coco")
    run_batch(
        camserve.load(card), tmp_path / "in", tmp_path / "out", options, folders_are_classes=True, exports=exports
    )
    row = next(iter(read_rows(tmp_path / "out")))
    assert row["predicted"] == row["expected"] == {
        "class_index": 0, "class_name": "age", "score": None, "logit": pytest.approx(58.25, abs=1e-3),
    }  # fmt: skip
    assert [(one["score"], round(one["value"], 2)) for one in row["explanations"]] == [(None, 58.25), (None, -58.25)]
    findings = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert "confident and wrong" not in findings["counts"]
    page = (tmp_path / "out" / "index.html").read_text()
    texts = json.loads(re.findall(r'\["",.*\]', page)[-1])
    assert f"[0,null,{texts.index('cam')},{texts.index('age')}," in page
    first = next(csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines()))
    assert (first["score"], first["predicted_score"], float(first["value"])) == (
        "",
        "",
        row["explanations"][0]["value"],
    )


def test_on_the_command_line(card: Path, tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(PNG)
    command = ["explain", str(tmp_path / "one.png"), "-m", str(card), "-o", str(tmp_path / "out")]
    said = CliRunner().invoke(main, [*command, "--at", "4,4", "--region", "0,0,16,32"])
    assert said.exit_code == 0, said.output
    assert f"one.png: age 58.25 -> {tmp_path / 'out' / 'one.png' / 'overlay.png'}" in said.stdout
    assert "at 4,4: age " in said.stdout and "logits" not in said.stdout
    assert json.loads(CliRunner().invoke(main, [*command, "--json"]).stdout)["score"] is None
    sheet = CliRunner().invoke(main, [*command, "--method", "cam,gradcam", "--json"])
    assert [entry["score"] for entry in json.loads(sheet.stdout)["entries"]] == [None, None]


@pytest.fixture(scope="module")
def client(card: Path) -> Iterator[FlaskClient]:
    environ = {"CAMSERVE_EXPLAIN_MODEL": "age", "CAMSERVE_MODELS_FOLDERS": str(card.parent)}
    service = Service(load_settings(environ=environ))
    service.load()
    yield create_app(service=service).test_client()
    service.close()


def test_over_http(client: FlaskClient) -> None:
    raw: dict[str, Any] = {"data": PNG, "content_type": "image/png"}
    drawn = client.post("/api/v1/explain", **raw)
    assert "X-Cam-Score" not in drawn.headers
    assert float(drawn.headers["X-Cam-Value"]) == pytest.approx(58.25)
    facts = client.post("/api/v1/explain", **raw, headers={"Accept": "application/json"}).get_json()
    assert (facts["score"], facts["unit"]) == (None, "output")
    page = client.post("/", data={"image": (io.BytesIO(PNG), "a.png")}).get_data(as_text=True)
    assert "<output>58.25</output>" in page and "<meter" not in page.split('id="top"')[1].split("</ol>")[0]
    assert client.post("/predictions/age", **raw).get_json() == {"age": pytest.approx(58.25)}
    body = {"instances": [{"b64": base64.b64encode(PNG).decode()}]}
    answer = client.post("/v1/models/age:explain", json=body).get_json()
    assert answer["predictions"][0]["score"] is None
    assert answer["explanations"][0]["attributions"][0]["instance_output_value"] == pytest.approx(58.25)
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [body["instances"][0]["b64"]]}
    answer = client.post("/v2/models/age/infer", json={"inputs": [tensor]}).get_json()
    assert answer["outputs"][0]["data"] == [pytest.approx(58.25)]
    assert answer["parameters"]["value"] == pytest.approx(58.25)


def test_a_known_answer_needs_scores(card: Path, tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text(f'{CARD}\n[[known]]\nimage = "a.png"\nlabel = "age"\nscore = 0.5\n')
    with pytest.raises(ModelError, match="a model with scores = 'none' has no scores"):
        read_card(tmp_path / "card.toml")
