"""Networks of the field: probabilities in place of logits, several answers at once, arguments that are optional."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from oracles import (
    Float32,
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
from torch.optim.swa_utils import AveragedModel

import camserve
from camserve.errors import CamserveError

SIDE, CLASSES = 64, 5


class Net(nn.Module):
    """Maps (N, 16, H / 4, W / 4), global average pooling, one linear layer. scale: how certain it is."""

    def __init__(self, *, scale: float = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.fc, self.scale = nn.Linear(16, CLASSES), scale

    def features(self, x: Tensor) -> Tensor:
        return self.body(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x))


def made(*, scale: float = 1) -> Net:
    net = lively(Net(), SIDE)
    with torch.no_grad():
        net.fc.weight.mul_(scale)
    return net


class Says(nn.Module):
    """`net`, and what `say` makes of its logits."""

    def __init__(self, net: Net, say: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.net, self.say = net, say
        self.last = nn.Softmax(dim=1)

    def forward(self, x: Tensor) -> Any:
        return self.say(self, self.net(x))


class SaysUntraced(Says):
    """The same behind a branch on data."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x if x.sum() > -1e9 else -x)


SAID: dict[str, Callable[[Any, Tensor], Any]] = {
    "softmax": lambda self, y: y.softmax(1),
    "softmax of the last axis": lambda self, y: F.softmax(y, dim=-1),
    "a layer": lambda self, y: self.last(y),
    "log-softmax": lambda self, y: F.log_softmax(y, dim=1),
    "softmax in evaluation only": lambda self, y: y if self.training else y.softmax(1),
    "softmax and logits": lambda self, y: (y.softmax(1), y),
    "sigmoid": lambda self, y: y.sigmoid(),
    "sigmoid and logits": lambda self, y: (torch.sigmoid(y), y),
}
HOW = pytest.mark.parametrize("wrapped", [Says, SaysUntraced], ids=["traced", "untraced"])


def expected_maps(net: Net, photo: Any) -> Float32:
    """The exact class maps of `net`, checked: their means and the bias are the logits."""
    activations, _ = at_layer(net, "body", input_of(photo), 0, grid=(SIDE // 4, SIDE // 4))
    maps = class_maps_of(net.fc.weight, activations)
    assert_same(maps.mean((1, 2)) + net.fc.bias.detach().numpy(), answer_of(net, input_of(photo)), share=1e-5)
    return maps


@HOW
@pytest.mark.parametrize("said", SAID)
def test_probabilities_are_told_from_logits(said: str, wrapped: type[Says]) -> None:
    net, photo = made(), pixels(SIDE)
    whole, logits = wrapped(net, SAID[said]).eval(), answer_of(net, input_of(photo))
    model = load(whole, SIDE)
    found = model.explain(photo, size=SIDE, target=2)
    several = "sigmoid" in said
    ours, wanted = (found.logits, logits) if several else (centred(found.logits), centred(logits))
    assert_same(ours, wanted, share=1e-4)
    powers = torch.from_numpy(logits)
    assert found.scores is not None
    np.testing.assert_allclose(found.scores, powers.sigmoid() if several else powers.softmax(0), atol=1e-5)
    if wrapped is Says:
        assert found.method == "cam"
        assert found.completeness is not None
        assert found.completeness < 1e-4
        assert_same(found.map, expected_maps(net, photo)[2])
    else:
        assert_same(centred_maps(model, photo), centred_oracle(net, photo))


def centred(logits: Any) -> Any:
    """What a constant added to all of an image's logits leaves alone."""
    return logits - logits.mean()


def centred_maps(model: camserve.Model, photo: Any) -> Float32:
    """Grad-CAM of one class less another: the same whether of logits or of log-probabilities."""
    return model.explain(photo, size=SIDE, target="class 1-class 2", layer="net.body", method="gradcam").map


def centred_oracle(net: Net, photo: Any) -> Float32:
    one, other = (gradcam_of(net, "body", input_of(photo), index, grid=(16, 16)) for index in (1, 2))
    difference: Float32 = one - other
    return difference


@HOW
@pytest.mark.parametrize("said", ["softmax", "log-softmax", "softmax and logits"])
def test_a_class_that_is_certain_scores_one_and_has_a_map(said: str, wrapped: type[Says]) -> None:
    net, photo = made(scale=40), pixels(SIDE)
    logits = answer_of(net, input_of(photo))
    best, next_best = np.sort(logits)[::-1][:2]
    assert 15 < best - next_best < 80
    found = load(wrapped(net, SAID[said]).eval(), SIDE).explain(photo, size=SIDE, layer="net.body", method="gradcam")
    assert found.class_index == int(logits.argmax())
    assert found.score > 0.999
    assert np.isfinite(found.logits).all()
    expected = gradcam_of(net, "body", input_of(photo), found.class_index, grid=(16, 16))
    if wrapped is Says:
        assert_same(found.map, expected)
    elif np.abs(found.map).max() < 0.1 * np.abs(expected).max():  # behind a branch, softmax cannot be taken off
        assert "probabilit" in " ".join(found.warnings)


class WithFeatures(Net):
    """Answers with its pooled features, 16 numbers, beside the logits."""

    def __init__(self, say: Callable[[Tensor, Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.say = say

    def forward(self, x: Tensor) -> Any:
        maps = self.body(x)
        features = maps.mean((2, 3))
        return self.say(maps, features, self.fc(features))


BESIDE: dict[str, Callable[[Tensor, Tensor, Tensor], Any]] = {
    "features, logits": lambda maps, features, logits: (features, logits),
    "embedding": lambda maps, features, logits: {"embedding": features, "logits_per_class": logits},
    "maps, logits": lambda maps, features, logits: (maps, logits),
    "logits, maps": lambda maps, features, logits: (logits, maps),
    "nested": lambda maps, features, logits: {"aux": {"features": features}, "logits": logits},
    "a pair in a pair": lambda maps, features, logits: (logits, (features, maps)),
}


@pytest.mark.parametrize("said", BESIDE)
def test_of_several_answers_the_logits_are_explained_or_all_are_listed(said: str) -> None:
    net, plain, photo = lively(WithFeatures(BESIDE[said]), SIDE), made(), pixels(SIDE)
    found = explained_or_refused(lambda: load(net, SIDE).explain(photo, size=SIDE, target=2), r"16.*\b5\b|\b5\b.*16")
    if found is not None:
        assert_same(found.logits, answer_of(plain, input_of(photo)), share=1e-4)
        assert_same(found.map, expected_maps(plain, photo)[2])


class Attributes(Net):
    """Two heads of their own, seven colours and three shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.colour, self.shape = nn.Linear(16, 7), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        features = self.features(x)
        return self.colour(features), self.shape(features)


def test_of_several_heads_none_is_taken_without_a_word() -> None:
    net, photo = lively(Attributes(), SIDE), pixels(SIDE)
    found = explained_or_refused(lambda: load(net, SIDE).explain(photo, size=SIDE), r"\b7\b.*\b3\b|\b3\b.*\b7\b")
    if found is not None:
        said = " ".join(found.warnings)
        assert "7" in said
        assert "3" in said
        assert_same(found.logits, answer_of(net, input_of(photo), lambda answer: answer[0]), share=1e-4)


class WithTarget(Net):
    """As is usual where training computes the loss inside."""

    def forward(self, x: Tensor, target: Tensor | None = None) -> Tensor:
        out = super().forward(x)
        return out if target is None else F.cross_entropy(out, target)


class WithFlag(Net):
    def forward(self, x: Tensor, return_features: bool = False, scale: float = 2.0) -> Any:
        features = self.features(x)
        return (features, self.fc(features)) if return_features else self.fc(features) * scale


class WithAnything(Net):
    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return super().forward(*args, **kwargs)


class WithLength(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).reshape(len(x), -1)


class WithMask(Net):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is not None:
            x = x * mask
        return super().forward(x)


class WithAssertion(Net):
    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[1] == 3
        assert x.dtype == torch.float32, f"not {x.dtype}"
        return super().forward(x)


@pytest.mark.parametrize(
    "make",
    [WithTarget, WithFlag, WithAnything, WithLength, WithMask, WithAssertion, lambda: AveragedModel(Net())],
    ids=["target", "flag", "anything", "length", "mask", "assertion", "averaged"],
)
def test_arguments_that_are_left_out_keep_the_graph(make: Callable[[], nn.Module]) -> None:
    net, photo = lively(make(), SIDE), pixels(SIDE)
    own: Any = net.module if isinstance(net, AveragedModel) else net
    model, times = load(net, SIDE), 2.0 if isinstance(net, WithFlag) else 1.0
    found = model.explain(photo, size=SIDE, target=2)
    assert_same(found.logits, answer_of(net, input_of(photo)), share=1e-4)
    assert found.method == "cam"
    layer = "module.body" if own is not net else "body"
    activations, _ = at_layer(net, layer, input_of(photo), 0, grid=(16, 16))
    assert_same(found.map, times * class_maps_of(own.fc.weight, activations)[2])


TOWER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
VISION = {**TOWER, "image_size": 32, "patch_size": 8, "projection_dim": 24}
TEXT = {**TOWER, "vocab_size": 99, "bos_token_id": 1, "eos_token_id": 2, "projection_dim": 24}


def test_an_embedding_is_not_taken_for_classes_without_a_word() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    net = lively(transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**VISION)), 32)
    found = explained_or_refused(lambda: load(net, 32).explain(pixels(32), size=32), "embed|no classes")
    if found is not None:
        assert "embed" in " ".join(found.warnings)


def test_a_model_that_needs_texts_as_well_is_refused_in_words() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    config = transformers.CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=24)
    net = lively(transformers.CLIPModel(config), 32)
    with pytest.raises(CamserveError) as refused:
        load(net, 32)
    assert "NoneType" not in str(refused.value)
    assert "compares images with sentences" in str(refused.value)
