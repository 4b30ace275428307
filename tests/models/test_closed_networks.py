"""A card's network in closed form, kept for the next start: the same answers, with no torch, or met anew."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import picture

import camserve
from camserve.config import load_settings
from camserve.models.compiled.closed import Closed
from camserve.models.compiled.closed_network import ClosedNetwork

SIZES = [(500, 400), (224, 224), (97, 301), (640, 360), (257, 255)]


def load(cache: Path, **compute: object) -> camserve.Model:
    settings = load_settings(environ={}, overrides={"compute": {"cache": str(cache), **compute}})
    return camserve.load("efficientnet-lite0", settings=settings)


def is_met(model: camserve.Model) -> bool:
    """Whether its network has been looked at in torch."""
    return model._known is not None


def facts(explanation: camserve.Explanation) -> dict[str, object]:
    found = explanation.to_dict()
    found.pop("timing", None)
    return found


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def first(cache: Path) -> camserve.Model:
    return load(cache)


@pytest.fixture(scope="module")
def later(first: camserve.Model, cache: Path) -> camserve.Model:
    return load(cache)


def closed_of(model: camserve.Model) -> Closed:
    assert isinstance(model.closed, ClosedNetwork)
    return model.closed


def test_a_later_start_answers_alike(first: camserve.Model, later: camserve.Model) -> None:
    assert is_met(first) and not is_met(later)
    assert later.described == first.described
    assert later.labels == first.labels and later.default_layer == first.default_layer
    assert later.engine.name == first.engine.name == "openvino"
    for seed, size in enumerate(SIZES):
        for way in ("fit", "crop", "native"):
            one, other = (model.explain(picture(seed, size), size=way) for model in (first, later))
            assert np.array_equal(one.map, other.map) and np.array_equal(one.logits, other.logits)
            assert one.placement == other.placement and facts(one) == facts(other)
    assert np.array_equal(first.class_maps(picture(0)), later.class_maps(picture(0)))
    assert not is_met(later)


def test_it_says_what_the_network_says(first: camserve.Model) -> None:
    """Held against the same layer, run and added up as any network's."""
    layer = first.layer()
    for seed, size in enumerate(SIZES):
        closed, by_network = (first.explain(picture(seed, size), method=name) for name in ("cam", "hirescam"))
        height, width = closed.map.shape
        scale = np.abs(closed.map).max()
        np.testing.assert_allclose(closed.map, by_network.map * (height * width), atol=2e-6 * scale)
        np.testing.assert_allclose(closed.logits, by_network.logits, atol=1e-5)
        assert closed.placement == by_network.placement and closed.warnings == by_network.warnings
        grid = closed.placement.grid
        assert closed_of(first).placement(closed.placement.frame, grid) == layer.placement(closed.placement.frame, grid)
    for more in range(64):
        assert closed_of(first).field(224 + more) == layer.field(224 + more)


def test_more_than_the_closed_form_meets_the_network(cache: Path, first: camserve.Model) -> None:
    later = load(cache)
    assert np.array_equal(
        later.explain(picture(1), method="layercam").map, first.explain(picture(1), method="layercam").map
    )
    assert is_met(later) and list(later.layers()) == list(first.layers())


def test_sizes_that_fail_are_said_in_the_same_words(first: camserve.Model, later: camserve.Model) -> None:
    words = []
    for model in (first, later):
        try:
            words.append(str(facts(model.explain(picture(0, (3, 2)), size="native"))))
        except camserve.CamserveError as error:
            words.append(str(error))
    assert words[0] == words[1]


def test_what_is_not_what_it_was_is_met_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = load(tmp_path).explain(picture(2)).map
    (kept,) = (tmp_path / "closed").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    again = load(tmp_path)
    assert is_met(again) and np.array_equal(again.explain(picture(2)).map, expected)
    assert "cannot be read" in caplog.text
    assert not is_met(load(tmp_path))
    (weights,) = tmp_path.glob("openvino-*/model.bin")
    changed = bytearray(weights.read_bytes())
    changed[1000] ^= 1
    weights.write_bytes(changed)
    assert is_met(load(tmp_path))


def test_other_settings_and_names_are_kept_apart(tmp_path: Path, first: camserve.Model) -> None:
    load(tmp_path)
    assert is_met(load(tmp_path, precision="bfloat16"))
    assert load(tmp_path, precision="bfloat16").engine.precision == "bfloat16"
    settings = load_settings(environ={}, overrides={"compute": {"cache": str(tmp_path)}})
    names = [f"thing {index}" for index in range(1000)]
    for _ in range(2):
        assert camserve.load("efficientnet-lite0", settings=settings, labels=names).labels[7] == "thing 7"
    assert load(tmp_path).labels == first.labels
    assert load(tmp_path, engine="torch").closed is None


def test_nothing_is_kept_without_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for _ in range(2):
        model = load_settings(environ={}, overrides={"compute": {"cache": ""}})
        assert is_met(camserve.load("efficientnet-lite0", settings=model))
    assert not list(tmp_path.rglob("*.npz"))


@pytest.mark.parametrize("words", [["explain", "photos/cat.jpg", "-o", "OUT"], ["batch", "photos", "OUT", "--quiet"]])
def test_a_later_start_needs_no_torch(first: camserve.Model, cache: Path, tmp_path: Path, words: list[str]) -> None:
    command = [word.replace("OUT", str(tmp_path / "out")) for word in words]
    run = f"from camserve.cli import main\ntry: main({command!r})\n"
    script = f"import sys; {run}finally: print('torch' in sys.modules)"
    environ = {"PATH": "", "HOME": str(tmp_path), "CAMSERVE_COMPUTE_CACHE": str(cache)}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"
