"""Who asks for a layer waits for that layer only, and nobody builds what somebody else is building."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import nn

import camserve
from camserve.models import layer
from camserve.models.layer import Layer

PATIENCE = 20


@pytest.fixture
def small() -> camserve.Model:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
    return camserve.load(nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)), size=32)


class Slow:
    """Builds layers when it is let go on, and counts."""

    def __init__(self) -> None:
        self.begun, self.go_on, self.built = threading.Event(), threading.Event(), list[str]()

    def __call__(self, network: Any, name: str, *rest: Any) -> Layer:
        """In place of `Layer`."""
        self.built.append(name)
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        return Layer(network, name, *rest)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    made = Slow()
    monkeypatch.setattr(layer, "Layer", made)
    return made


def test_a_layer_that_is_ready_never_waits_for_one_that_is_built(small: camserve.Model, slow: Slow) -> None:
    ready = small.layer()
    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(small.layer, "0.0")
        assert slow.begun.wait(PATIENCE)
        assert pool.submit(small.layer).result(PATIENCE) is ready
        assert not other.done()
        slow.go_on.set()
        assert other.result(PATIENCE).name == "0.0"


def test_two_who_ask_for_a_new_layer_build_it_once(small: camserve.Model, slow: Slow) -> None:
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(small.layer, "0.0") for _ in range(4)]
        assert slow.begun.wait(PATIENCE)
        slow.go_on.set()
        layers = {id(one.result(PATIENCE)) for one in asked}
    assert len(layers) == 1 and slow.built == ["0.0"]


def test_two_layers_are_built_at_the_same_time(small: camserve.Model, slow: Slow) -> None:
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(small.layer, "0.0")
        assert slow.begun.wait(PATIENCE)
        slow.begun.clear()
        second = pool.submit(small.layer, "0.1")
        assert slow.begun.wait(PATIENCE)
        assert not first.done() and not second.done()
        slow.go_on.set()
        assert [one.result(PATIENCE).name for one in (first, second)] == ["0.0", "0.1"]


def test_who_waited_for_a_layer_that_fails_gets_the_error_too(small: camserve.Model) -> None:
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(small.layer, "nonesuch") for _ in range(2)]
        assert all("unknown layer 'nonesuch'" in str(one.exception(PATIENCE)) for one in asked)
    assert small.layer("0.0").name == "0.0"
