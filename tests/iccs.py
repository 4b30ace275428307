"""Colour profiles (ICC.1:2001-04, version 2.4) written by hand, with the numbers of each checked on paper elsewhere."""

import itertools
import struct
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3 = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
D65, D50 = (0.3127, 0.3290), (0.9642, 1.0, 0.8249)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def linear(values: Floats) -> Floats:
    """sRGB 0..1 to light 0..1, IEC 61966-2-1."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def encoded(light: Floats) -> Floats:
    """Light 0..1 to sRGB 0..1."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def to_xyz(primaries: tuple[tuple[float, float], ...]) -> Floats:
    """(3, 3): light in these primaries with the white D65 to XYZ, adapted to D50 as profiles have it (Bradford)."""
    x, y = np.array(primaries).T
    colours = np.stack([x / y, np.ones(3), (1 - x - y) / y])
    white = np.array([D65[0] / D65[1], 1, (1 - D65[0] - D65[1]) / D65[1]])
    matrix = colours * np.linalg.solve(colours, white)
    scale = (_BRADFORD @ np.array(D50)) / (_BRADFORD @ white)
    adapted: Floats = np.linalg.inv(_BRADFORD) @ np.diag(scale) @ _BRADFORD @ matrix
    return adapted


def rgb_profile(primaries: tuple[tuple[float, float], ...], gamma: float | None = None) -> bytes:
    """gamma: None for sRGB's own curve."""
    matrix = to_xyz(primaries)
    curve = _curve(gamma)
    names = ("r", "g", "b")
    tags = {f"{name}XYZ": _xyz(matrix[:, column]) for column, name in enumerate(names)}
    return _profile("RGB ", "XYZ ", {**tags, **{f"{name}TRC": curve for name in names}})


def grey_profile(gamma: float) -> bytes:
    """Grey of a power of light."""
    return _profile("GRAY", "XYZ ", {"kTRC": _curve(gamma)})


def cmyk_profile() -> bytes:
    """A press whose inks are exact: corners as `corner` gives them, mixed linearly in CIELAB between them."""
    labs = np.array([lab_of(corner(ink)) for ink in itertools.product((0, 1), repeat=4)])
    table = np.rint(np.clip([labs[:, 0] * 2.55, labs[:, 1] + 128, labs[:, 2] + 128], 0, 255)).T.astype(np.uint8)
    identity = bytes(range(256))
    matrix = struct.pack(">9i", *[65536 if i % 4 == 0 else 0 for i in range(9)])
    body = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + identity * 4 + table.tobytes() + identity * 3
    return _profile("CMYK", "Lab ", {"A2B0": body}, kind="prtr")


def corner(ink: tuple[int, ...]) -> Floats:
    """sRGB 0..1 of full inks: dull ones, so that nothing is what a plain inversion gives."""
    paper = np.array([1.0, 1.0, 1.0])
    dull = np.array([[0.1, 0.6, 0.9], [0.9, 0.1, 0.5], [1.0, 0.9, 0.1], [0.1, 0.1, 0.1]])
    for use, colour in zip(ink, dull, strict=True):
        paper = paper * colour if use else paper
    return paper


def lab_of(srgb: Floats) -> Floats:
    """CIELAB (D50) of sRGB 0..1."""
    f = (to_xyz(SRGB) @ linear(srgb)) / np.array(D50)
    f = np.where(f > (6 / 29) ** 3, np.cbrt(f), f / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def _curve(gamma: float | None) -> bytes:
    if gamma is not None:
        return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    values = np.rint(linear(np.linspace(0, 1, 1024)) * 65535).astype(">u2")
    return b"curv" + bytes(4) + struct.pack(">I", 1024) + values.tobytes()


def _xyz(values: Floats | tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(float(value) * 65536) for value in values))


def _profile(space: str, connection: str, tags: Mapping[str, bytes], kind: str = "mntr") -> bytes:
    text = b"made for a test\0"
    described = b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78)
    every = {"desc": described, "cprt": b"text" + bytes(4) + text, "wtpt": _xyz(D50), **tags}
    table, body, at = b"", b"", 128 + 4 + 12 * len(every)
    for name, content in every.items():
        padded = content + bytes(-len(content) % 4)
        table += name.encode() + struct.pack(">II", at + len(body), len(content))
        body += padded
    header = bytes(4) + struct.pack(">I", 0x02400000) + kind.encode() + space.encode() + connection.encode()
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz(D50)[8:] + bytes(48)
    whole = header + struct.pack(">I", len(every)) + table + body
    return struct.pack(">I", len(whole) + 4) + whole
