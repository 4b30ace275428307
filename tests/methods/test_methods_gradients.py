"""More methods of activations and gradients: exact numbers, and definitions in loops or by numpy."""

import math
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import evidence_around
from test_methods import ACTIVATIONS, flat_evidence, gap_evidence, nonlinear_evidence, pooled_linear, random_evidence
from torch import Tensor, nn
from torch.nn import functional as F

import camserve
from camserve.catalogue.targets import class_target
from camserve.errors import OptionError
from camserve.graph.heads import Head, LinearHead
from camserve.methods import METHODS
from camserve.methods.apply import apply
from camserve.methods.evidence import Evidence
from camserve.methods.weighted import NOISE, SAMPLES

P1 = 1 / (1 + math.exp(4))  # softmax of logits 5 and 1: the second
Q = P1 * (1 - P1)
W1 = 2 * (1 + P1 + 1.25 * Q) / 4
W2 = (-(1 + P1 + 1.25 * Q) - 4 * (P1 + 1.25 * Q)) / 4
# Of logits 5 and 1 under W = [[2, -1], [0, 4]], b = [0.5, -1]; ACTIVATIONS as in test_methods.
EXACT = {
    "elementwise": [[0.5, 1.0], [1.5, 2.0]],  # ReLU(2/4 A_1) + ReLU(-1/4 A_2)
    "smoothgradcam++": [[2 / 7, 4 / 7], [6 / 7, 8 / 7]],  # Grad-CAM++
    # dT/dS = (1 + p, -p), Hess_T (S - b) = -pq (2.5, -2.5), w = W^T (dT/dS - half of that) / 4
    "shapleycam": [[W1, 2 * W1 + W2], [3 * W1 + W2, 4 * W1]],
    "finercam": [[0.5, 1 - 1.25], [1.5 - 1.25, 2.0]],  # S_1 - S_2: W = (2, -5), over 4 cells
    "eigencam": [[-1.5, -0.5], [0.5, 1.5]],
    "eigengradcam": [[-0.75, -0.25], [0.25, 0.75]],
    "kpcacam": None,  # in tests of their own, below
    "fem": None,
    "refinecam": None,
}


def without_second_channel(evidence: Evidence) -> Evidence:
    """Its A_2 = 0, so that the principal component is A_1 alone."""
    return replace(evidence, activations=evidence.activations * torch.tensor([1.0, 0])[:, None, None])


@pytest.mark.exact
@pytest.mark.parametrize("name", [name for name in EXACT if EXACT[name]])
@pytest.mark.parametrize("closed_form", [True, False])
def test_exact_numbers_under_gap_and_linear(name: str, closed_form: bool) -> None:
    closed_form |= name == "smoothgradcam++"  # else it needs the whole network: below
    evidence = gap_evidence(closed_form=closed_form)
    if name.startswith("eigen"):
        evidence = without_second_channel(evidence)
    torch.testing.assert_close(apply(METHODS[name], evidence), torch.tensor([EXACT[name]]))


def test_elementwise_cancels_nothing_at_a_place() -> None:
    assert apply(METHODS["elementwise"], flat_evidence()).tolist() == [[[1, 4], [0, 0]]]
    negative = replace(flat_evidence(), activations=-ACTIVATIONS[:, :1])
    assert apply(METHODS["elementwise"], negative).tolist() == [[[0, 0], [3, 0]]]  # -1 * -3


def of(activations: list[Tensor], weights: list[float]) -> Evidence:
    """One image of these channels under global average pooling and one class."""
    weight = torch.tensor([weights], dtype=torch.float32)
    return Evidence(
        torch.stack(activations)[None], LinearHead(pooled_linear(weight, torch.zeros(1)), weight, torch.zeros(1)),
        class_target(0),
    )  # fmt: skip


def test_eigencam_is_the_direction_of_most_spread() -> None:
    """Channels 3 and 4 in the right column: direction (3, 4) / 5, 5 / 2 to either side of the mean."""
    right = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    evidence = of([3 * right, 4 * right], [4, -4])
    torch.testing.assert_close(apply(METHODS["eigencam"], evidence), torch.tensor([[[-2.5, 2.5], [-2.5, 2.5]]]))
    # gA = (3, -4): the same spread, and in sum there is less on the right
    torch.testing.assert_close(apply(METHODS["eigengradcam"], evidence), torch.tensor([[[2.5, -2.5], [2.5, -2.5]]]))


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["eigencam", "eigengradcam"])
def test_principal_components_are_numpy_s(name: str) -> None:
    evidence = nonlinear_evidence()
    maps = evidence.activations * (evidence.gradients if name == "eigengradcam" else 1)
    for image in range(2):
        table = maps[image].reshape(4, 12).T.double().numpy()
        table = table - table.mean(0)
        expected = table @ np.linalg.svd(table)[2][0]
        expected *= np.sign(np.corrcoef(expected, maps[image].sum(0).flatten().numpy())[0, 1])
        np.testing.assert_allclose(
            apply(METHODS[name], evidence)[image].flatten().numpy(), expected, rtol=1e-3, atol=1e-5
        )


@pytest.mark.exact("kpcacam")
def test_kpcacam_of_two_places() -> None:
    """Centred values -1 and 1: kernel tanh(2) I, centred tanh(2) (I - 1/2), whose vector is (-1, 1) / sqrt 2."""
    height = math.sqrt(math.tanh(2) / 2)
    torch.testing.assert_close(
        apply(METHODS["kpcacam"], of([torch.tensor([[0.0, 2]])], [1])), torch.tensor([[[-height, height]]])
    )


@pytest.mark.oracle("kpcacam")
def test_kpcacam_in_loops() -> None:
    evidence = nonlinear_evidence()
    for image in range(2):
        rows = evidence.activations[image].reshape(4, 12).T.double().numpy()
        rows = rows - rows.mean(0)
        kernel = np.array([[math.tanh(sum(x * y) / 4 + 1) for y in rows] for x in rows])
        centre = np.eye(12) - 1 / 12
        values, vectors = np.linalg.eigh(centre @ kernel @ centre)
        ours = apply(METHODS["kpcacam"], evidence)[image].flatten().double().numpy()
        np.testing.assert_allclose(np.abs(ours), np.abs(vectors[:, -1]) * math.sqrt(values[-1]), rtol=1e-3, atol=1e-5)
        assert np.dot(ours, rows.sum(1)) > 0


def test_kpcacam_says_when_there_are_too_many_cells() -> None:
    with pytest.raises(OptionError, match=r"2304 cells; this layer has 60 x 50\. Try a later layer"):
        apply(METHODS["kpcacam"], of([torch.zeros(50, 60)], [1]))


@pytest.mark.exact("fem")
def test_fem_counts_a_channel_where_it_is_two_deviations_above_its_mean() -> None:
    """9 in one of nine cells: mean 1, deviation sqrt 8, so above 6.7; a cell of 5 among 1s and a constant are not."""
    single, corner = torch.zeros(3, 3), torch.zeros(3, 3)
    single[1, 1], corner[0, 0] = 9, 18
    flat, two = torch.full((3, 3), 0.1), torch.tensor([[5.0, 5, 1], [1, 1, 1], [1, 1, 1]])
    assert apply(METHODS["fem"], of([single, corner, flat, two], [1, 1, 1, 1])).tolist() == [
        [[2, 0, 0], [0, 1, 0], [0, 0, 0]]
    ]


@pytest.mark.oracle("fem")
def test_fem_in_loops() -> None:
    evidence = nonlinear_evidence()
    expected = torch.zeros(2, 3, 4)
    for image, channel in np.ndindex(2, 4):
        values = evidence.activations[image, channel].flatten().tolist()
        mean = sum(values) / 12
        limit = mean + 2 * math.sqrt(sum((value - mean) ** 2 for value in values) / 12)
        for place, value in enumerate(values):
            expected[image, place // 4, place % 4] += mean * (value > limit)
    torch.testing.assert_close(apply(METHODS["fem"], evidence), expected)


@pytest.mark.oracle("elementwise")
def test_elementwise_in_loops() -> None:
    evidence = nonlinear_evidence()
    expected = torch.zeros(2, 3, 4)
    for image, channel, y, x in np.ndindex(2, 4, 3, 4):
        product = float(evidence.activations[image, channel, y, x] * evidence.gradients[image, channel, y, x])
        expected[image, y, x] += max(product, 0)
    torch.testing.assert_close(apply(METHODS["elementwise"], evidence), expected)


# ---- Shapley-CAM and Finer-CAM


@pytest.mark.oracle("shapleycam")
def test_shapleycam_is_the_dense_hessian_s() -> None:
    evidence = nonlinear_evidence()

    def score(activations: Tensor) -> Tensor:
        logits = evidence.head.module(activations[None])[0]
        return logits[1] + torch.log_softmax(logits, 0)[1]

    for image, activations in enumerate(evidence.activations):
        hessian = torch.autograd.functional.hessian(score, activations).reshape(48, 48)
        gradient = torch.autograd.functional.jacobian(score, activations).flatten()
        weights = (gradient - hessian @ activations.flatten() / 2).reshape(4, 12).mean(1)
        expected = (weights[:, None, None] * activations).sum(0)
        torch.testing.assert_close(apply(METHODS["shapleycam"], evidence)[image], expected, rtol=1e-4, atol=1e-5)


def test_shapleycam_takes_any_other_target_as_it_is() -> None:
    """Of a difference of logits under a linear head there is no curvature: Grad-CAM."""
    for closed_form in (True, False):
        evidence = replace(random_evidence(closed_form=closed_form), target=lambda logits: logits[:, 0] - logits[:, 1])
        torch.testing.assert_close(apply(METHODS["shapleycam"], evidence), apply(METHODS["gradcam"], evidence))


def test_finercam_compares_with_the_three_nearest() -> None:
    """Logits 5, then 4, 4, 4 nearest and -9 far: T = S_0 - (S_1 + S_2 + S_3) / 3, each third through its own place."""
    weight = torch.tensor([[4.0, 0], [2, 2], [1, 3], [0, 4], [-9, 0]])
    head = LinearHead(pooled_linear(weight, torch.zeros(5)), weight, torch.zeros(5))
    evidence = Evidence(torch.ones(1, 2, 1, 2), head, class_target(0))
    assert evidence.logits.tolist() == [[4, 4, 4, 4, -9]]
    # w = (4 - 1, 0 - 3) / 2 cells, both channels 1 everywhere: what sets class 0 apart cancels out
    torch.testing.assert_close(apply(METHODS["finercam"], evidence), torch.zeros(1, 1, 2))
    first = replace(evidence, activations=torch.tensor([[[[2.0, 0]], [[0, 2]]]]))
    torch.testing.assert_close(apply(METHODS["finercam"], first), torch.tensor([[[3.0, -3.0]]]))


def test_finercam_is_its_formula_where_the_probability_is_all_the_class_s_own() -> None:
    """exp(-200) is 0 in float32, and yet nothing is divided by 0."""
    weight, bias = torch.tensor([[200.0], [1], [0], [-1]]), torch.zeros(4)
    head = LinearHead(pooled_linear(weight, bias), weight, bias)
    evidence = Evidence(torch.ones(1, 1, 1, 1), head, class_target(0))
    others = torch.tensor([1.0, 0, -1], dtype=torch.float64)
    share = others.softmax(0)
    mean = (share * others).sum()
    expected = 200 - (share * (1 + others - mean) * others).sum()
    torch.testing.assert_close(apply(METHODS["finercam"], evidence).double().squeeze(), expected, rtol=1e-5, atol=0)


@pytest.mark.oracle("finercam")
def test_finercam_in_loops() -> None:
    """The three nearest of six classes, and the gradient of every logit by itself, a softmax's slope written out."""
    evidence = random_evidence(closed_form=False)
    expected = torch.zeros(2, 3, 4)
    for image, logits in enumerate(evidence.logits.tolist()):
        nearest = sorted((index for index in range(6) if index != 3), key=lambda i: abs(logits[i] - logits[3]))[:3]
        powers = [math.exp(logits[i]) for i in nearest]
        share = [power / sum(powers) for power in powers]
        mean = sum(p * logits[i] for p, i in zip(share, nearest, strict=True))
        slopes = {3: 1.0, **{i: -p * (1 + logits[i] - mean) for p, i in zip(share, nearest, strict=True)}}
        for index, slope in slopes.items():
            gradients = replace(evidence, target=class_target(index)).gradients[image]
            for channel in range(5):
                weight = slope * sum(gradients[channel].flatten().tolist()) / 12
                expected[image] += weight * evidence.activations[image, channel]
    torch.testing.assert_close(apply(METHODS["finercam"], evidence), expected, rtol=1e-4, atol=1e-6)


def test_finercam_needs_a_class_and_others() -> None:
    with pytest.raises(OptionError, match="this target is not a class; name a class"):
        apply(METHODS["finercam"], replace(gap_evidence(), target=lambda logits: logits[:, 0] - logits[:, 1]))
    with pytest.raises(OptionError, match="this model has one class; try 'gradcam'"):
        apply(METHODS["finercam"], flat_evidence())


# ---- Smooth Grad-CAM++ and Refine-CAM, which look at the network around the layer


class Curved(nn.Module):
    """Layer "first", then a head whose gradients differ from place to place and from image to image."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.first, self.second = nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 5, 3, stride=2)
        self.fc = nn.Linear(5, 3)

    def forward(self, images: Tensor) -> Tensor:
        hidden = torch.tanh(self.second(F.relu(self.first(images))))
        return self.fc(hidden.mean((2, 3)))


@pytest.fixture(scope="module")
def curved() -> camserve.Model:
    return camserve.load(Curved(), size=32)


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(5))


@pytest.mark.oracle("smoothgradcam++")
def test_smoothgradcam_plus_plus_in_loops(curved: camserve.Model) -> None:
    evidence, generator = evidence_around(curved, images(), 1, "first"), torch.Generator().manual_seed(0)
    noises = [torch.randn(3, 32, 32, generator=generator) for _ in range(SAMPLES)]
    for image, pixels in enumerate(images()):
        gradients = []
        for noise in noises:
            noisy = (pixels + NOISE * (pixels.max() - pixels.min()) * noise)[None]
            gradients.append(evidence_around(curved, noisy, 1, "first").gradients[0])
        expected = torch.zeros(15, 15)
        for channel, activation in enumerate(evidence.activations[image]):
            weight = 0.0
            for place in np.ndindex(15, 15):
                g = [float(gradient[channel][place]) for gradient in gradients]
                second, third = sum(x**2 for x in g) / SAMPLES, sum(x**3 for x in g) / SAMPLES
                denominator = 2 * second + float(activation.sum()) * third
                weight += second / denominator * max(sum(g) / SAMPLES, 0) if denominator > 0 else 0
            expected += weight * activation
        torch.testing.assert_close(apply(METHODS["smoothgradcam++"], evidence)[image], expected, rtol=1e-3, atol=1e-5)


def test_smoothgradcam_plus_plus_without_the_closed_form_is_gradcam_plus_plus() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    evidence = evidence_around(camserve.load(net, size=32), images(), 1)
    assert evidence.head.kind == "linear"
    closed = apply(METHODS["smoothgradcam++"], evidence)
    assert torch.equal(closed, apply(METHODS["gradcam++"], evidence))
    whole = replace(evidence.around, observe=lambda changed: replace(evidence, head=Head(evidence.head.module)))
    general = replace(evidence, head=Head(evidence.head.module), whole=whole)
    torch.testing.assert_close(apply(METHODS["smoothgradcam++"], general), closed, rtol=1e-4, atol=1e-6)


def test_smoothgradcam_plus_plus_tells_how_far_it_is(curved: camserve.Model) -> None:
    told: list[tuple[int, int]] = []
    evidence = evidence_around(curved, images(1), 1, "first")
    whole = replace(evidence.around, progress=lambda done, total: told.append((done, total)))
    apply(METHODS["smoothgradcam++"], replace(evidence, whole=whole))
    assert told == [(done, SAMPLES) for done in range(1, SAMPLES + 1)]


@pytest.mark.exact("refinecam")
def test_refinecam_multiplies_the_stages_scaled_maps() -> None:
    """One channel a stage, so Grad-CAM++ is a multiple of it: [0, 1; 2, 4] / 4 times [1, 1; 2, 4] / 4."""
    first, second = (of([torch.tensor(values)], [2]) for values in ([[0.0, 1], [2, 4]], [[1.0, 1], [2, 4]]))
    evidence = evidence_around_stages([first, second])
    assert apply(METHODS["refinecam"], evidence).tolist() == [[[0, 1 / 16], [1 / 4, 1]]]
    against = evidence_around_stages([first, of([torch.tensor([[1.0, 1], [2, 4]])], [-2])])
    assert apply(METHODS["refinecam"], against).tolist() == [[[0, 0], [0, 0]]]  # no positive evidence: nothing, not NaN


def evidence_around_stages(stages: list[Evidence]) -> Evidence:
    """Evidence whose stages are those given, all on the input's own grid of 2 x 2."""
    from camserve.methods.evidence import Whole

    def refuse(*_: object) -> Tensor:
        raise AssertionError("not to be asked")

    def around(stage: Evidence) -> Evidence:
        whole = Whole(
            images=torch.zeros(1, 3, 2, 2), logits=refuse, network=nn.Identity(), spread=lambda maps: maps,
            stages=lambda: [around(one) for one in stages], observe=refuse,  # type: ignore[arg-type]
        )  # fmt: skip
        return replace(stage, whole=whole)

    return around(stages[-1])


@pytest.mark.oracle("refinecam")
def test_refinecam_of_a_network_is_the_product_of_its_placed_stages(curved: camserve.Model) -> None:
    evidence = evidence_around(curved, images(), 1)
    expected = torch.ones(2, 32, 32)
    for layer in ("first", "second"):
        stage = evidence_around(curved, images(), 1, "relu" if layer == "first" else None)
        placed = stage.around.spread(apply(METHODS["gradcam++"], stage).clamp(min=0))
        for image in range(2):
            expected[image] *= placed[image] / placed[image].max()
    assert [stage.activations.shape[-1] for stage in evidence.around.stages()] == [15, 7]
    torch.testing.assert_close(apply(METHODS["refinecam"], evidence), expected)


# ---- all of them


def around(curved: camserve.Model, name: str, pixels: Tensor) -> Tensor:
    return apply(METHODS[name], evidence_around(curved, pixels, 1, "first" if name == "smoothgradcam++" else None))


@pytest.mark.parametrize("name", EXACT)
def test_each_image_of_a_batch_stands_alone_and_twice_is_the_same(curved: camserve.Model, name: str) -> None:
    before = images()
    both = around(curved, name, before)
    assert torch.equal(before, images())
    assert torch.equal(both, around(curved, name, images()))
    for image in range(2):
        torch.testing.assert_close(
            both[image], around(curved, name, images()[image : image + 1])[0], rtol=1e-3, atol=1e-5
        )


@pytest.mark.parametrize("name", EXACT)
def test_two_threads_get_the_serial_bits(curved: camserve.Model, name: str) -> None:
    serial, wrong = around(curved, name, images()), list[int]()

    def work() -> None:
        for _ in range(4):
            if not torch.equal(around(curved, name, images()), serial):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("name", [name for name in EXACT if name not in ("smoothgradcam++", "refinecam")])
@pytest.mark.parametrize("closed_form", [True, False])
def test_dead_and_constant_channels_are_no_nan(name: str, closed_form: bool) -> None:
    dead = random_evidence(closed_form=closed_form, dead=2)
    assert apply(METHODS[name], dead).isfinite().all()
    assert apply(METHODS[name], replace(dead, activations=torch.ones(2, 5, 3, 4))).isfinite().all()
    nothing = apply(METHODS[name], replace(dead, activations=torch.zeros(2, 5, 3, 4)))
    assert not nothing.any()


@pytest.mark.parametrize("name", [name for name in EXACT if name not in ("smoothgradcam++", "refinecam")])
def test_closed_form_equals_autograd(name: str) -> None:
    closed, general = (apply(METHODS[name], random_evidence(closed_form=closed_form)) for closed_form in (True, False))
    torch.testing.assert_close(closed, general, rtol=1e-4, atol=1e-6)
