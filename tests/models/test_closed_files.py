"""Model files in closed form: the maps of the network that was exported, without torch, the same at every door."""

import json
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import camserve
from camserve.config import load_settings
from camserve.errors import ModelError, SizeError
from camserve.metrics.trust import FORWARDS
from camserve.models.onnx_export import export
from camserve.nets.efficientnet_lite import SameConv2d

if any(find_spec(name) is None for name in ("openvino", "onnx", "onnxscript")):
    pytest.skip("camserve[openvino,onnx] is not installed", allow_module_level=True)

PHOTO = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
SCALE: dict[str, Any] = {"mean": [120.0, 118.0, 100.0], "std": [60.0, 58.0, 57.0]}


class Net(nn.Module):
    """Two convolutions, average pooling, a linear layer, and a gate between that looks at everything."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.second, self.gate = nn.Conv2d(8, 12, 3, 2, 1), nn.Conv2d(12, 12, 1)
        self.fc = nn.Linear(12, 5)

    def features(self, x: Tensor) -> Tensor:
        x = self.second(F.relu6(self.norm(self.first(x)))).relu()
        return x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean((2, 3)))


class Probable(Net):
    """The same with a softmax at the end."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).softmax(1)


class ClassMap(Net):
    """A convolution to a channel a class, rectified, then the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.classes = nn.Conv2d(12, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.classes(self.features(x))).mean((2, 3))


class Deeper(Net):
    """Something between pooling and the logits that no class map accounts for."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.hardswish(self.features(x).mean((2, 3))))


NETS = {"linear": Net, "softmax": Probable, "class map": ClassMap}


def written(net: nn.Module, path: Path, *, any_size: bool = True) -> Path:
    """The network as an .onnx file."""
    axes = {0: "n", 2: "h", 3: "w"} if any_size else {0: "n"}
    with warnings.catch_warnings(action="ignore"):  # the quick exporter is the old one
        torch.onnx.export(
            net.eval(),
            (torch.zeros(1, 3, 64, 64),),
            str(path),
            dynamo=False,
            input_names=["x"],
            dynamic_axes={"x": axes},
        )
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    return {name: written(net(), folder / f"{name.replace(' ', '-')}.onnx") for name, net in NETS.items()}


def loaded(path: Path) -> camserve.Model:
    return camserve.load(path, size=64, **SCALE)


@pytest.mark.parametrize("size", ["fit", "crop", 97])
@pytest.mark.parametrize("name", NETS)
def test_map_logits_and_places_are_those_of_the_network(files: dict[str, Path], name: str, size: str | int) -> None:
    ours = loaded(files[name])
    theirs = camserve.load(NETS[name](), size=64, resampler="pillow", **SCALE)
    assert ours.closed is not None and theirs.closed is None
    for target in (None, 3, "class 1-class 2", "-class 0"):
        one, other = (model.explain(PHOTO, target=target, size=size) for model in (ours, theirs))
        assert one.method == other.method == "cam"
        assert np.abs(one.map - other.map).max() <= 1e-5 * np.abs(other.map).max()
        assert one.logits == pytest.approx(other.logits, abs=1e-5)
        assert (one.class_name, one.target) == (other.class_name, other.target)
        assert one.value == pytest.approx(other.value, abs=1e-5)
        assert one.placement == other.placement
        assert one.receptive_fields == other.receptive_fields
        assert one.completeness is not None and one.completeness < 1e-5
        assert one.head == other.head
    maps = [model.class_maps(PHOTO, size=size) for model in (ours, theirs)]
    assert np.abs(maps[0] - maps[1]).max() <= 1e-5 * np.abs(maps[1]).max()
    if name == "class map":
        assert maps[0].min() < 0  # before its ReLU


def test_whatever_has_no_closed_form_is_asked_of_the_network(files: dict[str, Path]) -> None:
    ours, theirs = loaded(files["linear"]), camserve.load(Net(), size=64, resampler="pillow", **SCALE)
    asked: list[dict[str, Any]] = [
        {"method": "gradcam++"},
        {"method": "layercam", "layer": "second/Conv"},
        {"quantity": "log-softmax"},
    ]
    for options in asked:
        own = {**options, "layer": "second"} if "layer" in options else options
        one, other = ours.explain(PHOTO, **options), theirs.explain(PHOTO, **own)
        assert np.abs(one.map - other.map).max() <= 1e-4 * np.abs(other.map).max()
    value = ours.explain(PHOTO, target=lambda logits: logits[:, 1] - 2 * logits[:, 0])
    assert value.method == "cam"
    assert ours.inspect().head.kind == theirs.inspect().head.kind


def test_other_heads_and_named_layers_are_looked_at_in_torch(tmp_path: Path, files: dict[str, Path]) -> None:
    model = loaded(written(Deeper(), tmp_path / "deeper.onnx"))
    assert model.closed is None
    assert model.explain(PHOTO).head == "pooled"
    assert camserve.load(files["linear"], size=64, layer="first/Conv", **SCALE).closed is None
    torch_only = load_settings(environ={}, overrides={"compute": {"engine": "torch"}})
    assert camserve.load(files["linear"], size=64, settings=torch_only, **SCALE).closed is None


def test_a_file_of_one_size_takes_others_where_its_graph_does(tmp_path: Path) -> None:
    model = loaded(written(Net(), tmp_path / "fixed.onnx", any_size=False))
    assert model.closed is not None and model.closed.takes_any_size
    assert model.explain(PHOTO).map.shape == loaded(written(Net(), tmp_path / "any.onnx")).explain(PHOTO).map.shape


def test_what_export_writes_loads_again(tmp_path: Path) -> None:
    """Padding that is computed from the size, and class maps beside the logits."""
    net = Net()
    net.first = SameConv2d(3, 8, 3, 2, bias=False)
    model = camserve.load(net, size=64, resampler="pillow", **SCALE)
    export(model, tmp_path / "net.onnx")
    again = loaded(tmp_path / "net.onnx")
    assert again.closed is not None
    for size in ("crop", 65):
        one, other = again.explain(PHOTO, size=size), model.explain(PHOTO, size=size)
        assert one.logits == pytest.approx(other.logits, abs=1e-5)
        assert (one.placement, one.receptive_fields) == (other.placement, other.receptive_fields)
        assert np.abs(one.map - other.map).max() <= 1e-5 * np.abs(other.map).max()
    assert again.explain(PHOTO, method="gradcam++").map == pytest.approx(
        model.explain(PHOTO, method="gradcam++").map, abs=1e-4
    )


PROGRAM = """
import sys, camserve
model = camserve.load({path!r}, size=64, mean=[120.0, 118.0, 100.0], std=[60.0, 58.0, 57.0])
found = model.explain({photo!r}, trust=True)
found.save({out!r})
print(found.class_name, found.map.tobytes().hex(), "torch" in sys.modules, *found.trust.removed)
"""


def test_no_torch_is_imported_and_every_door_gives_the_same_bits(files: dict[str, Path], tmp_path: Path) -> None:
    from PIL import Image

    photo = tmp_path / "photo.png"
    Image.fromarray(PHOTO).save(photo)
    program = PROGRAM.format(path=str(files["linear"]), photo=str(photo), out=str(tmp_path / "saved"))
    answered = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    expected = loaded(files["linear"]).explain(photo, trust=True)
    trust = expected.trust
    assert trust is not None and trust.forwards == FORWARDS
    said = [*expected.class_name.split(), expected.map.tobytes().hex(), "False", *map(str, trust.removed)]
    assert answered.split() == said
    card = tmp_path / "models" / "finch" / "card.toml"
    card.parent.mkdir(parents=True)
    (card.parent / "net.onnx").write_bytes(files["linear"].read_bytes())
    numbers = "\n".join(f"{key} = {value}" for key, value in SCALE.items())
    card.write_text(f'architecture = "net.onnx"\n[input]\nsize = 64\n{numbers}\n')
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "photo.png").write_bytes(photo.read_bytes())
    command = [sys.executable, "-m", "camserve", "batch", str(photo.parent / "photos"), str(tmp_path / "out")]
    command += ["-m", str(card.parent)]
    subprocess.run([*command, "--quiet", "--output", "none"], check=True, capture_output=True)
    (row,) = map(json.loads, (tmp_path / "out" / "results.jsonl").read_text().splitlines())
    assert row["explanations"][0]["score"] == pytest.approx(expected.score, abs=1e-7)
    assert np.array_equal(camserve.load(card).explain(photo).map, expected.map)


def test_a_size_that_the_file_does_not_take_is_an_error_in_words(tmp_path: Path) -> None:
    class Strict(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(F.avg_pool2d(x, 40, 1))

    model = loaded(written(Strict(), tmp_path / "strict.onnx"))
    with pytest.raises(SizeError, match="the network fails on an input of 16 x 12 pixels"):
        model.explain(PHOTO, size=12)


def test_labels_must_fit_and_weights_beside_the_file_count(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has 5 classes, but 2 labels were given"):
        camserve.load(files["linear"], size=64, labels=["a", "b"], **SCALE)
    import openvino

    hashes = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        net = Net()
        nn.init.normal_(net.fc.weight)
        graph = openvino.Core().read_model(written(net, tmp_path / "net.onnx"))
        openvino.save_model(graph, str(tmp_path / "net.xml"), compress_to_fp16=False)
        hashes.append((loaded(tmp_path / "net.xml").weights_sha256, (tmp_path / "net.xml").read_bytes()))
    assert hashes[0][0] != hashes[1][0]


def test_what_openvino_gets_wrong_is_looked_at_in_torch(tmp_path: Path) -> None:
    from exported import saved
    from openvino import opset13 as ov
    from operation_cases import ints

    def made(bias: float | None) -> Path:
        """A class map of three channels, normalised across them first, but for None."""
        path = tmp_path / f"{bias}.xml"

        def mean(x: Any) -> Any:
            return ov.reduce_mean(x if bias is None else ov.lrn(x, ints(1), 0.1, 0.7, bias, 3), ints(2, 3))

        return saved(lambda x: mean(ov.relu(x)), path, (-1, 3, -1, -1))

    assert camserve.load(made(None), size=16, mean=127.5, std=127.5).closed is not None
    model = camserve.load(made(1.5), size=16, mean=127.5, std=127.5)
    assert model.closed is None
    given = torch.from_numpy(PHOTO[:16, :16].transpose(2, 0, 1)[None].astype(np.float32)) / 127.5 - 1
    expected = nn.LocalResponseNorm(3, 0.1, 0.7, 1.5)(given.relu()).mean((2, 3))[0]
    assert model.explain(PHOTO[:16, :16]).logits == pytest.approx(expected.numpy(), abs=1e-5)
