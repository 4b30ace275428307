"""Model files of other frameworks: explained as the network that they were made of."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import picture
from torch import Tensor, nn

import camserve
from camserve.errors import ModelError, OptionError
from camserve.models.architectures.by_name import build as by_name

pytest.importorskip("camserve.models.engines.openvino_quietly")
pytest.importorskip("onnx")
from exported import INPUT, MEAN, SIDE, STD, Net, Pixels, ir_file, onnx_file

from camserve.models.engines.openvino_quietly import openvino


def assert_alike(model: camserve.Model, net: nn.Module, most: float = 1e-4) -> None:
    """Class maps, map of the class, logits and scores are those of the module."""
    own = camserve.load(net, resampler="pillow", **INPUT)  # as model files do
    assert model.card.input.sides == own.card.input.sides
    image = picture()
    maps, wanted = model.class_maps(image), own.class_maps(image)
    assert np.abs(maps - wanted).max() <= most * np.abs(wanted).max()
    made, one = model.explain(image), own.explain(image)
    assert (made.class_index, made.method) == (one.class_index, "cam")
    assert np.abs(np.array(made.scores) - np.array(one.scores)).max() <= most
    assert abs(made.logit - one.logit) <= most * max(1, abs(one.logit))
    assert made.completeness is not None and made.completeness < 1e-5
    assert (model.layer().stride, model.layer().centred) == (own.layer().stride, own.layer().centred)


MADE: dict[str, Callable[[nn.Module, Path], Path]] = {
    "onnx": lambda net, folder: onnx_file(net, folder / "net.onnx"),
    "onnx of one size": lambda net, folder: onnx_file(net, folder / "net.onnx", is_open=False),
    "ir": lambda net, folder: ir_file(net, folder / "net.xml"),
    "ir of one size": lambda net, folder: ir_file(net, folder / "net.xml", (1, 3, SIDE, SIDE)),
}


@pytest.mark.parametrize("kind", MADE)
def test_a_file_is_explained_as_its_network(kind: str, tmp_path: Path) -> None:
    net = Net().eval()
    model = camserve.load(MADE[kind](net, tmp_path), labels=["a", "b", "c"], **INPUT)
    assert_alike(model, net)
    assert (model.name, model.labels, model.network.takes_any_size) == ("net", ("a", "b", "c"), True)
    assert model.described["weights_sha256"] == model.weights_sha256


def test_half_precision_is_in_the_weights_alone(tmp_path: Path) -> None:
    net = Net().eval()
    assert_alike(camserve.load(ir_file(net, tmp_path / "net.xml", half=True), **INPUT), net, most=2e-3)


INSIDE: dict[str, Callable[[nn.Module, Path], Path]] = {
    "pixels": lambda net, path: onnx_file(Pixels(net), path),
    "pixels, channels last": lambda net, path: onnx_file(Pixels(net, last=True), path, last(), is_open=False),
    "whole numbers": lambda net, path: onnx_file(Pixels(net, last=True), path, last().byte(), is_open=False),
    "shares": lambda net, path: onnx_file(Pixels(net, scale=1), path),
}


def last() -> Tensor:
    return torch.zeros(1, SIDE, SIDE, 3)


@pytest.mark.parametrize("kind", INSIDE)
def test_what_a_file_does_to_pixels_is_read_off_it(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net = Net().eval()
    model = camserve.load(INSIDE[kind](net, tmp_path / "net.onnx"), size=SIDE)
    assert (model.card.input.mean, model.card.input.std) == ((0,) * 3, (255 if kind == "shares" else 1,) * 3)
    assert not caplog.records
    assert_alike(model, net)


def test_openvinos_own_preprocessing_is_read_off_it(tmp_path: Path) -> None:
    from openvino.preprocess import ColorFormat, PrePostProcessor

    net, path = Net().eval(), ir_file(Net(), tmp_path / "plain.xml", (1, 3, SIDE, SIDE))
    steps = PrePostProcessor(openvino.Core().read_model(str(path)))
    tensor = steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    tensor.set_color_format(ColorFormat.BGR)
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    convert = steps.input().preprocess().convert_element_type(openvino.Type.f32).convert_color(ColorFormat.RGB)
    convert.mean(list(MEAN)).scale(list(STD))
    openvino.save_model(steps.build(), str(tmp_path / "net.xml"), compress_to_fp16=False)
    model = camserve.load(tmp_path / "net.xml", channels="BGR")
    assert (model.card.input.size, model.card.input.mean) == (SIDE, (0, 0, 0))
    assert_alike(model, net)


def test_an_input_that_nothing_is_said_of_is_said_to_be_a_guess(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    camserve.load(onnx_file(Net(), tmp_path / "net.onnx"), size=SIDE)
    assert ["the input is a guess" in record.message for record in caplog.records] == [True]


def test_a_grey_file_is_given_grey_pictures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Grey(Net):
        def forward(self, images: Tensor) -> Any:
            return super().forward(images / 127.5 - 1)

    path = onnx_file(Grey(1), tmp_path / "net.onnx", torch.zeros(1, 1, SIDE, SIDE))
    model = camserve.load(path, size=SIDE)
    assert (model.card.input.channels, model.card.input.mean, model.card.input.std) == ("L", (0,), (1,))
    assert not caplog.records
    assert model.explain(picture()).map.shape == (8, 11)


def test_probabilities_inside_are_taken_for_what_they_are(tmp_path: Path) -> None:
    net = Net().eval()
    path = onnx_file(nn.Sequential(net, nn.Softmax(1)), tmp_path / "net.onnx")
    assert_alike(camserve.load(path, **INPUT), net)


def test_several_outputs_keep_their_names(tmp_path: Path) -> None:
    class Several(Net):
        def forward(self, images: Tensor) -> Any:
            pooled = self.features(images).mean((2, 3))
            return pooled, self.head(pooled)

    net = Several().eval()
    model = camserve.load(onnx_file(net, tmp_path / "net.onnx", outputs=("embedding", "logits")), **INPUT)
    assert (model.outputs, model.output) == (("embedding", "logits"), "logits")
    assert_alike(model, Net().eval())
    assert model.explain(picture(), output="embedding", target=5).class_index == 5


def test_logits_of_one_place_are_logits(tmp_path: Path) -> None:
    class Spatial(Net):
        def forward(self, images: Tensor) -> Any:
            pooled = self.features(images).mean((2, 3), keepdim=True)
            return nn.functional.conv2d(pooled, self.head.weight[:, :, None, None], self.head.bias)

    path = onnx_file(Spatial(), tmp_path / "net.onnx", is_open=False)
    assert_alike(camserve.load(path, **INPUT), Net().eval())


def test_a_file_of_any_size_may_take_one_alone(tmp_path: Path) -> None:
    """Its window of 8 cells is all of the map at the size trained at only."""

    class Small(Net):
        def forward(self, images: Tensor) -> Any:
            return self.head(nn.functional.avg_pool2d(self.features(images), 8).flatten(1))

    model = camserve.load(onnx_file(Small(), tmp_path / "net.onnx"), **INPUT)
    assert (model.network.takes_any_size, model.explain(picture()).map.shape) == (False, (8, 8))


def test_a_norm_that_openvino_gets_wrong_is_right(tmp_path: Path) -> None:
    """Its CPU cuts the bias down to a whole number."""
    from exported import saved
    from openvino import opset13 as ov
    from operation_cases import ints, numbers

    path = saved(lambda x: ov.lrn(x, ints(1), 0.1, 0.7, 1.5, 3), tmp_path / "net.xml", (-1, 3, -1, -1))
    images = torch.from_numpy(numbers(2, 3, 5, 6))
    assert torch.allclose(by_name(str(path))(images), nn.LocalResponseNorm(3, 0.1, 0.7, 1.5)(images), atol=1e-6)


def test_layers_have_the_names_of_the_file(tmp_path: Path) -> None:
    class Residual(Net):
        def features(self, images: Tensor) -> Tensor:
            found = super().features(images)
            return found + found.sigmoid()

    model = camserve.load(onnx_file(Residual(), tmp_path / "net.onnx"), **INPUT)
    assert list(model.layers())[:2] == ["first/Conv", "Relu"]
    assert model.default_layer == "Add"
    made = camserve.load(ir_file(Net(), tmp_path / "net.xml"), **INPUT)
    assert list(made.layers()) == list(camserve.load(tmp_path / "net.xml", **INPUT).layers())


def test_a_card_names_a_model_file(tmp_path: Path) -> None:
    net, folder = Net().eval(), tmp_path / "finch"
    folder.mkdir()
    onnx_file(net, folder / "net.onnx")
    (folder / "labels.txt").write_text("finch\nsparrow\nwren\n")
    card = 'architecture = "net.onnx"\nlabels = "labels.txt"\n'
    given = f"[input]\nsize = {SIDE}\nmean = {list(MEAN)}\nstd = {list(STD)}\n"
    (folder / "card.toml").write_text(card + given)
    model = camserve.load(folder)
    assert (model.name, model.labels[1]) == ("finch", "sparrow")
    assert_alike(model, net)
    (folder / "card.toml").write_text(f'{card}sha256 = "{"0" * 64}"\n{given}')
    with pytest.raises(ModelError, match="'net.onnx' has sha256"):
        camserve.load(folder)


def test_weights_belong_to_the_file(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="has its own inside; leave weights out"):
        camserve.load(onnx_file(Net(), tmp_path / "net.onnx"), weights="net.pth")


def test_warnings_of_a_file_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "camserve"):
        camserve.load(onnx_file(Net(), tmp_path / "net.onnx"), **INPUT).explain(picture())
    assert not caplog.records
