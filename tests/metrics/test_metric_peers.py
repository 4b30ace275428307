"""Metrics of captum, torchcam and pytorch-grad-cam on a tiny network: the same numbers, or why not."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from captum.metrics import infidelity as captums_infidelity
from captum.metrics import sensitivity_max
from pytorch_grad_cam.metrics.cam_mult_image import DropInConfidence, IncreaseInConfidence
from pytorch_grad_cam.metrics.perturbation_confidence import RemoveMostRelevantFirst
from pytorch_grad_cam.metrics.road import NoisyLinearImputer, ROADCombined
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import nn
from torchcam.methods import CAM
from torchcam.metrics import ClassificationMetric, DeletionInsertionMetric

from camserve.metrics import localisation
from camserve.metrics.baselines import random, uniform
from camserve.metrics.faithfulness import average_drop, blurred, deletion, gain, increase, insertion, road
from camserve.metrics.heat import unit
from camserve.metrics.imputation import impute
from camserve.metrics.robustness import infidelity, max_sensitivity, squares
from camserve.metrics.subject import Float32, Float64, Subject

INDEX = 1


class Tiny(nn.Module):
    """16 x 14 inputs, 3 classes; a CAM of its last layer is exact."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, stride=stride, padding=1), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(6, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.pool(self.body(images)).flatten(1))


def made(stride: int) -> Tiny:
    torch.manual_seed(2)
    net = Tiny(stride).eval()
    with torch.no_grad():
        net.fc.weight *= 12  # so that probabilities move
    return net.requires_grad_(False)


@pytest.fixture(scope="module")
def net() -> Tiny:
    """Its last layer is as large as its input, so that nobody interpolates."""
    return made(stride=1)


def heat_of(net: Tiny, images: torch.Tensor) -> torch.Tensor:
    """Its class map laid over the input as torchcam lays it: scaled to 0..1 first, then bilinear."""
    cam = (net.fc.weight[INDEX][:, None, None] * net.body(images)).sum(1, keepdim=True)
    cam = cam - cam.amin((1, 2, 3), keepdim=True)
    return nn.functional.interpolate(
        cam / cam.amax((1, 2, 3), keepdim=True), images.shape[2:], mode="bilinear", align_corners=False
    )[:, 0]


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    """Smooth, so that it is something else blurred than grey."""
    noise = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(2 * noise, (14, 16), mode="bilinear", align_corners=False)


@pytest.fixture(scope="module")
def subject(net: Tiny, image: torch.Tensor) -> Subject:
    def asked(images: Float32, kind: Callable[[torch.Tensor], torch.Tensor]) -> Float64:
        return kind(net(torch.from_numpy(images)))[:, INDEX].numpy().astype(np.float64)

    heat = heat_of(net, image)[0].numpy()
    return Subject(
        images=image.numpy(),
        map=heat,
        heat=heat,
        score=partial(asked, kind=lambda logits: logits.softmax(1)),
        value=partial(asked, kind=lambda logits: logits),
        explain=lambda images: heat_of(net, torch.from_numpy(images))[0].numpy(),
    )


# torchcam


def test_torchcam_s_average_drop_increase_insertion_and_deletion_are_ours(
    net: Tiny, image: torch.Tensor, subject: Subject
) -> None:
    """To 1e-5."""
    cam = CAM(net, target_layer="body", fc_layer="fc", input_shape=(3, 14, 16))
    soft = partial(torch.softmax, dim=-1)
    theirs, areas = (
        ClassificationMetric(cam, soft),
        DeletionInsertionMetric(cam, soft, steps=224, baseline=torch.from_numpy(blurred(image.numpy()))),
    )
    plain = DeletionInsertionMetric(cam, soft, steps=224)
    for metric in (theirs, areas, plain):
        metric.update(image, INDEX)
    assert areas.summary()["insertion_auc"] == pytest.approx(insertion(subject), abs=1e-5)
    assert plain.summary()["deletion_auc"] == pytest.approx(deletion(subject), abs=1e-5)
    assert theirs.summary()["avg_drop"] == pytest.approx(average_drop(subject), abs=1e-5)
    assert average_drop(subject) > 0.01
    assert theirs.summary()["conf_increase"] == increase(subject)


def test_torchcam_masks_with_less_than_1_where_a_map_is_interpolated(image: torch.Tensor) -> None:
    """It scales a map before it lays it over the input, which lowers the peak; ours is scaled as it is shown."""
    net = made(stride=2)
    theirs = ClassificationMetric(CAM(net, target_layer="body", fc_layer="fc", input_shape=(3, 14, 16)))
    theirs.update(image, INDEX)
    heat = heat_of(net, image)
    assert heat.max() < 1
    own, after = (net(one)[0, INDEX].item() for one in (image, image * heat))
    assert theirs.summary()["avg_drop"] == pytest.approx(max(0, own - after) / own, abs=1e-5)
    assert unit(heat[0].numpy()).max() == 1


def test_torchcam_deletes_and_inserts_from_one_baseline_in_20_steps(
    net: Tiny, image: torch.Tensor, subject: Subject
) -> None:
    """Its defaults are no figures of the paper: insertion starts from zeros, not from a blurred input."""
    cam = CAM(net, target_layer="body", fc_layer="fc", input_shape=(3, 14, 16))
    metric = DeletionInsertionMetric(cam, partial(torch.softmax, dim=-1))
    metric.update(image, INDEX)
    assert abs(metric.summary()["insertion_auc"] - insertion(subject)) > 0.005


# pytorch-grad-cam


# It calls NumPy's functions with tensors.
THEIR_NUMPY = pytest.mark.filterwarnings("ignore:__array_wrap__")


def targets() -> list[ClassifierOutputSoftmaxTarget]:
    return [ClassifierOutputSoftmaxTarget(INDEX)]


def test_grad_cam_s_drop_is_ours_times_the_probability(net: Tiny, image: torch.Tensor, subject: Subject) -> None:
    """It gives Y - O and not its share of Y: drops of images of different confidence are averaged as they are."""
    for heat in (subject.heat, random((14, 16)).astype(np.float32), uniform((14, 16)).astype(np.float32)):
        one = replace(subject, heat=heat)
        shown = unit(heat).astype(np.float32)[None]
        drop = DropInConfidence()(image, shown, targets(), net)[0]
        assert drop == pytest.approx(average_drop(one) * one.own_score, abs=1e-6)
        assert IncreaseInConfidence()(image, shown, targets(), net)[0] == increase(one)
        assert (gain(one) > 0) == (increase(one) == 1)


@THEIR_NUMPY
def test_grad_cam_s_imputation_is_ours(image: torch.Tensor) -> None:
    """To 1e-5, without noise; holes at the border, alone and in one piece."""
    random_places = np.random.default_rng(0).random((14, 16))
    for share in (0.1, 0.5, 0.9):
        gone = random_places < share
        theirs = NoisyLinearImputer(noise=0)(image[0], torch.from_numpy(np.float32(~gone)))
        assert impute(image[0].numpy(), gone, noise=0) == pytest.approx(theirs.numpy(), abs=1e-5)


@THEIR_NUMPY
def test_grad_cam_s_road_is_ours_but_for_its_noise(net: Tiny, image: torch.Tensor, subject: Subject) -> None:
    """To 0.01: it removes the same 10, 20 .. 90 %, rounded otherwise, and its noise is another each time."""
    theirs = [ROADCombined()(image, subject.heat[None], targets(), net)[0] for _ in range(2)]
    assert theirs[0] == pytest.approx(road(subject), abs=0.01)
    assert theirs[0] != theirs[1]  # not seeded
    assert road(subject) == road(subject)


@THEIR_NUMPY
def test_grad_cam_s_road_takes_all_pixels_of_a_uniform_map(image: torch.Tensor) -> None:
    """No pixel is below a percentile of equal values, so a tenth of the image is all of it: what is left is 0."""
    removed = RemoveMostRelevantFirst(90, NoisyLinearImputer(noise=0))(image[0], torch.ones(14, 16))
    assert not removed.any()


def test_road_of_a_uniform_map_takes_as_many_as_of_any_other(subject: Subject) -> None:
    image = subject.images[0]
    seen: list[int] = []

    def counted(images: Float32) -> Float64:
        seen.extend(int((one != image).any(0).sum()) for one in images)
        return np.zeros(len(images))

    road(replace(subject, heat=uniform((14, 16)).astype(np.float32), score=counted))
    assert seen == [round(224 * share / 10) for share in range(1, 10)] * 2


# captum


def test_captum_s_infidelity_with_our_squares_is_ours(net: Tiny, image: torch.Tensor, subject: Subject) -> None:
    """To 1e-4 of its value: `normalize` is our factor; a map of one value a pixel is spread over the channels."""
    masks = torch.from_numpy(squares((14, 16)))

    def hide(inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = masks[:, None].expand(-1, 3, -1, -1).float()
        return hidden, inputs * (1 - hidden)

    attributions = torch.from_numpy(subject.heat / 3).expand(1, 3, -1, -1)
    theirs = captums_infidelity(
        net, hide, image, attributions, target=INDEX, n_perturb_samples=len(masks), normalize=True
    )
    assert infidelity(subject) == pytest.approx(theirs.item(), rel=1e-4)


def test_captum_s_infidelity_depends_on_the_map_s_unit(net: Tiny, image: torch.Tensor, subject: Subject) -> None:
    """By default it does not take the best factor: a map in logits and the same over its maximum differ."""
    masks = torch.from_numpy(squares((14, 16)))[:, None].expand(-1, 3, -1, -1).float()
    heat = torch.from_numpy(subject.heat).expand(1, 3, -1, -1)
    plain, twice = (
        captums_infidelity(
            net, lambda x: (masks, x * (1 - masks)), image, heat * factor, target=INDEX, n_perturb_samples=64
        ).item()
        for factor in (1, 2)
    )
    assert abs(twice - plain) > 0.1 * plain
    double = replace(subject, heat=subject.heat * 2)
    assert infidelity(double) == pytest.approx(infidelity(subject))


def test_captum_s_sensitivity_with_our_noise_is_ours(net: Tiny, image: torch.Tensor, subject: Subject) -> None:
    """To 1e-5."""
    noise = np.random.default_rng(0)
    drawn = [torch.from_numpy(noise.uniform(-0.02, 0.02, image.shape).astype(np.float32)) for _ in range(10)]

    def noisy(inputs: torch.Tensor, radius: float) -> torch.Tensor:
        return inputs + torch.cat(drawn)

    theirs = sensitivity_max(lambda x: (heat_of(net, x[0] if isinstance(x, tuple) else x),), image, noisy)
    assert max_sensitivity(subject) == pytest.approx(theirs.item(), abs=1e-5)


# OpenCV


@pytest.mark.quick
@pytest.mark.parametrize("seed", range(3))
def test_boxes_at_every_step_are_those_of_opencv_s_regions(seed: int) -> None:
    """As in the code of Choe et al., at each of 255 thresholds of 8 bits; there boxes come from contours."""
    heat, inside = random((28, 32), seed) ** 2, np.zeros((28, 32), bool)
    inside[5:20, 8:30] = True
    levels = ((heat - heat.min()) / np.ptp(heat) * 255).astype(np.uint8)
    best = []
    for step in range(255):
        hot = cv2.threshold(levels, step, 255, cv2.THRESH_BINARY)[1]
        overlaps = [0.0]
        for left, top, width, height, _ in cv2.connectedComponentsWithStats(hot, connectivity=8)[2][1:]:
            box = np.zeros_like(inside)
            box[top : top + height, left : left + width] = True
            overlaps.append((box & inside).sum() / (box | inside).sum())
        best.append(max(overlaps))
    assert localisation.box_overlaps(heat, inside) == pytest.approx(best, abs=1e-12)


# scikit-learn


@pytest.mark.quick
@pytest.mark.parametrize("seed", range(3))
def test_scikit_learn_s_average_precision_and_auroc_are_ours(seed: int) -> None:
    """To 1e-12, ties included."""
    heat = np.round(random((14, 16), seed), 1)
    inside = random((14, 16), seed + 9) > 0.6
    flat = inside.ravel(), heat.ravel()
    assert localisation.pixel_ap(heat, inside) == pytest.approx(average_precision_score(*flat), abs=1e-12)
    assert localisation.pixel_auroc(heat, inside) == pytest.approx(roc_auc_score(*flat), abs=1e-12)
