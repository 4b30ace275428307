"""Colour profiles: to sRGB by the formulas of the primaries, and never where there is nothing to convert."""

import io
import sys
import threading
from typing import Any

import iccs
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms
from tiffs import Page, tiff

from camserve.images import profiles
from camserve.images.arrays import pixel_arrays
from camserve.images.reading import Photo, read_photo

NOISE = np.random.default_rng(0).integers(0, 256, (23, 37, 3), np.uint8)
P3 = iccs.rgb_profile(iccs.DISPLAY_P3)
ADOBE = iccs.rgb_profile(iccs.ADOBE_RGB, 563 / 256)
PILLOWS_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def read(source: Any, *, icc: bool = True) -> Photo:
    photo = read_photo(source, max_pixels=10_000_000, max_side=65535, max_bytes=25 * 2**20, icc=icc)
    assert photo.image.mode == "RGB" and type(photo.image) is Image.Image and photo.image.info == {}
    return photo


def pixels(source: Any, *, icc: bool = True) -> npt.NDArray[np.int64]:
    return np.asarray(read(source, icc=icc).image).astype(np.int64)


def file_of(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def converted(values: npt.NDArray[Any], primaries: Any, gamma: float | None = None) -> npt.NDArray[np.float64]:
    """0..255 of these primaries as sRGB 0..255: to light, to the other primaries, back; what does not fit is cut."""
    stored = values / 255
    light = iccs.linear(stored) if gamma is None else stored**gamma
    across = np.linalg.inv(iccs.to_xyz(iccs.SRGB)) @ iccs.to_xyz(primaries)
    return 255 * iccs.encoded(light @ across.T)


EXPECTED = converted(NOISE, iccs.DISPLAY_P3)


def test_a_wide_gamut_becomes_srgb_in_every_format_and_as_a_pillow_image() -> None:
    image = Image.fromarray(NOISE)
    sources: list[Any] = [
        file_of(image, "PNG", icc_profile=P3),
        file_of(image, "TIFF", icc_profile=P3),
        file_of(image, "WEBP", icc_profile=P3, lossless=True),
        tiff(Page(NOISE.astype(np.uint16) * 257, 2, more={34675: P3})),
        Image.open(io.BytesIO(file_of(image, "PNG", icc_profile=P3))),
    ]
    for source in sources:
        assert np.abs(pixels(source) - EXPECTED).max() <= 1.1
        assert read(source).notes == () and np.array_equal(pixels(source, icc=False), NOISE)
    for format in ("JPEG", "AVIF"):
        data = file_of(image.resize((370, 230)), format, icc_profile=P3, quality=95)
        stored = pixels(data, icc=False)
        assert np.abs(pixels(data) - converted(stored, iccs.DISPLAY_P3)).max() <= 1.1
    adobe = pixels(file_of(image, icc_profile=ADOBE))
    assert np.abs(adobe - converted(NOISE, iccs.ADOBE_RGB, 563 / 256)).max() <= 1.1
    assert np.abs(EXPECTED - NOISE).max() > 40


def test_heic_and_jpeg_xl_have_profiles_too() -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed: camserve[pictures]")
    pytest.importorskip("pillow_jxl", reason="pillow-jxl-plugin is not installed: camserve[pictures]")
    image = Image.fromarray(NOISE)
    image.info["icc_profile"] = P3
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=-1, chroma=444, matrix_coefficients=0)
    assert np.abs(pixels(buffer.getvalue()) - EXPECTED).max() <= 1.1
    assert np.array_equal(pixels(buffer.getvalue(), icc=False), NOISE)


@pytest.mark.parametrize("profile", [PILLOWS_SRGB, iccs.rgb_profile(iccs.SRGB)], ids=["Pillow's", "by hand"])
def test_srgb_keeps_every_bit(profile: bytes) -> None:
    for mode in ("RGB", "L", "P", "RGBA"):
        image = Image.fromarray(NOISE).convert(mode)
        assert np.array_equal(pixels(file_of(image, icc_profile=profile)), pixels(image))


def test_a_palette_and_transparency() -> None:
    palette = Image.fromarray(NOISE).quantize(16)
    plain = np.asarray(palette.convert("RGB"))
    seen = pixels(file_of(palette, icc_profile=P3))
    assert np.abs(seen - converted(plain, iccs.DISPLAY_P3)).max() <= 1.1
    image = Image.fromarray(NOISE)
    image.putalpha(Image.fromarray(NOISE[..., 1]))
    cover = NOISE[..., 1:2] / 255
    laid = EXPECTED * cover + 255 * (1 - cover)
    assert np.abs(pixels(file_of(image, icc_profile=P3)) - laid).max() <= 2.1
    deep = np.concatenate([NOISE, NOISE[..., 1:2]], 2).astype(np.uint16) * 257
    assert np.abs(pixels(tiff(Page(deep, 2, more={338: 2, 34675: P3}))) - laid).max() <= 2.1


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
def test_greys(gamma: float) -> None:
    profile, grey = iccs.grey_profile(gamma), NOISE[..., 0]
    exponent = round(gamma * 256) / 256
    expected = np.broadcast_to(255 * iccs.encoded((grey / 255) ** exponent)[..., None], NOISE.shape)
    for source in (
        file_of(Image.fromarray(grey), icc_profile=profile),
        tiff(Page(grey[..., None], more={34675: profile})),
        tiff(Page(grey[..., None].astype(np.uint16) * 257, more={34675: profile})),
    ):
        assert np.abs(pixels(source) - expected).max() <= 1
    inverted = tiff(Page(255 - grey[..., None], 0, more={34675: profile}))
    assert np.abs(pixels(inverted) - expected).max() <= 1
    deep = tiff(Page(65535 - grey[..., None].astype(np.uint16) * 257, 0, more={34675: profile}))
    assert np.abs(pixels(deep) - expected).max() <= 1


def test_a_grey_picture_with_a_profile_of_colours() -> None:
    """Programs write an sRGB profile into grey files as well; its three colours are alike."""
    grey = NOISE[..., 0]
    expected = converted(np.repeat(grey[..., None], 3, 2), iccs.ADOBE_RGB, 563 / 256)
    assert np.abs(pixels(file_of(Image.fromarray(grey), icc_profile=ADOBE)) - expected).max() <= 1.1


INKS = np.array(
    [[[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 0, 0], [0, 0, 255, 0], [255, 255, 0, 0], [0, 0, 0, 255]]], np.uint8
)
SEEN = np.array([[iccs.corner(tuple(ink // 255)) for ink in INKS[0].tolist() for ink in [np.array(ink)]]]) * 255


def test_inks_by_their_profile() -> None:
    profile = iccs.cmyk_profile()
    image = Image.fromarray(INKS.repeat(8, 0).repeat(8, 1), "CMYK")
    for data in (
        file_of(image, "TIFF", icc_profile=profile),
        file_of(image, "JPEG", icc_profile=profile, quality=100, subsampling=0),  # written inverted, as Adobe does
        tiff(Page(np.asarray(image).astype(np.uint16) * 257, 5, more={34675: profile})),
    ):
        seen = pixels(data)[::8, ::8]
        assert np.abs(seen[:1] - SEEN).max() <= 5  # the table of the profile has 8 bits
    plain = pixels(file_of(image, "TIFF", icc_profile=profile), icc=False)[0, ::8]
    assert plain[:4].tolist() == [[255, 255, 255], [0, 255, 255], [255, 0, 255], [255, 255, 0]]


def test_a_damaged_profile_costs_the_profile_and_not_the_picture(capfd: pytest.CaptureFixture[str]) -> None:
    said = ("its colour profile is damaged or of a rare kind, so its colours are shown as they are stored",)
    random = np.random.default_rng(0)
    broken = bytearray(P3)
    broken[36:40] = b"none"
    for profile in (b"no profile", P3[:200], bytes(broken), bytes(3000), random.bytes(3000)):
        photo = read(file_of(Image.fromarray(NOISE), "TIFF", icc_profile=profile))
        assert np.array_equal(np.asarray(photo.image), NOISE) and photo.notes == said
    for _ in range(100):
        broken = bytearray(P3)
        for place in random.integers(0, len(P3), 8):
            broken[place] = random.integers(256)
        assert read(file_of(Image.fromarray(NOISE), "TIFF", icc_profile=bytes(broken))).notes in ((), said)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_a_profile_of_other_pixels_is_said() -> None:
    photo = read(file_of(Image.fromarray(NOISE), "TIFF", icc_profile=iccs.cmyk_profile()))
    assert np.array_equal(np.asarray(photo.image), NOISE)
    assert photo.notes == (
        "its colour profile is for CMYK colours but its pixels are RGB colours, so its colours are shown as they are "
        "stored",
    )


def test_a_huge_profile_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "_LARGEST", len(P3) - 1)
    with monkeypatch.context() as context:
        context.setattr(profiles, "_MINE", profiles._Mine())
        assert "damaged or of a rare kind" in read(file_of(Image.fromarray(NOISE), icc_profile=P3)).notes[0]


def test_the_picture_given_stays_as_it_is() -> None:
    image = Image.fromarray(NOISE)
    image.info["icc_profile"] = P3
    assert np.abs(pixels(image) - EXPECTED).max() <= 1.1
    assert np.array_equal(np.asarray(image), NOISE) and image.info == {"icc_profile": P3}


def test_strips_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(NOISE)
    image.putalpha(200)
    data = file_of(image, icc_profile=P3)
    whole = pixels(data)
    monkeypatch.setattr(pixel_arrays, "_STRIP", 5 * 37)
    assert np.array_equal(pixels(data), whole)


def test_threads_have_transforms_of_their_own_and_keep_few() -> None:
    profiles_ = [iccs.rgb_profile(iccs.DISPLAY_P3, 1 + number / 8) for number in range(2 * profiles._KEPT)]
    sources = [file_of(Image.fromarray(NOISE), icc_profile=profile) for profile in profiles_]
    expected = [pixels(source) for source in sources]
    assert len({array.tobytes() for array in expected}) == len(sources)
    wrong: list[int] = []
    kept: list[int] = []

    def work() -> None:
        for _ in range(3):
            wrong.extend(i for i, s in enumerate(sources) if not np.array_equal(pixels(s), expected[i]))
        kept.append(len(profiles._MINE.made))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and kept == [profiles._KEPT] * 4


def test_a_pillow_without_littlecms_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.ImageCms", None)
    monkeypatch.delattr("PIL.ImageCms", raising=False)
    monkeypatch.setattr(profiles, "_MINE", profiles._Mine())
    assert "shown as they are stored" in read(file_of(Image.fromarray(NOISE), icc_profile=P3)).notes[0]
