"""All classes above a score at once: a map for each class that a picture shows, as of a network with several labels."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from flask.testing import FlaskClient
from PIL import Image
from torch import nn

import camserve
from camserve.catalogue.targets import Above, parse_targets
from camserve.cli import main
from camserve.config import load_settings
from camserve.errors import OptionError
from camserve.images.reading import encode
from camserve.web.app import create_app
from camserve.web.service import Service

# Red to the left, green to the right, no blue.
PHOTO = np.zeros((32, 32, 3), np.uint8)
PHOTO[:, :16, 0] = PHOTO[:, 16:, 1] = 255
PNG = encode(Image.fromarray(PHOTO), "png")
CARD = """
architecture = "./net.py:colours"
labels = "labels.txt"
scores = "sigmoid"
[input]
size = 32
crop = 1.0
mean = [0, 0, 0]
std = [255, 255, 255]
"""
NET = """
import torch
from torch import nn
def colours():
    net = nn.Sequential(nn.Conv2d(3, 3, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(3)[:, :, None, None] / 16)
        net[0].bias.zero_()
        net[3].weight.copy_(torch.diag(torch.tensor([8.0, 6.0, 8.0])))
        net[3].bias.fill_(-2)
    return net
"""


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "colours"
    folder.mkdir()
    (folder / "card.toml").write_text(CARD)
    (folder / "net.py").write_text(NET)
    (folder / "labels.txt").write_text("red\ngreen\nblue\n")
    return folder


@pytest.fixture(scope="module")
def colours(card: Path) -> camserve.Model:
    return camserve.load(card)  # scores 0.88 of red, 0.73 of green, 0.12 of blue


def test_every_class_that_is_there_has_a_map(colours: camserve.Model) -> None:
    red, green = colours.explain_classes(PHOTO, "above 0.5")
    assert [(one.class_name, round(float(one.score or 0), 2)) for one in (red, green)] == [
        ("red", 0.88),
        ("green", 0.73),
    ]
    np.testing.assert_allclose(red.map, colours.explain(PHOTO, target="red").map)
    assert red.heatmap[16, 4] > 0.9 > 0.1 > red.heatmap[16, 28]
    assert green.heatmap[16, 28] > 0.9 > 0.1 > green.heatmap[16, 4]
    assert len(colours.explain_classes(PHOTO, "above 0.8")) == 1
    assert len(colours.explain_classes(PHOTO, "above 0")) == 3


def test_where_no_class_scores_so_much_the_best_is_named(colours: camserve.Model) -> None:
    with pytest.raises(OptionError, match=r"no class has a score of 0\.9 or more; the best class, 'red', has 0\.88"):
        colours.explain_classes(PHOTO, "above 0.9")


def test_numbers_are_above_no_score() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    with pytest.raises(OptionError, match=r"gives numbers, not scores, so 'above 0\.5' selects no class"):
        camserve.load(net, scores="none", size=32).explain_classes(PHOTO, "above 0.5")


def test_classes_that_share_one_probability_have_scores_as_well() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 4))
    with torch.no_grad():
        net[3].weight.zero_()
        net[3].bias.copy_(torch.tensor([0.4, 0.3, 0.2, 0.1]).log())
    found = camserve.load(net, size=32).explain_classes(PHOTO, "above 0.25")
    assert [one.class_index for one in found] == [0, 1]


@pytest.mark.parametrize("text", ["above 2", "above 1.5"])
def test_a_score_is_at_most_one(text: str) -> None:
    with pytest.raises(OptionError, match="a score is a number from 0 to 1"):
        parse_targets(text)


def test_a_class_may_have_such_a_name() -> None:
    assert parse_targets("above 0.5") == Above(0.5, "above 0.5")
    assert Above(0.5, "above 0.5").among(["above 0.5", "below"]) == ["above 0.5"]
    assert parse_targets("above;below") == ["above", "below"]


def test_the_command_line_writes_each_and_a_sheet(tmp_path: Path, card: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(PNG)
    command = ["explain", str(photo), "-m", str(card), "-o", str(tmp_path / "out"), "--above", "0.5"]
    ran = CliRunner().invoke(main, command)
    assert ran.exit_code == 0, ran.output
    assert {path.name for path in (tmp_path / "out" / "photo.png").iterdir()} == {"red", "green", "sheet.jpg"}
    refused = CliRunner().invoke(main, [*command, "--top", "2"])
    assert "--top or --target and --above both say what to explain" in refused.output


@pytest.fixture
def client(card: Path) -> FlaskClient:
    overrides: dict[str, dict[str, object]] = {"models": {"folders": [str(card.parent)]}}
    overrides |= {"explain": {"model": "colours"}, "limits": {"explanations": 2}}
    service = Service(load_settings(environ={}, overrides=overrides))
    service.open()
    return create_app(service=service).test_client()


def test_http_gives_each_and_holds_them_to_the_limit(client: FlaskClient) -> None:
    path, accept = "/api/v1/explain/classes", {"Accept": "application/json"}

    def asked(targets: str) -> tuple[int, dict[str, object]]:
        data = {"image": (io.BytesIO(PNG), "photo.png"), "targets": targets}
        answer = client.post(path, data=data, headers=accept)
        return answer.status_code, answer.get_json()

    status, found = asked("above 0.5")
    assert status == 200
    assert [one["class_name"] for one in found["explanations"]] == ["red", "green"]  # type: ignore[attr-defined]
    status, refused = asked("above 0.1")
    assert (status, refused["detail"]) == (
        422,
        "3 classes have a score of 0.1 or more; allowed are 2 (limits.explanations)",
    )
