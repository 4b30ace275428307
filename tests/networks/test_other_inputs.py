"""Networks of 1, 2, 4 and 11 channels, inputs that are not square, and what else forward takes: held against torch."""

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import camserve
from camserve.errors import ImageError, ModelError, OptionError
from camserve.explain.pipeline import open_photo, plain_photo
from camserve.models.onnx_export import export
from camserve.onboarding.calibration import calibrate

Array = NDArray[Any]


class Net(nn.Module):
    """Two convolutions, a mean and a linear layer; with `only`, (height, width), for that size alone."""

    def __init__(self, channels: int = 3, only: tuple[int, int] | None = None) -> None:
        super().__init__()
        torch.manual_seed(channels)
        self.stem = nn.Sequential(nn.Conv2d(channels, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.body, self.fc = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU()), nn.Linear(12, 5)
        self.places = None if only is None else nn.Parameter(torch.randn(8, only[0] // 2, only[1] // 2))

    def maps(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.body(x if self.places is None else x + self.places)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.maps(x).mean((2, 3)))


def cam(net: Net, x: Tensor) -> tuple[Tensor, Tensor, int]:
    """By hand: the logits, the map sum_k w_ck A_k of the predicted class, and that class."""
    net.eval()
    with torch.no_grad():
        logits, maps = net(x)[0], net.maps(x)[0]
        best = int(logits.argmax())
        return logits, torch.einsum("k,khw->hw", net.fc.weight[best], maps), best


def check(explanation: camserve.Explanation, net: Net, x: Tensor) -> None:
    logits, expected, best = cam(net, x)
    np.testing.assert_allclose(explanation.logits, logits, atol=1e-5)
    assert explanation.class_index == best
    np.testing.assert_allclose(explanation.map, expected, atol=1e-5)
    assert explanation.head == "linear"
    assert explanation.map.mean() + float(net.fc.bias[best].detach()) == pytest.approx(float(logits[best]), abs=1e-5)


def noise(*shape: int, dtype: Any = np.uint8, most: int = 256) -> Array:
    coarse = np.random.default_rng(0).integers(0, most, shape)
    return coarse.astype(dtype)


def entry(bands: Array, mean: Any, std: Any) -> Tensor:
    """(1, c, H, W) of bands (H, W, c)."""
    values = (torch.tensor(bands.astype(np.float64)) - torch.tensor(mean)) / torch.tensor(std)
    return values.permute(2, 0, 1)[None].float()


def test_a_grey_network_is_given_what_pillow_calls_l() -> None:
    net, picture = Net(1), noise(40, 56, 3)
    model = camserve.load(net, size=32, channels="L", mean=100, std=60)
    assert model.card.input.mean == (100.0,)
    grey = np.asarray(Image.fromarray(picture).convert("L"))[..., None]
    explanation = model.explain(picture, size="native")
    check(explanation, net, entry(grey, 100.0, 60.0))
    assert explanation.overlay().size == (56, 40)
    assert explanation.photo.image.mode == "RGB"
    check(model.explain(grey[..., 0], size="native"), net, entry(grey, 100.0, 60.0))


def test_a_grey_network_is_found_out_and_the_guess_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "camserve"):
        model = camserve.load(Net(1), size=32)
    assert model.card.input.channels == "L"
    assert (model.card.input.mean, model.card.input.std) == ((127.5,), (127.5,))
    (said,) = (record.getMessage() for record in caplog.records)
    assert "nobody stated their mean and std; 127.5 is a guess" in said
    assert "a guess" in model.inspect().channels
    assert all("is unsure" in text for text in model.explain(noise(40, 40, 3)).warnings)


def test_what_is_stated_is_no_guess(caplog: pytest.LogCaptureFixture) -> None:
    model = camserve.load(Net(1), size=32, mean=[127.5], std=[127.5])
    assert not caplog.records
    assert model.inspect().channels == "The network gets grey pictures."


class Luma(Net):
    """It takes colours and makes them grey itself, so its first convolution has one channel."""

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[1] == 3
        return super().forward(x.mean(1, keepdim=True))


def test_a_network_that_takes_colours_gets_them_whatever_its_first_layer() -> None:
    assert camserve.load(Luma(), size=32).card.input.channels == "RGB"


@pytest.mark.parametrize("channels", [2, 4, 11])
def test_other_numbers_of_channels_need_to_be_named(channels: int) -> None:
    listed = ", ".join(map(str, range(channels)))
    with pytest.raises(
        ModelError, match=rf"takes {channels} channels, .* with bands=\[{listed}\], and give their mean"
    ):
        camserve.load(Net(channels), size=32)


BANDS = {2: [1, 0], 4: [3, 2, 1, 7], 11: [*range(2, 13)]}


@pytest.mark.parametrize("channels", BANDS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_bands_are_given_as_they_are_in_their_order(channels: int, dtype: Any) -> None:
    net, most = Net(channels), 200 if dtype == np.uint8 else 4000
    std = [30.0 + 7 * band for band in range(channels)]
    model = camserve.load(net, size=32, bands=BANDS[channels], mean=90, std=std)
    values = noise(36, 44, 13, dtype=dtype, most=most)
    explanation = model.explain(values, size="native")
    check(explanation, net, entry(values[..., BANDS[channels]], [90.0] * channels, std))
    assert explanation.overlay().size == (44, 36)
    assert explanation.photo.bands is not None
    assert np.array_equal(explanation.photo.bands, values)
    assert explanation.photo.sha256 != model.explain(values + 1).photo.sha256


def test_bands_are_resampled_like_a_photograph_but_not_rounded() -> None:
    net, values = Net(4), noise(75, 60, 4, dtype=np.float32, most=30)
    model = camserve.load(net, size=32, bands=[0, 1, 2, 3], mean=0, std=1, resample="bilinear")
    frame = model.frame((60, 75))
    planes = torch.tensor(values).permute(2, 0, 1)[None]
    expected = F.interpolate(planes, frame.input[::-1], mode="bilinear", antialias=True)
    check(model.explain(values), net, expected)
    cropped = model.explain(values, size="crop")
    assert cropped.placement.frame.box == pytest.approx((3.75, 11.25, 56.25, 63.75))
    assert cropped.map.shape == (8, 8)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_pictures_with_transparency_are_four_bands_and_two(mode: str) -> None:
    count = len(mode)
    net, picture = Net(count), Image.fromarray(noise(32, 48, count), mode)
    model = camserve.load(net, size=32, bands=range(count), mean=100, std=50)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    x = entry(np.asarray(picture), [100.0] * count, [50.0] * count)
    for given in (buffer.getvalue(), picture, open_photo(model, picture)):
        explanation = model.explain(given, size="native")
        check(explanation, net, x)
    colour = np.asarray(picture)[3, 5]
    assert explanation.photo.image.getpixel((5, 3)) == tuple(
        int(one) for one in (colour[:3] if count == 4 else [colour[0]] * 3)
    )


def test_the_bands_that_are_shown_can_be_chosen() -> None:
    values = noise(20, 30, 6)
    first = camserve.load(Net(4), size=32, bands=[5, 1, 2, 0], mean=0, std=1).explain(values).photo.image
    assert np.array_equal(np.asarray(first), values[..., [5, 1, 2]])
    own = camserve.load(Net(4), size=32, bands=[5, 1, 2, 0], shown=[3, 4, 0], mean=0, std=1)
    assert np.array_equal(np.asarray(own.explain(values).photo.image), values[..., [3, 4, 0]])
    grey = camserve.load(Net(4), size=32, bands=[5, 1, 2, 0], shown=[4], mean=0, std=1)
    assert np.array_equal(np.asarray(grey.explain(values).photo.image), values[..., [4, 4, 4]])


def test_numbers_of_more_than_8_bits_are_shown_by_the_rule_for_them() -> None:
    values = noise(40, 40, 4, dtype=np.uint16, most=4000)
    explanation = camserve.load(Net(4), size=32, bands=[0, 1, 2, 3], mean=2000, std=900).explain(values)
    assert "read as 12-bit values: black is 0 and white 4095" in explanation.warnings[-1]
    expected = np.rint(values[..., :3] * (255 / 4095))
    assert np.array_equal(np.asarray(explanation.photo.image), expected)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            noise(8, 8, 3),
            r"'array' has 3 samples a pixel; this model takes the bands 0, 1, 2, 3, .* pictures of 4 or more",
        ),
        (noise(8, 8), r"has 1 samples a pixel"),
        (np.full((8, 8, 4), np.nan), r"band 0 of 'array' has values that are NaN or infinite"),
        (np.zeros((8, 8, 4), bool), r"an array of bool \(8, 8, 4\) is not a picture of bands"),
        (np.zeros((1, 8, 8, 4)), r"is not a picture of bands"),
        (Image.new("RGB", (8, 8)), r"has 3 samples a pixel"),
    ],
)
def test_a_picture_without_the_bands_is_refused_in_words(given: Any, words: str) -> None:
    model = camserve.load(Net(4), size=32, bands=[0, 1, 2, 3], mean=0, std=1)
    with pytest.raises(ImageError, match=words):
        model.explain(given)


def test_a_photo_read_without_its_bands_is_refused_in_words(model: camserve.Model) -> None:
    of_bands = camserve.load(Net(4), size=32, bands=[0, 1, 2, 3], mean=0, std=1)
    photo = open_photo(model, noise(8, 8, 4))
    with pytest.raises(ImageError, match="was read as an ordinary picture"):
        of_bands.explain(photo)
    assert of_bands.explain(plain_photo(of_bands, 7)).size == (64, 64)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bands": [0, 1]}, "a network of bands has no usual mean and std: give both"),
        ({"bands": [0, 1], "mean": [1, 2, 3], "std": 1}, "mean has 3 numbers, but there are 2 channels"),
        ({"bands": [], "mean": 1, "std": 1}, r"bands = \(\): Tuple should have at least 1 item"),
        ({"bands": [-1], "mean": 1, "std": 1}, "bands.0 = -1: should be greater than or equal to 0"),
        ({"bands": [0, 1], "channels": "RGB", "mean": 1, "std": 1}, "channels = .bands. and bands belong together"),
        ({"channels": "bands"}, "bands belong together"),
        ({"shown": [0, 1, 2]}, "shown says which bands of a picture are drawn; it belongs to bands"),
        ({"bands": [0], "shown": [1, 2], "mean": 1, "std": 1}, "shown lists one band, or three .* not 2"),
        ({"channels": "L", "mean": (1, 2, 3), "std": (1, 1, 1)}, "mean has 3 numbers, but there are 1 channels"),
        (
            {"size": [256, 128, 3]},
            r"size = .*: \[256, 128, 3\] is not a size; .* or \[height, width\], as \[256, 128\]",
        ),
        ({"size": [0, 32]}, "is not a size"),
    ],
)
def test_what_contradicts_itself_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        camserve.load(Net(2), **options)


@pytest.mark.parametrize("channels", [1, 4])
def test_every_use_of_the_network_is_of_its_channels(channels: int) -> None:
    spec = {"channels": "L"} if channels == 1 else {"bands": [0, 1, 2, 3]}
    net = Net(channels)
    model = camserve.load(net, size=32, mean=90, std=50, **spec)
    values = noise(40, 48, 4) if channels > 1 else noise(40, 48)
    whole = model.explain(values, sharp=True)
    assert whole.scales == model.settings.sharp.scales
    assert model.explain(values, output_stride=1).map.shape == (32, 39)
    inspection = model.inspect()
    assert inspection.layers[0].macs == 16 * 16 * 8 * 9 * channels
    assert inspection.sizes.any_size
    for method in ("integratedgradients", "guidedbackprop", "fullgrad"):
        assert model.explain(values, method=method).map.shape == (32, 39)
    assert model.class_maps(values).shape == (5, 8, 10)


def test_openvino_runs_other_channels_and_shapes() -> None:
    net = Net(4, only=(48, 32))
    settings = camserve.config.load_settings(environ={}, overrides={"compute": {"engine": "openvino", "cache": ""}})
    model = camserve.load(net, size=[48, 32], bands=[0, 1, 2, 3], mean=90, std=50, settings=settings)
    values = noise(48, 32, 4)
    explanation = model.explain(values)
    assert explanation.engine == "openvino"
    check(explanation, net, entry(values, [90.0] * 4, [50.0] * 4))


# A network for people who walk is higher than wide.
TALL = (64, 32)


@pytest.mark.parametrize("only", [None, TALL])
def test_inputs_that_are_not_square(only: tuple[int, int] | None) -> None:
    net, values = Net(3, only), noise(64, 32, 3)
    mean, std = [100.0, 110.0, 120.0], [50.0, 60.0, 70.0]
    model = camserve.load(net, size=TALL, mean=mean, std=std)
    assert model.network.takes_any_size is (only is None)
    assert model.layers()[model.default_layer] == (12, 16, 8)
    explanation = model.explain(values)
    check(explanation, net, entry(values, mean, std))
    placement = explanation.placement
    assert (placement.stride, placement.offset) == ((4, 4), (1.5, 1.5))
    assert explanation.overlay().size == (32, 64)
    assert model.inspect().to_dict()["input_size"] == [64, 32]


def test_a_network_of_one_shape_is_given_the_whole_image_in_it() -> None:
    model = camserve.load(Net(3, TALL), size=TALL)
    explanation = model.explain(noise(50, 90, 3))
    assert explanation.placement.frame.box == (0, 0, 90, 50)
    assert explanation.map.shape == (16, 8)
    assert explanation.overlay().size == (90, 50)
    assert any(
        "the model takes one shape only, so the image was squeezed to that" in text for text in explanation.warnings
    )
    x, y = explanation.placement.cell_centre(7, 15)
    assert (x, y) == pytest.approx(((29.5 + 0.5) * 90 / 32 - 0.5, (61.5 + 0.5) * 50 / 64 - 0.5))
    with pytest.raises(OptionError, match="this network takes 32 x 64 pixels only; .*squeezed to that"):
        model.explain(noise(50, 90, 3), size=100)


def test_the_crop_has_the_input_s_proportions() -> None:
    model = camserve.load(Net(3, TALL), size=TALL, crop=0.8)
    frame = model.explain(noise(50, 90, 3), size="crop").placement.frame
    left, top, right, bottom = frame.box
    assert (right - left, bottom - top) == pytest.approx((20, 40))
    assert (left + right, top + bottom) == pytest.approx((90, 50))
    assert frame.input == (32, 64)


def test_fit_keeps_the_picture_s_own_proportions_where_the_network_takes_any_size() -> None:
    model = camserve.load(Net(3), size=TALL)
    assert model.frame((90, 60)).input == (48, 32)
    assert model.frame((90, 60), "crop").input == (32, 64)


class Flat(nn.Module):
    """A flattened map and linear layers, which become convolutions."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 6, 3, 4, 1)
        self.first, self.last = nn.Linear(6 * 16 * 8, 10), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(self.conv(x).relu().flatten(1)).relu())


def test_a_flattened_map_that_is_not_square() -> None:
    net = Flat()
    model = camserve.load(net, size=TALL, mean=100, std=50)
    assert model.network.is_extended
    values = noise(64, 32, 3)
    with torch.no_grad():
        expected = net.eval()(entry(values, [100.0] * 3, [50.0] * 3))[0]
    np.testing.assert_allclose(model.explain(values).logits, expected, atol=1e-5)
    assert "made for 32 x 64 pixels" in model.explain(noise(100, 80, 3)).warnings[0]


class Untraced(Net):
    def forward(self, x: Tensor) -> Tensor:
        if float(x.mean()) > 1e9:
            return x
        return super().forward(x)


def test_a_network_that_cannot_be_traced_of_other_channels_and_shape() -> None:
    net, values = Untraced(2, TALL), noise(64, 32, 2)
    model = camserve.load(net, size=TALL, bands=[0, 1], mean=100, std=50)
    assert model.network.graph is None
    explanation = model.explain(values)
    check(explanation, net, entry(values, [100.0] * 2, [50.0] * 2))
    assert explanation.placement.stride == (4, 4)
    assert model.inspect().size == (32, 64)


class Told(nn.Module):
    """It also takes numbers about the picture, and a switch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(Net().stem, Net().body)
        self.meta, self.fc = nn.Linear(3, 4), nn.Linear(16, 5)

    def forward(self, images: Tensor, meta: Tensor, gain: float = 1.0, *, flip: bool = False) -> Tensor:
        pooled = (-gain if flip else gain) * self.body(images).mean((2, 3))
        return self.fc(torch.cat([pooled, self.meta(meta).relu()], 1))


META = [0.5, -1.0, 2.0]


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_what_is_the_same_for_every_picture_is_given_each_time(engine: str) -> None:
    net, values = Told(), noise(32, 40, 3)
    settings = camserve.config.load_settings(environ={}, overrides={"compute": {"engine": engine, "cache": ""}})
    told = {"meta": META, "gain": 2.0, "flip": True}
    model = camserve.load(net, size=32, arguments=told, mean=100, std=50, settings=settings)
    explanation = model.explain(values, size="native")
    x = entry(values, [100.0] * 3, [50.0] * 3)
    with torch.no_grad():
        logits = net.eval()(x, torch.tensor([META]), 2.0, flip=True)[0]
        best = int(logits.argmax())
        expected = -2 * torch.einsum("k,khw->hw", net.fc.weight[best, :12], net.body(x)[0])
    np.testing.assert_allclose(explanation.logits, logits, atol=1e-5)
    np.testing.assert_allclose(explanation.map, expected, atol=1e-5)
    assert (explanation.head, explanation.engine, model.default_layer) == ("linear", engine, "body")
    assert explanation.completeness is not None and explanation.completeness < 1e-5
    assert model.described["card"]["arguments"] == told
    assert model.explain(values, method="occlusion").map.shape == (32, 40)  # many images at once
    assert type(net).forward is Told.forward and not any("argument" in name for name in net.state_dict())


def test_tensors_are_given_as_they_are_and_told_apart() -> None:
    values = noise(32, 32, 3)

    def loaded(meta: Any) -> camserve.Model:
        return camserve.load(Told(), size=32, arguments={"meta": meta})

    one = loaded(torch.tensor([META], dtype=torch.float64).expand(2, -1)[:1])
    assert np.array_equal(one.explain(values).logits, loaded(META).explain(values).logits)
    other = loaded(np.array([[1.0, 2.0, 3.0]]))
    assert not np.array_equal(one.explain(values).logits, other.explain(values).logits)
    said = one.described["card"]["arguments"]["meta"]
    assert said.startswith("float64 (1, 3), sha256 ")
    assert said != other.described["card"]["arguments"]["meta"]
    assert one.weights_sha256 != other.weights_sha256


def test_a_module_may_say_its_arguments_itself() -> None:
    net, values = Told(), noise(32, 32, 3)
    told = {"meta": META, "gain": 3.0}
    net.camserve_arguments = told  # type: ignore[assignment]
    own = camserve.load(net, size=32).explain(values).logits
    assert np.array_equal(own, camserve.load(Told(), size=32, arguments=told).explain(values).logits)
    other = camserve.load(net, size=32, arguments={"gain": 1.0}).explain(values).logits
    assert not np.array_equal(own, other)


class Second(nn.Module):
    """The images come second, and words of whole numbers first."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.words = Net(), nn.Embedding(10, 5)

    def forward(self, ids: Tensor, picture: Tensor) -> Tensor:
        return self.net(picture) + self.words(ids).mean(1)


def test_images_need_not_come_first_and_whole_numbers_stay_whole() -> None:
    net, values = Second(), noise(32, 32, 3)
    model = camserve.load(net, size=32, arguments={"ids": [1, 2, 3]}, mean=100, std=50)
    with torch.no_grad():
        expected = net.eval()(torch.tensor([[1, 2, 3]]), entry(values, [100.0] * 3, [50.0] * 3))[0]
    np.testing.assert_allclose(model.explain(values).logits, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, r"missing 1 required positional argument: 'meta'.*arguments=\{'name': \.\.\.\} in load or \[arguments\]"),
        (
            {"metta": META},
            r"Told.forward takes no argument 'metta', but images, meta, gain, flip; did you mean 'meta'\?",
        ),
        ({"meta": ["a", "b"]}, "argument 'meta' is neither a list of numbers"),
        (
            {"meta": [[1.0], [2.0, 3.0]]},
            "argument 'meta' is neither a list of numbers nor a list of lists of equal length",
        ),
    ],
)
def test_arguments_that_are_missing_or_wrong_are_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        camserve.load(Told(), size=32, arguments=arguments)


def test_onnx_has_other_channels_and_shapes(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    net = Net(4, TALL)
    model = camserve.load(net, size=TALL, bands=[0, 1, 2, 3], mean=100, std=50)
    exported = export(model, tmp_path / "net.onnx")
    assert (exported.any_size, exported.sizes) == (False, ((32, 64),))
    session = onnxruntime.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])
    x = entry(noise(64, 32, 4), [100.0] * 4, [50.0] * 4)
    logits, maps = session.run(None, {"images": x.numpy()})
    expected, grid_map, best = cam(net, x)
    np.testing.assert_allclose(logits[0], expected, atol=1e-4)
    np.testing.assert_allclose(maps[0, best], grid_map, atol=1e-4)


def test_where_cells_sit_is_measured_on_inputs_of_other_channels_and_shapes() -> None:
    """A network that knows bright squares: the heat lies where they are pasted."""
    net = nn.Sequential(
        nn.Conv2d(4, 2, 8, 8, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    )
    with torch.no_grad():
        net[0].weight.copy_(torch.stack([torch.ones(4, 8, 8), -torch.ones(4, 8, 8)]))
        net[4].weight.copy_(torch.eye(2))
        net[4].bias.copy_(torch.tensor([0.0, 0.1]))
    model = camserve.load(net.eval(), size=(128, 64), bands=[0, 1, 2, 3], mean=100, std=50)
    bright = [np.full((40, 40, 4), 150 + 20 * step, np.uint8) for step in range(3)]
    found = calibrate(model, bright)
    assert found.photographs == 3
    assert found.offset == pytest.approx((3.5, 3.5), abs=0.2)
    assert found.stride == (8, 8)


def test_clip_is_a_classifier_of_the_words_it_is_given() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 37}
    words = {**small, "vocab_size": 99, "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 2}
    pictures = {**small, "image_size": 64, "patch_size": 16}
    config = transformers.CLIPConfig(text_config=words, vision_config=pictures, projection_dim=16)
    torch.manual_seed(0)
    net, values = transformers.CLIPModel(config).eval(), noise(64, 64, 3)
    ids = torch.randint(3, 98, (5, 7))
    told = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with pytest.raises(ModelError, match="compares images with sentences"):
        camserve.load(net, size=64)
    model = camserve.load(net, size=64, labels=list("abcde"), arguments=told, mean=100, std=50)
    explanation = model.explain(values)
    with torch.no_grad():
        expected = net(pixel_values=entry(values, [100.0] * 3, [50.0] * 3), **told).logits_per_image[0]
    np.testing.assert_allclose(explanation.logits, expected, atol=1e-5)
    assert explanation.map.shape == (4, 4)
    assert np.ptp(explanation.map) > 0
