"""A network is anybody's code: whatever it raises or changes hurts itself only."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import picture
from torch import nn

import camserve
from camserve.config import load_settings
from camserve.errors import ModelError
from camserve.images.reading import encode
from camserve.models.card import look_at
from camserve.web.app import create_app
from camserve.web.service import Service

NET = """
import time
import torch
from torch import nn


class Gone(BaseException):
    pass

{top}

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, 2), nn.Linear(4, 2)
        {made}

    def forward(self, x):
        {answer}
        return self.fc(self.conv(x).relu().mean((2, 3)))

    {more}
"""
CARD = 'architecture = "net.py:Net"\n[input]\nsize = 32\n'
PNG = encode(picture(), "png")


def write(folder: Path, top: str = "", made: str = "", answer: str = "", more: str = "") -> Path:
    folder.mkdir(parents=True)
    (folder / "net.py").write_text(NET.format(top=top, made=made, answer=answer, more=more))
    (folder / "card.toml").write_text(CARD)
    return folder


def load_on_a_thread(folder: Path) -> camserve.Model:
    """As the service does; the main thread's KeyboardInterrupt is the user's."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(camserve.load, folder).result()


@pytest.mark.parametrize("line", ["raise Gone('far')", "raise KeyboardInterrupt('far')", "raise GeneratorExit('far')"])
@pytest.mark.parametrize("where", ["top", "made", "answer"])
def test_what_is_no_exception_is_a_model_error_too(tmp_path: Path, where: str, line: str) -> None:
    with pytest.raises(ModelError, match="far"):
        load_on_a_thread(write(tmp_path / "net", **{where: line}))


@pytest.mark.parametrize(
    "more", ["def __getattr__(self, name): raise RuntimeError(name)", "def __deepcopy__(self, memo): raise Gone('far')"]
)
def test_a_module_that_cannot_be_looked_at_is_a_model_error(tmp_path: Path, more: str) -> None:
    with pytest.raises(ModelError):
        load_on_a_thread(write(tmp_path / "net", more=more))


def test_the_user_s_own_interrupt_goes_through(tmp_path: Path) -> None:
    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(KeyboardInterrupt):
        camserve.load(write(tmp_path / "net", top="raise KeyboardInterrupt"))


def test_torch_is_as_before_whatever_a_network_sets(tmp_path: Path) -> None:
    for number, top in enumerate(("torch.set_default_device('meta')", "torch.set_default_dtype(torch.float64)")):
        with pytest.raises(ModelError):
            camserve.load(write(tmp_path / str(number), top=f"{top}\nraise Gone"))
    assert (torch.get_default_dtype(), nn.Linear(1, 1).weight.device.type) == (torch.float32, "cpu")
    torch.set_default_device("meta")  # the user's own stays
    try:
        with pytest.raises(ModelError):
            camserve.load(write(tmp_path / "own", top="raise Gone"))
        assert nn.Linear(1, 1).weight.device.type == "meta"
    finally:
        torch.set_default_device(None)


def test_a_key_without_end_is_refused_at_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "net")
    (folder / "card.toml").write_text(".".join(["a"] * 20_000) + " = 1\n")
    start = time.monotonic()
    seen = look_at(folder / "card.toml", load_settings(environ={}).models)
    assert seen.error is not None
    assert "has a key of more than 50 parts" in seen.error
    assert time.monotonic() - start < 1


def test_a_model_that_loads_for_ever_keeps_no_other_from_loading(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"slow{number}", top="time.sleep(5)")
    write(tmp_path / "good")
    overrides: dict[str, dict[str, Any]] = {
        "models": {"folders": [tmp_path]},
        "serve": {"deadline_seconds": 3, "queue": 30},
    }
    service = Service(load_settings(environ={}, overrides=overrides))
    service.load()
    app, start = create_app(service=service), time.monotonic()
    paths = [f"/api/v1/models/slow{number}/{what}" for number in range(3) for what in ("layers", "classes")]
    waiting = [threading.Thread(target=app.test_client().get, args=(path,)) for path in paths]
    for one in waiting:
        one.start()
    while service.gate.costly < len(waiting):
        time.sleep(0.01)
    answer = app.test_client().post("/api/v1/explain?model=good", data=PNG, content_type="image/png")
    assert answer.status_code == 200, answer.text
    assert time.monotonic() - start < 4
    for one in waiting:
        one.join()
    service.close()
