"""Several models in one service: loaded when they are wanted, forgotten when there is no room."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import picture
from flask.testing import FlaskClient

from camserve.config import Settings, load_settings
from camserve.errors import ConfigError, ModelError, ModelNotFound
from camserve.images.reading import encode
from camserve.web.model_store import BROKEN, READY, UNLOADED
from camserve.web.service import Service

NET = """
from torch import nn


def tiny():
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
"""


def settings_for(folder: Path, *names: str, **serve: object) -> Settings:
    """Settings with a card for each name in `folder`, the first of them the default."""
    for name in names:
        (folder / name).mkdir()
        (folder / name / "net.py").write_text(NET)
        (folder / name / "card.toml").write_text('architecture = "net.py:tiny"\n[input]\nsize = 32\n')
    overrides: dict[str, dict[str, Any]] = {
        "models": {"folders": [folder]},
        "explain": {"model": names[0]},
        "serve": serve,
    }
    return load_settings(environ={}, overrides=overrides)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(settings_for(tmp_path, "one", "two", "three", "four", models=2, preload=["two"]))
    made.load()
    yield made
    made.close()


def explain(client: FlaskClient, model: str) -> int:
    body = io.BytesIO(encode(picture(), "png"))
    return client.post(f"/api/v1/explain?model={model}", data=body, content_type="image/png").status_code


def states(service: Service) -> dict[str, str]:
    return {name: service.shelf.state(name) for name in ("one", "two", "three", "four")}


def test_the_least_recently_used_model_goes_and_the_default_stays(service: Service, client: FlaskClient) -> None:
    assert states(service) == {"one": READY, "two": READY, "three": UNLOADED, "four": UNLOADED}
    assert explain(client, "three") == 200
    assert states(service) == {"one": READY, "two": UNLOADED, "three": READY, "four": UNLOADED}
    assert explain(client, "two") == explain(client, "four") == 200
    assert states(service) == {"one": READY, "two": UNLOADED, "three": UNLOADED, "four": READY}


def test_a_model_is_loaded_once_and_again_after_it_went(service: Service) -> None:
    first = service.model("three")
    assert service.model("three") is first
    service.model("four")
    assert service.model("three") is not first


def test_a_card_may_be_added_and_broken_ones_may_be_mended(service: Service, client: FlaskClient) -> None:
    folder = service.settings.models.folders[0] / "five"
    folder.mkdir()
    card = (folder.parent / "one" / "card.toml").read_text()
    (folder / "card.toml").write_text(card)
    with pytest.raises(ModelError):
        service.model("five")  # there is no net.py yet
    assert service.shelf.state("five") == BROKEN
    assert explain(client, "five") == 500
    listed = {one["name"]: one for one in client.get("/api/v1/models").get_json()["models"]}
    assert (listed["five"]["available"], listed["one"]["available"]) == (False, True)
    (folder / "net.py").write_text(NET)
    assert explain(client, "five") == 200
    assert service.shelf.state("five") == READY


def test_a_card_without_its_files_is_broken_before_anyone_asks(service: Service) -> None:
    folder = service.settings.models.folders[0] / "six"
    folder.mkdir()
    (folder / "card.toml").write_text('architecture = "net.py:tiny"\nweights = "six.pth"\n')
    assert service.shelf.state("six") == BROKEN
    with pytest.raises(ModelNotFound, match="unknown model 'seven'"):
        service.shelf.state("seven")


def test_a_preload_that_cannot_be_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    settings_for(tmp_path, "one", "two")
    chosen: dict[str, dict[str, Any]] = {"models": {"folders": [tmp_path]}, "explain": {"model": "one"}}
    misspelt = load_settings(environ={}, overrides={**chosen, "serve": {"preload": ["tow"]}})
    with pytest.raises(ConfigError, match="bad setting serve.preload: unknown model 'tow'; did you mean 'two'"):
        Service(misspelt)
    many = load_settings(environ={}, overrides={**chosen, "serve": {"preload": ["two", "one", "two"], "models": 1}})
    with pytest.raises(ConfigError, match="2 models, including the default one, but serve.models keeps 1 in memory"):
        Service(many)
