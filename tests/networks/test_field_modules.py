"""Modules of the field that are no plain float32 networks: explained right, or refused in a sentence."""

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from oracles import (
    answer_of,
    assert_same,
    at_layer,
    class_maps_of,
    explained_or_refused,
    gradcam_of,
    input_of,
    lively,
    load,
    pixels,
)
from torch import Tensor, nn
from torch.nn import functional as F

SIDE, CLASSES = 64, 5


class Net(nn.Module):
    """Maps (N, 16, H / 4, W / 4), global average pooling, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.pool, self.flat, self.fc = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.flat(self.pool(self.body(x))))


def made(kind: Callable[[], nn.Module] = Net) -> Any:
    return lively(kind(), SIDE)


def quietly(make: Callable[[], Any]) -> Any:
    """What torch gives while it calls its own function deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


def scripted() -> Any:
    return quietly(lambda: torch.jit.script(made()))


def jit_traced() -> Any:
    return quietly(lambda: torch.jit.trace(made(), input_of(pixels(SIDE))))


def saved_program() -> Any:
    return torch.export.export(made(), (input_of(pixels(SIDE)),)).module()


def int8_linear() -> Any:
    quantise = pytest.importorskip("torch.ao.quantization", reason="torch has no eager quantisation any more")
    return quietly(lambda: quantise.quantize_dynamic(made(), {nn.Linear}, dtype=torch.qint8))


def int8() -> Any:
    quantise = pytest.importorskip("torch.ao.quantization", reason="torch has no eager quantisation any more")

    def convert() -> Any:
        net = nn.Sequential(quantise.QuantStub(), made(), quantise.DeQuantStub()).eval()
        net.qconfig = quantise.get_default_qconfig(torch.backends.quantized.engine)
        quantise.prepare(net, inplace=True)
        for seed in range(4):
            net(input_of(pixels(SIDE, seed=seed)))
        return quantise.convert(net)

    return quietly(convert)


class Named(Net):
    """Takes its image by name only, as transformers' networks are called."""

    def forward(self, *, pixel_values: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(pixel_values)


class OfBatch(Net):
    """Takes a dict, as a data loader gives it."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
        return super().forward(batch["image"])


class InHalf(Net):
    """Answers in bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).bfloat16()


OTHERS: dict[str, tuple[Callable[[], Any], Callable[[Any], Tensor], str, float]] = {
    "TorchScript, scripted": (scripted, lambda net: net(image()), "TorchScript|scripted", 1e-4),
    "TorchScript, traced": (jit_traced, lambda net: net(image()), "TorchScript|scripted", 1e-4),
    "an exported program": (saved_program, lambda net: net(image()), "export", 1e-4),
    "int8, linear layers": (int8_linear, lambda net: net(image()), "int8|quanti", 1e-3),
    "int8": (int8, lambda net: net(image()), "int8|quanti", 2e-2),
    "double": (lambda: made().double(), lambda net: net(image().double()), "float64|double", 1e-4),
    "bfloat16": (lambda: made().bfloat16(), lambda net: net(image().bfloat16()), "bfloat16", 3e-2),
    "half": (lambda: made().half(), lambda net: net(image().half()), "float16|half", 3e-3),
    "an answer in bfloat16": (lambda: made(InHalf), lambda net: net(image()), "bfloat16", 1e-2),
    "by name": (lambda: made(Named), lambda net: net(pixel_values=image()), "pixel_values|by name|keyword", 1e-4),
    "a dict": (lambda: made(OfBatch), lambda net: net({"image": image()}), "dict|image|batch", 1e-4),
}


def image() -> Tensor:
    return input_of(pixels(SIDE))


@pytest.mark.parametrize("name", OTHERS)
def test_other_kinds_of_modules_are_explained_right_or_refused_in_words(name: str) -> None:
    make, ask, words, share = OTHERS[name]
    net = make()
    with torch.no_grad():
        logits = ask(net)[0].float().numpy()
    found = explained_or_refused(lambda: load(net, SIDE).explain(pixels(SIDE), size=SIDE, target=2), words)
    if found is None:
        return
    assert_same(found.logits, logits, share=share)
    plain = made()
    activations, _ = at_layer(plain, "body", image(), 0, grid=(16, 16))
    expected = class_maps_of(plain.fc.weight, activations)[2]
    assert_same(found.map / np.abs(found.map).max(), expected / np.abs(expected).max(), share=max(share, 1e-3))


def lazy() -> nn.Module:
    net = Net()
    net.fc = nn.LazyLinear(CLASSES)
    return net


def on_meta() -> nn.Module:
    with torch.device("meta"):
        return Net()


@pytest.mark.parametrize(("make", "words"), [(lazy, "lazy|uninitiali"), (on_meta, "meta")])
def test_weights_that_are_not_there_yet_are_missed_in_words(make: Callable[[], nn.Module], words: str) -> None:
    net = make().eval()
    assert explained_or_refused(lambda: load(net, SIDE).explain(pixels(SIDE), size=SIDE), words) is None


class WithoutGradients(Net):
    """A frozen body under no_grad, as is usual for transfer. A branch on data keeps it from being traced."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            f = self.body(x if x.sum() > -1e9 else -x)
        return self.fc(self.pool(f).flatten(1))


class Detached(Net):
    """The same by detach."""

    def forward(self, x: Tensor) -> Tensor:
        f = self.body(x if x.sum() > -1e9 else -x).detach()
        return self.fc(self.pool(f).flatten(1))


class TracedDetached(Net):
    """detach where nothing else stands in the way."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.body(x).detach()).flatten(1))


@pytest.mark.parametrize("kind", [WithoutGradients, Detached, TracedDetached])
@pytest.mark.parametrize("method", ["gradcam", None])
def test_gradients_cut_off_inside_are_found_again_or_missed_in_words(kind: type[Net], method: str | None) -> None:
    net, plain = made(kind), made()
    found = explained_or_refused(
        lambda: load(net, SIDE).explain(pixels(SIDE), size=SIDE, target=2, method=method), "gradient|detach|no_grad"
    )
    if found is None:
        return
    assert_same(found.logits, answer_of(plain, image()), share=1e-4)
    if found.method in {"cam", "gradcam"}:
        expected = gradcam_of(plain, "body", image(), 2, grid=(16, 16))
        assert_same(found.map / np.abs(found.map).max(), expected / np.abs(expected).max())


class Random(Net):
    """Dropout that stays on in evaluation, to sample from."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.dropout(self.pool(self.body(x)).flatten(1), 0.5, training=True))


class RandomOnMaps(Net):
    """The same on maps, before the layer that is looked at."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(F.dropout2d(self.body(x), 0.5, True)).flatten(1))


@pytest.mark.parametrize("kind", [Random, RandomOnMaps])
def test_a_network_that_answers_otherwise_each_time_is_said_to(kind: type[Net]) -> None:
    net = made(kind)
    answers = [answer_of(net, image()) for _ in range(2)]
    assert np.abs(answers[0] - answers[1]).max() > 0.01
    words = "random|dropout|each time|each call|not the same"
    found = explained_or_refused(lambda: load(net, SIDE).explain(pixels(SIDE), size=SIDE), words)
    if found is not None:
        assert re.search(words, " ".join(found.warnings), re.IGNORECASE), found.warnings


def doubled(part: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return output * 2 + 0.5


def mirrored(part: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    return (inputs[0].flip(-1) * 0.5,)


def by_name(part: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
    return (args[0] - 0.3,), kwargs


def hooked(where: str, kind: str) -> Any:
    net = made()
    part = net.get_submodule(where)
    if kind == "forward":
        part.register_forward_hook(doubled)
    elif kind == "before":
        part.register_forward_pre_hook(mirrored)
    else:
        part.register_forward_pre_hook(by_name, with_kwargs=True)
    return net


@pytest.mark.parametrize("kind", ["forward", "before", "before, with names"])
@pytest.mark.parametrize("where", ["", "body", "body.0", "body.2", "body.3", "fc"])
def test_hooks_that_change_values_are_part_of_the_network(where: str, kind: str) -> None:
    net, photo = hooked(where, kind), pixels(SIDE)
    expected = answer_of(net, image())
    assert np.abs(expected - answer_of(made(), image())).max() > 1e-3
    hooks = [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in net.modules()]
    model = load(net, SIDE)
    found = model.explain(photo, size=SIDE, method="gradcam", target=2)
    assert_same(found.logits, expected, share=1e-4)
    assert found.layer in {"body", "body.3"}
    assert_same(found.map, gradcam_of(net, found.layer, image(), 2, grid=(16, 16)))
    assert [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in net.modules()] == hooks


def test_hooks_that_only_look_change_nothing_and_are_not_asked_for_more() -> None:
    seen: list[tuple[int, ...]] = []
    net, photo = made(), pixels(SIDE)
    net.body.register_forward_hook(lambda part, inputs, output: seen.append(tuple(output.shape)))
    found = load(net, SIDE).explain(photo, size=SIDE, target=2)
    assert found.method == "cam"
    activations, _ = at_layer(made(), "body", image(), 0, grid=(16, 16))
    assert_same(found.map, class_maps_of(net.fc.weight, activations)[2])
