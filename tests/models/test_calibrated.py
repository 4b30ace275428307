"""compute.precision = "int8": calibrated on photographs, with maps that still add up to the logit."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import picture
from torch import nn

import camserve
from camserve.config import Settings, load_settings
from camserve.errors import ConfigError
from camserve.models.inputs.calibration_photos import LEAST, MOST, calibration_mark

# not importorskip: imported before camserve, OpenVINO reports its use; nncf starts threads
pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibration")
    for number in range(LEAST + 4):
        picture(number).save(folder / f"{number}.png")
    (folder / "labels.csv").write_text("no picture\n")
    return folder


def int8(calibration: Path | str, **compute: object) -> Settings:
    asked = {"precision": "int8", "engine": "openvino", "calibration": str(calibration), "workers": 1}
    return load_settings(environ={}, overrides={"compute": {**asked, **compute}})


def network() -> nn.Module:
    """Two convolutions whose answers are far apart."""
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5),
    )  # fmt: skip
    with torch.no_grad():
        net[-1].bias.copy_(torch.tensor([4.0, 0, 0, 0, 0]))
    return net.eval()


@pytest.mark.skipif(find_spec("nncf") is None, reason="nncf is not installed")
def test_a_calibrated_network_is_near_the_own_and_its_maps_add_up(calibration: Path, cache: Path) -> None:
    net = network()
    plain = camserve.load(net, settings=load_settings(environ={}, overrides={"compute": {"engine": "torch"}}))
    made = camserve.load(net, settings=int8(calibration, cache=str(cache / "int8")))
    image = picture(99)
    one, two = plain.explain(image, target=1), made.explain(image, target=1)
    assert (two.origin.engine, two.origin.precision) == ("openvino", "int8")
    off = np.abs(one.logits - two.logits).max() / np.ptp(one.logits)
    assert 1e-5 < off < 0.02  # other numbers, and not by much
    assert np.corrcoef(one.map.ravel(), two.map.ravel())[0, 1] > 0.99
    assert two.completeness is not None
    assert two.completeness < 1e-5
    maps = made.class_maps(image)
    assert np.allclose(maps[1], two.map, atol=1e-5)
    kept = camserve.load(net, settings=int8(calibration, cache=str(cache / "int8"))).explain(image, target=1)
    assert np.array_equal(kept.map, two.map)


def test_photographs_are_asked_for(tmp_path: Path) -> None:
    picture().save(tmp_path / "one.png")
    for folder, said in (
        ("", "give their folder as compute.calibration"),
        (tmp_path, "has 1 photographs; allowed are"),
    ):
        with pytest.raises(ConfigError, match=said):
            camserve.load(network(), settings=int8(folder))
    with pytest.raises(ConfigError, match="has 0 photographs"):
        camserve.load(network(), settings=int8(tmp_path / "nowhere"))


def test_files_that_are_no_photographs_do_not_count(tmp_path: Path) -> None:
    for number in range(LEAST):
        (tmp_path / f"{number}.txt").write_text("no picture")
    with pytest.raises(ConfigError, match="has 0 photographs"):
        camserve.load(network(), settings=int8(tmp_path))


def test_other_photographs_are_another_network(calibration: Path, tmp_path: Path) -> None:
    for number in range(MOST // 8):
        picture(number, (8, 8)).save(tmp_path / f"{number}.png")
    marks = [calibration_mark(int8(folder).compute) for folder in (calibration, tmp_path)]
    picture(77, (8, 8)).save(tmp_path / "0.png")
    assert len({*marks, calibration_mark(int8(tmp_path).compute)}) == 3
    assert calibration_mark(load_settings(environ={}).compute) == ""
