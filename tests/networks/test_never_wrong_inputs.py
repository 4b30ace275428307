"""As test_never_wrong.py, for labels and pictures: the class that was named, the pixels that were given, or a refusal.

The network here answers with the mean of every channel in every quarter of the picture, in units of 0..255, so the
logits say what it saw.
"""

import io
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageCms
from strangers import Stranger, check_refusal, is_said, loaded, picture, seeded
from torch import nn

import camserve

pytestmark = pytest.mark.filterwarnings("ignore")
SIDE = 32


class Reader(nn.Module):
    """(1, 12): red, green and blue of the upper left, upper right, lower left and lower right quarter."""

    def __init__(self) -> None:
        super().__init__()
        self.copy = nn.Conv2d(3, 3, 1, bias=False)
        self.copy.weight.data = torch.eye(3)[:, :, None, None]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.adaptive_avg_pool2d(self.copy(x), 2).permute(0, 2, 3, 1).flatten(1)


def quarters(pixels: np.ndarray) -> np.ndarray:
    h, w = pixels.shape[0] // 2, pixels.shape[1] // 2
    parts = pixels[:h, :w], pixels[:h, w:], pixels[h:, :w], pixels[h:, w:]
    return np.concatenate([part.reshape(-1, 3).mean(0) for part in parts])


def seen(source: Any, **options: Any) -> Any:
    model = loaded(Reader(), side=SIDE, mean=(0, 0, 0), std=(1, 1, 1), **options)
    return model.explain(source, method="gradcam")


def check_seen(explanation: Any, *expected: np.ndarray, within: float = 0.6) -> None:
    errors = [np.abs(explanation.logits - quarters(pixels.astype(float))).max() for pixels in expected]
    assert min(errors) < within, f"off by {min(errors):.1f} of 255: {explanation.logits.round()}"


def seen_or_said(source: Any, words: str, *expected: np.ndarray, within: float = 0.6) -> None:
    try:
        explanation = seen(source)
    except camserve.CamserveError as error:
        check_refusal(error)
        return
    if not is_said(explanation, words):
        check_seen(explanation, *expected, within=within)


def scene() -> np.ndarray:
    """Every quarter and channel has a mean of its own, at least five levels from any other's."""
    levels = np.arange(12).reshape(2, 2, 3) * 19 + 20
    return (levels.repeat(16, 0).repeat(16, 1) + picture(SIDE) % 8).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


# Files


UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: a.transpose(1, 0, 2)[::-1],
}


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", UPRIGHT)
def test_pictures_are_turned_upright_whatever_their_format(turn: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    lossless = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(scene()), kind, exif=exif, **lossless)
    check_seen(seen(data), UPRIGHT[turn](scene()))


def test_a_picture_in_memory_is_turned_upright_and_its_heatmap_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = np.concatenate([scene(), scene()], 1)
    image = Image.open(io.BytesIO(encoded(Image.fromarray(wide), "PNG", exif=exif)))
    explanation = seen(image)
    assert explanation.heatmap.shape == (2 * SIDE, SIDE)
    assert "exif" in image.info and image.size == (2 * SIDE, SIDE), "the user's picture was turned"


def over(background: int, rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:] / 255
    return rgba[..., :3] * alpha + background * (1 - alpha)


def clear_scene() -> np.ndarray:
    """The lower half can be seen through."""
    alpha = np.full((SIDE, SIDE, 1), 255, np.uint8)
    alpha[16:] = 60
    return np.concatenate([scene(), alpha], 2)


def conventions(rgba: np.ndarray) -> list[np.ndarray]:
    """Over white, over black, or as if it were opaque: any of them is a usual reading."""
    return [over(255, rgba), over(0, rgba), rgba[..., :3]]


TRANSPARENT = "transparen|alpha|background"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparent_pictures(kind: str) -> None:
    data = encoded(Image.fromarray(clear_scene()), kind, **({"lossless": True} if kind == "WEBP" else {}))
    seen_or_said(data, TRANSPARENT, *conventions(clear_scene()))


@pytest.mark.parametrize("transparency", [None, 3, bytes(range(0, 256, 8))], ids=["none", "one colour", "a table"])
def test_palettes(transparency: Any) -> None:
    """Colours, not their numbers; and what a palette says can be seen through."""
    image = Image.fromarray(scene()).quantize(32)
    options = {} if transparency is None else {"transparency": transparency}
    data = encoded(image, "PNG", **options)
    rgba = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
    opaque = np.asarray(image.convert("RGB"))
    seen_or_said(data, TRANSPARENT, *conventions(rgba), opaque)


def test_grey_with_alpha() -> None:
    grey = scene()[..., 0]
    image = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(np.full_like(grey, 255))])
    check_seen(seen(encoded(image, "PNG")), np.stack([grey] * 3, 2))


def test_two_levels() -> None:
    bits = scene()[..., 1] > 128
    check_seen(seen(encoded(Image.fromarray(bits), "PNG")), np.stack([bits * 255] * 3, 2))


def test_sixteen_bits_of_full_range() -> None:
    grey = scene()[..., 0].astype(np.uint16) * 257
    seen_or_said(encoded(Image.fromarray(grey), "PNG"), "16", np.stack([grey / 257] * 3, 2), within=1.1)


def test_sixteen_bits_little_and_big_endian_agree() -> None:
    grey = scene()[..., 2].astype(np.uint16) * 257
    for order in ("I;16", "I;16B"):
        raw = grey.astype("<u2" if order == "I;16" else ">u2").tobytes()
        image = Image.frombytes(order, (SIDE, SIDE), raw)
        seen_or_said(image, "16", np.stack([grey / 257] * 3, 2), within=1.1)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "LAB", "RGBX", "RGBa", "PA", "I", "F"])
def test_every_mode_of_pillow_is_read_as_colours(mode: str) -> None:
    base = Image.fromarray(scene())
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(base, srgb, lab, outputMode="LAB")
    elif mode in ("RGBa", "PA"):
        image = base.convert("RGBA").convert(mode) if mode == "RGBa" else base.quantize(64).convert("PA")
    else:
        image = base.convert("L").convert(mode) if mode in "IF" else base.convert(mode)
    grey = np.stack([np.asarray(base.convert("L"))] * 3, 2)
    seen_or_said(image, mode, grey if mode in "IF" else scene(), within=4)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_files_in_cmyk(kind: str) -> None:
    image = Image.fromarray(scene()).convert("CMYK")
    options = {"quality": 98, "subsampling": 0} if kind == "JPEG" else {}
    check_seen(seen(encoded(image, kind, **options)), scene(), within=4)


def test_an_srgb_profile_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    check_seen(seen(encoded(Image.fromarray(scene()), "PNG", icc_profile=profile)), scene(), within=1)


def test_the_first_of_several_frames() -> None:
    frames = [Image.fromarray(scene()[..., ::-1]), Image.fromarray(scene())]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    seen_or_said(data, "frame|page|animat", scene()[..., ::-1])


def test_a_file_that_is_cut_off_is_refused() -> None:
    data = encoded(Image.fromarray(picture(256)), "PNG")
    for share in (0.3, 0.7):
        with pytest.raises(camserve.CamserveError) as error:
            seen(data[: int(len(data) * share)])
        check_refusal(error.value)


def test_sources_of_the_same_bytes_are_the_same_picture(tmp_path: pathlib.Path) -> None:
    data = encoded(Image.fromarray(scene()), "PNG")
    (tmp_path / "Ω picture #1.jpg").write_bytes(data)  # not what its name says
    for source in (tmp_path / "Ω picture #1.jpg", str(tmp_path / "Ω picture #1.jpg"), data, io.BytesIO(data)):
        check_seen(seen(source), scene())
    for view in (bytearray(data), memoryview(data)):
        seen_or_said(view, "nothing", scene())


# Arrays


def image_like(values: np.ndarray) -> torch.Tensor:
    return torch.tensor(np.ascontiguousarray(values)).permute(2, 0, 1)


ARRAYS: dict[str, Callable[[], Any]] = {
    "floats to 1": lambda: scene() / 255,
    "floats to 1, single": lambda: (scene() / 255).astype(np.float32),
    "floats to 255": lambda: scene().astype(np.float64),
    "wide integers": lambda: scene().astype(np.int64),
    "16 bits": lambda: scene().astype(np.uint16) * 257,
    "12 bits": lambda: scene().astype(np.uint16) * 16,
    "signed bytes": lambda: scene().view(np.int8),
    "centred floats": lambda: scene() / 127.5 - 1,
    "normalised floats": lambda: (scene() / 255 - 0.45) / 0.225,
    "channels first": lambda: scene().transpose(2, 0, 1),
    "channels first floats": lambda: scene().transpose(2, 0, 1) / 255,
    "a batch of one": lambda: scene()[None],
    "a batch of one, channels first": lambda: scene().transpose(2, 0, 1)[None],
    "a tensor": lambda: image_like(scene()),
    "a tensor of floats": lambda: image_like(scene() / 255),
    "with alpha": lambda: np.concatenate([scene(), np.full((SIDE, SIDE, 1), 255, np.uint8)], 2),
    "reversed view": lambda: scene()[::-1, ::-1].copy()[::-1, ::-1],
    "column order": lambda: np.asfortranarray(scene()),
    "every other of a larger one": lambda: scene().repeat(2, 0).repeat(2, 1)[::2, ::2],
    "big endian": lambda: scene().astype(">i4"),
    "read only": lambda: np.frombuffer(scene().tobytes(), np.uint8).reshape(SIDE, SIDE, 3),
    "objects": lambda: scene().astype(object),
    "nested lists": lambda: scene().tolist(),
    "masked": lambda: np.ma.masked_array(scene(), mask=False),
}


@pytest.mark.parametrize("how", ARRAYS)
def test_arrays_are_these_pixels_or_refused(how: str) -> None:
    source = ARRAYS[how]()
    kept = source.copy() if isinstance(source, np.ndarray) else None
    seen_or_said(source, "range|scale|type|float|bits|channel|axes", scene(), within=1.1)
    if kept is not None:
        np.testing.assert_array_equal(source, kept)


@pytest.mark.parametrize("shape", [(SIDE, SIDE), (SIDE, SIDE, 1)])
def test_grey_arrays(shape: tuple[int, ...]) -> None:
    grey = scene()[..., 0].reshape(shape)
    seen_or_said(grey, "grey|gray", np.stack([scene()[..., 0]] * 3, 2))


@pytest.mark.parametrize(
    "source",
    [np.full((8, 8, 3), np.nan), np.zeros((0, 8, 3), np.uint8), np.zeros((8, 8, 2), np.uint8), np.uint8(3), None, 7],
    ids=["nan", "empty", "two channels", "a number", "none", "an int"],
)
def test_what_is_no_picture_is_refused(source: Any) -> None:
    with pytest.raises(camserve.CamserveError) as error:
        seen(source)
    check_refusal(error.value)


def test_blue_first_is_turned_round_once() -> None:
    check_seen(seen(scene(), channels="BGR"), scene()[..., ::-1])


# Labels


def labelled(labels: Any) -> Any:
    return loaded(seeded(Stranger)(), labels=labels)


def check_target(labels: list[str], target: Any, index: int) -> None:
    explanation = labelled(labels).explain(picture(), target=target)
    assert (explanation.class_index, explanation.class_name) == (index, labels[index])
    assert abs(explanation.logit - explanation.logits[index]) < 1e-6


NAMES: dict[str, tuple[list[str], str, int]] = {
    "digits in another order": (["3", "1", "0", "4", "2"], "4", 3),
    "years": (["1999", "4", "2001", "2010", "1"], "1", 4),
    "leading zeros": (["04", "03", "02", "01", "00"], "01", 3),
    "a minus inside": (["t", "shirt", "t-shirt", "coat", "bag"], "t-shirt", 2),
    "a minus in front": (["a", "-a", "b", "-b", "c"], "-a", 1),
    "negative numbers": (["-2", "-1", "0", "1", "2"], "-1", 1),
    "numbers with a minus between": (["0-9", "10-19", "20-29", "0", "9"], "0-9", 0),
    "but for capitals": (["cat", "Cat", "CAT", "dog", "Dog"], "Cat", 1),
    "one inside another": (["hotdog", "dog", "doghouse", "sea dog", "d"], "dog", 1),
    "blanks at the ends": (["a b", "a  b", "ab", "a", "b"], "a b", 0),
    "accents": (["caf\u00e9", "cafe", "th\u00e9", "the", "t"], "caf\u00e9", 0),
    "booleans": (["True", "False", "None", "1", "0"], "False", 1),
    "floats": (["1.0", "1", "1e0", "01", "0"], "1.0", 0),
}


@pytest.mark.parametrize("how", NAMES)
def test_a_name_is_the_class_of_that_name(how: str) -> None:
    check_target(*NAMES[how])


@pytest.mark.parametrize("target", [np.int64(3), np.uint8(3), torch.tensor(3), 3.0], ids=repr)
def test_numbers_are_indices_whatever_their_type(target: Any) -> None:
    try:
        check_target(["4", "3", "2", "1", "0"], target, 3)
    except camserve.CamserveError as error:
        check_refusal(error)


@pytest.mark.parametrize("target", [5, -6, 2.5, True, "no such class", float("nan"), [1, 2], b"a"], ids=repr)
def test_what_names_no_class_is_refused(target: Any) -> None:
    with pytest.raises(camserve.CamserveError) as error:
        labelled(list("abcde")).explain(picture(), target=target)
    check_refusal(error.value)


def test_a_class_called_predicted_is_meant_or_the_word_is_refused() -> None:
    labels = ["none", "other", "all", "predicted", "x"]
    try:
        check_target(labels, "predicted", 3)
    except camserve.CamserveError as error:
        check_refusal(error)


def test_a_name_spelled_in_other_code_points_is_found_or_refused() -> None:
    labels = ["cafe", "caf\u00e9", "the", "tea", "t"]
    try:
        explanation = labelled(labels).explain(picture(), target="cafe\u0301")
    except camserve.CamserveError as error:
        check_refusal(error)
    else:
        assert explanation.class_index == 1


NAMED: dict[str, Any] = {
    "numbers to names": {0: "e", 1: "d", 2: "c", 3: "b", 4: "a"},
    "numbers to names, not sorted": {4: "a", 0: "e", 3: "b", 1: "d", 2: "c"},
    "numbers as text to names": {"4": "a", "0": "e", "3": "b", "1": "d", "2": "c"},
    "names to numbers": {"e": 0, "d": 1, "c": 2, "b": 3, "a": 4},
    "names to numbers, not sorted": {"a": 4, "b": 3, "c": 2, "d": 1, "e": 0},
    "names that are digits to numbers": {"4": 0, "3": 1, "2": 2, "1": 3, "0": 4},
    "a tuple": ("e", "d", "c", "b", "a"),
    "an array": np.array(["e", "d", "c", "b", "a"]),
    "whole numbers": [4, 3, 2, 1, 0],
    "a generator": (name for name in "edcba"),
}


@pytest.mark.parametrize("how", NAMED)
def test_labels_in_another_form_are_these_or_refused(how: str) -> None:
    digits = how in ("names that are digits to numbers", "whole numbers")
    expected = list("43210") if digits else list("edcba")
    try:
        model = labelled(NAMED[how])
        names = [str(model.explain(picture(), target=index).class_name) for index in range(5)]
    except camserve.CamserveError as error:
        check_refusal(error)
    else:
        assert names == expected


WRONG: dict[str, Any] = {
    "a set": {"a", "b", "c", "d", "e"},
    "too few": list("abcd"),
    "too many": list("abcdef"),
    "a gap": {0: "a", 1: "b", 2: "c", 3: "d", 5: "e"},
    "a text of as many letters": "abcde",
    "nothing": [],
    "holes": ["a", None, "c", "d", "e"],
    "a number": 5,
}


@pytest.mark.parametrize("how", WRONG)
def test_labels_that_cannot_be_right_are_refused(how: str) -> None:
    with pytest.raises(camserve.CamserveError) as error:
        labelled(WRONG[how])
    check_refusal(error.value)


def test_a_name_that_two_classes_have_is_not_chosen_between() -> None:
    try:
        model = labelled(["crane", "b", "c", "crane", "e"])
        explanation = model.explain(picture(), target="crane")
    except camserve.CamserveError as error:
        check_refusal(error)
    else:
        assert is_said(explanation, "crane|two|same name|twice")


FILES: dict[str, bytes] = {
    "byte order mark": b"\xef\xbb\xbfe\nd\nc\nb\na\n",
    "lines of Windows": b"e\r\nd\r\nc\r\nb\r\na\r\n",
    "no last line end": b"e\nd\nc\nb\na",
    "utf-16": "e\nd\nc\nb\na\n".encode("utf-16"),
    "blank line inside": b"e\nd\n\nc\nb\na\n",
    "blank lines behind": b"e\nd\nc\nb\na\n\n\n",
    "json": b'["e", "d", "c", "b", "a"]',
    "json of numbers": b'{"4": "a", "0": "e", "1": "d", "2": "c", "3": "b"}',
    "latin-1": "e\nd\nc\nb\né\n".encode("latin-1"),
}


@pytest.mark.parametrize("how", FILES)
def test_files_of_labels(how: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(FILES[how])
    try:
        model = labelled(str(path))
        names = [model.explain(picture(), target=index).class_name for index in range(5)]
    except camserve.CamserveError as error:
        check_refusal(error)
    else:
        assert names == ([*list("edcb"), "é"] if how == "latin-1" else list("edcba"))


def test_one_logit_and_two_labels_are_right_or_refused() -> None:
    class Binary(Stranger):
        def build(self) -> None:
            self.fc = nn.Linear(12, 1)

    make = seeded(Binary)
    try:
        explanation = loaded(make(), labels=["no", "yes"]).explain(picture(), size="crop")
    except camserve.CamserveError as error:
        check_refusal(error)
        return
    sigmoid = 1 / (1 + np.exp(-explanation.logits[-1]))  # the logits are (-z, z)
    expected = ("yes", sigmoid) if sigmoid > 0.5 else ("no", 1 - sigmoid)
    assert explanation.class_name == expected[0] and abs(explanation.score - expected[1]) < 1e-5
