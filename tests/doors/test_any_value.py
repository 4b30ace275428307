"""Whatever an option is given from Python, the answer is a result or an OptionError, and never a warning.

Or an ImageError, as bytes and arrays in the place of a target are another photograph.
"""

import math
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import picture
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import camserve
from camserve.catalogue.option_metadata import about
from camserve.catalogue.options import ExplainOptions, OverlayOptions, Targeted
from camserve.errors import ImageError, OptionError

pytestmark = pytest.mark.filterwarnings("error")

IMAGE = picture(4, (40, 24))


class Evil:
    """What cannot be written, compared or hashed."""

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise RuntimeError("no words")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no like")


def interrupted() -> None:
    raise KeyboardInterrupt


# What hypothesis seldom hits.
ODD: list[Any] = [
    10**30, 10**400, -(10**400), 10**5000, 1e-320, 1e-45, 1e-30, 1e308, math.nan, math.inf, -math.inf, 1j,
    Fraction(1, 2), "8", "x", "\0", "\ud800", "-" * 900, "9" * 5000, "#1", "a-b", "-b", "0,2", "fit", "crop", "native",
    "gradcam", "cam", b"x", [], [[1]], {"a": 1}, {1}, np.float32(0.5), np.int64(1), np.bool_(True), np.array(1),
    np.array([1, 2]), np.array(["a"]), torch.tensor(0.5), torch.tensor(1), torch.tensor([0.5, 1]),
    torch.empty((), device="meta"),
    Evil(), object(), nn.Linear, lambda logits: logits, lambda logits: logits[:, 0], lambda logits: logits.argmax(1),
    lambda logits: 1 / 0, lambda logits: sys.exit(), lambda logits: interrupted(),
]  # fmt: skip
VALUES = st.one_of(st.integers(), st.floats(), st.text(max_size=20), st.lists(st.integers(-1, 4)))
BRIEFLY = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@pytest.fixture(scope="module")
def model() -> camserve.Model:
    torch.manual_seed(0)
    body = (nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return camserve.load(nn.Sequential(*body, nn.Flatten(), nn.Linear(8, 3)), size=32, labels=["a", "b", "c-d"])


@pytest.fixture(scope="module")
def explanation(model: camserve.Model) -> camserve.Explanation:
    return model.explain(IMAGE)


def answered(call: Callable[..., Any], *values: Any, **named: Any) -> Any:
    """What a call gives, None where it raises OptionError or ImageError with words."""
    try:
        return call(*values, **named)
    except (OptionError, ImageError) as error:
        assert str(error)
        return None


def always(holds: Callable[[Any], None]) -> None:
    """Asks it of every odd value, and of those that hypothesis makes up."""
    for value in ODD:
        holds(value)
    BRIEFLY(given(VALUES)(holds))()


HOW = [name for kind in (Targeted, ExplainOptions) for name in about(kind)]


@pytest.mark.parametrize("name", [*HOW, "progress"])
def test_any_value_of_how_it_is_explained(model: camserve.Model, name: str) -> None:
    def holds(value: Any) -> None:
        made = answered(model.explain, IMAGE, **{name: value})
        assert made is None or made.to_dict()["map"]

    always(holds)


@pytest.mark.parametrize("name", about(OverlayOptions))
def test_any_value_of_how_it_is_drawn(explanation: camserve.Explanation, name: str) -> None:
    def holds(value: Any) -> None:
        made = answered(explanation.overlay, **{name: value})
        assert made is None or made.size[0] >= IMAGE.width

    always(holds)


def test_any_value_of_what_is_asked_of_an_explanation(
    model: camserve.Model, explanation: camserve.Explanation, tmp_path: Path
) -> None:
    def holds(value: Any) -> None:
        for ask in ("boxes", "polygons", "mask_image", "top", "answer_of", "share"):
            answered(getattr(explanation, ask), value)
        answered(explanation.at, value, 1), answered(explanation.at, 1, 1, value)
        answered(explanation.receptive_box, 1, value), answered(explanation.share, (0, 0, 1, value))
        answered(explanation.to_dict, top=value), answered(explanation.to_dict, threshold=value)
        answered(explanation.save, tmp_path / "out", look=value)
        answered(model.explain_classes, IMAGE, value), answered(model.explain_classes, IMAGE, [value])
        answered(model.class_maps, IMAGE, size=value), answered(model.class_maps, IMAGE, output=value)
        answered(model.layer, value), answered(model.layer, "0", value), answered(model.of_output, value)
        answered(lambda: list(model.explain_many([IMAGE], errors=value)))
        answered(lambda: list(model.explain_many([IMAGE], target=value)))

    always(holds)


@pytest.mark.parametrize(
    "value", [np.float64(0.25), np.float32(0.25), torch.tensor(0.25), np.array(0.25), Fraction(1, 4)]
)
def test_scalars_of_numpy_and_torch_are_numbers(explanation: camserve.Explanation, value: Any) -> None:
    plain, got = (explanation.overlay(alpha=one, contour=one, boxes=one, scale=one) for one in (0.25, value))
    assert got.tobytes() == plain.tobytes()
    assert explanation.boxes(value) == explanation.boxes(0.25)


@pytest.mark.parametrize("one", [np.int64(1), torch.tensor(1), np.array(1)])
def test_whole_scalars_are_indices_and_sizes(model: camserve.Model, one: Any) -> None:
    assert model.explain(IMAGE, target=one, expected=one, output_stride=one).class_index == 1
    assert model.explain(IMAGE, size=one * 48).placement.frame.input[1] == 48
    assert len(model.explain_classes(IMAGE, one)) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"output_stride": "8"}, "output_stride must be a whole number from 1 to 65535, not '8'"),
        ({"output_stride": 8.0}, "output_stride must be a whole number from 1 to 65535, not 8.0"),
        ({"layer": 5}, "layer 5 is not one name; give it as text"),
        ({"layer": ["0", 5]}, "layer 5 is not one name"),
        ({"target": 10**30}, f"target {10**30} is not a class; the model has classes 0 to 2"),
        ({"target": lambda logits: 1 / 0}, "the target function raised ZeroDivisionError: division by zero"),
        ({"target": lambda logits: logits.argmax(1)}, "the target function gave torch.int64; it must give floats"),
        ({"size": [224]}, r"size \[224\] is neither a whole number nor text: what the network sees"),
    ],
)
def test_what_is_wrong_is_said(model: camserve.Model, options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        model.explain(IMAGE, **options)


def test_what_is_wrong_with_a_question_is_said(explanation: Any) -> None:
    for call, said in {
        lambda: explanation.overlay(alpha="x"): "alpha must be a number from 0 to 1, not 'x'",
        lambda: explanation.overlay(contour=True): "contour must be a number from 0 to 1, not True",
        lambda: explanation.boxes("x"): "threshold must be a number from 0 to 1, not 'x'",
        lambda: explanation.at(10**400, 1): "is not x, y: numbers of pixels of the original",
        lambda: explanation.top(-1): "count must be a whole number of 0 or more, not -1",
        lambda: explanation.receptive_box(math.nan, 1): "place nan, 1 is outside the photograph",
        lambda: explanation.share(("0", "0", "1", "1")): "is not left, top, right, bottom in pixels",
    }.items():
        with pytest.raises(OptionError, match=said):
            call()


@pytest.mark.parametrize("signed", [False, True])
def test_a_scale_may_be_as_small_as_there_are_numbers(explanation: camserve.Explanation, signed: bool) -> None:
    usual = explanation.overlay(scale=1e-6, signed=signed).tobytes()
    for scale in (1e-320, 1e-45, 1e-38, 1e-30):
        assert explanation.overlay(scale=scale, signed=signed).tobytes() == usual
        explanation.overlay(scale=scale, signed=signed, legend=True)
