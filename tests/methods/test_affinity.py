"""Affinity CAM: numbers to check on paper, the matrix P written out as loops, and the sum that stays."""

import pytest
import torch
from conftest import picture
from test_methods import flat_evidence, pooled_linear
from torch import Tensor

import camserve
from camserve.catalogue.targets import class_target
from camserve.errors import OptionError
from camserve.graph.heads import LinearHead
from camserve.methods import METHODS
from camserve.methods.affinity import ROUNDS, apply_shared, share
from camserve.methods.apply import apply
from camserve.methods.evidence import Evidence


def of(activations: Tensor, weight: Tensor) -> Evidence:
    """Images (N, K, h, w) under global average pooling and a linear layer (C, K) without bias."""
    bias = torch.zeros(len(weight))
    return Evidence(activations, LinearHead(pooled_linear(weight, bias), weight, bias), class_target(0))


def random_evidence() -> Evidence:
    """Two images of seven channels, some activations negative; one place of the first fires nothing."""
    generator = torch.Generator().manual_seed(11)
    activations = torch.randn(2, 7, 3, 4, generator=generator)
    activations[0, :, 1, 2] = -1
    return of(activations, torch.randn(3, 7, generator=generator))


@pytest.mark.exact("affinitycam")
def test_places_of_one_channel_share_what_they_have() -> None:
    """CAM is 3, 9, -2, 0: the first two fire the first channel, the third the second, the last none."""
    activations = torch.tensor([[[[1.0, 3], [0, 0]], [[0, 0], [2, 0]]]])
    evidence = of(activations, torch.tensor([[3.0, -1.0]]))
    assert apply(METHODS["affinitycam"], evidence).tolist() == [[[6, 6], [-2, 0]]]


@pytest.mark.exact("affinitycam")
def test_two_places_with_one_channel_in_common() -> None:
    """Shares (1, 0) and (1/2, 1/2): P = [[2/3, 1/3], [1/3, 2/3]], P P = [[5/9, 4/9], [4/9, 5/9]]; CAM is 9, 0."""
    evidence = of(torch.tensor([[[[1.0, 1]], [[0, 1]]]]), torch.tensor([[9.0, -9.0]]))
    torch.testing.assert_close(apply(METHODS["affinitycam"], evidence), torch.tensor([[[5.0, 4.0]]]))


@pytest.mark.oracle("affinitycam")
def test_equals_its_definition_in_loops() -> None:
    evidence = random_evidence()
    maps = apply(METHODS["affinitycam"], evidence)
    for image, cam in enumerate(apply(METHODS["cam"], evidence).flatten(1).tolist()):
        fires = evidence.activations[image].flatten(1).T.clamp(min=0).tolist()
        shares = [[value / sum(place) if sum(place) else 0 for value in place] for place in fires]
        mass = [sum(place[k] for place in shares) for k in range(7)]
        likeness = [[sum(a * b / m for a, b, m in zip(u, v, mass, strict=True)) for v in shares] for u in shares]
        for place, share_of in enumerate(shares):
            likeness[place][place] += not any(share_of)
        for _ in range(ROUNDS):
            cam = [sum(p * value for p, value in zip(row, cam, strict=True)) for row in likeness]
        torch.testing.assert_close(maps[image].flatten(), torch.tensor(cam), rtol=1e-4, atol=1e-5)


def test_the_sum_stays_what_it_was() -> None:
    evidence = random_evidence()
    means = apply(METHODS["affinitycam"], evidence).mean((1, 2))
    torch.testing.assert_close(means, evidence.logits[:, 0], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(apply(METHODS["affinitycam"], evidence), apply(METHODS["cam"], evidence))


def test_the_map_of_a_trained_model_adds_up_to_its_logit(model: camserve.Model) -> None:
    photo = picture(2)
    cam, shared = (model.explain(photo, method=name) for name in ("cam", "affinitycam"))
    assert shared.map.mean() == pytest.approx(cam.map.mean(), rel=1e-4)
    assert (shared.unit, shared.completeness) == ("logits", cam.completeness)
    assert shared.map.std() < cam.map.std()


def test_a_head_without_a_class_map_is_said() -> None:
    with pytest.raises(OptionError, match="Try 'gradcam'"):
        apply(METHODS["affinitycam"], flat_evidence())


def test_a_map_is_shared_once() -> None:
    evidence = random_evidence()
    for name in ("cam", "gradcam"):
        expected = share(apply(METHODS[name], evidence), evidence.activations)
        assert torch.equal(apply_shared(METHODS[name], evidence), expected)
    assert torch.equal(apply_shared(METHODS["affinitycam"], evidence), apply_shared(METHODS["cam"], evidence))
