"""Words beside a map: each is said where it holds, not where it does not, most serious first, for next to no time."""

import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from conftest import QUICK, count_forwards, picture
from torch import nn

import camserve
from camserve.catalogue.options import ExplainOptions
from camserve.catalogue.targets import Target, TargetOption, resolve_target
from camserve.config import load_settings
from camserve.explain.diagnosis import alike, compare, diagnose, unsure_below
from camserve.explain.looking import fuse
from camserve.explain.observation import observe, steepness
from camserve.explain.run import Run
from camserve.explanation.class_scores import scores_of
from camserve.methods import METHODS

# scikit-image's photographs of things that the embedded model knows, and what it is unsure of nevertheless.
PHOTOGRAPHS = ["astronaut.png", "camera.png", "chelsea.png", "coffee.png", "horse.png", "rocket.jpg"]
UNSURE = {"astronaut.png", "horse.png", "rocket.jpg"}
AGAINST, CONSTANT, INFINITE = "all evidence is against this class", "the map is constant", "not finite"
NUMBER, SATURATED, EARLY = "of the model's answers", "is saturated", "is early"
CELL, SAME, UNSEEN = "a cell of the map is", "is nearly the same", "the rest is marked as unseen"
ALL = (AGAINST, CONSTANT, INFINITE, NUMBER, SATURATED, EARLY, CELL, SAME, UNSEEN)
OWN = "on its own evaluation crop the model answers"


def said(explanation: camserve.Explanation) -> list[str]:
    """Which of ALL its warnings are, in their order."""
    return [kind for text in explanation.warnings for kind in ALL if kind in text]


def others(explanation: camserve.Explanation) -> list[str]:
    """Its warnings, but for the one about the model's own answer, which has tests of its own."""
    return [text for text in explanation.warnings if OWN not in text]


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("method", ["cam", "layercam", "shapleycam"])
def test_photographs_of_what_the_model_knows_need_no_words(
    model: camserve.Model, photos: Path, name: str, method: str
) -> None:
    explanation = model.explain(photos / name, method=method)
    best = explanation.top(1)[0]
    assert explanation.unsure == (name in UNSURE) == (best.score < 0.3)
    doubt = (
        f"the model is unsure: its best answer, '{best.class_name}', has a score of {best.score:.2f}, less than 0.301"
    )
    assert others(explanation) == ([doubt] if name in UNSURE else [])


def test_answers_are_unsure_below_the_setting_and_only_where_classes_share_a_probability() -> None:
    def asked(scores: str, below: float) -> camserve.Explanation:
        settings = load_settings(overrides={"explain": {"unsure_below": below}}, environ={})
        net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        with torch.no_grad():
            net[0].weight.zero_()
            net[0].bias.copy_(torch.tensor([1.0, 0, 0, 0]))
        return camserve.load(net, scores=scores, size=64, settings=settings).explain(picture())

    best = math.e / (math.e + 3)  # 0.475, three tenths of the way from a quarter, which is chance, to 1
    share = (best - 0.25) / 0.75
    assert asked("softmax", share + 0.01).unsure
    assert not asked("softmax", share - 0.01).unsure
    assert not asked("sigmoid", 1).unsure
    doubt = "the model is unsure: its best answer, 'class 0', has a score of 0.48, less than 0.925"
    assert doubt in asked("softmax", 0.9).warnings


def test_few_classes_can_be_unsure_too_and_chance_is_where_doubt_begins() -> None:
    assert [round(unsure_below(classes, 0.3), 4) for classes in (2, 3, 10, 1000)] == [0.65, 0.5333, 0.37, 0.3007]
    assert unsure_below(4, 0) == 0.25  # which the best of four always reaches, so 0 is never
    for logit, unsure in ((0.5, True), (1.0, False)):  # of two classes: 0.62 and 0.73
        explanation = colours([[1, 0, 0], [0, 0, 0]], [logit, 0]).explain(np.zeros((8, 8, 3), np.uint8))
        assert explanation.unsure == unsure


def test_of_many_photographs_few_need_words(model: camserve.Model, data: Path) -> None:
    files = sorted((data / "val-boxes").rglob("*.JPEG"))[:100]
    words = [said(one) for one in model.explain_many(files) if isinstance(one, camserve.Explanation)]
    assert len(words) == 100
    assert sum(bool(kinds) for kinds in words) <= 12
    assert set(itertools.chain(*words)) <= {SAME}


def colours(weight: list[list[float]], bias: list[float] | None = None) -> camserve.Model:
    """Cells are pixels, channels red, green and blue, averaged and weighted to one logit a row."""
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, len(weight)))
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(3)[:, :, None, None])
        net[0].bias.zero_()
        net[4].weight.copy_(torch.tensor(weight))
        net[4].bias.copy_(torch.tensor(bias or [0.0] * len(weight)))
    return camserve.load(net, layer="1", size=8, mean=(0, 0, 0), std=(1, 1, 1))


# ---- the class


def test_a_class_that_is_not_among_the_best_five_is_said_to_be_none(model: camserve.Model, cat: Path) -> None:
    best = [one.class_index for one in model.explain(cat).top(6)]
    assert NUMBER not in said(model.explain(cat, target=best[4]))
    sixth = model.explain(cat, target=best[5], method="layercam")
    assert (
        f"'{model.labels[best[5]]}' is number 6 of the model's answers, the first is 'tiger cat'" in sixth.warnings[0]
    )
    assert said(model.explain(cat, target=f"{best[5]}-{best[0]}", method="layercam")) == [NUMBER]
    assert (
        said(model.explain(cat, target=f"-{best[5]}", method="layercam")) == []
    )  # what speaks against it is the question
    assert said(model.explain(cat, target=lambda logits: logits[:, best[5]], method="layercam")) == []


# ---- saturation


def certain(margin: float) -> camserve.Model:
    """The first class leads the second by so much, whatever the image."""
    return colours([[1e-3, 0, 0], [0, 1e-3, 0]], [margin, 0])


@pytest.mark.parametrize("method", ["groupcam", "occlusion", "rise", "polycam"])
def test_a_probability_next_to_one_is_saturated_for_methods_of_probabilities(method: str) -> None:
    image = picture(3, (8, 8))
    assert SATURATED in said(certain(9).explain(image, method=method))  # 1 - p = e^-9 = 1e-4
    assert SATURATED not in said(certain(5).explain(image, method=method))  # 7e-3
    assert SATURATED not in said(certain(9).explain(image, method="gradcam"))


def test_log_softmax_next_to_zero_is_saturated_for_every_method() -> None:
    image = picture(3, (8, 8))
    warnings = certain(9).explain(image, quantity="log-softmax").warnings
    assert "the target, log-softmax, is saturated: it changes by 0.0001 when a logit changes by 1" in warnings[0]
    assert SATURATED not in said(certain(9).explain(image))
    assert SATURATED not in said(certain(5).explain(image, quantity="log-softmax"))
    assert SATURATED not in said(certain(9).explain(image, quantity="log-softmax", target=1))  # far from certain
    assert SATURATED not in said(certain(9).explain(image, quantity="log-softmax", target="0-1"))  # of logits after all


def test_a_function_of_the_caller_s_may_be_saturated() -> None:
    def probability(logits: torch.Tensor) -> torch.Tensor:
        return logits.softmax(1)[:, 0]

    warnings = certain(9).explain(picture(3, (8, 8)), target=probability).warnings
    assert any("the target, probability, is saturated" in text for text in warnings)
    assert SATURATED not in said(certain(1).explain(picture(3, (8, 8)), target=probability))


def test_steepness_is_one_of_a_logit_and_one_minus_p_of_log_softmax() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0]])

    def of(option: TargetOption, quantity: str = "logit") -> float | None:
        return steepness(resolve_target(option, logits[0].numpy(), ("a", "b"), quantity), logits)

    assert of("a") == 1
    assert of("a", "log-softmax") == pytest.approx(0.25)
    assert of(lambda given: (given[:, 0] > 0).float()) is None
    assert of(lambda given: given.detach()[:, 0]) is None


# ---- the layer


@pytest.mark.parametrize(
    ("layer", "early"),
    [("stem", True), ("blocks.4", True), ("blocks.10", False), ("head", False), ("blocks.4,head", False)],
)
def test_an_early_layer_is_named_by_what_its_cells_have_seen(
    model: camserve.Model, cat: Path, layer: str, early: bool
) -> None:
    explanation = model.explain(cat, layer=layer, method="layercam")
    assert said(explanation) == [EARLY] * early
    if layer == "blocks.4":
        assert "layer 'blocks.4' is early: a cell has seen 67 of 224 pixels each way" in explanation.warnings[0]
        assert "try 'head', the default" in explanation.warnings[0]


def test_an_early_layer_does_not_matter_to_methods_that_do_not_look_at_it() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 6, 7, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 3),
    )  # fmt: skip
    small = camserve.load(net, size=32)
    assert EARLY in said(small.explain(picture(), layer="0", method="gradcam"))
    for name in ("integratedgradients", "occlusion", "fullgrad"):
        assert EARLY not in said(small.explain(picture(), layer="0", method=name))


def test_the_first_third_of_a_transformer_is_early_its_embedding_first() -> None:
    torch.manual_seed(0)
    net = torchvision.models.VisionTransformer(
        image_size=64, patch_size=16, num_layers=6, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=4
    )
    transformer = camserve.load(net, size=64)
    embedding = next(iter(transformer.layers()))
    late = transformer.explain(picture(), method="gradcam", layer="encoder.layers.encoder_layer_4")
    assert EARLY not in said(late)
    assert EARLY in said(transformer.explain(picture(), method="gradcam", layer="encoder.layers.encoder_layer_0"))
    assert "has seen 16 of 64 pixels" in " ".join(
        transformer.explain(picture(), method="gradcam", layer=embedding).warnings
    )
    assert EARLY not in said(transformer.explain(picture(), method="gradcam"))


# ---- the cells


def test_a_cell_as_large_as_the_image_says_nothing_about_where(model: camserve.Model, cat: Path) -> None:
    explanation = model.explain(cat, size=56)  # chelsea is 451 x 300: 84 x 56, cells of 32
    width = round(32 * 451 / 84)
    assert f"a cell of the map is {width} x {round(32 * 300 / 56)} pixels of the photograph" in " ".join(
        explanation.warnings
    )
    assert CELL in said(model.explain(cat, size=64))  # cells of exactly half: 64 down
    assert CELL not in said(model.explain(cat, size=96))
    assert CELL not in said(model.explain(cat, size=56, layer="blocks.10"))
    assert CELL not in said(model.explain(cat, size=56, method="integratedgradients"))  # cells are pixels


# ---- maps alike


def test_the_runner_up_s_map_is_compared_where_it_is_a_closed_form() -> None:
    image = picture(3, (8, 8))
    twins = colours([[1.0, 0, 0], [0.9, 0, 0], [0, 1, 0]], [0, 0, -999])
    for method in ("cam", "gradcam"):
        explanation = twins.explain(image, method=method)
        assert "the map of 'class 1' is nearly the same (correlation 1.000)" in explanation.warnings[0]
        assert explanation.warnings[0].endswith("try target 0-1")
    assert "the map of 'class 0' is nearly the same" in twins.explain(image, target=1).warnings[0]
    assert SAME not in said(twins.explain(image, target=2))
    assert SAME not in said(twins.explain(image, target="0-1"))
    assert SAME not in said(twins.explain(image, method="layercam"))  # its maps of others would cost a forward
    assert SAME not in said(colours([[1.0, 0, 0], [0, 1, 0]]).explain(image))


def test_the_maps_of_several_classes_are_compared_whatever_the_method(model: camserve.Model, cat: Path) -> None:
    twins = colours([[1.0, 0, 0], [0.9, 0, 0], [0, 1, 0]])
    for method in ("cam", "layercam"):
        first, second, third = (
            said(one) for one in twins.explain_classes(picture(3, (8, 8)), [0, 1, 2], method=method)
        )
        assert (first, second, third) == ([SAME], [SAME], [])
    both = model.explain_classes(cat, ["Egyptian cat", "tabby"])
    assert [others(one) for one in both] == [[], []]


def test_a_method_that_does_not_look_at_the_class_says_so_once(model: camserve.Model, cat: Path) -> None:
    several = model.explain_classes(cat, 3, method="eigencam")
    words = "'eigencam' does not look at the class: its map is the same for all classes"
    assert [others(one) for one in several] == [[words]] * 3
    assert others(model.explain(cat, method="eigencam")) == []


@pytest.mark.parametrize("name", QUICK)
def test_the_registry_knows_which_methods_look_at_the_class(model: camserve.Model, cat: Path, name: str) -> None:
    first, second = (model.explain(cat, target=target, method=name).map for target in ("tabby", "espresso"))
    assert np.array_equal(first, second) == (not METHODS[name].of_class)


def test_likeness_is_the_correlation_of_positive_parts() -> None:
    one, other = np.array([[1, 2], [4, -9]], np.float32), np.array([[2, 0], [5, -1]], np.float32)
    expected = np.corrcoef([1, 2, 4, 0], [2, 0, 5, 0])[0, 1]
    assert alike(one, other) == pytest.approx(expected)
    assert alike(one, 3 * one) == pytest.approx(1)
    assert alike(one, np.ones((2, 2), np.float32)) == 0
    assert compare(METHODS["cam"], [Target(0), Target(0)], [one, one], ("a",)) == [[], []]  # asked for twice


# ---- the image, order and cost


def test_most_serious_first(model: camserve.Model, cat: Path) -> None:
    worst = model.explain(cat).top(1000)[-1].class_index
    explanation = model.explain(cat, target=worst, layer="stem", size="crop", method="xgradcam")
    kinds = said(explanation)
    assert kinds[-3:] == [NUMBER, EARLY, UNSEEN]
    assert kinds == [kind for kind in (AGAINST, CONSTANT) if kind in kinds] + [NUMBER, EARLY, UNSEEN]


def test_no_map_of_what_overflows_is_compared() -> None:
    broken = colours([[float("inf"), 0, 0], [0, 1, 0]])
    warnings = broken.explain(picture(3, (8, 8))).warnings
    assert INFINITE in warnings[0]


def best_of(count: int, task: Callable[[], object]) -> float:
    """Seconds of the fastest of so many runs."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.mark.parametrize("layer", [None, "blocks.4"])
def test_words_cost_less_than_a_millisecond(model: camserve.Model, layer: str | None) -> None:
    pixels = torch.randn(1, 3, 224, 224)
    options = ExplainOptions(method="cam" if layer is None else "gradcam")
    seen = observe(model, pixels, [None], layer, options, Run())
    placed = fuse(seen, model.frame((448, 448)))

    def words() -> list[str]:
        return list(diagnose(model, seen, scores_of(seen[0].decided, each_alone=False), *placed))

    assert best_of(20, words) < 1e-3


def test_no_forward_more(model: camserve.Model, cat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forwards = count_forwards(model, monkeypatch)
    model.explain(cat, size="crop")
    assert len(forwards) == 1
    model.explain(cat)
    assert len(forwards) == 3  # that of the whole photograph, and the model's own evaluation crop
