"""Methods that change layer or image: numbers to check on paper, naive loops, closed forms, and what peers answer."""

import math
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from conftest import picture
from test_methods import flat_evidence, gap_evidence, pooled_linear, random_evidence
from torch import Tensor, nn
from torch.nn import functional as F

import camserve
from camserve.catalogue.methods import METHODS
from camserve.catalogue.targets import class_target
from camserve.graph.heads import Head, LinearHead
from camserve.methods import masking, occluding
from camserve.methods.apply import apply
from camserve.methods.evidence import Evidence, Whole, class_probabilities

A_1, A_2 = [[0.0, 1.0], [2.0, 4.0]], [[2.0, 0.0], [0.0, 2.0]]


def evidence_around(
    body: nn.Module, head: Head, images: Tensor, spread: Callable[[Tensor], Tensor], target: int = 0, **also: Any
) -> Evidence:
    """What is known of `images` in a network of body and head."""
    network = nn.Sequential(body, head.module).requires_grad_(False)

    def observe(others: Tensor) -> Evidence:
        return evidence_around(body, head, others, spread, target, **also)

    def logits(others: Tensor) -> Tensor:
        with torch.no_grad():
            answer: Tensor = network(others)
        return answer

    whole = Whole(images=images, logits=logits, network=network, spread=spread, stages=list, observe=observe, batch=3)
    with torch.no_grad():
        return Evidence(body(images), head, class_target(target), (), whole, **also)


class TwoColours(nn.Module):
    """The layer is the image's first two colours."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :2]


def on_paper() -> Evidence:
    """A 2 x 2 image whose colours are A_1, A_2 and 0; each cell is a pixel.

    logit_0 = 2 mean(A_1) - mean(A_2) + 0.5 = 3. Probabilities are the logits themselves, to keep numbers short.
    """
    weight, bias = torch.tensor([[2.0, -1.0], [0.0, 4.0]]), torch.tensor([0.5, -1.0])
    head = LinearHead(pooled_linear(weight, bias), weight, bias)
    images = torch.tensor([[A_1, A_2, [[0.0, 0.0], [0.0, 0.0]]]])
    evidence = evidence_around(TwoColours(), head, images, lambda maps: maps, probabilities=lambda logits: logits)
    return replace(evidence, whole=replace(evidence.around, stages=lambda: [evidence]))


def mixed(first: float, second: float) -> list[list[float]]:
    """first A_1 + second A_2."""
    return [[first * a + second * b for a, b in zip(*rows, strict=True)] for rows in zip(A_1, A_2, strict=True)]


def sigmoid(difference: float) -> float:
    """The first of two softmax weights, by how much its score is higher."""
    return 1 / (1 + math.exp(-difference))


SCORED = sigmoid(1.125)  # H_1 = A_1 / 4: 2 * 5.25 / 4 - 0.5 + 0.5 = 2.625; H_2 = A_2 / 2: 2 * 4 / 4 - 1 + 0.5 = 1.5
FADED = sigmoid(0.55 * 1.125)  # mean(0.1, 0.2 .. 1) = 0.55 of it, for the network is linear
EXACT = {
    "ablationcam": mixed(3.5 / 3, -1 / 3),  # means 1.75 and 1: (2 * 1.75, -1 * 1) of 3
    "reciprocam": mixed(0.5, -0.25),  # CAM / 4
    "scorecam": mixed(SCORED, 1 - SCORED),
    "sscam": mixed(SCORED, 1 - SCORED),  # linear network, equal noise for all channels: it changes no difference
    "iscam": mixed(FADED, 1 - FADED),
    # A_1 / 2 = (0, 0.5, 1, 2), of which the upper 30 % is 2: H_1 is the last cell; -A_2 / 4 has no positive part. Under
    # a Gaussian that is flat over three pixels, the last cell is 1/9 itself, 2/9 each neighbour, 4/9 the first: 10/9
    # for A_1 and for A_2. 2 (4 - 10/9) / 4 - (2 - 10/9) / 4 = 11/9
    "groupcam": [[0.0, 0.0], [0.0, 11 / 9]],
    "opticam": mixed(sigmoid(0.2), 1 - sigmoid(0.2)),  # one step of Adam is 0.1 up for A_1 and 0.1 down for A_2
    "polycam": mixed(4.75, 2.5),  # P(X H) + P(X) - P(X - X H) = 2 * 2.125 + 0.5 and 2 * 1 + 0.5
    # masks (1 0, 0 0) and (1 1, 0 0): scores (0 - 2) / 4 + 0.5 = 0 and (2 - 2) / 4 + 0.5 = 0.5, their mean 0.25
    "rise": [[0.0, 0.25], [0.0, 0.0]],
    "occlusion": mixed(0.5, -0.25),  # one pixel a window: what each adds
    # 1 * 0 + 2 * bits of 1.0 + 3 * bits of 2.0 + .. = 23639097344, which is 16777227 modulo 2^31 - 1: the seed
    "random": [[0.0550, 0.9149], [0.2780, 0.0599]],
}
ON_FLAT = {
    "ablationcam": [[1.0, 2.0], [3.0, 4.0]],  # without its one channel the score is 0, all of it
    "reciprocam": [[1.0, 4.0], [-3.0, 0.0]],  # weight times activation
}


@pytest.mark.exact
@pytest.mark.parametrize("name", EXACT)
def test_exact_numbers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]]])
    monkeypatch.setattr(masking, "ITERATIONS", 1)
    monkeypatch.setattr(occluding, "MASKS", 2)
    monkeypatch.setattr(occluding, "_enlarged", lambda *_: chosen)
    tolerance = {"groupcam": 1e-3, "random": 1e-4}.get(name, 1e-5)
    torch.testing.assert_close(
        apply(METHODS[name], on_paper()), torch.tensor([EXACT[name]]), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("name", ON_FLAT)
def test_exact_numbers_under_a_flattened_linear_layer(name: str) -> None:
    torch.testing.assert_close(apply(METHODS[name], flat_evidence()), torch.tensor([ON_FLAT[name]]))


# A network without closed forms


def up(maps: Tensor) -> Tensor:
    """4 x 4 cells of 3 pixels, or 6 x 6 of 2. The first sit on pixels, so it is all one to scale before or after."""
    return F.interpolate(maps[:, None], (12, 12), mode="bilinear", align_corners=False)[:, 0]


def small_network(*, dead: int | None = None) -> tuple[nn.Module, nn.Module]:
    """Body (N, 3, 12, 12) -> (N, 5, 4, 4) and head -> (N, 4). dead: a channel that is 0 everywhere."""
    body = nn.Sequential(nn.Conv2d(3, 5, 3, stride=3), nn.ReLU())
    head = nn.Sequential(nn.Conv2d(5, 6, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(96, 4))
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in [*body.parameters(), *head.parameters()]:
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
        if dead is not None:
            body[0].weight[dead] = 0
            body[0].bias[dead] = -1
    return body.requires_grad_(False), head.requires_grad_(False)


def random_images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 12, 12, generator=torch.Generator().manual_seed(5))


def image_evidence(*, dead: int | None = None, images: Tensor | None = None) -> Evidence:
    body, head = small_network(dead=dead)
    evidence = evidence_around(body, Head(head), random_images() if images is None else images, up, target=1)
    finer = replace(evidence, activations=F.avg_pool2d(evidence.around.images, 2).clamp(min=0))
    return replace(evidence, whole=replace(evidence.around, stages=lambda: [finer, evidence]))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer forwards where the number changes nothing in kind."""
    for module, name, value in ((masking, "NOISES", 4), (masking, "ITERATIONS", 6), (occluding, "MASKS", 20)):
        monkeypatch.setattr(module, name, value)


def score(evidence: Evidence, image: Tensor) -> float:
    """The logit of one image (3, H, W)."""
    return float(evidence.target(evidence.around.logits(image[None]))[0])


def probability(evidence: Evidence, image: Tensor) -> float:
    return float(evidence.target(evidence.around.logits(image[None]).softmax(1))[0])


def scale(values: Tensor) -> Tensor:
    return (values - values.min()) / (values.max() - values.min())


def weighted_by_scores(one: Evidence, seen_through: Callable[[Tensor], float]) -> Tensor:
    """sum_k softmax_k(seen_through(H_k)) A_k, channel by channel."""
    maps = one.activations[0]
    powers = [math.exp(seen_through(scale(up(channel[None])[0]))) for channel in maps]
    return torch.stack([p / sum(powers) * channel for p, channel in zip(powers, maps, strict=True)]).sum(0)


def naive_ablationcam(one: Evidence) -> Tensor:
    total, whole = torch.zeros(4, 4), float(one.target(one.logits)[0])
    for k in range(one.activations.shape[1]):
        changed = one.activations.clone()
        changed[0, k] = 0
        left = float(one.target(one.head.logits(changed))[0])
        total += (whole - left) / abs(whole) * one.activations[0, k]
    return total


def naive_reciprocam(one: Evidence) -> Tensor:
    total, nothing = torch.zeros(4, 4), torch.zeros_like(one.activations)
    for y in range(4):
        for x in range(4):
            alone = nothing.clone()
            alone[0, :, y, x] = one.activations[0, :, y, x]
            total[y, x] = float((one.target(one.head.logits(alone)) - one.target(one.head.logits(nothing)))[0])
    return total


def naive_scorecam(one: Evidence) -> Tensor:
    image = one.around.images[0]
    return weighted_by_scores(one, lambda mask: score(one, image * mask))


def naive_sscam(one: Evidence) -> Tensor:
    image = one.around.images[0]
    noises = 2 * torch.randn(masking.NOISES, 1, 12, 12, generator=torch.Generator().manual_seed(0))[:, 0]
    return weighted_by_scores(one, lambda mask: float(np.mean([score(one, image * (mask + e)) for e in noises])))


def naive_iscam(one: Evidence) -> Tensor:
    image = one.around.images[0]
    return weighted_by_scores(
        one, lambda mask: float(np.mean([score(one, image * mask * i / 10) for i in range(1, 11)]))
    )


def naive_groupcam(one: Evidence) -> Tensor:
    """On the input's lattice, as the paper has it."""
    image = one.around.images[0]
    blurred = blur_in_loops(image)
    total, nothing = torch.zeros(12, 12), probability(one, blurred)
    for k in range(one.activations.shape[1]):  # fewer channels than groups: each is one
        channel = (one.gradients[0, k].mean() * one.activations[0, k]).clamp(min=0)
        kept = torch.where(channel > float(np.percentile(channel.numpy(), 70)), channel, 0)
        if kept.max() > kept.min():
            mask = scale(up(kept[None])[0])
            total += (probability(one, image * mask + blurred * (1 - mask)) - nothing) * mask
    return total


def blur_in_loops(image: Tensor) -> Tensor:
    """Radius 11, all that 12 pixels have beside each; the edge is a mirror that shows the edge pixel once."""
    taps = [math.exp(-(d**2) / (2 * 50**2)) for d in range(-11, 12)]

    def mirrored(place: int) -> int:
        return -place if place < 0 else 22 - place if place > 11 else place

    across = torch.zeros(12, 12)
    for y in range(12):
        for d, tap in zip(range(-11, 12), taps, strict=True):
            across[y, mirrored(y + d)] += tap / sum(taps)
    return torch.stack([across @ colour @ across.T for colour in image])


def naive_opticam(one: Evidence) -> Tensor:
    """Adam with a step of 0.1, its moments 0.9 and 0.999, written out."""
    image, maps, u = one.around.images[0], one.activations[0], torch.zeros(5)
    first, second = torch.zeros(5), torch.zeros(5)
    for step in range(1, masking.ITERATIONS + 1):
        leaf = u.clone().requires_grad_()
        mask = scale(up((leaf.softmax(0)[:, None, None] * maps).sum(0)[None])[0])
        one.target(one.around.network((image * mask)[None])).sum().backward()
        assert leaf.grad is not None
        first, second = 0.9 * first + 0.1 * leaf.grad, 0.999 * second + 0.001 * leaf.grad**2
        u = u + 0.1 * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    return (u.softmax(0)[:, None, None] * maps).sum(0)


def naive_polycam(one: Evidence) -> Tensor:
    image, maps = one.around.images[0], []
    whole = probability(one, image)
    for stage in one.around.stages():
        total = torch.zeros(stage.activations.shape[-2:])
        for channel in stage.activations[0]:
            mask = scale(up(channel[None])[0])
            weight = probability(one, image * mask) + whole - probability(one, image * (1 - mask))
            total += max(weight, 0) * channel
        maps.append(total.clamp(min=0)[None, None])
    fine, coarse = maps
    shared = up(F.interpolate(fine, (4, 4), mode="bilinear", align_corners=False)[0])[0]
    return up(coarse[0])[0] * torch.where(shared > 0, up(fine[0])[0] / shared, 0)


def naive_rise(one: Evidence) -> Tensor:
    draw, image = torch.Generator().manual_seed(0), one.around.images[0]
    grids, shifts = torch.rand(occluding.MASKS, 7, 7, generator=draw), torch.rand(occluding.MASKS, 2, generator=draw)
    masks, scores = [], []
    for grid, shift in zip(grids, shifts, strict=True):
        shown = (grid < 0.5).float()
        large = F.interpolate(shown[None, None], (16, 16), mode="bilinear", align_corners=False)[0, 0]
        top, left = int(shift[0] * 2), int(shift[1] * 2)  # cells of ceil(12 / 7) pixels
        masks.append(large[top : top + 12, left : left + 12])
        scores.append(probability(one, image * masks[-1]))
    mean = sum(scores) / len(scores)
    terms = [(s - mean) * mask for s, mask in zip(scores, masks, strict=True)]
    return torch.stack(terms).sum(0) / (len(masks) * 0.5)


def naive_occlusion(one: Evidence) -> Tensor:
    """Windows of 2 pixels, one pixel on each time."""
    image, total, cover = one.around.images[0], torch.zeros(12, 12), torch.zeros(12, 12)
    whole = probability(one, image)
    for top in range(11):
        for left in range(11):
            hidden = image.clone()
            hidden[:, top : top + 2, left : left + 2] = 0
            total[top : top + 2, left : left + 2] += whole - probability(one, hidden)
            cover[top : top + 2, left : left + 2] += 1
    return total / cover


NAIVE = {name.removeprefix("naive_"): f for name, f in list(globals().items()) if name.startswith("naive_")}


@pytest.mark.oracle
@pytest.mark.parametrize("name", [name for name in EXACT if name != "random"])
@pytest.mark.usefixtures("few")
def test_equals_its_definition_in_loops(name: str) -> None:
    evidence = image_evidence()
    maps = apply(METHODS[name], evidence)
    for index, one in enumerate(evidence.each()):
        found = up(maps[index : index + 1])[0] if name == "groupcam" else maps[index]
        torch.testing.assert_close(found, NAIVE[name](one), rtol=1e-4, atol=1e-5)


@pytest.mark.oracle("random")
def test_random_is_drawn_from_a_sum_over_the_image_s_bits() -> None:
    """Numbers of 64 bits with a sign, which wrap around, as Python has none."""
    evidence = image_evidence()
    for index, one in enumerate(evidence.each()):
        total = 0
        for place, value in enumerate(one.around.images.flatten().tolist(), 1):
            total += place * struct.unpack("<i", struct.pack("<f", value))[0]
        seed = ((total + 2**63) % 2**64 - 2**63) % (2**31 - 1)
        expected = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(apply(METHODS["random"], evidence)[index : index + 1], expected)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.usefixtures("few")
def test_a_map_has_the_lattice_that_the_registry_says(name: str) -> None:
    size = {"layer": (2, 4, 4), "input": (2, 12, 12)}[METHODS[name].lattice]
    assert apply(METHODS[name], image_evidence()).shape == size


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.usefixtures("few")
def test_the_registry_says_who_asks_for_probabilities(name: str) -> None:
    asked = []

    def probabilities(logits: Tensor) -> Tensor:
        asked.append(1)
        return logits.softmax(1)

    evidence = replace(image_evidence(), probabilities=probabilities)
    whole = replace(evidence.around, stages=lambda: [evidence])
    apply(METHODS[name], replace(evidence, whole=whole))
    assert bool(asked) == (METHODS[name].scored == "probability")


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.usefixtures("few")
def test_the_same_bits_each_time_whatever_else_draws_numbers(name: str) -> None:
    evidence = image_evidence()
    first = apply(METHODS[name], evidence)
    torch.rand(3)
    before = torch.get_rng_state()
    assert torch.equal(apply(METHODS[name], evidence), first)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.usefixtures("few")
def test_each_image_of_a_batch_stands_alone(name: str) -> None:
    both = apply(METHODS[name], image_evidence())
    alone = apply(METHODS[name], image_evidence(images=random_images()[1:]))
    torch.testing.assert_close(both[1], alone[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.usefixtures("few")
def test_methods_leave_their_evidence_and_the_network_as_they_were(name: str) -> None:
    evidence = image_evidence()
    seen = evidence.activations.clone(), evidence.around.images.clone()
    weights = {key: value.clone() for key, value in evidence.around.network.state_dict().items()}
    apply(METHODS[name], evidence)
    assert torch.equal(evidence.activations, seen[0])
    assert torch.equal(evidence.around.images, seen[1])
    assert all(torch.equal(value, weights[key]) for key, value in evidence.around.network.state_dict().items())
    assert not any(p.requires_grad or p.grad is not None for p in evidence.around.network.parameters())
    assert not apply(METHODS[name], evidence).requires_grad


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.usefixtures("few")
def test_a_dead_channel_is_no_nan(name: str) -> None:
    maps = apply(METHODS[name], image_evidence(dead=2))
    assert maps.isfinite().all()
    assert maps.any()


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.usefixtures("few")
def test_a_layer_that_is_constant_everywhere_is_no_nan(name: str) -> None:
    evidence = image_evidence(images=torch.ones(2, 3, 12, 12))
    assert apply(METHODS[name], evidence).isfinite().all()
    if METHODS[name].function.startswith("masking."):  # no channel masks anything
        assert not apply(METHODS[name], evidence).any()


def test_channels_that_cancel_to_a_constant_mixture_are_no_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opti-CAM starts from the mean of A and 1 - A, which masks nothing and has no scale."""
    monkeypatch.setattr(masking, "ITERATIONS", 5)
    channel = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    head = Head(pooled_linear(torch.tensor([[1.0, -1.0]]), torch.tensor([0.0])))
    images = torch.stack([channel, 1 - channel, channel])[None]
    assert apply(METHODS["opticam"], evidence_around(TwoColours(), head, images, lambda maps: maps)).isfinite().all()


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.usefixtures("few")
def test_two_threads_get_the_serial_bits(name: str) -> None:
    evidence, answers = image_evidence(), list[Tensor]()
    serial = apply(METHODS[name], evidence)
    threads = [threading.Thread(target=lambda: answers.append(apply(METHODS[name], evidence))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 2
    assert all(torch.equal(answer, serial) for answer in answers)


@pytest.mark.parametrize("name", ["ablationcam", "reciprocam"])
@pytest.mark.parametrize("dead", [None, 2])
def test_closed_form_equals_running_the_head(name: str, dead: int | None) -> None:
    closed, general = (random_evidence(closed_form=form, dead=dead) for form in (True, False))
    torch.testing.assert_close(apply(METHODS[name], closed), apply(METHODS[name], general), rtol=1e-4, atol=1e-5)

    def probability_against(logits: Tensor) -> Tensor:
        return torch.log_softmax(logits, 1)[:, 3] - logits[:, 1]

    maps = [apply(METHODS[name], replace(form, target=probability_against)) for form in (closed, general)]
    torch.testing.assert_close(*maps, rtol=1e-4, atol=1e-5)


def test_the_closed_form_runs_no_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Evidence, "score_layer", lambda *_: pytest.fail("ran the head"))
    for name in ("ablationcam", "reciprocam"):
        apply(METHODS[name], gap_evidence())


def test_ablationcam_of_a_linear_head_is_w_z_over_s() -> None:
    evidence = random_evidence(closed_form=True)
    assert isinstance(evidence.head, LinearHead)
    means, logits = evidence.activations.mean((2, 3)), evidence.logits[:, 3:4]
    expected = torch.einsum("nk,nkhw->nhw", evidence.head.weight[3] * means / logits.abs(), evidence.activations)
    torch.testing.assert_close(apply(METHODS["ablationcam"], evidence), expected, rtol=1e-4, atol=1e-5)


def test_ablationcam_of_a_negative_score_keeps_its_sign_and_of_no_score_its_falls() -> None:
    """Score 2 * 2.5 - 0.5 + bias: channel 1 speaks for the class, by 5, whatever the bias makes of the score."""
    maps = []
    for bias in (-4.5 - 2.0, -4.5):
        head = Head(pooled_linear(torch.tensor([[2.0, -1.0]]), torch.tensor([bias])))
        maps.append(apply(METHODS["ablationcam"], Evidence(gap_evidence().activations, head, class_target(0))))
    first, second = gap_evidence().activations[0]
    torch.testing.assert_close(maps[0][0], 5 / 2 * first - 0.5 / 2 * second)
    torch.testing.assert_close(maps[1][0], 5 * first - 0.5 * second)


def test_reciprocam_and_the_score_of_nothing_give_cam_per_cell_and_bias() -> None:
    evidence = random_evidence(closed_form=True)
    assert isinstance(evidence.head, LinearHead)
    nothing = evidence.head.bias[3]
    expected = apply(METHODS["cam"], evidence) / 12 + nothing
    torch.testing.assert_close(apply(METHODS["reciprocam"], evidence) + nothing, expected)


def test_reciprocam_keeps_what_travels_beside_the_layer() -> None:
    """A class token's score of 10 is there whichever patch is kept, and so it is in no cell's share."""

    class WithToken(nn.Module):
        def forward(self, maps: Tensor, token: Tensor) -> Tensor:
            return maps.sum((1, 2, 3))[:, None] * token

    token = torch.tensor([[10.0], [1.0]])
    maps = apply(METHODS["reciprocam"], Evidence(torch.ones(2, 1, 2, 2), Head(WithToken()), class_target(0), (token,)))
    assert maps.tolist() == [[[10.0] * 2] * 2, [[1.0] * 2] * 2]


@pytest.mark.parametrize("name", ["scorecam", "sscam", "iscam"])
@pytest.mark.usefixtures("few")
def test_weights_of_score_cams_are_shares(name: str) -> None:
    """A layer of two channels that are each other's complement: weights w and 1 - w make w A + (1 - w) (1 - A)."""
    images = image_evidence().around.images
    head = Head(pooled_linear(torch.tensor([[1.0, -1.0]]), torch.tensor([0.0])))
    share = torch.rand(1, 12, 12, generator=torch.Generator().manual_seed(1))
    pair = torch.stack([share, 1 - share, images[:1, 0]], 1)
    found = apply(METHODS[name], evidence_around(TwoColours(), head, pair, lambda maps: maps))[0]
    weight = (found - (1 - share[0])) / (2 * share[0] - 1)
    torch.testing.assert_close(weight, weight.mean().expand_as(weight), rtol=1e-3, atol=1e-3)
    assert 0 < weight.mean() < 1


def test_opticam_finds_the_best_mixture_of_two_maps() -> None:
    evidence = on_paper()
    found = float(masked_score(evidence, apply(METHODS["opticam"], evidence)[0]))
    shares = torch.linspace(0, 1, 101).tolist()
    best = max(masked_score(evidence, torch.tensor(mixed(share, 1 - share))) for share in shares)
    assert found == pytest.approx(best, abs=0.02)
    assert found > masked_score(evidence, torch.tensor(mixed(0.5, 0.5)))


def masked_score(evidence: Evidence, grid_map: Tensor) -> float:
    return score(evidence, evidence.around.images[0] * scale(grid_map))


def test_rise_of_a_linear_network_tends_to_half_of_what_a_pixel_adds() -> None:
    """Seen or not, with probability 1/2 each: a pixel's share of the score's covariance, over 1/2. Within the noise."""
    weight = torch.zeros(1, 2)
    weight[0, 0] = 144.0
    head = Head(pooled_linear(weight, torch.tensor([0.0])))
    images = torch.zeros(1, 3, 12, 12)
    images[0, 0, 2:4, 6:8] = 1
    evidence = evidence_around(TwoColours(), head, images, lambda maps: maps, probabilities=lambda logits: logits)
    found = apply(METHODS["rise"], evidence)[0]
    inside = torch.zeros(12, 12, dtype=torch.bool)
    inside[2:4, 6:8] = True
    assert found[inside].min() > 0.5
    assert abs(float(found[:, [0, 1, 10, 11]].mean())) < 0.05
    assert bool(inside.flatten()[found.argmax()])


def test_rise_masks_are_uneven_cells_of_ones_and_zeros_half_shown() -> None:
    draw = torch.Generator().manual_seed(0)
    grids = (torch.rand(500, 7, 7, generator=draw) < 0.5).float()
    masks = occluding._enlarged(grids, torch.rand(500, 2, generator=draw), torch.Size((70, 35)))
    assert masks.shape == (500, 70, 35)
    assert masks.min() == 0
    assert masks.max() == pytest.approx(1)
    assert masks.mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("side", "window", "count"), [(224, 32, 13), (1, 1, 1), (5, 1, 5), (12, 2, 11), (337, 49, 13)])
def test_windows_cover_the_whole_side(side: int, window: int, count: int) -> None:
    rows = occluding._windows(side)
    assert rows.shape == (count, side)
    assert rows[0].sum() == window
    assert rows.sum(0).min() >= 1
    assert rows[-1, -1] == 1


def test_random_differs_between_images_and_knows_nothing_of_the_class() -> None:
    evidence = image_evidence()
    first, second = apply(METHODS["random"], evidence)
    assert not torch.equal(first, second)
    other = apply(METHODS["random"], replace(evidence, target=class_target(2)))
    assert torch.equal(other[0], first)
    mirrored = apply(METHODS["random"], image_evidence(images=random_images().flip(3)))
    assert not torch.equal(mirrored[0], first)
    assert apply(METHODS["random"], gap_evidence()).shape == (1, 2, 2)


def test_probabilities_are_softmax_and_of_a_single_logit_sigmoid() -> None:
    torch.testing.assert_close(class_probabilities(torch.zeros(1, 4)), torch.full((1, 4), 0.25))
    torch.testing.assert_close(class_probabilities(torch.zeros(3, 1)), torch.full((3, 1), 0.5))


@pytest.mark.parametrize(
    ("name", "total"),
    [("ablationcam", 5), ("reciprocam", 16), ("scorecam", 5), ("sscam", 20), ("iscam", 50), ("opticam", 6),
     ("rise", 20), ("occlusion", 121)],
)  # fmt: skip
@pytest.mark.usefixtures("few")
def test_progress_is_reported_in_bounded_batches_up_to_the_end(name: str, total: int) -> None:
    evidence, seen, largest = image_evidence(images=random_images(1)), list[tuple[int, int]](), list[int]()
    around = evidence.around

    def logits(images: Tensor) -> Tensor:
        largest.append(len(images))
        return around.logits(images)

    whole = replace(around, logits=logits, progress=lambda done, of: seen.append((done, of)))
    apply(METHODS[name], replace(evidence, whole=whole))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (total, total)
    assert max(largest, default=0) <= around.batch


# Through the front door, where a network of some channels takes the place of one of a thousand


def small_classifier() -> nn.Module:
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=4, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    )
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return net


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.usefixtures("few")
def test_every_method_explains_a_photograph(name: str) -> None:
    model = camserve.load(small_classifier(), size=32)
    explanation = model.explain(picture(3), method=name)
    grid = (41, 32) if METHODS[name].lattice == "input" else (11, 8)
    assert explanation.map.shape == grid[::-1]
    assert explanation.heatmap.shape == (70, 90)
    assert np.array_equal(model.explain(picture(3), method=name).map, explanation.map)


# What peers answer. Their packages are development dependencies; without them these tests are skipped.


def peer(name: str) -> ModuleType:
    return pytest.importorskip(name, reason=f"{name} is not installed; pip install -e .[dev]")


def whole_network(evidence: Evidence) -> nn.Module:
    """The network anew, for a library that hooks it."""
    body, head = small_network()
    return nn.Sequential(body, head).eval().requires_grad_(True)


def grad_cam_map(kind: str, evidence: Evidence, network: nn.Module) -> Tensor:
    """pytorch-grad-cam's map before it is scaled and clipped, of every image."""
    peer("pytorch_grad_cam")
    from pytorch_grad_cam import AblationCAM, ScoreCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    images, activations = evidence.around.images, evidence.activations.numpy()
    with {"ablation": AblationCAM, "score": ScoreCAM}[kind](model=network, target_layers=[network[0]]) as explainer:
        targets = [ClassifierOutputTarget(1)] * len(images)
        found = explainer.get_cam_image(images, network[0], targets, activations, np.zeros_like(activations))
    return torch.from_numpy(found)


def test_ablationcam_agrees_with_pytorch_grad_cam_up_to_the_sign_of_a_negative_score() -> None:
    """Known fault there: of a negative logit the map is upside down."""
    evidence = image_evidence()
    theirs = grad_cam_map("ablation", evidence, whole_network(evidence))
    signs = evidence.target(evidence.logits).sign()[:, None, None]
    assert evidence.activations.min() == 0  # else it sets channels to -10^7 instead of 0
    torch.testing.assert_close(apply(METHODS["ablationcam"], evidence), signs * theirs, rtol=1e-4, atol=1e-5)


def test_scorecam_agrees_with_pytorch_grad_cam_where_maps_are_enlarged_alike() -> None:
    """It stretches the corners' cells to the corners of the image, which is not where they are."""
    evidence = image_evidence()

    def stretched(maps: Tensor) -> Tensor:
        return F.interpolate(maps[:, None], (12, 12), mode="bilinear", align_corners=True)[:, 0]

    theirs = grad_cam_map("score", evidence, whole_network(evidence))
    ours = apply(METHODS["scorecam"], replace(evidence, whole=replace(evidence.around, spread=stretched)))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_pytorch_grad_cam_s_scorecam_gives_a_dead_channel_a_weight() -> None:
    """Known fault there: a channel that masks nothing takes a share of the softmax, so the others' weights fall."""
    evidence = image_evidence(dead=2)
    body, head = small_network(dead=2)
    theirs = grad_cam_map("score", evidence, nn.Sequential(body, head).eval())

    def stretched(maps: Tensor) -> Tensor:
        return F.interpolate(maps[:, None], (12, 12), mode="bilinear", align_corners=True)[:, 0]

    ours = apply(METHODS["scorecam"], replace(evidence, whole=replace(evidence.around, spread=stretched)))
    for found, right in zip(theirs, ours, strict=True):
        share = float(found.sum() / right.sum())
        assert share < 0.995
        torch.testing.assert_close(found, share * right, rtol=1e-4, atol=1e-5)


def torchcam_map(kind: str, evidence: Evidence, **options: Any) -> Tensor:
    """torchcam's map as its weights make it, of every image."""
    methods = peer("torchcam.methods")
    network = whole_network(evidence)
    with getattr(methods, kind)(network, "0", input_shape=(3, 12, 12), **options) as explainer:
        noise = options.get("std") and masking.SIGMA * torch.randn(
            masking.NOISES, 1, 12, 12, generator=torch.Generator().manual_seed(0)
        )
        if noise is not None:
            explainer._distrib = FixedNoise(noise)
        network(evidence.around.images)
        (weights,) = explainer._get_weights([1] * len(evidence.activations))
    return torch.einsum("nk,nkhw->nhw", weights, evidence.activations)


class FixedNoise:
    """A distribution that gives every channel the next of our noises."""

    def __init__(self, noises: Tensor) -> None:
        self.waiting = iter(noises)

    def sample(self, size: torch.Size) -> Tensor:
        return next(self.waiting).expand(size)


def test_scorecam_agrees_with_torchcam() -> None:
    evidence = image_evidence()
    theirs = torchcam_map("ScoreCAM", evidence)
    torch.testing.assert_close(apply(METHODS["scorecam"], evidence), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("few")
def test_sscam_agrees_with_torchcam_under_the_same_noise() -> None:
    evidence = image_evidence()
    theirs = torchcam_map("SSCAM", evidence, num_samples=masking.NOISES, std=masking.SIGMA)
    torch.testing.assert_close(apply(METHODS["sscam"], evidence), theirs, rtol=1e-4, atol=1e-5)


def test_iscam_s_masks_end_at_the_image_and_torchcam_s_far_beyond() -> None:
    """Known fault there: its steps add up to 5.5. Score-CAM's weights averaged over 0.1, 0.3 .. 5.5 are its answer."""
    evidence = image_evidence()
    theirs = torchcam_map("ISCAM", evidence)
    assert float((apply(METHODS["iscam"], evidence) - theirs).abs().max()) > 0.01

    shares = np.cumsum(np.arange(1, 11) / 10)
    for index, one in enumerate(evidence.each()):
        image = one.around.images[0]

        def added_up(mask: Tensor, one: Evidence = one, image: Tensor = image) -> float:
            return float(np.mean([score(one, image * mask * float(share)) for share in shares]))

        torch.testing.assert_close(theirs[index], weighted_by_scores(one, added_up), rtol=1e-4, atol=1e-5)


def test_occlusion_agrees_with_captum() -> None:
    attr = peer("captum.attr")
    evidence = image_evidence()

    def probabilities(images: Tensor) -> Tensor:
        return evidence.around.logits(images).softmax(1)

    images = evidence.around.images
    theirs = attr.Occlusion(probabilities).attribute(images, (3, 2, 2), strides=(3, 1, 1), target=1)
    torch.testing.assert_close(apply(METHODS["occlusion"], evidence), theirs[:, 0], rtol=1e-4, atol=1e-5)


def test_ablationcam_s_falls_agree_with_captum_s_ablated_channels() -> None:
    attr = peer("captum.attr")
    evidence = image_evidence()
    channels = torch.arange(5)[None, :, None, None].expand(1, 5, 4, 4)
    theirs = attr.FeatureAblation(evidence.head.logits).attribute(evidence.activations, target=1, feature_mask=channels)
    falls = theirs[:, :, 0, 0] / evidence.target(evidence.logits).abs()[:, None]
    expected = torch.einsum("nk,nkhw->nhw", falls, evidence.activations)
    torch.testing.assert_close(apply(METHODS["ablationcam"], evidence), expected, rtol=1e-4, atol=1e-5)
