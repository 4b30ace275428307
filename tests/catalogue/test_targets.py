"""What is explained: classes, differences, evidence against, functions; several at once."""

import time

import numpy as np
import pytest
import torch
from conftest import count_forwards, picture

import camserve
from camserve.catalogue.targets import Target, needs_expected, resolve_target
from camserve.errors import OptionError, UnknownName

LABELS = ("cat", "tiger cat", "wire-haired fox terrier", "dog", "well-fed", "well", "fed")
LOGITS = torch.tensor([[1.0, 5.0, 2.0, 0.0, 0.5, 3.0, 1.0]])


@pytest.mark.parametrize(
    ("option", "index", "against", "sign", "name"),
    [
        (None, 1, None, 1, "tiger cat"),
        ("predicted", 1, None, 1, "tiger cat"),
        (3, 3, None, 1, "dog"),
        ("3", 3, None, 1, "dog"),
        ("Wire-haired Fox Terrier", 2, None, 1, "wire-haired fox terrier"),
        ("cat-dog", 0, 3, 1, "cat - dog"),
        ("cat - dog", 0, 3, 1, "cat - dog"),
        ("0-3", 0, 3, 1, "cat - dog"),
        ("predicted-dog", 1, 3, 1, "tiger cat - dog"),
        ("wire-haired fox terrier-dog", 2, 3, 1, "wire-haired fox terrier - dog"),
        ("dog-wire-haired fox terrier", 3, 2, 1, "dog - wire-haired fox terrier"),
        ("well-fed", 4, None, 1, "well-fed"),
        ("-dog", 3, None, -1, "against dog"),
        ("-predicted", 1, None, -1, "against tiger cat"),
    ],
)
def test_options_mean_targets(option, index, against, sign, name) -> None:  # type: ignore[no-untyped-def]
    target = resolve_target(option, LOGITS[0].numpy(), LABELS)
    assert (target.index, target.against, target.sign, target.name) == (index, against, sign, name)
    expected = LOGITS[0, index] - (LOGITS[0, against] if against is not None else 0)
    assert target(LOGITS).tolist() == [sign * expected]
    assert target.is_class == (against is None and sign == 1)


@pytest.mark.parametrize(
    ("option", "error", "message"),
    [
        ("cta", UnknownName, "unknown class 'cta'; did you mean 'cat'"),
        ("CTA", UnknownName, "unknown class 'CTA'; did you mean 'cat'"),
        ("cat-dgo", UnknownName, "unknown class 'dgo'; did you mean 'dog'"),
        ("dgo-cat", UnknownName, "unknown class 'dgo'; did you mean 'dog'"),
        ("-dgo", UnknownName, "unknown class 'dgo'; did you mean 'dog'"),
        ("cat-9", OptionError, "target 9 is not a class; the model has classes 0 to 6"),
        ("wire haired fox terier", UnknownName, "did you mean 'wire-haired fox terrier'"),
        ("tigre-cat", UnknownName, "unknown class 'tigre-cat'; did you mean 'tiger cat'"),
        ("zzz-yyy", UnknownName, "unknown class 'zzz-yyy'. Known"),
        (["cat", "dog"], OptionError, r"has 2 entries, but explain takes one; use explain_classes"),
        (7, OptionError, "target 7 is not a class; the model has classes 0 to 6"),
        (-1, OptionError, "target -1 is not a class"),
        (1.5, OptionError, "neither a class index nor a class name"),
    ],
)
def test_what_means_nothing_is_named(option, error, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=message):
        resolve_target(option, LOGITS[0].numpy(), LABELS)


def test_what_means_two_things_is_named() -> None:
    with pytest.raises(OptionError, match=r"can mean 'a - b-c' \(#0-#1\), 'a-b - c' \(#2-#3\); give class indices"):
        resolve_target("a-b-c", np.zeros(4, np.float32), ("a", "b-c", "a-b", "c"))


def test_log_softmax_counts_what_speaks_for_other_classes() -> None:
    target = resolve_target("cat", LOGITS[0].numpy(), LABELS, "log-softmax")
    torch.testing.assert_close(target(LOGITS), torch.log_softmax(LOGITS, 1)[:, 0])
    with pytest.raises(UnknownName, match="unknown quantity 'softmax'; did you mean 'log-softmax'"):
        resolve_target("cat", LOGITS[0].numpy(), LABELS, "softmax")


def test_a_function_of_the_caller_s_gives_one_number_an_image() -> None:
    target = resolve_target(lambda logits: logits[:, 0] + 2 * logits[:, 3], LOGITS[0].numpy(), LABELS)
    assert target(LOGITS).item() == 1
    assert target.index == 1
    with pytest.raises(OptionError, match=r"gave \(1, 7\) for logits \(1, 7\); it must give one number per image"):
        resolve_target(lambda logits: logits, LOGITS[0].numpy(), LABELS)(LOGITS)


@pytest.mark.parametrize("method", ["cam", "gradcam"])
def test_a_difference_is_the_difference_of_the_maps(model: camserve.Model, method: str) -> None:
    image = picture(2)
    first, second, both, against = (
        model.explain(image, method=method, target=target) for target in (281, 282, "281-282", "-282")
    )
    np.testing.assert_allclose(both.map, first.map - second.map, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(against.map, -second.map, rtol=1e-5, atol=1e-6)
    assert (both.class_index, both.logit) == (281, first.logit)
    assert both.target.name == f"{model.labels[281]} - {model.labels[282]}"


def test_a_function_is_explained_like_a_class(model: camserve.Model) -> None:
    image = picture(2)
    by_function = model.explain(image, target=lambda logits: logits[:, 5])
    by_class = model.explain(image, target=5).map  # in closed form, summed in another order
    np.testing.assert_allclose(by_function.map, by_class, atol=1e-6 * np.abs(by_class).max())
    assert by_function.class_index == model.explain(image).class_index


def test_several_classes_come_from_one_forward(model: camserve.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_forwards(model, monkeypatch)
    several = model.explain_classes(picture(2), 3)
    assert len(calls) == 2  # of the whole picture, and of the model's own evaluation crop
    assert [one.class_index for one in several] == [one.class_index for one in several[0].top(3)]
    named = model.explain_classes(picture(2), ["tabby", 282, "281-282", None])
    assert len(calls) == 4
    assert [one.class_index for one in named] == [281, 282, 281, several[0].class_index]
    with pytest.raises(OptionError, match="2000 classes were asked for; the model has 1000"):
        model.explain_classes(picture(2), 2000)


@pytest.mark.parametrize(
    ("targets", "message"),
    [([], "the list of targets is empty"), ("tabby", "targets 'tabby' is one target; give a list of them")],
)
def test_a_list_of_targets_is_a_list_of_some(model: camserve.Model, targets: object, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        model.explain_classes(picture(2), targets)  # type: ignore[arg-type]


def test_targets_are_named_in_json_and_legend(model: camserve.Model) -> None:
    made = model.explain(picture(2), target="281-282")
    facts = made.to_dict()
    assert facts["target"] == {"name": "tabby - tiger cat", "quantity": "logit", "value": made.value}
    assert made.value == made.logits[281] - made.logits[282] != made.logit
    assert made.in_short == f"tabby - tiger cat: {made.value:.2f} logits"
    assert model.explain(picture(2), target="tabby").in_short == f"tabby {made.scores[281]:.2f}"


def test_many_images_may_have_a_target_each(model: camserve.Model) -> None:
    images = [picture(0), picture(1), picture(2)]
    many = model.explain_many(images, target=[7, "tabby", None])
    assert [one.class_index for one in many][:2] == [7, 281]
    with pytest.raises(OptionError, match="3 images, but 2 targets"):
        list(model.explain_many(images, target=[7, 8]))
    with pytest.raises(OptionError, match="there are only 2 targets"):
        list(model.explain_many((image for image in images), target=[7, 8]))


def test_a_target_is_compared_by_what_it_is() -> None:
    assert Target(3, "dog") == Target(3, "dog")


@pytest.mark.parametrize(
    ("option", "index", "against", "sign"),
    [
        ("expected", 3, None, 1),
        ("predicted-expected", 1, 3, 1),
        ("expected-predicted", 3, 1, 1),
        ("expected-wire-haired fox terrier", 3, 2, 1),
        ("wire-haired fox terrier - expected", 2, 3, 1),
        ("-expected", 3, None, -1),
    ],
)
def test_a_target_may_name_the_expected_class(option: str, index: int, against: int | None, sign: int) -> None:
    target = resolve_target(option, LOGITS[0].numpy(), LABELS, expected=3)
    assert (target.index, target.against, target.sign) == (index, against, sign)
    with pytest.raises(
        OptionError, match=f"target '{option}' needs the class that the image shows, but this class is not known"
    ):
        resolve_target(option, LOGITS[0].numpy(), LABELS)
    assert needs_expected(option, LABELS)


@pytest.mark.parametrize("option", [None, 3, "dog", "unexpected", "well-fed", "predicted-dog", len])
def test_other_targets_need_no_expected_class(option: object) -> None:
    assert not needs_expected(option, LABELS)


def test_a_class_called_as_a_word_is_told_from_it() -> None:
    labels, logits = ("cat", "expected", "predicted", "expected-value"), np.array([3, 2, 1, 0], np.float32)
    assert not needs_expected("expected", labels)
    assert resolve_target("expected", logits, labels).index == 1  # as ever, where no class is expected
    assert resolve_target("cat-expected", logits, labels).against == 1
    assert resolve_target("expected-value", logits, labels, expected=0).index == 3
    for option in ("expected", "cat-expected", "expected-cat", "-expected"):
        with pytest.raises(
            OptionError, match="'expected' means the class that the image shows, but a class .* as '#1'"
        ):
            resolve_target(option, logits, labels, expected=0)
    for option in ("predicted", "cat-predicted"):
        with pytest.raises(OptionError, match="'predicted' means the class with the highest logit, .* as '#2'"):
            resolve_target(option, logits, labels)


@pytest.mark.parametrize(
    "target", ["-" * 1000, "tabby-" * 150, "a-" * 500, "x-" * 100_000, "- " * 500, "cat dog " * 120]
)
def test_no_target_takes_long_to_be_refused(target: str) -> None:
    labels = [f"word {place} of many" for place in range(1000)] + ["tabby"]
    start = time.thread_time()
    with pytest.raises(OptionError):
        resolve_target(target, np.zeros(len(labels), np.float32), labels)
    assert time.thread_time() - start < 0.5  # a thousand hyphens took seconds
