"""As test_never_wrong.py: what a network remembers, how it is called, what it answers with, what it is wrapped in."""

import random
import threading
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from strangers import (
    Cases,
    Stranger,
    body,
    check,
    check_logits,
    check_refusal,
    entry,
    fingerprint,
    is_said,
    loaded,
    picture,
    right,
    right_or_said,
    seeded,
    truth,
)
from torch import nn
from torch.utils.checkpoint import checkpoint

import camserve

pytestmark = pytest.mark.filterwarnings("ignore")
cases = Cases()
RANDOM = "random|differ|each (call|time|run)|not the same|twice|repeat|dropout"
CHANGES = RANDOM + "|state|chang|remember"


# What a network remembers


@cases.unusual(CHANGES)
class CountsItsCalls(Stranger):
    """Warms up: the third answer and all after it are others."""

    also = ("body",)

    steady = False

    def build(self) -> None:
        self.calls = 0

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.body(x) * (1 if self.calls <= 2 else -0.5)


@cases.unusual(CHANGES)
class KeepsARunningCentre(Stranger):
    steady = False

    def build(self) -> None:
        self.register_buffer("centre", torch.zeros(1, 12, 1, 1))

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.body(x)
        with torch.no_grad():
            self.centre.mul_(0.5).add_(f.mean((0, 2, 3), keepdim=True))
        return f - self.centre


@cases.right
class MakesItsTableAtTheFirstCall(Stranger):
    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.body(x)
        if not hasattr(self, "table"):
            self.register_buffer("table", torch.linspace(-1, 1, f[0].numel()).view(f.shape[1:]))
        return f + self.table


@cases.right
class KeepsItsLastMaps(Stranger):
    """Called once by the user, so that a tensor with a graph behind it is an attribute: deepcopy cannot take it."""

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        self.last = self.body(x)
        return self.last

    def finish(self) -> Any:
        self(torch.zeros(1, 3, 32, 32))
        return self


@cases.unusual("copy|copied|lock|pickle")
class HoldsALock(Stranger):
    def build(self) -> None:
        self.lock = threading.Lock()

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        with self.lock:
            return self.body(x)


@cases.right
class HidesLayersInAList(Stranger):
    """Modules that eval(), parameters() and state_dict() do not reach."""

    also = ("body",)

    def build(self) -> None:
        self.hidden = [nn.Conv2d(12, 12, 3, 1, 1), nn.BatchNorm2d(12)]

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.body(x)
        for module in self.hidden:
            f = f + module(f)
        return f


class GrowsWithSize(Stranger):
    """A coordinate table that is remembered, and made anew only where a larger one is wanted: cut from a corner."""

    side = 64

    def build(self) -> None:
        self.table: torch.Tensor | None = None

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.body(x)
        if self.table is None or self.table.shape[0] < f.shape[2] or self.table.shape[1] < f.shape[3]:
            rows, columns = torch.linspace(0, 2, f.shape[2]), torch.linspace(0, 1, f.shape[3])
            self.table = rows[:, None] + columns
        return f + self.table[: f.shape[2], : f.shape[3]]


class KeepsItsFirstSize(Stranger):
    """Everything is brought to the grid of the first call."""

    side = 64

    def build(self) -> None:
        self.grid: Any = None

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.body(x)
        self.grid = self.grid or tuple(f.shape[2:])
        return F.adaptive_avg_pool2d(f, self.grid)


@pytest.mark.parametrize("kind", [GrowsWithSize, KeepsItsFirstSize])
def test_one_size_is_not_felt_at_the_next(kind: Callable[[], Any]) -> None:
    make = seeded(kind)
    model = loaded(make(), side=64)
    for width, height in [(64, 64), (96, 64), (32, 48), (64, 64)]:
        image = picture(width, height)
        try:
            explanation = model.explain(image, method="gradcam", size="native")
        except camserve.CamserveError as error:
            check_refusal(error)
            continue
        if not is_said(explanation, CHANGES + "|size"):
            check(explanation, truth(make, image))


# How it is called


@cases.right
class TakesAMask(Stranger):
    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        f = self.maps(x)
        return self.answer(f if mask is None else f * mask)


@cases.right
class TakesAScaleByName(Stranger):
    def forward(self, x: torch.Tensor, *, scale: float = 2.5, flip: bool = False) -> torch.Tensor:
        return self.answer(self.maps(x.flip(3) if flip else x)) * scale

    def views(self) -> list[Any]:
        return [(self.maps, lambda f: self.answer(f) * 2.5, self.cells)]


@cases.right
class TakesAnything(Stranger):
    def forward(self, *images: torch.Tensor, **options: Any) -> Any:
        out = self.answer(self.maps(images[0]))
        return (out, images) if options.get("echo") else out


@cases.right
class TakesAFlagForFeatures(Stranger):
    def forward(self, x: torch.Tensor, features: bool = False, pool: str = "mean") -> Any:
        f = self.maps(x)
        if features:
            return f
        return self.answer(f) if pool == "mean" else self.fc(f.amax((2, 3)))


@cases.right
class AnswersOtherwiseInTraining(Stranger):
    def forward(self, x: torch.Tensor) -> Any:
        if self.training:
            return {"loss": x.sum(), "aux": self.fc(x.mean((2, 3)).repeat(1, 4))}
        return self.answer(self.maps(x))


@cases.right
class NoiseInTraining(Stranger):
    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.body(x + torch.randn_like(x) if self.training else x)
        return f if self.training else f * torch.linspace(-1, 2, 12)[:, None, None]


@cases.right
class ChoosesByItsData(Stranger):
    also = ("body",)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.body(x)
        if f.mean() > 10:
            return f
        return f.flip(1) ** 2


@cases.right
class ScalesByItsOwnMaximum(Stranger):
    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.body(x)
        return f / f.max().item() * 3


@cases.right
class AsksForItsSize(Stranger):
    also = ("body",)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[1:] == (3, 32, 32) and len(x) == 1, "one picture of 32 x 32"
        f = self.body(x)
        for _ in range(int(x.shape[-1]) // 16):
            f = f * 1.5 - 0.1
        return f


@cases.right
class Checkpointed(Stranger):
    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.body, x, use_reentrant=False)


@cases.right
class FrozenBackbone(Stranger):
    def maps(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return self.body(x)


@cases.unusual("gradient|no_grad|inference")
class NeverWithGradients(Stranger):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return self.answer(self.maps(x).square())

    def views(self) -> list[Any]:
        return [(lambda x: self.maps(x).square(), self.answer, self.cells)]


@cases.unusual("gradient|no_grad|inference")
class OnlyInference(Stranger):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return self.answer(self.maps(x))


@cases.unusual("gradient|detach|zero|constant|no evidence")
class DetachesBeforeItsHead(Stranger):
    """The gradient of the logit with respect to the maps is nothing, whatever the maps are worth."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.answer(self.maps(x).detach())


# Answers that are random


@cases.unusual(RANDOM)
class NoiseOnItsAnswer(Stranger):
    steady = False

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) + torch.rand(1, 12, 1, 1) * 3


@cases.unusual(RANDOM)
class DropsWholeChannelsAlways(Stranger):
    steady = False

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout2d(self.body(x), 0.5, training=True)


class Sampling(nn.Dropout):
    def train(self, mode: bool = True) -> Any:
        return super().train(True)


@cases.unusual(RANDOM)
class MeanOfDropoutSamples(Stranger):
    steady = False

    def build(self) -> None:
        self.drop = Sampling(0.5)

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.fc(self.drop(f.mean((2, 3)))) for _ in range(3)]).mean(0)


@cases.unusual(RANDOM)
class SkipsBlocksAtRandom(Stranger):
    steady = False

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        f = self.body(x)
        return f.flip(1) * 2 if random.random() < 0.5 else f


@cases.right
class RandomOnceAndForAll(Stranger):
    """Random features that are seeded inside: the same at every call."""

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        weights = torch.randn(12, 12, 1, 1, generator=torch.Generator().manual_seed(4))
        return F.conv2d(self.body(x), weights)


# What it answers with

Pair = namedtuple("Pair", "embedding logits")
WHICH = "answer|output|head|part|tuple|dict|several|which|logits"


@dataclass
class Output:
    loss: Any
    logits: torch.Tensor
    features: torch.Tensor


class Answering(Stranger):
    def build(self) -> None:
        self.extra = nn.Linear(12, 5)


@cases.right
class AnswersWithADataclass(Answering):
    def answer(self, f: torch.Tensor) -> Output:
        return Output(None, super().answer(f), f)

    def logits(self, out: Output) -> torch.Tensor:
        return out.logits


@cases.right
class AnswersWithANamedTuple(Answering):
    def answer(self, f: torch.Tensor) -> Pair:
        return Pair(f.mean((2, 3)), super().answer(f))

    def logits(self, out: Pair) -> torch.Tensor:
        return out.logits


@cases.right
class AnswersWithADictionaryThatHasNone(Answering):
    def answer(self, f: torch.Tensor) -> dict[str, Any]:
        return {"loss": None, "hidden_states": (f,), "logits": super().answer(f)}

    def logits(self, out: dict[str, Any]) -> torch.Tensor:
        return out["logits"]


@cases.unusual(WHICH)
class AnswersWithAnAuxiliaryFirst(Answering):
    def answer(self, f: torch.Tensor) -> Any:
        return self.extra(f.amax((2, 3))), super().answer(f)

    def logits(self, out: Any) -> torch.Tensor:
        return out[1]


@cases.unusual(WHICH)
class AnswersWithTwoAttributes(Answering):
    def answer(self, f: torch.Tensor) -> Any:
        return {"age": super().answer(f), "mood": self.extra(f.mean((2, 3)))}

    def logits(self, out: Any) -> torch.Tensor:
        raise AssertionError("nobody can tell which of two attributes was meant")


@cases.unusual(WHICH)
class AnswersWithAListOfScales(Answering):
    """Deep supervision: the last is the answer."""

    def answer(self, f: torch.Tensor) -> Any:
        return [self.extra(f.amax((2, 3))), self.extra(f.mean((2, 3))), super().answer(f)]

    def logits(self, out: Any) -> torch.Tensor:
        return out[-1]


@cases.unusual(WHICH + "|shape|axes")
class AnswersWithFourAxes(Answering):
    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return super().answer(f)[:, :, None, None]


@cases.unusual(WHICH + "|shape|axes")
class AnswersWithoutABatch(Answering):
    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return super().answer(f).squeeze()


@cases.unusual(WHICH + "|shape|axes|embedding")
class AnswersWithAMapOfClasses(Answering):
    """Segmentation: every place has logits of its own."""

    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return torch.einsum("nkhw,ck->nchw", f, self.fc.weight)

    def logits(self, out: torch.Tensor) -> torch.Tensor:
        raise AssertionError("a map of classes is no row of logits")


@cases.unusual("embedding|norm|unit|no class|logits")
class AnswersWithAnEmbedding(Answering):
    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return F.normalize(super().answer(f), dim=1)

    def logits(self, out: torch.Tensor) -> torch.Tensor:
        raise AssertionError("rows of unit length are no logits")


@cases.right
class AnswersInBfloat16(Answering):
    def answer(self, f: torch.Tensor) -> torch.Tensor:
        return super().answer(f).bfloat16()


def softmax_by_hand(x: torch.Tensor) -> torch.Tensor:
    powers = (x - x.amax(1, keepdim=True)).exp()
    return powers / powers.sum(1, keepdim=True)


PROBABLE: dict[str, Callable[[torch.Tensor, bool], Any]] = {
    "by hand": lambda x, training: softmax_by_hand(x),
    "after a temperature": lambda x, training: (x / 0.3).softmax(1),
    "in evaluation only": lambda x, training: x if training else x.softmax(1),
    "kept off zero": lambda x, training: x.softmax(-1).clamp(1e-7, 1 - 1e-7),
    "log": lambda x, training: F.log_softmax(x / 0.5, 1),
    "sigmoid": lambda x, training: x.sigmoid(),
    "sigmoid by tanh": lambda x, training: (x / 2).tanh() / 2 + 0.5,
    "with logits behind": lambda x, training: (x.softmax(1), x),
    "with features behind": lambda x, training: (x.softmax(1), x.repeat(1, 20)),
    "in percent": lambda x, training: 100 * x.softmax(1),
    "squared and shared out": lambda x, training: x**2 / (x**2).sum(1, keepdim=True),
}


class Probable(Stranger):
    def __init__(self, last: Callable[[torch.Tensor, bool], Any]) -> None:
        super().__init__()
        self.last = last

    def answer(self, f: torch.Tensor) -> Any:
        return self.last(self.fc(f.mean((2, 3))) * 2, self.training)


@pytest.mark.parametrize("how", PROBABLE)
def test_probabilities_are_not_taken_for_logits(how: str) -> None:
    """Whatever is called a logit, the scores are the network's probabilities, or a sentence speaks of them."""
    make = seeded(lambda: Probable(PROBABLE[how]))
    with torch.no_grad():
        out = make().eval()(entry(picture()))
    row = (out[0] if isinstance(out, tuple) else out)[0]
    expected = {"log": row.exp(), "in percent": row / 100}.get(how, row).numpy()
    try:
        explanation = loaded(make()).explain(picture(), size="native")
    except camserve.CamserveError as error:
        assert "probabilit" in str(error).lower() or "several tensors could be the logits" in str(error)
        return
    if not is_said(explanation, "probabilit|softmax|sigmoid|percent|already"):
        np.testing.assert_allclose(explanation.scores, expected, atol=1e-4)


# What it is wrapped in, and of what type it is


def plain() -> Any:
    return seeded(Stranger)()


def scripted() -> Any:
    return torch.jit.script(nn.Sequential(body(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5)).eval())


class Wrapped(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(super().__getattr__("inner"), name) if name != "inner" else super().__getattr__(name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.inner(*args, **kwargs) * 2


class CallsItself(Stranger):
    def __call__(self, x: torch.Tensor) -> Any:
        return super().__call__(x.flip(1))


WRAPPERS: dict[str, Callable[[], Any]] = {
    "compiled without a compiler": lambda: torch.compile(plain(), backend="eager"),
    "data parallel": lambda: nn.DataParallel(plain()),
    "average of weights": lambda: torch.optim.swa_utils.AveragedModel(plain()),
    "traced by jit": lambda: torch.jit.trace(plain().eval(), torch.zeros(1, 3, 32, 32)),
    "scripted by jit": scripted,
    "exported": lambda: torch.export.export(plain().eval(), (torch.zeros(1, 3, 32, 32),)).module(),
    "a graph module": lambda: torch.fx.symbolic_trace(plain().eval()),
    "with attributes passed on": lambda: Wrapped(plain()),
    "with a call of its own": lambda: seeded(CallsItself)(),
    "quantised dynamically": lambda: torch.ao.quantization.quantize_dynamic(plain().eval(), {nn.Linear}),
    "in double precision": lambda: plain().double(),
    "in half precision": lambda: plain().half(),
    "in bfloat16": lambda: plain().bfloat16(),
    "channels last": lambda: plain().to(memory_format=torch.channels_last),
    "shared with processes": lambda: plain().share_memory(),
}


def answer_of(net: Any, x: torch.Tensor) -> np.ndarray:
    types = [p.dtype for p in net.parameters()] if isinstance(net, nn.Module) else []
    with torch.no_grad():
        return net(x.to(types[0]) if types else x).float().numpy()[0]


@pytest.mark.parametrize("how", WRAPPERS)
def test_wrappers_and_types(how: str) -> None:
    torch.manual_seed(0)
    net = WRAPPERS[how]()
    if how not in ("exported",):
        net.eval()
    before, expected = fingerprint(net), answer_of(net, entry(picture()))
    tolerance = {"in half precision": 5e-3, "in bfloat16": 4e-2}.get(how, 1e-3)
    try:
        explanation = loaded(net).explain(picture(), method="gradcam", size="native")
    except camserve.CamserveError as error:
        check_refusal(error)
    else:
        check_logits(explanation, expected, tolerance)
        assert explanation.map.shape == (8, 8), f"the last maps are 8 x 8; layer {explanation.layer!r}"
    assert fingerprint(net) == before and np.allclose(answer_of(net, entry(picture())), expected)


def test_a_network_without_weights_yet_is_refused_and_stays_without() -> None:
    net = nn.Sequential(body(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(5))
    with pytest.raises(camserve.CamserveError) as error:
        loaded(net).explain(picture())
    check_refusal(error.value)
    assert net[3].has_uninitialized_params()


def test_a_network_on_the_meta_device_is_refused() -> None:
    with torch.device("meta"):
        net = Stranger()
    with pytest.raises(camserve.CamserveError) as error:
        loaded(net).explain(picture())
    check_refusal(error.value)
    assert all(p.is_meta for p in net.parameters())


def test_gradients_that_the_user_gathered_are_kept() -> None:
    net = plain()
    net(entry(picture())).sum().backward()
    kept = [p.grad.clone() for p in net.parameters()]
    loaded(net).explain(picture(), method="gradcam")
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), kept, strict=True))


def test_training_on_does_not_reach_what_was_loaded() -> None:
    make = seeded(Stranger)
    net = make()
    model = loaded(net)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(1)
    check(model.explain(picture(), method="gradcam", size="native"), truth(make, picture()))


@pytest.mark.parametrize("mode", ["trained", "evaluated", "half of it frozen"])
def test_modes_are_the_users(mode: str) -> None:
    def make() -> Any:
        net = plain().train(mode != "evaluated")
        if mode == "half of it frozen":
            net.body.eval().requires_grad_(False)
        return net

    right(make)


@pytest.mark.parametrize(("kind", "words"), cases.values(), ids=list(cases))
def test_the_answer_and_the_map_are_the_networks_own(kind: Callable[[], Any], words: str | None) -> None:
    right_or_said(seeded(kind), words)
