"""Metrics of real explanations: what a Subject that was made of one says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import camserve
from camserve.explain import open_photo
from camserve.explain.questioned import subject_of
from camserve.metrics.measure import measure
from camserve.metrics.subject import Subject


def asked(model: camserve.Model, cat: Path, **options: Any) -> Subject:
    explanation = model.explain(cat, **{"sharp": False, "size": 96, **options})
    return subject_of(model, explanation, open_photo(model, cat))


@pytest.mark.parametrize("target", [None, "281-285"])
def test_cam_is_complete_of_a_class_and_of_a_difference_of_two(
    model: camserve.Model, cat: Path, target: str | None
) -> None:
    residue = measure("completeness", asked(model, cat, method="cam", target=target))
    assert residue is not None
    assert residue < 1e-4


@pytest.mark.parametrize(
    "options",
    [
        {"method": "gradcam"},
        {"method": "cam", "sharp": True},
        {"method": "cam", "output_stride": 16},
        {"method": "cam", "quantity": "log-softmax"},
    ],
    ids=str,
)
def test_a_map_that_is_not_in_logits_has_no_completeness(
    model: camserve.Model, cat: Path, options: dict[str, Any]
) -> None:
    assert measure("completeness", asked(model, cat, **options)) is None


def test_the_cat_s_map_drops_less_than_its_opposite(model: camserve.Model, cat: Path) -> None:
    subject = asked(model, cat, method="cam")
    opposite = replace(subject, heat=-subject.heat)
    drops = [measure("average_drop", one) for one in (subject, opposite)]
    assert drops[0] is not None and drops[1] is not None
    assert drops[0] < drops[1]
