"""int8 files, whose numbers stand for others; and what is said of files that cannot be explained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import picture

import camserve
from camserve.errors import ModelError

pytest.importorskip("camserve.models.engines.openvino_quietly")
pytest.importorskip("onnx")
from exported import INPUT, SIDE, Net, onnx_file
from openvino import opset13 as ov
from operation_cases import ints, numbers

from camserve.models.architectures.by_name import build
from camserve.models.compiled.element_ops import Quantized
from camserve.models.compiled.translation import RULES
from camserve.models.engines.openvino_quietly import openvino


def rounded(x: Any, low: float, high: float, to: tuple[float, float] | None = None) -> Any:
    ends = np.float32(low), np.float32(high), *map(np.float32, to or (low, high))
    return ov.fake_quantize(x, *ends, 256)


def quantised(path: Path, kind: str) -> Path:
    """As TensorFlow Lite writes them: whole numbers in and out, channels last, rounded to 8 bits after each step."""
    ends = (0.0, 255.0) if kind == "u8" else (-128.0, 127.0)
    images = ov.parameter([1, SIDE, SIDE, 3], openvino.Type(np.dtype("u1" if kind == "u8" else "i1")), name="images")
    x = ov.convert(ov.transpose(images, ints(0, 3, 1, 2)), "f32")
    x = rounded(x, *ends, to=(-1.0, 1.0))
    x = rounded(ov.relu(ov.convolution(x, numbers(8, 3, 3, 3) / 4, [2, 2], [1, 1], [1, 1], [1, 1])), 0, 4)
    x = rounded(ov.matmul(ov.reduce_mean(x, ints(2, 3)), numbers(8, 3), False, False), -3, 3)
    x = rounded(ov.softmax(x, 1), 0, 1, to=ends)
    openvino.save_model(openvino.Model([ov.convert(x, kind)], [images]), str(path), compress_to_fp16=False)
    return path


@pytest.mark.parametrize("kind", ["u8", "i8"])
def test_whole_numbers_in_and_out_stand_for_others(kind: str, tmp_path: Path) -> None:
    """The network takes -1..1 and answers with probabilities, as the one it was quantised from."""
    path = quantised(tmp_path / "net.xml", kind)
    model = camserve.load(path)
    assert (model.card.input.size, model.card.input.mean, model.card.input.std) == (SIDE, (127.5,) * 3, (127.5,) * 3)
    image = np.asarray(picture(size=(SIDE, SIDE)))
    made = model.explain(image, size="native")
    given = image.astype(np.float32) - (0 if kind == "u8" else 128)
    compiled = openvino.Core().compile_model(str(path), "CPU")
    answer = compiled([given[None].astype("u1" if kind == "u8" else "i1")])[0][0].astype(np.float32)
    shares = (answer + (0 if kind == "u8" else 128)) / 255
    assert np.abs(np.array(made.scores) - shares).max() < 0.02
    assert float(np.abs(made.map).max()) > 0


def test_an_answer_beyond_what_calibration_met_has_a_map(tmp_path: Path) -> None:
    images = ov.parameter([1, 3, SIDE, SIDE], np.float32, name="images")
    x = ov.relu(ov.convolution(images, numbers(8, 3, 3, 3), [2, 2], [1, 1], [1, 1], [1, 1]))
    logits = ov.matmul(ov.reduce_mean(x, ints(2, 3)), 9 * numbers(8, 3), False, False)
    made = openvino.Model([rounded(logits, -0.1, 0.1)], [images])
    openvino.save_model(made, str(tmp_path / "net.xml"), compress_to_fp16=False)
    assert np.abs(camserve.load(tmp_path / "net.xml", **INPUT).explain(picture()).map).max() > 0


def test_the_gradient_goes_through_rounding() -> None:
    low, high = torch.tensor(-1.0), torch.tensor(1.0)
    layer, values = Quantized(5, low, high, low, high), torch.tensor([-2.0, -0.3, 0.1, 0.25, 0.9], requires_grad=True)
    found = layer(values)
    assert found.tolist() == [-1, -0.5, 0, 0.5, 1]  # a value half-way goes up
    found.sum().backward()
    assert values.grad is not None
    assert torch.allclose(values.grad, torch.tensor([0.0, 1, 1, 1, 1]))


def test_weights_of_8_bits_are_multiplied_as_they_are(tmp_path: Path) -> None:
    """OpenVINO would round what they are multiplied by as well, where it may; the file says nothing of that."""
    images = ov.parameter(openvino.PartialShape([-1, 3, 16, 16]), np.float32, name="images")
    whole = ov.convert(ov.constant((numbers(768, 4) * 30).astype(np.int8)), "f32")
    answer = ov.matmul(ov.reshape(images, ints(0, -1), True), ov.multiply(whole, np.float32(0.01)), False, False)
    openvino.save_model(openvino.Model([answer], [images]), str(tmp_path / "net.xml"), compress_to_fp16=False)
    assert build(str(tmp_path / "net.xml"))(torch.ones(2, 3, 16, 16)).shape == (2, 4)


class Recurrent(Net):
    def __init__(self) -> None:
        super().__init__()
        self.cell = torch.nn.LSTM(8, 8, batch_first=True)

    def forward(self, images: torch.Tensor) -> Any:
        return self.head(self.cell(self.features(images).flatten(2).transpose(1, 2))[0][:, -1])


def written(content: str | bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


def cut(path: Path) -> None:
    onnx_file(Net(), path)
    path.write_bytes(path.read_bytes()[:500])


def without_its_weights(path: Path) -> None:
    import onnx

    made = onnx.load(onnx_file(Net(), path))
    onnx.save(made, path, save_as_external_data=True, location="net.data", size_threshold=0)
    (path.parent / "net.data").unlink()


def of_two_inputs(path: Path) -> None:
    one, other = (ov.parameter([1, 3, 8, 8], np.float32, name=name) for name in ("left", "right"))
    openvino.save_model(openvino.Model([ov.add(one, other)], [one, other]), str(path))


BAD: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "none": ("net.onnx", lambda path: None, "there is no file"),
    "text": ("net.onnx", written("hello\n"), "damaged, cut off, or not of the kind that its name says"),
    "nothing": ("net.tflite", written(b""), "damaged, cut off, or not of the kind that its name says"),
    "cut off": ("net.onnx", cut, "cannot be read by OpenVINO: Model can't be parsed"),
    "no weights": ("net.onnx", without_its_weights, r"\(net.data.*\. Put files of external weights beside it"),
    "no .bin": ("net.xml", written("<net/>"), "needs its weights, the file 'net.bin' beside it"),
    "no images": (
        "net.onnx",
        lambda path: onnx_file(torch.nn.Linear(4, 2), path, torch.ones(1, 4), is_open=False),
        "images",
    ),
    "two inputs": ("net.xml", of_two_inputs, "takes left .*, right .*; camserve explains models with one input"),
    "recurrent": (
        "net.onnx",
        lambda path: onnx_file(Recurrent(), path),
        "no rule for the operation LSTMSequence .*Load the",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_cannot_work_says_why(kind: str, tmp_path: Path) -> None:
    name, make, words = BAD[kind]
    make(tmp_path / name)
    with pytest.raises(ModelError, match=words) as caught:
        camserve.load(tmp_path / name, **INPUT)
    assert "\n" not in str(caught.value)


def test_a_graph_that_answers_otherwise_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = onnx_file(Net(), tmp_path / "net.onnx")
    monkeypatch.setitem(RULES, "Relu", lambda made, operation, value: value)
    with pytest.raises(ModelError, match="answers otherwise than in OpenVINO"):
        _ = camserve.load(path, **INPUT).network


def test_a_folder_of_tensorflow_stands_for_its_file(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="saved_model.pb' cannot be read by OpenVINO"):
        camserve.load(tmp_path)
