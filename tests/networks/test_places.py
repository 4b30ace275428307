"""Networks that answer for places, segmentation and detection: one score a class, checked by hand and by autograd."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

import camserve
from camserve.errors import ModelError, OptionError
from camserve.graph.original.of_places import BOXES, MAPS, MAPS_WITHIN, scores_of_boxes, scores_of_maps
from camserve.models.dense import last_of_backbone
from camserve.models.inputs.preprocessing import to_input

INPUT: dict[str, Any] = {"size": 32, "crop": 1.0, "mean": (0, 0, 0), "std": (255, 255, 255)}
# Red to the left, a quarter green at the right.
PHOTO = np.zeros((32, 32, 3), np.uint8)
PHOTO[:, :16, 0] = PHOTO[:16, 16:, 1] = 255


class Colours(nn.Module):
    """A map each of red and of green, at half the size; `answer` makes of it what the network says."""

    def __init__(self, answer: Any = None) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 2, 2, 2, bias=False)
        self.answer = answer or (lambda maps: {"out": maps, "aux": maps + 1})
        with torch.no_grad():
            self.backbone.weight.zero_()
            self.backbone.weight[0, 0] = self.backbone.weight[1, 1] = 1 / 4

    def forward(self, x: Tensor) -> Any:
        return self.answer(self.backbone(x))


@pytest.mark.parametrize(
    "answer",
    [None, lambda maps: maps, lambda maps: (maps, maps.mean())],
    ids=["dict", "tensor", "tuple"],
)
def test_a_class_scores_where_it_is_the_answer_by_hand(answer: Any) -> None:
    # red answers in the left half, and where nothing is, with 0; green in a quarter
    model = camserve.load(Colours(answer), labels=["red", "green"], **INPUT)
    assert model.default_layer == "backbone"
    red, green = model.explain_classes(PHOTO, ["red", "green"])
    assert [red.value, green.value] == pytest.approx([0.5, 0.25])
    assert red.score is None
    assert MAPS in red.warnings
    assert (red.heatmap[4, 4] > 0.9, red.heatmap[4, 28] < 0.1) == (True, True)
    assert (green.heatmap[4, 28] > 0.9, green.heatmap[28, 28] < 0.1) == (True, True)
    assert green.map.sum() == pytest.approx(64 * 0.25 / 256)  # 64 cells of 1, by a mean gradient of a quarter of 1/256


@pytest.mark.parametrize(("region", "scores"), [((0.5, 0, 1, 0.5), (0, 1)), ((0.25, 0, 0.75, 1), (0.5, 0.25))])
def test_within_a_region_it_is_the_mean_there(region: tuple[float, ...], scores: tuple[float, ...]) -> None:
    model = camserve.load(Colours(), labels=["red", "green"], region=region, **INPUT)
    found = model.explain_classes(PHOTO, [0, 1])
    assert [one.value for one in found] == pytest.approx(scores)
    assert MAPS_WITHIN in found[0].warnings


def test_one_map_answers_where_it_is_above_zero() -> None:
    maps = torch.tensor([[[[2.0, -1.0], [4.0, -3.0]]]])
    assert scores_of_maps(maps, None).tolist() == [[1.5]]
    assert scores_of_maps(maps, (0.5, 0, 1, 1)).tolist() == [[-2]]
    assert scores_of_maps(maps, (0.6, 0.6, 0.61, 0.61)).tolist() == [[-3]]  # at least a cell


@pytest.mark.parametrize("region", [None, (0.1, 0.2, 0.6, 0.9)])
def test_torchvision_s_segmentation_agrees_with_autograd(region: tuple[float, ...] | None) -> None:
    torch.manual_seed(0)
    net = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4).eval()
    model = camserve.load(net, size=64, region=region)
    made = model.explain("photos/cat.jpg", size=64)
    kept: list[Tensor] = []
    stage = net.get_submodule(made.layer)
    handle = stage.register_forward_hook(lambda *given: kept.append(given[2]))
    pixels = to_input(made.photo, model.frame(made.size, 64), model.card.input).requires_grad_()
    maps = net(pixels)["out"]
    handle.remove()
    if region is None:
        score = (maps * (maps.argmax(1, keepdim=True) == made.class_index))[:, made.class_index].mean()
    else:
        height, width = maps.shape[-2:]
        left, right = round(0.1 * width), round(0.6 * width)
        score = maps[:, made.class_index, round(0.2 * height) : round(0.9 * height), left:right].mean()
    (gradient,) = torch.autograd.grad(score, kept[0])
    expected = (gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1)[0].detach()
    assert made.value == pytest.approx(float(score.detach()), abs=1e-5)
    np.testing.assert_allclose(made.map, expected, atol=1e-4 * float(expected.abs().max()))


class Backbone(nn.Sequential):
    """Two stages, the second of 6 channels."""

    out_channels = 6

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 6, 4, 4), nn.ReLU(), nn.Conv2d(6, 6, 3, 2, 1), nn.ReLU())


def detector() -> RetinaNet:
    torch.manual_seed(1)
    anchors = AnchorGenerator(sizes=((24, 48),), aspect_ratios=((1.0,),))
    net = RetinaNet(Backbone(), 3, anchor_generator=anchors, min_size=64, max_size=96, score_thresh=0.0)
    nn.init.normal_(net.head.classification_head.cls_logits.weight, std=0.5)
    for module in net.head.classification_head.conv.modules():
        if isinstance(module, nn.Conv2d):  # torchvision's own start gives all boxes one score: which is best is chance
            nn.init.kaiming_normal_(module.weight)
    return net.eval()


def boxed(net: RetinaNet, made: camserve.Explanation, model: camserve.Model) -> tuple[dict[str, Tensor], Tensor]:
    """The detector's own answer to what the model saw, and the maps of its last stage."""
    kept: list[Tensor] = []
    handle = net.backbone.register_forward_hook(lambda *given: kept.append(given[2]))
    pixels = to_input(made.photo, made.placement.frame, model.card.input)
    (answer,) = net(pixels.requires_grad_())
    handle.remove()
    return answer, kept[0]


def test_a_detector_is_given_0_to_1_at_its_size() -> None:
    model = camserve.load(detector())
    assert (model.card.input.size, model.card.input.mean[0], model.card.input.std[0]) == (64, 0, 255)
    assert camserve.load(detector(), size=96).card.input.size == 96
    assert len(model.labels) == 3


@pytest.mark.parametrize("which", ["best", "another"])
def test_a_detector_s_box_agrees_with_autograd(which: str) -> None:
    net = detector()
    model = camserve.load(net)
    made = model.explain("photos/cat.jpg", target=1)
    answer, maps = boxed(net, made, model)
    index = int((answer["labels"] == 1).nonzero()[0 if which == "best" else 3])
    if which == "another":
        width, height = made.placement.frame.input
        box = (answer["boxes"][index].detach() / torch.tensor([width, height] * 2)).tolist()
        model = camserve.load(net, region=box)
        made = model.explain("photos/cat.jpg", target=1)
    else:
        assert BOXES in made.warnings
    score = answer["scores"][index]
    (gradient,) = torch.autograd.grad(score, maps)
    expected = (gradient.mean((2, 3), keepdim=True) * maps).sum(1)[0].detach()
    assert made.value == pytest.approx(float(score.detach()), rel=1e-3)
    np.testing.assert_allclose(made.map, expected, atol=2e-3 * float(expected.abs().max()))


def test_methods_without_gradients_cover_the_picture() -> None:
    model = camserve.load(detector())
    made = model.explain("photos/cat.jpg", target=1, method="reciprocam")
    assert np.ptp(made.map) > 0


def test_overlap_and_the_best_box_by_hand() -> None:
    answer = {
        "boxes": torch.tensor([[0.0, 0, 4, 4], [2, 0, 6, 4], [0, 0, 8, 8]]),
        "labels": torch.tensor([1, 1, 2]),
        "scores": torch.tensor([0.5, 0.9, 0.8]),
    }
    images = torch.zeros(1, 3, 8, 8)
    assert scores_of_boxes([answer], images, 3, None).tolist() == [pytest.approx([0, 0.9, 0.8])]
    within = scores_of_boxes([answer], images, 3, (0, 0, 0.5, 0.5))  # overlaps: 1, a third, a quarter
    assert within.tolist() == [pytest.approx([0, 0.5, 0.2])]


def test_features_are_no_maps_of_classes() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 16, 16), nn.ReLU())
    with pytest.raises(ModelError, match=r"shape \(N, 8, 2, 2\)"):
        camserve.load(net, **INPUT)


def test_a_region_is_for_places_and_has_an_inside() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(OptionError, match="region is for networks that answer with a map"):
        camserve.load(net, region=(0, 0, 1, 1), **INPUT)
    for wrong in ((0.5, 0, 0.5, 1), (0, 0, 2, 1), (0, 0, 1)):
        with pytest.raises(OptionError, match="region"):
            camserve.load(Colours(), region=wrong, **INPUT)


def test_a_card_may_say_the_region(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef made():\n    return nn.Sequential(nn.Conv2d(3, 2, 2, 2), nn.Tanh())\n"
    )
    (tmp_path / "card.toml").write_text(
        'architecture = "./net.py:made"\nregion = [0, 0, 0.5, 0.5]\n[input]\nsize = 32\n'
    )
    assert MAPS_WITHIN in camserve.load(tmp_path).explain(PHOTO).warnings


def test_the_layer_is_the_last_of_the_backbone_on_which_all_boxes_depend() -> None:
    layers: dict[str, tuple[int, ...]] = {"backbone.body": (8, 10, 10), "backbone.fpn.0": (8, 10, 10)}
    layers |= {"backbone.extra.0": (8, 5, 5), "head": (3, 9, 9)}
    assert last_of_backbone(layers, (320, 320)) == "backbone.body"
    assert last_of_backbone({**layers, "backbone.last": (8, 1, 1)}, (320, 320)) == "backbone.body"
    assert last_of_backbone({"features": (8, 4, 4)}, (320, 320)) is None
