"""The decision that is explained is the model's own: what it says under its own evaluation preprocessing."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import camserve
from camserve.config.schema import load_settings

RED, GREEN, BLUE = 0, 1, 2


def colours(own_answer: bool = True) -> camserve.Model:
    """The mean of each colour, halved, is its logit; evaluated on the middle half of each side."""
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(3)[:, :, None, None])
        net[0].bias.zero_()
        net[4].weight.copy_(torch.eye(3) / 2)
        net[4].bias.zero_()
    settings = load_settings(overrides={"explain": {"own_answer": own_answer}})
    labels = ["red", "green", "blue"]
    return camserve.load(
        net, layer="1", labels=labels, settings=settings, size=8, crop=0.5, mean=(0, 0, 0), std=(60, 60, 60)
    )


def photograph() -> Image.Image:
    """32 x 32: red in the middle 16 x 16, green around it, three times as much."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[..., GREEN] = 240
    pixels[8:24, 8:24] = (240, 0, 0)
    return Image.fromarray(pixels)


def test_the_class_and_the_scores_are_those_of_the_crop_and_the_map_is_of_the_whole() -> None:
    model = colours()
    found, crop = model.explain(photograph()), model.explain(photograph(), size="crop")
    assert crop.logits == pytest.approx([2, 0, 0], abs=0.1)  # 240 / 60 / 2, but for the border
    assert found.class_name == found.own_answer.class_name == "red"
    assert found.scores is not None and crop.scores is not None
    assert np.array_equal(found.scores, crop.scores)
    assert (found.own_answer.logit, found.score) == (crop.logit, crop.score)
    assert [one.class_name for one in found.top(2)] == [one.class_name for one in crop.top(2)]
    assert found.placement.frame.sees_all
    assert found.logits == pytest.approx([0.5, 1.5, 0], abs=0.15)  # a quarter is red, but for smoothing
    assert found.map.mean() == pytest.approx(found.logit, abs=1e-5)  # the map adds up to the whole photograph's logit
    assert found.heatmap[16, 16] > 0.9 > 0.1 > found.heatmap[2, 2]


def test_another_answer_for_the_whole_photograph_is_said() -> None:
    (words,) = (text for text in colours().explain(photograph()).warnings if "evaluation crop" in text)
    assert words.startswith("on its own evaluation crop the model answers 'red' (0.77), but on the input")
    assert "'green' comes first (0.6" in words
    assert not any("evaluation crop" in text for text in colours().explain(photograph(), size="crop").warnings)
    red = Image.new("RGB", (32, 32), (240, 0, 0))
    assert not any("evaluation crop" in text for text in colours().explain(red).warnings)


def test_the_best_classes_are_the_crop_s_too() -> None:
    several = colours().explain_classes(photograph(), 2)
    assert [one.class_name for one in several] == ["red", "green"]
    assert colours().explain(photograph(), target="predicted-green").target.name == "red - green"


@pytest.mark.parametrize("size", ["crop", "native"])
def test_an_input_that_the_user_chose_answers_for_itself(size: str) -> None:
    found = colours().explain(photograph(), size=size)
    assert found.own_logits is None
    assert found.class_index == found.logits.argmax()
    assert found.own_answer.logit == found.logit


def test_a_photograph_that_has_the_size_of_the_input_already_is_no_exception() -> None:
    """Its input is the photograph pixel for pixel, but nobody said that this is what the model is to decide on."""
    small = photograph().resize((8, 8), Image.Resampling.NEAREST)
    found, crop = colours().explain(small), colours().explain(small, size="crop")
    assert found.placement.frame == colours().explain(small, size="native").placement.frame
    assert (found.class_name, found.score) == (crop.class_name, crop.score)
    assert found.class_name == "red"
    assert colours().explain(small, size="native").class_name == "green"


def test_it_can_be_switched_off() -> None:
    found = colours(own_answer=False).explain(photograph())
    assert found.own_logits is None
    assert found.class_name == found.own_answer.class_name == "green"
    assert not any("evaluation crop" in text for text in found.warnings)


def test_a_class_that_was_named_has_the_crop_s_score() -> None:
    found = colours().explain(photograph(), target="green")
    assert found.class_name == "green"
    assert found.score == colours().explain(photograph(), target="green", size="crop").score
    assert found.own_answer.class_name == "red"


def test_a_network_of_one_size_is_asked_for_its_own_crop() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Conv2d(3, 3, 1), nn.Linear(3 * 64, 3)
            with torch.no_grad():
                self.body.weight.copy_(torch.eye(3)[:, :, None, None])
                self.body.bias.zero_()
                self.head.weight.copy_(torch.repeat_interleave(torch.eye(3), 64, 1) / 128)
                self.head.bias.zero_()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(images).flatten(1))

    model = camserve.load(Fixed(), layer="body", size=8, crop=0.5, mean=(0, 0, 0), std=(60, 60, 60))
    found = model.explain(photograph())
    assert (found.class_index, int(found.logits.argmax())) == (RED, GREEN)


def test_the_answer_of_a_class_that_there_is_not_is_an_error() -> None:
    for index in (-1, 3, "a"):
        with pytest.raises(camserve.CamserveError, match="index|class"):
            colours().explain(photograph()).answer_of(index)  # type: ignore[arg-type]


def test_json_and_pickles_have_it() -> None:
    found = colours().explain(photograph())
    facts = found.to_dict()
    assert facts["own_answer"] == vars(found.own_answer)
    assert (facts["score"], facts["logit"]) == (found.score, found.logit)
    assert pickle.loads(pickle.dumps(found.attribution)).own_answer == found.own_answer


def test_of_a_photograph_whose_answers_agree_nothing_is_said(model: camserve.Model, photos: Path) -> None:
    found = model.explain(photos / "coffee.png")
    assert found.class_name == "espresso"
    assert found.score == pytest.approx(0.951, abs=0.01)
    assert found.warnings == ()
