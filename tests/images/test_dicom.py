"""DICOM as pydicom writes it: windows, greys and colours by the standard's formulas, frames, packings, broken files."""

import contextlib
import io
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from camserve import errors
from camserve.images.reading import Photo, read_photo

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed: camserve[pictures]")

RAMP = np.arange(-1024, 3072, dtype=np.int16).reshape(32, 128)  # Hounsfield units, as a CT has them
NOISE = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
LITTLE, DEFLATED, RLE, JPEG = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.50",
)


def read(source: Any, max_pixels: int = 10_000_000) -> Photo:
    photo = read_photo(source, max_pixels=max_pixels, max_side=65535, max_bytes=25 * 2**20)
    assert photo.image.mode == "RGB" and type(photo.image) is Image.Image and photo.image.info == {}
    assert photo.format == "DICOM"
    return photo


def grey(source: Any) -> npt.NDArray[np.int64]:
    pixels = np.asarray(read(source).image).astype(np.int64)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


def dicom(values: npt.NDArray[Any], syntax: str = LITTLE, packed: bytes = b"", /, **elements: Any) -> bytes:
    """A file of one frame (H, W) or (H, W, 3), or several (N, H, W)."""
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3"
    colours = values.ndim == 3 and values.shape[2] == 3
    data.Rows, data.Columns = values.shape[:2] if colours else values.shape[-2:]
    data.SamplesPerPixel = 3 if colours else 1
    if colours:
        data.PlanarConfiguration = 0
    if values.ndim == 3 and not colours:
        data.NumberOfFrames = len(values)
    data.PhotometricInterpretation = "RGB" if colours else "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8 * values.itemsize
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(values.dtype.kind == "i")
    for key, value in elements.items():
        setattr(data, key, value)
    data.PixelData = packed or values.tobytes()
    data["PixelData"].VR = "OB" if packed or values.itemsize == 1 else "OW"
    if packed:
        data["PixelData"].is_undefined_length = True
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


X = RAMP.astype(float)
WINDOWS = {  # PS3.3 C.11.2.1.2 and C.11.2.1.3, written out: y of x, 0..1
    "LINEAR": lambda c, w: np.where(
        c - 0.5 - (w - 1) / 2 >= X, 0, np.where(c - 0.5 + (w - 1) / 2 < X, 1, (X - (c - 0.5)) / (w - 1) + 0.5)
    ),
    "LINEAR_EXACT": lambda c, w: np.where(c - w / 2 >= X, 0, np.where(c + w / 2 < X, 1, (X - c) / w + 0.5)),
    "SIGMOID": lambda c, w: 1 / (1 + np.exp(-4 * (X - c) / w)),
}


@pytest.mark.parametrize("function", [None, *WINDOWS])
@pytest.mark.parametrize(("centre", "width"), [(40, 400), (300.5, 1500), (0, 1), (-600, 2)])
def test_the_window_of_the_file(function: str | None, centre: float, width: float) -> None:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        expected = np.rint(255 * WINDOWS[function or "LINEAR"](centre, width))
    more = {"VOILUTFunction": function} if function else {}
    for inverted in (False, True):
        meaning = "MONOCHROME1" if inverted else "MONOCHROME2"
        data = dicom(RAMP, WindowCenter=centre, WindowWidth=width, PhotometricInterpretation=meaning, **more)
        assert np.array_equal(grey(data), 255 - expected if inverted else expected)
        kind = f" {function}" if function not in (None, "LINEAR") else ""
        said = (f"DICOM window {centre:g}/{width:g}{kind} (centre/width)",)
        assert read(data).notes == (*said, *(["its lowest values are white (MONOCHROME1)"] if inverted else []))


def test_the_window_is_of_the_values_of_the_modality() -> None:
    stored = (RAMP + 1024).astype(np.uint16)
    window = {"WindowCenter": 40, "WindowWidth": 400}
    data = dicom(stored, RescaleSlope=1, RescaleIntercept=-1024, BitsStored=12, HighBit=11, **window)
    assert np.array_equal(grey(data), grey(dicom(RAMP, **window)))
    halves = dicom((RAMP // 2).astype(np.int16), RescaleSlope=2, RescaleIntercept=0, **window)
    assert np.array_equal(grey(halves)[:, ::2], grey(data)[:, ::2])


def test_the_first_of_several_windows() -> None:
    photo = read(dicom(RAMP, WindowCenter=[40, 300], WindowWidth=[400, 1500]))
    assert photo.notes == ("DICOM window 40/400 (centre/width), the first of 2",)


def test_the_window_of_a_frame_of_its_own() -> None:
    """Enhanced CT and MR: what holds for all frames, and before it what holds for the first."""

    def group(centre: float, slope: float) -> Any:
        window, scale, both = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
        window.WindowCenter, window.WindowWidth = centre, 400
        scale.RescaleSlope, scale.RescaleIntercept = slope, 0
        both.FrameVOILUTSequence, both.PixelValueTransformationSequence = [window], [scale]
        return both

    frames = np.stack([RAMP, RAMP])
    shared = {"SharedFunctionalGroupsSequence": [group(40, 2)]}
    expected = grey(dicom(RAMP * 2, WindowCenter=40, WindowWidth=400))
    assert np.array_equal(grey(dicom(frames, **shared)), expected)
    own = {"PerFrameFunctionalGroupsSequence": [group(0, 1), group(9, 9)]}
    expected = grey(dicom(RAMP, WindowCenter=0, WindowWidth=400))
    assert np.array_equal(grey(dicom(frames, **shared, **own)), expected)


def test_a_table_of_greys() -> None:
    item = pydicom.Dataset()
    item.LUTDescriptor, item.LUTData = [4, 0, 12], [0, 4095, 1000, 2000]
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    values = np.array([[0, 1, 2, 3, 9]], np.uint16)
    photo = read(dicom(values, VOILUTSequence=[item]))
    assert np.asarray(photo.image)[0, :, 0].tolist() == [0, 255, 62, 125, 125]
    assert photo.notes == ("black and white are those of the DICOM file's own table of greys (VOI LUT)",)


def table_of_greys(bits: int, entries: Any, kind: str = "US") -> dict[str, Any]:
    item = pydicom.Dataset()
    item.LUTDescriptor, item.LUTData = [4096, 0, bits], entries
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", kind
    return {"VOILUTSequence": [item]}


def test_a_table_of_greys_is_not_looked_up_in_bits_of_its_own() -> None:
    """Values beyond its bits are those of its last entry; pydicom's own look-up wraps them (findings/)."""
    values = np.array([[0, 1000, 32767, 32768, 34000]], np.uint16)
    wide = table_of_greys(16, [16 * entry for entry in range(4096)])
    photo = read(dicom(values, RescaleSlope=2, RescaleIntercept=0, **wide))
    assert np.asarray(photo.image)[0, :, 0].tolist() == [0, 125, 255, 255, 255]
    values = np.array([[0, 100, 255, 256, 300, 2048, 4095]], np.uint16)
    narrow = [entry * 255 // 4095 for entry in range(4096)]
    for table in (table_of_greys(8, narrow), table_of_greys(8, bytes(narrow), "OW")):
        photo = read(dicom(values, **table))
        assert np.asarray(photo.image)[0, :, 0].tolist() == [0, 6, 15, 15, 18, 127, 255]


def test_without_a_window() -> None:
    photo = read(dicom(RAMP))
    assert photo.notes == (
        "no DICOM window in the file: its values are shown from -1020 (black) to 3067 (white), where nearly "
        "all of them lie; another picture of its series may get other limits",
    )
    expected = np.clip(np.rint((RAMP + 1020.0) * 255 / 4087), 0, 255)
    assert np.array_equal(np.asarray(photo.image)[..., 0], expected)
    padded = RAMP.copy()
    padded[:16] = -2000
    assert "from 1026 (black)" in read(dicom(padded, PixelPaddingValue=-2000)).notes[0]
    for broken in ({"WindowCenter": 40, "WindowWidth": 0}, {"WindowCenter": 40}, {"WindowWidth": 400}):
        assert "no DICOM window" in read(dicom(RAMP, **broken)).notes[0]


def test_eight_bits_are_never_touched() -> None:
    photo = read(dicom(NOISE[..., 0]))
    assert np.array_equal(np.asarray(photo.image)[..., 0], NOISE[..., 0]) and photo.notes == ()
    inverted = dicom(NOISE[..., 0], PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(grey(inverted), 255 - NOISE[..., 0].astype(int))


def test_colours() -> None:
    assert np.array_equal(np.asarray(read(dicom(NOISE)).image), NOISE)
    planes = np.ascontiguousarray(NOISE.transpose(2, 0, 1))
    data = dicom(planes.reshape(NOISE.shape), PlanarConfiguration=1)
    assert np.array_equal(np.asarray(read(data).image), NOISE)
    assert np.array_equal(np.asarray(read(dicom(NOISE.astype(np.uint16) * 257)).image), NOISE)
    ycc = np.asarray(Image.fromarray(NOISE).convert("YCbCr"))
    seen = np.asarray(read(dicom(ycc, PhotometricInterpretation="YBR_FULL")).image).astype(int)
    assert np.abs(seen - np.asarray(Image.fromarray(NOISE))).max() <= 3


def test_a_palette() -> None:
    tables: dict[str, Any] = {}
    for number, colour in enumerate(("Red", "Green", "Blue")):
        table = (np.arange(256) * (number + 1) % 256).astype(np.uint16) * 257
        tables[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tables[f"{colour}PaletteColorLookupTableData"] = table.tobytes()
    values = NOISE[..., 0]
    seen = np.asarray(read(dicom(values, PhotometricInterpretation="PALETTE COLOR", **tables)).image)
    assert np.array_equal(seen, np.stack([values, values * 2, values * 3], 2))


def test_the_first_of_several_frames() -> None:
    photo = read(dicom(np.stack([NOISE[..., 0], NOISE[..., 1], NOISE[..., 2]])))
    assert np.array_equal(np.asarray(photo.image)[..., 0], NOISE[..., 0])
    assert photo.notes == ("only the first frame is explained; the file has 2 more",)


def jpeg(quality: int = 95) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(NOISE[..., 0]).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def test_packed_pictures() -> None:
    packed = pydicom.encaps.encapsulate([jpeg()])
    seen = grey(dicom(NOISE[..., 0], JPEG, packed))
    with Image.open(io.BytesIO(jpeg())) as image:
        assert np.array_equal(seen, np.asarray(image))
    file = pydicom.dcmread(io.BytesIO(dicom(RAMP, WindowCenter=40, WindowWidth=400)))
    file.compress(RLE)
    buffer = io.BytesIO()
    file.save_as(buffer)
    assert np.array_equal(grey(buffer.getvalue()), grey(dicom(RAMP, WindowCenter=40, WindowWidth=400)))
    assert np.array_equal(grey(dicom(NOISE[..., 0], DEFLATED)), NOISE[..., 0])


@pytest.mark.parametrize(
    ("syntax", "message"),
    [
        ("1.2.840.10008.1.2.4.70", "packed as JPEG Lossless, .*: pip install pylibjpeg pylibjpeg-libjpeg$"),
        ("1.2.840.10008.1.2.4.80", "packed as JPEG-LS Lossless .*: pip install pyjpegls$"),
        (
            "1.2.840.10008.1.2.4.201",
            "packed as High-Throughput JPEG 2000 .*: pip install pylibjpeg pylibjpeg-openjpeg$",
        ),
        ("1.2.840.10008.1.2.4.102", "packed as MPEG-4 .*, which pydicom cannot unpack. Try saving it as PNG"),
    ],
)
def test_what_pydicom_cannot_unpack_is_named(syntax: str, message: str) -> None:
    with contextlib.suppress(NotImplementedError):
        if pydicom.pixels.decoders.base.get_decoder(pydicom.uid.UID(syntax)).is_available:
            pytest.skip("its helper is installed")
    with pytest.raises(errors.ImageError, match=message):
        read(dicom(NOISE[..., 0], syntax, pydicom.encaps.encapsulate([b"1234"])))


def test_other_files_are_refused_in_words() -> None:
    report = pydicom.dcmread(io.BytesIO(dicom(RAMP)))
    del report.PixelData
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    buffer = io.BytesIO()
    report.save_as(buffer)
    with pytest.raises(errors.ImageError, match=r"a DICOM file without a picture \(Basic Text SR Storage\)"):
        read(buffer.getvalue())
    with pytest.raises(errors.ImageError, match="a DICOM picture of kind HSV; allowed are MONOCHROME1"):
        read(dicom(NOISE, PhotometricInterpretation="HSV"))


def test_a_file_that_begins_like_a_tiff() -> None:
    data = dicom(RAMP, WindowCenter=40, WindowWidth=400)
    assert np.array_equal(grey(b"II*\0" + data[4:]), grey(data))


def test_the_limits_are_checked_in_the_header() -> None:
    with pytest.raises(errors.ImageTooLarge, match=r"128 x 32 = 0.004096 megapixels; .* \(limits.megapixels\)"):
        read(dicom(RAMP), max_pixels=4095)
    with pytest.raises(errors.ImageTooLarge, match=r"0.03686 MB of pixels; .* 8 bytes for each of limits.megapixels"):
        read(dicom(NOISE.astype(np.float64), BitsStored=64), max_pixels=1536)
    inside = io.BytesIO()
    Image.new("L", (400, 400)).save(inside, "JPEG")
    with pytest.raises(errors.ImageTooLarge, match="400 x 400"):
        read(dicom(NOISE[..., 0], JPEG, pydicom.encaps.encapsulate([inside.getvalue()])), max_pixels=10_000)
    whole = dicom(NOISE[..., 0], DEFLATED)
    packer = zlib.compressobj(wbits=-15)
    begin = 144 + int.from_bytes(whole[140:144], "little")
    bomb = whole[:begin] + packer.compress(bytes(10**7)) + packer.flush()
    with pytest.raises(errors.ImageTooLarge, match="MB after decompression"):
        read(bomb, max_pixels=10**6)
    with pytest.raises(errors.ImageTooLarge, match="MB after decompression"):
        read(bomb[:140] + bytes(4) + bomb[144:], max_pixels=10**6)  # with a wrong length of what is not packed
    with pytest.raises(errors.ImageError, match="this DICOM is damaged"):
        read(bomb[:132] + b"\3" + bomb[133:], max_pixels=10**6)
    runs = bytes([1, 0, 0, 0, 64, *[0] * 59]) + b"\x81\0" * 10_000
    with pytest.raises(errors.ImageError, match="this DICOM is damaged"):
        read(dicom(NOISE[:8, :8, 0], RLE, pydicom.encaps.encapsulate([runs])))


def test_cut_off_and_damaged_files_are_errors_and_silent(tmp_path: Path) -> None:
    data = dicom(RAMP, WindowCenter=40, WindowWidth=400)
    for tenth in range(1, 10):
        with pytest.raises(errors.ImageError, match="'image'"):
            read(data[: len(data) * tenth // 10])
    with pytest.raises(errors.ImageError, match="a DICOM file without a picture"):
        read(bytes(128) + b"DICM\2\0")
    (tmp_path / "a.dcm").write_bytes(data)
    code = """if True:
        import pathlib, sys, numpy
        from camserve.errors import ImageError
        from camserve.images.reading import read_photo
        data, random = pathlib.Path(sys.argv[1]).read_bytes(), numpy.random.default_rng(0)
        for _ in range(400):
            broken = bytearray(data)
            for place in random.integers(132, 620, 3):
                broken[place] = random.integers(256)
            try:
                read_photo(bytes(broken), max_pixels=10**6, max_side=9999, max_bytes=2**24)
            except ImageError as error:
                print(error)
    """
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "a.dcm")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and done.stderr == "" and done.stdout.count("\n") > 50


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    message = "'image' is a DICOM picture; reading it needs pydicom. Try pip install \"camserve\\[pictures\\]\""
    with pytest.raises(errors.ImageTypeError, match=message):
        read(bytes(128) + b"DICM\2\0")
