"""What is no path, no list, no picture and no number is refused in words, whatever it looks like."""

from contextlib import suppress
from os import PathLike
from typing import Any

import numpy as np
import pytest
import torch
from conftest import picture
from torch import nn

import camserve
from camserve.errors import CamserveError, ImageError, ImageTooLarge, ModelError, OptionError
from camserve.models.onnx_export import export

HUGE = np.broadcast_to(np.uint8(0), (100_000, 100_000, 3))  # three bytes, of which a copy has 28 GiB


class NoPath(PathLike[str]):
    def __fspath__(self) -> str:
        return 5  # type: ignore[return-value]


NEITHER: list[Any] = [
    None, "", b"", 10**400, [[1], [2, 3]], np.array("a"), np.ma.masked, torch.empty((), device="meta"),
    np.array((1, 2.0), dtype=[("a", int), ("b", float)]), NoPath(),
]  # fmt: skip


def network(channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    body = nn.Conv2d(channels, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*body, nn.Linear(4, 2))


@pytest.fixture(scope="module")
def model() -> camserve.Model:
    return camserve.load(network(), size=32, labels=["a", "b"])


@pytest.fixture(scope="module")
def explanation(model: camserve.Model) -> camserve.Explanation:
    return model.explain(picture(4, (40, 24)))


@pytest.mark.parametrize("name", ["labels", "bands", "channels", "size", "mean", "weights", "aliases"])
def test_nothing_that_a_network_is_loaded_with(name: str) -> None:
    for value in NEITHER:
        with suppress(CamserveError):
            camserve.load(network(), **{"size": 32, "mean": 127, "std": 60, name: value})


@pytest.mark.parametrize("labels", [np.array("a"), torch.tensor(5), 5])
def test_labels_without_an_order(labels: Any) -> None:
    with pytest.raises(ModelError, match="have no order"):
        camserve.load(network(), size=32, labels=labels)


@pytest.mark.parametrize("value", [None, b"", 5, [], NoPath()])
def test_no_path(model: camserve.Model, explanation: camserve.Explanation, value: Any) -> None:
    for call in (explanation.save, lambda path: export(model, path)):
        with pytest.raises(OptionError, match="is not a path; give text"):
            call(value)


def test_a_picture_whose_path_is_none(model: camserve.Model) -> None:
    with pytest.raises(ImageError, match="cannot read .*NoPath"):
        model.explain(NoPath())


@pytest.mark.parametrize("images", [None, 5, "a.jpg", b"x", np.array(1)])
def test_no_list_of_images(model: camserve.Model, images: Any) -> None:
    for target in (None, ["a"]):
        with pytest.raises(OptionError, match="is not a list of images; for a single image use explain"):
            next(model.explain_many(images, target=target))


@pytest.mark.parametrize("value", NEITHER)
def test_no_place(explanation: camserve.Explanation, value: Any) -> None:
    if value is np.ma.masked:  # NumPy gives it the value 0
        return
    for call in (explanation.placement.cell_centre, explanation.placement.cell_at):
        for place in ((value, 1), (1, value)):
            with pytest.raises(OptionError, match="is neither a number nor an array of numbers"):
                call(*place)


def test_places_of_every_kind(explanation: camserve.Explanation) -> None:
    for call in (explanation.placement.cell_centre, explanation.placement.cell_at):
        expected = call(1, 2)
        for one, kind in ((np.array([1]), np.ndarray), (torch.tensor([1.0]), torch.Tensor), ([1], np.ndarray)):
            across, down = call(one, np.float32(2))
            assert (float(across[0]), down) == pytest.approx(expected) and isinstance(across, kind)


def test_no_picture_is_copied_before_its_size_is_looked_at(model: camserve.Model) -> None:
    of_bands = camserve.load(network(), size=32, bands=[0, 1, 2], mean=0, std=1)
    for one in (model, of_bands):
        with pytest.raises(ImageTooLarge, match="'array' is 100000 x 100000"):
            one.explain(HUGE)
