"""What errs is not run: a folding or an engine broken on purpose gives way to the next one that answers rightly."""

import contextlib
import copy
import importlib
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from oracles import answer_of, assert_same, class_maps_of, gradcam_of, input_of, lively, load, pixels
from torch import Tensor, fx, nn

from camserve.config import load_settings
from camserve.errors import ConfigError, OptionError
from camserve.graph.heads import Head, LinearHead
from camserve.graph.trace import trace
from camserve.models import layer as layers
from camserve.models.engines.engine import TorchEngine, engine_for, prepared

SIDE = 64


@pytest.fixture(scope="module", autouse=True)
def converter() -> None:
    """OpenVINO starts a thread when it is imported, and it stays."""
    with contextlib.suppress(ImportError):
        importlib.import_module("camserve.models.engines.openvino_engine")


class Whole(nn.Module):
    """Two convolutions with batch normalisation, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.act = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()
        self.last, self.fc = nn.Conv2d(8, 8, 3, 2, 1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.last(self.act(self.norm(self.first(x)))).mean((2, 3)))


@pytest.fixture
def whole() -> Whole:
    return lively(Whole(), SIDE)


def dropped(kind: type[nn.Module]) -> Callable[[nn.Module], nn.Module]:
    """`prepared`, which leaves every layer of that kind out on the way."""

    def broken(body: nn.Module) -> nn.Module:
        made = prepared(copy.deepcopy(body))
        for name, part in list(made.named_modules()):
            if isinstance(part, kind):
                made.set_submodule(name, nn.Identity())
        return made

    return broken


def test_where_folding_errs_the_network_runs_unfolded(
    whole: Whole, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(layers, "prepared", dropped(nn.ReLU))
    with caplog.at_level(logging.WARNING, "camserve"):
        model = load(whole, SIDE)
        photo = pixels(SIDE)
        found = model.explain(photo, size=SIDE, target=1)
    assert_same(found.logits, answer_of(whole, input_of(photo)), share=1e-5)
    (said,) = caplog.messages
    assert re.search(r"runs in a slower way, since at 64 x 64 pixels its logits differ by [\d.]+ of their spread", said)
    assert any(isinstance(part, nn.BatchNorm2d) for part in model.layer().on_torch.body.modules())


def test_where_folding_errs_a_dilated_network_runs_unfolded(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {"size": SIDE, "layer": "last", "output_stride": 2, "method": "gradcam", "target": 1}
    right = load(whole, SIDE).explain(pixels(SIDE), **asked)
    monkeypatch.setattr(layers, "prepared", dropped(nn.ReLU))
    model = load(whole, SIDE)
    found = model.explain(pixels(SIDE), **asked)
    assert found.map.shape == (32, 32)
    assert_same(found.map, right.map, share=1e-5)
    assert_same(found.logits, right.logits, share=1e-5)


def test_where_nothing_errs_the_network_runs_folded(whole: Whole, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "camserve"):
        model = load(whole, SIDE)
        model.explain(pixels(SIDE), size=SIDE)
    assert not caplog.records
    assert not any(isinstance(part, nn.BatchNorm2d) for part in model.layer().on_torch.body.modules())


def misjudged(module: nn.Module) -> Head:
    """A head of pooling and one linear layer, taken for one of another bias."""
    linear = next(part for part in module.modules() if isinstance(part, nn.Linear))
    return LinearHead(module, linear.weight.detach(), linear.bias.detach() + 1)


@pytest.mark.parametrize("folding_errs", [False, True])
def test_a_head_taken_for_another_is_found_by_its_numbers(
    whole: Whole, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, folding_errs: bool
) -> None:
    monkeypatch.setattr(layers, "head_of", misjudged)
    if folding_errs:
        monkeypatch.setattr(layers, "prepared", dropped(nn.ReLU))
    with caplog.at_level(logging.WARNING, "camserve"):
        model, photo = load(whole, SIDE), pixels(SIDE)
        found = model.explain(photo, size=SIDE)
    images = input_of(photo)
    assert_same(found.logits, answer_of(whole, images), share=1e-5)
    folded = not any(isinstance(part, nn.BatchNorm2d) for part in model.layer().on_torch.body.modules())
    assert folded is not folding_errs
    assert len(caplog.messages) == (3 if folding_errs else 2)  # the ways that were tried before
    with torch.no_grad():
        features = whole.last(whole.act(whole.norm(whole.first(images))))[0]
    assert found.method == "cam"
    assert_same(model.class_maps(photo, size=SIDE), class_maps_of(whole.fc.weight, features), share=1e-4)


def test_a_traced_graph_that_errs_gives_way_to_the_module_itself(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    def traced_otherwise(module: nn.Module, keyword: str | None = None) -> fx.GraphModule:
        other = copy.deepcopy(module)
        other.set_submodule("act", nn.Identity())
        return trace(other, keyword)

    monkeypatch.setattr("camserve.graph.given_graph.trace", traced_otherwise)
    model, photo = load(whole, SIDE), pixels(SIDE)
    assert model.network.graph is None
    found = model.explain(photo, size=SIDE, method="gradcam", target=1)
    images = input_of(photo)
    assert_same(found.logits, answer_of(whole, images), share=1e-5)
    assert (found.layer, found.map.shape) == ("last", (16, 16))
    assert_same(found.map, gradcam_of(whole, "last", images, 1, grid=(16, 16)))


def test_a_cut_that_errs_is_refused_in_words(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(whole, SIDE)
    halves = model.network.cut("act")
    monkeypatch.setattr(model.network, "cut", lambda *_: replace(halves, body=dropped(nn.ReLU)(halves.body)))
    with pytest.raises(OptionError, match=r"cut at layer 'act' the network gives other answers: at 64 x 64 pixels"):
        model.explain(pixels(SIDE), size=SIDE, layer="act")


@pytest.fixture
def engine_that_errs(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO's engine, of which one logit is off by a hundredth of their spread at other sizes than its own."""
    pytest.importorskip("openvino", reason="camserve[openvino] is not installed")

    class Errs:
        name = "openvino"

        def __init__(self, torch_engine: TorchEngine, *_: Any, **__: Any) -> None:
            self._torch = torch_engine

        def __call__(self, images: Tensor) -> tuple[Tensor, Any, Tensor]:
            activations, carried, logits = self._torch(images)
            error = 0 if images.shape[2:] == (SIDE, SIDE) else 0.01 * (logits.max() - logits.min())
            return activations, carried, logits + error * torch.eye(5)[0]

    monkeypatch.setattr("camserve.models.engines.openvino_engine.OpenVinoEngine", Errs)


@pytest.mark.usefixtures("engine_that_errs")
def test_an_engine_that_errs_is_not_taken(whole: Whole, caplog: pytest.LogCaptureFixture) -> None:
    model = load(whole, SIDE)
    on_torch, compute = model.layer().on_torch, load_settings(overrides={"compute": {"engine": "auto"}}).compute
    with caplog.at_level(logging.WARNING, "camserve"):
        assert engine_for(on_torch, compute, model.network, "layer 'last'") is on_torch
    (said,) = caplog.messages
    where = "{} x {}".format(*model.network.given.probes[1].size)
    assert said.startswith(f"OpenVINO cannot run layer 'last' (at {where} it differs from torch by ")
    assert said.endswith("; torch runs it instead")


@pytest.mark.usefixtures("engine_that_errs")
def test_what_all_logits_have_in_common_hides_no_error(whole: Whole, caplog: pytest.LogCaptureFixture) -> None:
    with torch.no_grad():
        whole.fc.bias.add_(1000)
    model = load(whole, SIDE)
    on_torch, compute = model.layer().on_torch, load_settings(overrides={"compute": {"engine": "auto"}}).compute
    assert engine_for(on_torch, compute, model.network, "it") is on_torch
    assert len(caplog.messages) == 1


@pytest.mark.usefixtures("engine_that_errs")
def test_an_engine_that_errs_is_refused_where_it_is_asked_for_by_name(whole: Whole) -> None:
    with pytest.raises(ConfigError, match="'openvino' cannot run layer .* it differs from torch by .* 'auto' and"):
        load(whole, SIDE, engine="openvino").explain(pixels(SIDE), size=SIDE)
