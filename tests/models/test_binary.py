"""One logit with two names: of the second class, whose negative is the first's. Scores, names and maps are exact."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import camserve

LABELS = ["cat", "dog"]
INPUT: dict[str, Any] = {"size": 32, "crop": 1.0, "mean": (0, 0, 0), "std": (255, 255, 255)}
WHITE, BLACK = np.full((32, 32, 3), 255, np.uint8), np.zeros((32, 32, 3), np.uint8)
HALF = np.concatenate([WHITE[:, :16], BLACK[:, 16:]], 1)


class Dogs(nn.Module):
    """4 times the mean brightness, less 1.5: bright is a dog."""

    def __init__(self, end: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.pool = nn.Conv2d(3, 2, 4, 4), nn.AdaptiveAvgPool2d(1)
        self.fc, self.end = nn.Linear(2, 1), end
        with torch.no_grad():
            self.body.weight.fill_(1 / 48)
            self.body.bias.zero_()
            self.fc.weight.fill_(2)
            self.fc.bias.fill_(-1.5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logit = self.fc(self.pool(self.body(images)).flatten(1))
        return logit if self.end is None else self.end(logit)


class Branching(Dogs):
    """What torch.fx cannot trace."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images if images.sum() > -1 else images * 2)


class Convolved(nn.Module):
    """A class map of one class, averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.pool = nn.Conv2d(3, 1, 4, 4), nn.AdaptiveAvgPool2d(1)
        with torch.no_grad():
            self.body.weight.fill_(4 / 48)
            self.body.bias.fill_(-1.5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.pool(self.body(images)).flatten(1)


NETWORKS = [Dogs(), Dogs(nn.Sigmoid()), Branching(), Convolved()]


@pytest.mark.parametrize("net", NETWORKS, ids=lambda net: type(net).__name__)
@pytest.mark.parametrize(("photo", "logit"), [(WHITE, 2.5), (BLACK, -1.5), (HALF, 0.5)])
def test_the_logit_is_the_second_s_and_its_negative_the_first_s(
    net: nn.Module, photo: np.ndarray[Any, Any], logit: float
) -> None:
    model = camserve.load(net, labels=LABELS, **INPUT)
    dog = 1 / (1 + np.exp(-logit))
    found = model.explain(photo)
    np.testing.assert_allclose(found.logits, [-logit, logit], atol=1e-5)
    assert found.scores is not None
    np.testing.assert_allclose(found.scores, [1 - dog, dog], atol=1e-6)
    assert found.class_name == ("dog" if logit > 0 else "cat")
    assert found.score == pytest.approx(max(dog, 1 - dog), abs=1e-6)
    assert model.explain(photo, target="cat").score == pytest.approx(1 - dog, abs=1e-6)
    assert not any("nearly the same" in text for text in found.warnings)


@pytest.mark.parametrize("net", NETWORKS, ids=lambda net: type(net).__name__)
@pytest.mark.parametrize("method", [None, "gradcam", "occlusion"])
def test_what_speaks_for_one_speaks_against_the_other(net: nn.Module, method: str | None) -> None:
    model = camserve.load(net, labels=LABELS, **INPUT)
    dog, cat, against = model.explain_classes(HALF, ["dog", "cat", "-dog"], method=method)
    assert np.abs(dog.map).max() > 0.01
    np.testing.assert_allclose(cat.map, -dog.map, atol=1e-5)
    if method != "occlusion":  # which asks for probabilities
        np.testing.assert_allclose(cat.map, against.map, atol=1e-5)
    assert dog.map[:, : dog.map.shape[1] // 2].mean() > dog.map[:, dog.map.shape[1] // 2 :].mean()


@pytest.mark.parametrize("net", [Dogs(), Dogs(nn.Sigmoid()), Convolved()], ids=lambda net: type(net).__name__)
def test_maps_stay_exact(net: nn.Module) -> None:
    alone = camserve.load(net, **INPUT).explain(HALF)
    found = camserve.load(net, labels=LABELS, **INPUT).explain(HALF, target="dog")
    assert found.method == "cam"
    assert found.completeness == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(found.map.mean() + found.bias, 0.5, atol=1e-5)
    assert alone.map.shape == found.map.shape


def test_a_network_of_one_logit_and_one_name_or_none_is_as_it_was() -> None:
    assert camserve.load(Dogs(), **INPUT).explain(HALF).logits == pytest.approx([0.5], abs=1e-5)
    assert camserve.load(Dogs(), labels=["dog"], **INPUT).explain(HALF).score == pytest.approx(
        1 / (1 + np.exp(-0.5)), abs=1e-5
    )
    with pytest.raises(camserve.CamserveError, match="has 1 classes, but 3 labels were given"):
        camserve.load(Dogs(), labels=["a", "b", "c"], **INPUT)
    with pytest.raises(camserve.CamserveError, match="has 1 classes, but 2 labels were given"):
        camserve.load(Dogs(), labels=LABELS, scores="none", **INPUT)


def test_a_card_and_a_checkpoint_may_have_both_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(
        "from torch import nn\ndef net(num_classes=5):\n    return nn.Sequential(nn.Conv2d(3, 4, 4, 4), "
        "nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))\n"
    )
    tensors = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Flatten(), nn.Flatten(), nn.Linear(4, 1)).state_dict()
    torch.save({"state_dict": tensors, "classes": LABELS}, "dogs.pth")
    for labels in (None, LABELS):
        model = camserve.load("./net.py:net", weights="dogs.pth", labels=labels, **INPUT)
        assert (model.labels, model.explain(HALF).logits.shape, model.card.scores) == (("cat", "dog"), (2,), "sigmoid")
