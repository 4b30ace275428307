"""painter.c against numpy and Pillow: the same overlay, bit for bit, over whatever can be painted."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import overlaid as overlay
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from camserve.catalogue.colormaps import COLORMAPS, SIGNED_COLORMAPS
from camserve.geometry.frame import Frame, Placement
from camserve.geometry.laid import Laid
from camserve.render import canvas, native_painter, painting
from camserve.render.legend import Legend
from camserve.render.regions import Box

ROOT = Path(__file__).parents[2]
needs_library = pytest.mark.skipif(
    native_painter.painter() is None, reason="painter.c is not compiled here (python hatch_build.py)"
)
Pixels = npt.NDArray[np.uint8]


def photograph(width: int, height: int, seed: int) -> Pixels:
    """Noise, fields of one colour, black and white: whatever rounds."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if seed % 3 == 1:
        pixels[: height // 2] = random.integers(0, 256, 3)
    if seed % 3 == 2:
        pixels = np.where(random.random((height, width, 1)) < 0.5, 0, 255).astype(np.uint8).repeat(3, 2)
    return pixels


def same(pixels: Pixels, rows: painting.Rows, **look: Any) -> Image.Image:
    """The overlay, which the native painter and numpy paint alike; the photograph stays as it is."""
    before = pixels.copy()
    native, slow = (overlay(pixels, rows, native=is_native, **look) for is_native in (True, False))
    assert np.array_equal(pixels, before)
    assert native.mode == slow.mode == "RGB" and native.size == slow.size
    assert native.tobytes() == slow.tobytes()
    return native


SIDES = st.integers(1, 70)
NUMBERS = st.floats(-3, 3, width=32) | st.sampled_from([0.0, -0.0, 0.1, 0.7, 1.0, np.inf, -np.inf, np.nan, 1e-42, 3e38])


@st.composite
def looks(draw: st.DrawFn) -> dict[str, Any]:
    signed = draw(st.booleans())
    return {
        "signed": signed,
        "colormap": draw(st.sampled_from(SIGNED_COLORMAPS if signed else COLORMAPS)),
        "alpha": draw(st.floats(0, 1)),
        "contour": draw(st.none() | st.floats(0, 1)),
    }


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    """Any grid, whose cells lie anywhere; the network saw all of the photograph, or a part, also beyond its edges."""
    size = draw(SIDES), draw(SIDES)
    edges = sorted(draw(st.floats(-9, 80)) for _ in range(2)), sorted(draw(st.floats(-9, 80)) for _ in range(2))
    box = (edges[0][0], edges[1][0], edges[0][1] + 1, edges[1][1] + 1)
    frame = Frame(
        size, draw(st.sampled_from([(0, 0, *size), box])), (draw(st.integers(1, 99)), draw(st.integers(1, 99)))
    )
    grid = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    stride = draw(st.floats(0.5, 40)), draw(st.floats(0.5, 40))
    return Placement(frame, grid, stride, (draw(st.floats(-9, 30)), draw(st.floats(-9, 30))))


@needs_library
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(placement=placements(), look=looks(), seed=st.integers(0, 10**6), spread=st.floats(0.1, 3))
def test_maps_laid_over_photographs(placement: Placement, look: dict[str, Any], seed: int, spread: float) -> None:
    grid_map = (spread * np.random.default_rng(seed).normal(size=placement.grid[::-1])).astype(np.float32)
    rows = Laid(placement, grid_map if look["signed"] else np.maximum(grid_map, 0))
    same(photograph(*placement.frame.original, seed), rows, **look)


@needs_library
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), look=looks(), seed=st.integers(0, 10**6))
def test_any_numbers_as_heat(data: st.DataObject, look: dict[str, Any], seed: int) -> None:
    width, height = data.draw(SIDES), data.draw(SIDES)
    chosen = data.draw(st.lists(NUMBERS, min_size=1, max_size=9))
    heat = np.random.default_rng(seed).choice(np.array(chosen, np.float32), (height, width))
    with np.errstate(all="ignore"):
        same(photograph(width, height, seed), lambda first, last: heat[first:last], **look)


@needs_library
@settings(max_examples=200, deadline=None)
@given(placement=placements(), seed=st.integers(0, 10**6), cut=st.tuples(st.integers(0, 70), st.integers(0, 70)))
def test_lines_are_the_rows(placement: Placement, seed: int, cut: tuple[int, int]) -> None:
    grid_map = np.random.default_rng(seed).normal(size=placement.grid[::-1]).astype(np.float32)
    laid, height = Laid(placement, grid_map), placement.frame.original[1]
    first, last = sorted(min(one, height) for one in cut)
    values, before, share = laid.lines()
    after = np.minimum(before + 1, len(values) - 1)
    whole = (values[after] - values[before]) * share[:, None] + values[before]
    assert whole.dtype == np.float32
    if first < last:
        assert np.array_equal(laid(first, last), whole[first:last], equal_nan=True)


@needs_library
@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (255, 257), (500, 400), (2048, 1300)])
def test_sizes_up_to_several_strips(size: tuple[int, int]) -> None:
    frame = Frame(size, (0, 0, *size), (280, 224))
    grid_map = np.random.default_rng(size[0]).random((7, 9)).astype(np.float32)
    rows = Laid(Placement(frame, (9, 7), (32, 32), (15.5, 15.5)), grid_map)
    for signed in (False, True):
        same(photograph(*size, size[1]), rows, colormap="turbo", alpha=0.8, signed=signed)


@needs_library
def test_lines_boxes_and_legends_are_drawn_into_the_same_memory() -> None:
    pixels, heat = photograph(700, 500, 1), np.random.default_rng(0).random((500, 700)).astype(np.float32)
    heat[:, :90] = np.nan
    drawn = same(
        pixels,
        lambda first, last: heat[first:last],
        colormap="inferno",
        alpha=0.8,
        contour=0.5,
        boxes=[Box(20, 30, 200, 220, 1.0, 1.0)],
        legend=Legend("cat", "0", "", "1"),
    )
    assert drawn.tobytes() != overlay(pixels, lambda a, b: heat[a:b], colormap="inferno", alpha=0.8).tobytes()


@needs_library
def test_photographs_of_pillow_and_arrays_of_any_layout() -> None:
    pixels = photograph(60, 40, 0)
    heat = np.linspace(0, 1, 2400, dtype=np.float32).reshape(40, 60)
    expected = same(pixels, lambda a, b: heat[a:b], colormap="magma", alpha=0.8)
    for photo in (
        Image.fromarray(pixels),
        pixels[::-1][::-1],
        np.asfortranarray(pixels),
        pixels.copy()[:, ::-1][:, ::-1],
    ):
        assert overlay(photo, lambda a, b: heat[a:b], colormap="magma", alpha=0.8) == expected


@needs_library
@pytest.mark.parametrize("block", [2, 4, 32, 256, 512, 1024])
def test_blocks_are_those_of_pillow(block: int) -> None:
    for size in ((1, 1), (7, 3), (block - 1, block + 1), (block, 2 * block), (2 * block + 5, block)):
        pixels = photograph(*size, size[0])
        pixels[: block // 2] = 255  # the largest sums
        memory, means = native_painter.start_canvas(pixels, block)
        image = Image.fromarray(pixels)
        assert np.array_equal(memory[..., :3], pixels)
        assert np.array_equal(means, np.asarray(image.reduce(block)))


@needs_library
@pytest.mark.parametrize("strip", [1, 70 * 9])
def test_strips_join_without_a_seam(strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = Frame((70, 90), (0, 0, 70, 60.5), (32, 32))
    rows = Laid(
        Placement(frame, (4, 4), (8, 8), (3.5, 3.5)), np.random.default_rng(1).random((4, 4)).astype(np.float32)
    )
    whole = same(photograph(70, 90, 0), rows, colormap="viridis", alpha=1)
    monkeypatch.setattr(painting, "_STRIP_PIXELS", strip)
    assert same(photograph(70, 90, 0), rows, colormap="viridis", alpha=1) == whole


@needs_library
def test_many_threads_paint_at_once() -> None:
    frame = Frame((300, 200), (0, 0, 300, 200), (224, 224))
    placement = Placement(frame, (7, 7), (32, 32), (15.5, 15.5))
    maps = [np.random.default_rng(seed).random((7, 7)).astype(np.float32) for seed in range(8)]
    pixels = photograph(300, 200, 0)
    one = [overlay(pixels, Laid(placement, each), colormap="jet", alpha=0.8) for each in maps]
    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(overlay, pixels, Laid(placement, each), colormap="jet", alpha=0.8) for each in maps * 20]
        assert all(made.result() == one[number % 8] for number, made in enumerate(work))


@needs_library
def test_the_native_painter_paints_where_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise these tests would compare numpy with itself."""
    called = []
    monkeypatch.setattr(painting, "paint_strip", lambda *_, **__: bool(called.append(True)) or True)  # type: ignore[func-returns-value]
    rows = Laid(Placement(Frame((9, 9), (0, 0, 9, 9), (9, 9)), (1, 1), (9, 9), (4, 4)), np.ones((1, 1), np.float32))
    overlay(photograph(9, 9, 0), rows, colormap="jet", alpha=0.8, native=False)
    assert not called
    overlay(photograph(9, 9, 0), rows, colormap="jet", alpha=0.8)
    assert called


@pytest.mark.parametrize("missing", ["painter", "sharing"])
def test_without_the_library_numpy_paints(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heat = np.linspace(0, 1, 2400, dtype=np.float32).reshape(40, 60)
    pixels = photograph(60, 40, 0)
    expected = overlay(pixels, lambda a, b: heat[a:b], colormap="magma", alpha=0.8)
    if missing == "painter":
        monkeypatch.setattr(native_painter, "painter", lambda: None)
        assert native_painter.described(native=True).startswith("numpy (there was no C compiler")
    else:
        monkeypatch.setattr(canvas, "can_share", lambda: False)
    assert canvas.canvas_of(pixels, native=True).memory is None
    assert overlay(pixels, lambda a, b: heat[a:b], colormap="magma", alpha=0.8) == expected


def test_a_library_that_is_none_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_painter, "LIBRARY", tmp_path / "painter.so")
    assert native_painter.painter.__wrapped__() is None
    (tmp_path / "painter.so").write_bytes(b"of another machine")
    assert native_painter.painter.__wrapped__() is None


def test_building_without_a_compiler_or_with_a_broken_one_says_so(tmp_path: Path) -> None:
    for compiler, said in (("/nonesuch/cc", "No such file"), ("false", "the C compiler failed")):
        code = f"import pathlib, hatch_build; print(hatch_build.build(pathlib.Path({str(tmp_path / 'painter.so')!r})))"
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"CC": compiler, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
        )
        assert said in done.stdout, done.stderr
        assert not list(tmp_path.iterdir())
