"""Shares of a logit and votes of a place: numbers from paper, and nothing lost however pixels are parted."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from conftest import picture
from PIL import Image
from torch import nn

import camserve
from camserve.errors import OptionError
from camserve.explanation.contributions import spread
from camserve.geometry.frame import Frame, Placement


def blocks_net() -> nn.Module:
    """Cells of 2 x 2 pixels hold mean red and mean green; logits 2 red + 0.5 and red - green - 1."""
    net = nn.Sequential(nn.Conv2d(3, 2, 2, 2, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].weight[0, 0] = net[0].weight[1, 1] = 0.25
        net[3].weight.copy_(torch.tensor([[2.0, 0.0], [1.0, -1.0]]))
        net[3].bias.copy_(torch.tensor([0.5, -1.0]))
    return net


def rectified_net(size: int) -> nn.Module:
    """SqueezeNet's kind: a 1 x 1 classifier, a ReLU in place, and the mean."""
    torch.manual_seed(1)
    maps = nn.Conv2d(3, 8, 3, 4), nn.Tanh(), nn.Conv2d(8, 3, 1), nn.ReLU(inplace=True)
    return nn.Sequential(*maps, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def load(net: nn.Module, size: int = 4, **options: Any) -> camserve.Model:
    return camserve.load(net, size=size, mean=(0, 0, 0), std=(1, 1, 1), crop=1.0, **options)


@pytest.fixture(scope="module")
def paper() -> camserve.Explanation:
    """Red cells 8 4 / 0 4, green ones 0 8 / 0 0, 4 x 4 pixels, so the map of class 0 is 16 8 / 0 8."""
    red, green = ([[8, 4], [0, 4]], [[0, 8], [0, 0]])
    pixels = np.kron(np.stack([red, green, np.zeros((2, 2))], 2), np.ones((2, 2, 1))).astype(np.uint8)
    return load(blocks_net()).explain(pixels, target=0)


def parts(size: tuple[int, int], seed: int) -> list[tuple[int, int, int, int]]:
    """A random partition into boxes: cut the largest again and again."""
    random, boxes = np.random.default_rng(seed), [(0, 0, *size)]
    for _ in range(12):
        left, top, right, bottom = boxes.pop(int(np.argmax([(b[2] - b[0]) * (b[3] - b[1]) for b in boxes])))
        if right - left > 1 and (bottom - top == 1 or random.random() < 0.5):
            cut = int(random.integers(left + 1, right))
            boxes += [(left, top, cut, bottom), (cut, top, right, bottom)]
        elif bottom - top > 1:
            cut = int(random.integers(top + 1, bottom))
            boxes += [(left, top, right, cut), (left, cut, right, bottom)]
        else:
            boxes.append((left, top, right, bottom))
    return boxes


def test_the_shares_of_quarters_are_those_on_paper(paper: camserve.Explanation) -> None:
    # Cells sit at edges 1 and 3; a weight is 1 up to 1, 0 from 3 on: 1 + 3/4 of its 2 lie in the first half.
    near, far = 0.875, 0.125
    assert paper.map.tolist() == [[16, 8], [0, 8]]
    assert (paper.logit, paper.bias) == (8.5, 0.5)
    quarter = (16 * near * near + 8 * near * far + 8 * far * far) / 4
    assert paper.share((0, 0, 2, 2)) == quarter == 3.3125
    assert paper.share((0, 0, 1, 4)) == (16 * 0.5 + 0 * 0.5) / 4
    assert paper.share((0, 0, 4, 4)) == 8


def test_the_spread_of_one_cell_falls_with_its_weight() -> None:
    placement = Placement(Frame((4, 2), (0, 0, 4, 2), (4, 2)), (2, 1), (2.0, 2.0), (0.5, 0.5))
    assert spread(placement, 0, range(5)).tolist() == [[0.5, 0.375, 0.125, 0], [0, 0.125, 0.375, 0.5]]
    assert spread(placement, 1, range(3)).tolist() == [[0.5, 0.5]]
    assert spread(placement, 0, [0, 0.5, 4]).tolist() == [[0.25, 0.75], [0, 1]]


def test_what_was_not_seen_has_no_share_and_takes_none() -> None:
    placement = Placement(Frame((8, 2), (2, 0, 6, 2), (4, 2)), (2, 1), (2.0, 2.0), (0.5, 0.5))
    assert spread(placement, 0, range(9)).tolist() == [
        [0, 0, 0.5, 0.375, 0.125, 0, 0, 0],
        [0, 0, 0, 0.125, 0.375, 0.5, 0, 0],
    ]


def test_cells_beyond_the_photograph_lie_on_its_outermost_ones() -> None:
    placement = Placement(Frame((4, 1), (0, 0, 4, 1), (4, 1)), (4, 1), (2.0, 2.0), (0.5, 0.0))
    shares = spread(placement, 0, [0, 2, 4])  # cells at 0.5, 2.5, 4.5 and 6.5, pixels end at 3.5
    assert shares.sum(1).tolist() == [1, 1, 1, 1]
    assert shares[3].tolist() == shares[2].tolist() == [0, 1]


@pytest.mark.parametrize("size", [(90, 70), (61, 143), (1, 1), (3, 2), (1, 400), (224, 224), (500, 97)])
@pytest.mark.parametrize("how", ["fit", "crop", "native"])
def test_the_shares_of_any_partition_sum_to_the_logit_less_its_bias(
    model: camserve.Model, size: tuple[int, int], how: str
) -> None:
    explanation = model.explain(picture(3, size), size=how)
    placed = explanation.logit - explanation.bias
    for seed in range(3):
        boxes = parts(size, seed)
        assert sum((b[2] - b[0]) * (b[3] - b[1]) for b in boxes) == size[0] * size[1]
        assert sum(map(explanation.share, boxes)) == pytest.approx(placed, abs=1e-4)
        labels = np.random.default_rng(seed).integers(0, 4, size[::-1])
        assert sum(explanation.share(labels == label) for label in range(4)) == pytest.approx(placed, abs=1e-4)


def test_a_box_and_its_mask_have_the_same_share(model: camserve.Model) -> None:
    explanation = model.explain(picture(3, (90, 70)))
    mask = np.zeros((70, 90), bool)
    mask[10:40, 25:80] = True
    (box,) = camserve.render.regions.find_boxes(
        lambda first, last: mask[first:last].astype(np.float32), (90, 70), threshold=1
    )
    shares = explanation.share((25, 10, 80, 40)), explanation.share(mask), explanation.share(box)
    assert shares[0] == pytest.approx(shares[1], rel=1e-12) == pytest.approx(shares[2], rel=1e-12)


def test_a_large_photograph_s_mask_is_added_up_strip_by_strip(
    paper: camserve.Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from camserve.render import painting

    mask = np.eye(4, dtype=bool)
    whole = paper.share(mask)
    monkeypatch.setattr(painting, "_STRIP_PIXELS", 1)
    assert paper.share(mask) == pytest.approx(whole, rel=1e-12)


def test_shares_follow_a_photograph_that_was_turned_upright(model: camserve.Model) -> None:
    upright, exif, file = picture(3, (90, 70)), Image.Exif(), io.BytesIO()
    exif[0x0112] = 6  # turn clockwise to see it upright
    upright.transpose(Image.Transpose.ROTATE_90).save(file, "png", exif=exif)
    for box in parts((90, 70), 1):
        assert model.explain(file.getvalue()).share(box) == model.explain(upright).share(box)


@pytest.mark.parametrize(
    "options",
    [
        {"target": "281-282"},
        {"target": "-282"},
        {"method": "gradcam"},
        {"method": "random"},
        {"output_stride": 16},
        {"layer": "head,blocks.10", "method": "layercam"},
        {"sharp": True},
    ],
    ids=str,
)
def test_shares_are_of_the_target_whatever_is_drawn(model: camserve.Model, options: dict[str, str]) -> None:
    explanation = model.explain(picture(3), **options)  # type: ignore[arg-type]
    value = float(explanation.target(torch.from_numpy(explanation.logits)[None]))
    shares = map(explanation.share, parts((90, 70), 2))
    assert sum(shares) + explanation.bias == pytest.approx(value, abs=1e-4)


def test_shares_of_a_rectified_class_map_leave_out_what_the_network_left_out() -> None:
    model = load(rectified_net(32), size=32)
    assert model.layer().head.kind == "class map"
    for target in (0, "0-1", "-2"):
        explanation = model.explain(picture(3), target=target)
        value = float(explanation.target(torch.from_numpy(explanation.logits)[None]))
        assert explanation.bias == 0
        assert sum(map(explanation.share, parts((90, 70), 2))) == pytest.approx(value, abs=1e-5)
    assert (model.class_maps(picture(3)) < 0).any()
    assert all(vote.logits >= 0 for vote in explanation.at(20, 30, count=3))


def test_votes_between_four_cells_are_their_mean(paper: camserve.Explanation) -> None:
    # Class maps 16 8 / 0 8 and 8 -4 / 0 4
    assert [(v.class_index, v.class_name, v.logits) for v in paper.at(0, 0)] == [(0, "class 0", 16), (1, "class 1", 8)]
    assert [(vote.class_index, vote.logits) for vote in paper.at(1.5, 1.5)] == [(0, 8), (1, 2)]
    assert [(vote.class_index, vote.logits) for vote in paper.at(3, 0.5)] == [(0, 8), (1, -4)]
    assert [(vote.class_index, vote.logits) for vote in paper.at(0.5, 3, count=1)] == [(0, 0)]


def test_votes_are_the_class_maps_at_that_place(model: camserve.Model) -> None:
    image = picture(3, (120, 70))
    explanation, maps = model.explain(image), model.class_maps(image)
    for x, y in ((0, 0), (119, 69), (33, 20.5)):
        values = [vote.logits for vote in sorted(explanation.at(x, y, 1000), key=lambda vote: vote.class_index)]
        placed = [explanation.placement.rows(one, int(y), int(y) + 1)[0, int(x)] for one in maps]
        if y == int(y):
            np.testing.assert_allclose(values, placed, rtol=1e-4, atol=1e-4)
    first, second = explanation.at(33, 20.5)[:2]
    assert first.logits >= second.logits


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ((0, 0, 91, 70), r"region 0, 0, 91, 70 is not left, top, right, bottom within the photograph's 90 x 70 pixels"),
        ((5, 5, 5, 9), "region 5, 5, 5, 9 is not"),
        ((5, float("nan"), 6, 9), "is not left, top, right, bottom within"),
        ((5, 6, 7), r"region \(5, 6, 7\) is not left, top, right, bottom in pixels, nor a mask"),
        ("left", "region 'left' is not left, top"),
        (7, "region 7 is not"),
        (np.zeros((90, 70), bool), r"a mask must be bool \(70, 90\), not bool \(90, 70\)"),
        (np.zeros((70, 90)), r"a mask must be bool \(70, 90\), not float64"),
    ],
    ids=str,
)
def test_what_is_no_region_is_refused(model: camserve.Model, region: object, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        model.explain(picture(3)).share(region)  # type: ignore[arg-type]


def test_places_that_the_model_did_not_see_are_refused(model: camserve.Model) -> None:
    explanation = model.explain(picture(3), size="crop")
    for x, y in ((90, 0), (-1, 5), (5, 70), (float("nan"), 5)):
        with pytest.raises(OptionError, match="is outside the photograph: x is 0 to 89, y 0 to 69"):
            explanation.at(x, y)
    with pytest.raises(OptionError, match="the model did not see the place 0, 0: explain with size=fit"):
        explanation.at(0, 0)


def test_heads_and_targets_that_do_not_add_up_are_refused(model: camserve.Model) -> None:
    early = model.explain(picture(3), layer="blocks.10")
    for ask in (lambda: early.share((0, 0, 9, 9)), lambda: early.bias, lambda: early.at(5, 5)):
        with pytest.raises(
            OptionError, match=r"at layer 'blocks\.10' the head is general\. Try the model's last layer"
        ):
            ask()
    with pytest.raises(OptionError, match=r"but not for 'maillot' \(log-softmax\)\. Explain a class, as in target="):
        model.explain(picture(3), target="maillot", quantity="log-softmax").share((0, 0, 9, 9))
    with pytest.raises(OptionError, match="but not for '<lambda>'"):
        model.explain(picture(3), target=lambda logits: logits[:, 0]).bias  # noqa: B018


def test_more_classes_than_channels_are_accounted_for_one_by_one() -> None:
    """Two channels, five classes: the last one's map is 4 red + 5 green, and it adds up to the logit."""
    net = nn.Sequential(nn.Conv2d(3, 2, 2, 2, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 5))
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].weight[0, 0] = net[0].weight[1, 1] = 0.25
        net[3].weight.copy_(torch.tensor([[0.0, 1], [1, 0], [2, 0], [3, 3], [4, 5]]))
    explanation = load(net).explain(picture(1, (4, 4)), target=4, method="cam")
    assert explanation.account is not None
    np.testing.assert_allclose(explanation.account.class_map(4), explanation.map, rtol=1e-5)
    assert explanation.completeness is not None
    assert explanation.completeness < 1e-4
