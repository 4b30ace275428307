"""A TIFF of four bands, a network that is not square and an argument of its own: at every door, end to end."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from PIL import Image
from tiffs import Page, tiff

import camserve
from camserve.batch.shortcut_test import painted
from camserve.cli import main
from camserve.config import Settings, load_settings
from camserve.errors import ImageError
from camserve.models.architectures.by_name import build
from camserve.models.card import Input, read_card
from camserve.web.self_check import try_models
from camserve.web.service import Service

NET = """
from torch import nn


class Scenes(nn.Module):
    def __init__(self, num_classes=3):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU())
        self.fc = nn.Linear(14, num_classes)

    def forward(self, images, season, strong=False):
        pooled = self.body(images).mean((2, 3)) * (2 if strong else 1)
        return self.fc(__import__("torch").cat([pooled, season], 1))
"""
BANDS = (3, 2, 1, 5)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: net.py, scenes.pth, and a folder of two TIFFs of six bands; models go into mine/."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAMSERVE_MODELS_FOLDERS", "mine")
    Path("net.py").write_text(NET)
    torch.manual_seed(0)
    torch.save(build("net.py:Scenes", 3).state_dict(), "scenes.pth")
    Path("tiles").mkdir()
    for number in (0, 1):
        Path(f"tiles/{number}.tif").write_bytes(scene(number))
    return tmp_path


def numbers(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4000, (64, 32, 6)).astype(np.uint16)


def scene(seed: int) -> bytes:
    return tiff(Page(numbers(seed), planar=2))


ADD = "add scenes.pth -a ./net.py:Scenes --size 64 32 --bands 3 2 1 5 --mean 1500 --std 800,800,800,900"
TOLD = ("--argument", "season=[0.5, 1.0]", "--argument", "strong=true")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


@pytest.fixture
def added(desk: Path) -> Path:
    result = run(*ADD.split(), *TOLD)
    assert result.exit_code == 0, result.output
    assert "32 x 64 bands 3 2 1 5" in result.output
    assert "whose map adds up to the logit" in result.output
    return desk / "mine/scenes/card.toml"


def settings_for(card: Path) -> Settings:
    return load_settings(
        environ={}, overrides={"models": {"folders": [card.parents[1]]}, "explain": {"model": "scenes"}}
    )


def by_hand(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits (3,) and the map of the best class, (16, 8), by torch alone."""
    net = build("net.py:Scenes", 3).eval()
    net.load_state_dict(torch.load("scenes.pth"))
    x = (torch.tensor(values[..., BANDS].astype(np.float32)) - 1500) / torch.tensor([800.0, 800, 800, 900])
    x = x.permute(2, 0, 1)[None]
    with torch.no_grad():
        logits = net(x, torch.tensor([[0.5, 1.0]]), True)[0]
        grid_map = 2 * torch.einsum("k,khw->hw", net.fc.weight[int(logits.argmax()), :12], net.body(x)[0])
    return logits.numpy(), grid_map.numpy()


def test_the_card_says_all_of_it(added: Path) -> None:
    card = read_card(added)
    assert card.input == Input(size=(64, 32), bands=BANDS, mean=(1500,) * 4, std=(800, 800, 800, 900))
    assert card.input.shown is None
    assert card.arguments == {"season": [0.5, 1.0], "strong": True}


def test_python_gives_the_map_by_hand(added: Path) -> None:
    model = camserve.load(added)
    logits, grid_map = by_hand(numbers(0))
    for given in (Path("tiles/0.tif"), scene(0), numbers(0)):
        explanation = model.explain(given)
        np.testing.assert_allclose(explanation.logits, logits, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(explanation.map, grid_map, rtol=1e-5, atol=1e-5)
        assert explanation.overlay().size == (32, 64)


def test_the_command_line_explains_a_tiff_of_bands(added: Path) -> None:
    result = run("explain", "tiles/0.tif", "--model", "scenes", "--out", "out")
    assert result.exit_code == 0, result.output
    overlay = next(Path("out").rglob("overlay*.png"))
    with Image.open(overlay) as picture:
        assert picture.size == (32, 64)
    Image.new("RGB", (20, 20)).save("plain.png")
    refused = run("explain", "plain.png", "--model", "scenes", "--out", "out2")
    assert refused.exit_code
    assert "'plain.png' has 3 samples a pixel; this model takes the bands 3, 2, 1, 5" in refused.output
    listed = run("models", "--json")
    assert next(row for row in json.loads(listed.output) if row["name"] == "scenes")["input_size"] == [64, 32]
    looked = run("inspect", "scenes")
    assert "The network gets the bands 3, 2, 1, 5 of a picture." in " ".join(looked.output.split())


def test_a_batch_explains_a_folder_of_them(added: Path) -> None:
    result = run("batch", "tiles", "run", "--model", "scenes")
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in Path("run/results.jsonl").read_text().splitlines()]
    assert {row["file"]: row["status"] for row in rows} == {"0.tif": "ok", "1.tif": "ok"}
    logits, _ = by_hand(numbers(0))
    assert next(row for row in rows if row["file"] == "0.tif")["predicted"]["class_index"] == logits.argmax()


@pytest.fixture
def service(added: Path) -> Iterator[Service]:
    made = Service(settings_for(added))
    made.load()
    yield made
    made.close()


def test_http_explains_one(service: Service, client: FlaskClient) -> None:
    answer = client.post(
        "/api/v1/explain", data=scene(0), content_type="image/tiff", headers={"Accept": "application/json"}
    )
    assert answer.status_code == 200, answer.text
    _, grid_map = by_hand(numbers(0))
    np.testing.assert_allclose(np.array(answer.get_json()["map"]), grid_map, rtol=1e-5, atol=1e-5)
    png = client.post("/api/v1/explain", data=scene(0), content_type="image/tiff", headers={"Accept": "image/png"})
    assert Image.open(io.BytesIO(png.data)).size == (32, 64)
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20)).save(buffer, "PNG")
    refused = client.post("/api/v1/explain", data=buffer.getvalue(), content_type="image/png")
    assert refused.status_code in (400, 415, 422)
    assert "this model takes the bands 3, 2, 1, 5" in refused.get_json()["detail"]
    entry = next(one for one in client.get("/api/v1/models").get_json()["models"] if one["name"] == "scenes")
    assert entry["input_size"] == [64, 32]


def test_the_service_s_own_check_takes_bands(added: Path) -> None:
    trials = {trial.model: trial for trial in try_models(settings_for(added))}
    assert trials["scenes"].error is None


def test_masks_of_objects_are_ordinary_pictures(added: Path) -> None:
    Path("masks").mkdir()
    for number in (0, 1):
        mask = np.zeros((64, 32), np.uint8)
        mask[10:40] = 255
        Image.fromarray(mask).save(f"masks/{number}.png")
    result = run("batch", "tiles", "run", "--model", "scenes", "--objects", "masks")
    assert result.exit_code == 0, result.output
    assert "failed" not in Path("run/results.jsonl").read_text()


def test_an_argument_that_forward_does_not_take_is_named(desk: Path) -> None:
    result = run(*ADD.split(), "--argument", "saison=[0.5, 1.0]")
    assert result.exit_code
    assert (
        "Scenes.forward takes no argument 'saison', but images, season, strong; did you mean 'season'?" in result.output
    )
    missing = run(*ADD.split())
    assert "missing 1 required positional argument: 'season'" in missing.output
    assert "[arguments] in a card" in missing.output
    assert "is not NAME=VALUE" in run(*ADD.split(), "--argument", "season").output
    assert not Path("mine").exists()


def test_a_card_with_a_wrong_picture_says_which_band(added: Path) -> None:
    with pytest.raises(ImageError, match="'array' has 5 samples a pixel"):
        camserve.load(added).explain(numbers(0)[..., :5])


def test_what_covers_a_suspected_shortcut_covers_all_bands() -> None:
    cells = np.zeros((16, 16), bool)
    cells[0, :] = True
    for values in (numbers(0), numbers(0).astype(np.float32)):
        covered = painted(values, cells)
        assert covered.dtype == values.dtype
        np.testing.assert_allclose(covered[:4], np.broadcast_to(values.mean((0, 1)), (4, 32, 6)), atol=0.5)
        assert np.array_equal(covered[4:], values[4:])
