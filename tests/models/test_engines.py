"""Engines: OpenVINO gives what torch gives, wherever it is taken; where it cannot, torch runs and a line says why."""

import logging
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import picture
from torch import Tensor, fx, nn

import camserve
from camserve.config import load_settings
from camserve.errors import ConfigError, SizeError
from camserve.models.engines import engine as engines

if find_spec("openvino") is None:
    pytest.skip("camserve[openvino] is not installed", allow_module_level=True)
from camserve.models.engines import compiled_model, kept_models

SIZES = [(224, 224), (299, 240), (257, 391), (33, 40), (1, 1)]


def load(engine: str, network: Any = "efficientnet-lite0", **compute: Any) -> camserve.Model:
    settings = load_settings(overrides={"compute": {"engine": engine, **compute}})
    return camserve.load(network, settings=settings)


@pytest.fixture(scope="module")
def pair() -> tuple[camserve.Model, camserve.Model]:
    """The embedded model on either engine."""
    return load("torch"), load("openvino")


class Net(nn.Module):
    """Two convolutions with batch normalisation, and a linear head."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.norm = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)
        self.second, self.fc = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.second(self.norm(self.first(x)).relu()).mean((2, 3)))


@fx.wrap
def times_its_width(x: Tensor) -> Tensor:
    """The tracer that OpenVINO uses takes the width for a constant."""
    return x * float(x.shape[-1])


class Measured(Net):
    """What changes with the size in a way that is lost on conversion."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(times_its_width(x))


class Unknown(Net):
    """What torch.fx cannot trace."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.sum() > 0 else -x)


@pytest.mark.parametrize("size", SIZES)
def test_activations_logits_and_maps_are_torch_s(
    pair: tuple[camserve.Model, camserve.Model], size: tuple[int, int]
) -> None:
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    ours, theirs = (model.layer() for model in pair)
    for one, other in zip(ours.engine(images), theirs.engine(images), strict=True):
        if isinstance(one, Tensor):
            torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(theirs.class_maps(images), ours.class_maps(images), rtol=1e-4, atol=1e-4)


def test_explanations_agree_and_say_who_made_them(pair: tuple[camserve.Model, camserve.Model], cat: Path) -> None:
    by_torch, by_openvino = (model.explain(cat) for model in pair)
    assert (by_torch.engine, by_openvino.engine) == ("torch", "openvino")
    assert by_openvino.class_index == by_torch.class_index
    np.testing.assert_allclose(by_openvino.map, by_torch.map, rtol=1e-4, atol=1e-4)
    assert by_openvino.completeness is not None
    assert by_openvino.completeness < 1e-4
    assert by_openvino.provenance()["engine"] == "openvino"
    assert by_openvino.provenance()["versions"]["openvino"]
    assert "openvino" not in by_torch.provenance()["versions"]


@pytest.mark.parametrize("method", ["gradcam++", "scorecam", "layercam"])
def test_methods_that_ask_more_agree(pair: tuple[camserve.Model, camserve.Model], method: str) -> None:
    by_torch, by_openvino = (model.explain(picture(3), size=64, method=method) for model in pair)
    scale = np.abs(by_torch.map).max()
    np.testing.assert_allclose(by_openvino.map / scale, by_torch.map / scale, atol=1e-3)


def test_threads_that_share_a_model_get_the_serial_bits(pair: tuple[camserve.Model, camserve.Model]) -> None:
    model, made = pair[1], {}
    images = [picture(seed, size=(90 + 20 * seed, 70)) for seed in range(4)]

    def explain(number: int) -> None:
        made[number] = [model.explain(images[number]).map for _ in range(3)]

    threads = [threading.Thread(target=explain, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, image in enumerate(images):
        alone = model.explain(image).map
        assert all(np.array_equal(one, alone) for one in made[number])


def test_large_inputs_go_another_way_to_the_same_bits(
    pair: tuple[camserve.Model, camserve.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.randn(1, 3, 96, 130, generator=torch.Generator().manual_seed(1))
    engine = pair[1].layer().engine
    small = engine(images)
    monkeypatch.setattr(compiled_model, "LARGE", 3 * 96 * 130 - 1)
    large = engine(images)
    assert torch.equal(small[0], large[0])
    assert torch.equal(small[2], large[2])


def test_a_model_that_has_seen_many_sizes_forgets_them_and_answers_as_before(
    pair: tuple[camserve.Model, camserve.Model],
) -> None:
    made = pair[1]
    engine = made.layer().engine
    compiled = engine.observed  # type: ignore[attr-defined]
    inputs = [torch.rand(1, 3, 64 + side, 64, generator=torch.Generator().manual_seed(side)) for side in range(20)]
    before, model = [engine(one)[2] for one in inputs], compiled._models[False]
    made.forget_sizes()
    assert compiled._models[False] is not model
    assert all(torch.equal(engine(one)[2], known) for one, known in zip(inputs, before, strict=True))
    compiled._sizes.clear()
    engine(inputs[0])
    kept = compiled._models[False]
    made.forget_sizes()
    assert compiled._models[False] is kept  # for few sizes it is not worth it


def test_auto_takes_openvino_for_a_card_s_own_layer_only(model: camserve.Model) -> None:
    assert model.layer().engine.name == "openvino"
    assert model.layer("blocks.10").engine.name == "torch"
    assert model.layer(output_stride=16).engine.name == "torch"
    assert camserve.load(Net()).layer().engine.name == "torch"
    assert load("openvino", Net()).layer().engine.name == "openvino"
    assert load("openvino", Net()).layer("first").engine.name == "openvino"


def test_without_openvino_auto_is_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    assert load("auto").layer().engine.name == "torch"


@pytest.mark.parametrize(
    ("network", "reason"),
    [(Measured, "at 277 x 256 it differs from torch by"), (Unknown, "its graph is not known")],
)
def test_what_openvino_cannot_run_falls_back_with_one_line(
    network: type[nn.Module], reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(
        ConfigError, match=rf"'openvino' cannot run layer 'second': .*{reason}.* 'auto' and 'torch' can"
    ):
        load("openvino", network())
    torch.save(network().state_dict(), tmp_path / "weights.pth")
    card = f'architecture = "test_engines:{network.__name__}"\nweights = "weights.pth"\n'
    (tmp_path / "card.toml").write_text(card)
    with caplog.at_level(logging.WARNING, "camserve"):
        made = load("auto", tmp_path)
    assert made.layer().engine.name == "torch"
    (line,) = caplog.messages
    assert line.startswith("OpenVINO cannot run layer 'second' (")
    assert reason in line


def test_a_network_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load("openvino", Net(), cache=str(tmp_path / "cache")).explain(picture())
    (kept,) = (tmp_path / "cache").iterdir()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("converted again")

    monkeypatch.setattr("openvino.convert_model", refuse)
    again = load("openvino", Net(), cache=str(tmp_path / "cache")).explain(picture())
    assert np.array_equal(first.map, again.map)
    assert list((tmp_path / "cache").iterdir()) == [kept]
    with pytest.raises(ConfigError, match="converted again"):  # other weights are another network
        load("openvino", Net(seed=1), cache=str(tmp_path / "cache"))


def test_only_the_latest_few_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_models, "KEPT", 2)
    for seed in range(4):
        load("openvino", Net(seed), cache=str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_cannot_be_written_costs_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    model = load("openvino", Net(), cache=str(tmp_path / "file"))
    assert model.layer().engine.name == "openvino"
    (line,) = caplog.messages
    assert line.startswith(f"cannot keep the converted model in '{tmp_path / 'file'}': ")
    assert load("openvino", Net(), cache="").layer().engine.name == "openvino"


def test_a_size_that_the_network_does_not_take_is_an_error_in_words(tmp_path: Path) -> None:
    fixed = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(1), nn.Linear(4 * 7 * 7, 3))
    settings = load_settings(overrides={"compute": {"engine": "openvino"}})
    model = camserve.load(fixed, settings=settings, size=16)
    assert model.layer().engine.name == "openvino"
    with pytest.raises(camserve.CamserveError, match="the network fails on an input of 9 x 8 pixels"):
        model.layer().observe(torch.zeros(1, 3, 8, 9))


def test_openvino_reports_to_nobody() -> None:
    ask = "import camserve.models.engines.compiled_model, sys; print(sys.modules['openvino_telemetry'])"
    result = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert result.stdout == "None\n"


def test_a_cache_that_fails_costs_time_only(tmp_path: Path) -> None:
    first = load("openvino", Net(), cache=str(tmp_path)).explain(picture())
    (kept,) = tmp_path.iterdir()
    for blob in (kept / "compiled").iterdir():
        blob.unlink()
    (kept / "compiled").rmdir()
    (kept / "compiled").write_text("a file where the folder should be")
    again = load("openvino", Net(), cache=str(tmp_path)).explain(picture())
    assert again.engine == "openvino"
    assert np.array_equal(first.map, again.map)


def test_a_damaged_cache_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = load("openvino", Net(), cache=str(tmp_path)).explain(picture())
    (kept,) = tmp_path.iterdir()
    (kept / "model.xml").write_text("no model")
    again = load("openvino", Net(), cache=str(tmp_path)).explain(picture())
    assert np.array_equal(first.map, again.map)
    assert caplog.messages == [f"the converted model in '{kept}' cannot be read: it is made again (compute.cache)"]
    caplog.clear()
    load("openvino", Net(), cache=str(tmp_path))
    assert caplog.messages == []


def test_what_may_only_be_read_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    load("openvino", Net(), cache=str(tmp_path))

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)  # root, as which tests may run, is refused nothing
    monkeypatch.setattr("openvino.convert_model", refuse)
    assert load("openvino", Net(), cache=str(tmp_path)).layer().engine.name == "openvino"
    assert caplog.messages == []


def test_bfloat16_is_near_and_said(pair: tuple[camserve.Model, camserve.Model], cat: Path) -> None:
    exact, short = pair[1].explain(cat), load("openvino", precision="bfloat16").explain(cat)
    assert short.class_index == exact.class_index
    assert np.corrcoef(short.map.ravel(), exact.map.ravel())[0, 1] > 0.99
    assert (exact.provenance()["precision"], short.provenance()["precision"]) == ("float32", "bfloat16")
    assert load("torch", precision="bfloat16").explain(cat).provenance()["precision"] == "float32"
    of_engines = [model.layer().engine.precision for model in (*pair, load("openvino", precision="bfloat16"))]
    assert of_engines == ["float32", "float32", "bfloat16"]


def test_a_size_that_fails_leaves_the_others_working(tmp_path: Path) -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    settings = load_settings(environ={}, overrides={"compute": {"engine": "openvino", "cache": str(tmp_path)}})
    model = camserve.load(nn.Sequential(*body, nn.Linear(4, 2)), settings=settings, size=32)
    before = model.explain(picture())
    assert before.engine == "openvino"
    for _ in range(3):
        with pytest.raises(SizeError, match="2 pixels: Calculated padded input size"):
            model.explain(picture(), size=2)
        assert np.array_equal(model.explain(picture()).map, before.map)
        assert len(model.class_maps(picture())) == 2
