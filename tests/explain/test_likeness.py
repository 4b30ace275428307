"""Why two photographs look alike to an embedding: exact where it is a mean over places, with the lengths held fixed."""

import io
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import camserve
from camserve.catalogue.targets import is_photograph
from camserve.errors import ImageError, ModelError, OptionError
from camserve.graph.original.given import NO_LENGTHS

INPUT: dict[str, Any] = {"size": 16, "crop": 1.0, "mean": (0, 0, 0), "std": (255, 255, 255)}
RED, GREEN, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 0)


def cells(*colours: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """A photograph (16, 16, 3) of four cells, row by row."""
    return np.array(colours, np.uint8).reshape(2, 2, 3).repeat(8, 0).repeat(8, 1)


ONE, OTHER = cells(RED, GREEN, RED, BLACK), cells(RED, BLACK, BLACK, BLACK)


def colours(*behind: nn.Module, before: nn.Module | None = None) -> nn.Module:
    """How much red and how much green there is in a cell of 8 x 8, 0..1, each a mean over places."""
    convolution = nn.Conv2d(3, 2, 8, 8, bias=False)
    with torch.no_grad():
        convolution.weight.zero_()
        convolution.weight[0, 0] = convolution.weight[1, 1] = 1 / 64
    return nn.Sequential(convolution, before or nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), *behind)


class Scaled(nn.Module):
    """Features of length 1, in three ways of writing it."""

    def __init__(self, way: str, *, untraced: bool = False) -> None:
        super().__init__()
        self.net, self.way, self.untraced = colours(), way, untraced

    def forward(self, x: Tensor) -> Tensor:
        if self.untraced and float(x.sum()) < -1e9:
            return x
        features = self.net(x)
        if self.way == "normalize":
            return F.normalize(features, dim=-1)
        length = features.norm(dim=1, keepdim=True)
        return features / length if self.way == "divided" else features * length.reciprocal()


@pytest.mark.parametrize(
    "net",
    [colours(), colours(before=nn.ReLU()), Scaled("normalize"), Scaled("divided"), Scaled("divided", untraced=True)],
    ids=["plain", "rectified", "normalised", "divided", "untraced"],
)
def test_each_cell_adds_what_it_adds_by_hand(net: nn.Module) -> None:
    # f = (2/4, 1/4) of one, g = (1/4, 0) of the other: f.g / (|f| |g|) = 2 / sqrt(5)
    model = camserve.load(net, scores="embedding", **INPUT)
    made = model.explain(ONE, target=OTHER)
    assert made.value == pytest.approx(2 / sqrt(5), abs=1e-6)
    np.testing.assert_allclose(made.map, np.array([[4, 0], [4, 0]]) / sqrt(5), atol=1e-6)
    assert made.completeness == pytest.approx(0, abs=1e-6)
    assert made.share((0, 0, 8, 16)) + made.share((8, 0, 16, 16)) == pytest.approx(made.value, abs=1e-6)
    assert made.other is not None
    assert made.other.value == pytest.approx(made.value, abs=1e-6)
    np.testing.assert_allclose(made.other.map, np.array([[8, 0], [0, 0]]) / sqrt(5), atol=1e-6)
    assert (made.unit, made.score, made.in_short) == ("output", None, "likeness to array 0.8944")


def test_a_photograph_is_like_itself_and_that_is_what_is_explained_where_nothing_is_said() -> None:
    model = camserve.load(colours(), scores="embedding", **INPUT)
    assert model.explain(ONE, target=ONE).value == pytest.approx(1, abs=1e-6)
    made = model.explain(ONE)
    np.testing.assert_allclose(made.map, np.array([[2, 1], [2, 0]]) * 0.25 / (5 / 16), atol=1e-6)
    assert made.value == pytest.approx(1, abs=1e-6)
    assert made.other is None
    assert [one.value for one in model.explain_many([ONE, OTHER], target=ONE)] == pytest.approx([1, 2 / sqrt(5)])


def test_a_bias_is_of_no_place_and_a_linear_layer_behind_the_mean_is_part_of_each() -> None:
    torch.manual_seed(3)
    model = camserve.load(colours(nn.Linear(2, 5)), scores="embedding", **INPUT)
    made = model.explain(ONE, target=OTHER)
    assert made.bias != 0
    assert made.map.mean() + made.bias == pytest.approx(made.value, abs=1e-6)


class Deep(nn.Module):
    """Features that are no mean over places, with or without something that torch.fx cannot follow."""

    def __init__(self, *, untraced: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 4, 4), nn.Conv2d(6, 8, 3, padding=1)
        self.last, self.untraced = nn.Linear(8, 5), untraced

    def rest(self, maps: Tensor) -> Tensor:
        return self.last(self.second(maps.relu()).relu().amax((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        if self.untraced and float(x.sum()) < -1e9:
            return x
        return F.normalize(self.rest(self.first(x)))


@pytest.mark.parametrize("untraced", [False, True])
def test_other_heads_have_the_gradient_of_the_similarity_with_the_lengths_held_fixed(untraced: bool) -> None:
    torch.manual_seed(1)
    net = Deep(untraced=untraced)
    model = camserve.load(net, scores="embedding", layer="first", **INPUT)
    made = model.explain(ONE, target=OTHER, method="gradcam")
    one, other = (torch.from_numpy(photo).permute(2, 0, 1)[None] / 255 for photo in (ONE, OTHER))
    for found, image, to in ((made, one, other), (made.other, other, one)):
        maps = net.first(image).detach().requires_grad_()
        features, fixed = net.rest(maps), net.rest(net.first(to)).detach()
        likeness = (features @ fixed.T)[0, 0] / features.norm().detach() / fixed.norm()
        (gradient,) = torch.autograd.grad(likeness, maps)
        expected = (gradient.mean((2, 3), keepdim=True) * maps).sum(1)[0].detach().numpy()
        assert found.value == pytest.approx(float(likeness), abs=1e-6)
        np.testing.assert_allclose(found.map, expected, atol=1e-6)
        assert abs(expected.sum()) > 1e-3  # as the gradient of the cosine itself would


def test_methods_without_gradients_see_the_similarity_itself() -> None:
    model = camserve.load(colours(), scores="embedding", **INPUT)
    covered = model.explain(ONE, target=OTHER, method="occlusion")
    assert covered.map[0, 0] > covered.map[0, -1]  # red matters, green is in the way


def test_a_scaling_that_is_not_seen_is_said() -> None:
    model = camserve.load(Scaled("multiplied"), scores="embedding", **INPUT)
    assert NO_LENGTHS in model.explain(ONE, target=ONE).warnings


def test_a_classifier_is_asked_by_the_features_before_its_last_linear_layer(model: camserve.Model) -> None:
    made = model.explain("photos/cat.jpg", target=Path("photos/coffee.jpg"))
    features = []
    for photo in (made.photo, made.other.photo):
        pixels = camserve.explain.to_input(photo, model.frame(photo.size), model.card.input)
        features.append(model.layer().observe(pixels)[0].mean((2, 3)))
    assert made.value == pytest.approx(float(F.cosine_similarity(features[0], features[1])[0]), abs=1e-5)
    assert made.map.mean() == pytest.approx(made.value, abs=1e-5)
    assert made.other.map.mean() == pytest.approx(made.value, abs=1e-5)
    assert model.explain("photos/cat.jpg", target=Path("photos/cat.jpg")).value == pytest.approx(1, abs=1e-6)


def test_a_classifier_without_a_last_linear_layer_says_what_to_load() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(OptionError, match="does not end in a linear layer.*scores='embedding'"):
        camserve.load(net, **INPUT).explain(ONE, target=OTHER)


def test_what_is_about_classes_is_refused() -> None:
    model = camserve.load(colours(), scores="embedding", **INPUT)
    with pytest.raises(OptionError, match="a likeness of two photographs has none"):
        model.explain(ONE, target=OTHER, expected=0)
    with pytest.raises(ImageError, match="no-such-file"):
        model.explain(ONE, target="no-such-file.jpg")
    assert model.explain(ONE, target="feature 1").value == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda features: {"pooler_output": features, "last_hidden_state": features[:, None]}, None),
        (lambda features: (features[..., None, None], features), None),
        (lambda features: (features, features + 1), "several tensors could be"),
    ],
)
def test_features_are_found_within_an_answer(answer: Any, said: str | None) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = colours()

        def forward(self, x: Tensor) -> Any:
            return answer(self.net(x))

    if said is None:
        assert camserve.load(Net(), scores="embedding", **INPUT).explain(ONE, target=OTHER).value > 0.8
    else:
        with pytest.raises(ModelError, match=said):
            camserve.load(Net(), scores="embedding", **INPUT)


def test_what_is_a_photograph(tmp_path: Path) -> None:
    assert all(map(is_photograph, (Path("a.jpg"), b"bytes", io.BytesIO(), Image.new("L", (1, 1)), ONE)))
    numbers = (np.int64(3), torch.tensor(3), np.float32(1))
    assert not any(map(is_photograph, (None, "a.jpg", 3, ["a"], ("a",), len, *numbers)))


def test_files_hold_both(tmp_path: Path) -> None:
    model = camserve.load(colours(), scores="embedding", **INPUT)
    made = model.explain(ONE, target=OTHER)
    made.save(tmp_path / "out")
    assert np.array_equal(np.load(tmp_path / "out" / "other-map.npy"), made.other.map)
    assert made.to_dict()["other"]["target"]["value"] == made.other.value
