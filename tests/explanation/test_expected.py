"""The class that an image shows, beside what the model says of it."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

import camserve
from camserve.errors import OptionError, UnknownName

IMAGE = np.full((32, 32, 3), 255, np.uint8)
LABELS = ["cat", "dog", "fox", "owl"]


@pytest.fixture(scope="module")
def model() -> camserve.Model:
    """Of a white image the logits are 3, 2, 1 and 0."""
    net = nn.Sequential(nn.Conv2d(3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 4))
    with torch.no_grad():
        net[0].weight.fill_(1 / 3)
        net[0].bias.zero_()
        net[3].weight.copy_(torch.tensor([[3.0], [2.0], [1.0], [0.0]]))
        net[3].bias.zero_()
    return camserve.load(net, labels=LABELS, size=32, mean=(0, 0, 0), std=(255, 255, 255))


@pytest.mark.parametrize("given", [2, "fox", "FOX", "2", "#2"])
def test_what_was_expected_is_said_in_numbers_and_in_words(model: camserve.Model, given: int | str) -> None:
    made = model.explain(IMAGE, expected=given)
    scores = np.exp([3, 2, 1, 0]) / np.exp([3, 2, 1, 0]).sum()
    assert (made.class_name, made.expected) == ("cat", 2)
    found = made.to_dict()["expected"]
    assert found.pop("score") == pytest.approx(scores[2], abs=1e-6)
    assert found == {"class_index": 2, "class_name": "fox", "rank": 3, "right": False}
    said = f"the model says 'cat' {scores[0]:.2f}; expected was 'fox', its number 3 with {scores[2]:.2f}; try target "
    assert f"{said}predicted-expected" in made.warnings


def test_what_is_as_expected_needs_no_words(model: camserve.Model) -> None:
    made = model.explain(IMAGE, expected="cat")
    assert made.to_dict()["expected"]["right"] is True
    assert made.to_dict()["expected"]["rank"] == 1
    assert not any("expected" in text for text in made.warnings)
    unsaid = model.explain(IMAGE)
    assert (unsaid.expected, unsaid.to_dict()["expected"], unsaid.warnings) == (None, None, made.warnings)


def test_the_first_class_is_expected_like_any_other(model: camserve.Model) -> None:
    dark = np.zeros((32, 32, 3), np.uint8)
    dark[0, 0] = 1
    assert model.explain(IMAGE, target="owl", expected=0).to_dict()["expected"]["class_name"] == "cat"


def test_targets_may_name_it(model: camserve.Model) -> None:
    wrong = model.explain(IMAGE, target="predicted-expected", expected="fox")
    assert (wrong.target.name, wrong.value) == ("cat - fox", 2)
    np.testing.assert_array_equal(wrong.map, model.explain(IMAGE, target="cat-fox").map)
    assert any("expected was 'fox', its number 3 with 0.09" in text for text in wrong.warnings)
    assert not any("try target predicted-expected" in text for text in wrong.warnings)
    several = model.explain_classes(IMAGE, ["expected", "expected-predicted", 3], expected=2)
    assert [one.target.name for one in several] == ["fox", "fox - cat", "owl"]
    assert {one.expected for one in several} == {2}
    assert pickle.loads(pickle.dumps(several[0])).to_dict() == several[0].to_dict()


def test_with_several_sizes_and_images_it_is_the_same(model: camserve.Model) -> None:
    sharp = model.explain(IMAGE, target="expected", expected="fox", sharp=True)
    assert (sharp.class_name, sharp.expected) == ("fox", 2)
    many = model.explain_many([IMAGE, IMAGE], target="predicted-expected", expected="dog")
    assert [one.target.name for one in many if isinstance(one, camserve.Explanation)] == ["cat - dog", "cat - dog"]


def test_what_is_wrong_with_it_is_said(model: camserve.Model) -> None:
    with pytest.raises(UnknownName, match="unknown class 'foxx'; did you mean 'fox'"):
        model.explain(IMAGE, expected="foxx")
    with pytest.raises(OptionError, match="expected 4 is not a class; the model has classes 0 to 3"):
        model.explain(IMAGE, expected=4)
    with pytest.raises(OptionError, match="expected 1.5 is neither a whole number nor text"):
        model.explain(IMAGE, expected=1.5)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="this class is not known: give expected, an index or a name"):
        model.explain(IMAGE, target="predicted-expected")
