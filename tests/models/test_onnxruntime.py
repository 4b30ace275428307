"""onnxruntime as an engine: the same numbers as torch, at every size, and words where it cannot run."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import camserve
from camserve.config import load_settings
from camserve.errors import ConfigError

if any(find_spec(name) is None for name in ("onnxruntime", "onnxscript")):
    pytest.skip("camserve[onnx] is not installed", allow_module_level=True)

PHOTO = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)


class Residual(nn.Module):
    """A head that needs what comes before the layer besides it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        early = self.first(x).relu()
        return self.fc((early + self.second(early).relu()).mean((2, 3)))


def load(engine: str, cache: Path | str = "", **compute: Any) -> camserve.Model:
    settings = load_settings(overrides={"compute": {"engine": engine, "cache": str(cache), **compute}})
    return camserve.load(Residual(), settings=settings, size=64)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("layer", [None, "second"])
@pytest.mark.parametrize("size", ["fit", 33, 97])
def test_maps_logits_and_scores_are_torch_s(cache: Path, layer: str | None, size: str | int) -> None:
    ours, theirs = (load(engine, cache).explain(PHOTO, layer=layer, size=size) for engine in ("onnxruntime", "torch"))
    assert ours.provenance()["engine"] == "onnxruntime"
    assert np.allclose(ours.map, theirs.map, atol=1e-5 * np.abs(theirs.map).max())
    assert np.allclose(ours.logits, theirs.logits, atol=1e-5)


def test_a_network_is_exported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load("onnxruntime", tmp_path).explain(PHOTO)
    (kept,) = tmp_path.iterdir()
    assert [file.name for file in kept.iterdir()] == ["model.onnx"]

    def again(*_: Any, **__: Any) -> None:
        raise AssertionError("exported again")

    monkeypatch.setattr(torch.onnx, "export", again)
    assert np.array_equal(first.map, load("onnxruntime", tmp_path).explain(PHOTO).map)


def test_a_damaged_cache_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = load("onnxruntime", tmp_path).explain(PHOTO)
    (kept,) = tmp_path.iterdir()
    (kept / "model.onnx").write_text("no model")
    assert np.array_equal(first.map, load("onnxruntime", tmp_path).explain(PHOTO).map)
    said = [record.getMessage() for record in caplog.records if record.name == "camserve"]  # the exporter says more
    assert said == [f"the converted model in '{kept}' cannot be read: it is made again (compute.cache)"]


def test_what_it_cannot_do_is_said(cache: Path) -> None:
    with pytest.raises(ConfigError, match="'onnxruntime' cannot run layer .*: it computes in float32, not in bfloat16"):
        load("onnxruntime", cache, precision="bfloat16")
    refused = cache / "refused"
    refused.write_text("")
    assert load("onnxruntime", refused).layer().engine.name == "onnxruntime"  # a line in the log says so
