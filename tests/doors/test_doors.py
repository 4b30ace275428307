"""Three doors, one answer: API, command line and HTTP give the same map bit for bit."""

import json
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from conftest import QUICK

import camserve

OPTIONS = [
    {},
    {"method": "gradcam", "target": "tiger cat"},
    {"method": "layercam", "layer": "blocks.10", "size": "crop"},
    {"method": "gradcam++", "layer": "blocks.4", "size": "200"},
    {"target": "tiger cat-Egyptian cat"},
    {"target": "-predicted", "quantity": "log-softmax"},
]


def by_command_line(cat: Path, options: dict[str, str], tmp_path: Path) -> np.ndarray:
    flags = [part for key, value in options.items() for part in (f"--{key}", value)]
    command = [sys.executable, "-m", "camserve", "explain", str(cat), "-o", str(tmp_path), "--json", *flags]
    facts = json.loads(subprocess.check_output(command, text=True))
    grid_map = np.load(tmp_path / cat.name / "map.npy")
    assert np.array_equal(np.array(facts["map"], np.float32), grid_map)
    return grid_map


def by_http(server: str, cat: Path, options: dict[str, str]) -> np.ndarray:
    query = urllib.parse.urlencode(options)
    request = urllib.request.Request(
        f"{server}/api/v1/explain?{query}",
        data=cat.read_bytes(),
        headers={"Content-Type": "image/png", "Accept": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return np.array(json.load(answer)["map"], np.float32)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: " ".join(options.values()) or "defaults")
def test_the_same_map_through_every_door(
    model: camserve.Model, cat: Path, server: str, tmp_path: Path, options: dict[str, str]
) -> None:
    by_api = model.explain(cat, **options).map  # type: ignore[arg-type]
    assert np.array_equal(by_command_line(cat, options, tmp_path), by_api)
    assert np.array_equal(by_http(server, cat, options), by_api)


@pytest.mark.parametrize("method", QUICK)
def test_every_quick_method_is_the_same_over_http(model: camserve.Model, cat: Path, server: str, method: str) -> None:
    assert np.array_equal(by_http(server, cat, {"method": method}), model.explain(cat, method=method).map)
