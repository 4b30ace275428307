"""Several methods or classes on one photograph: entries, the sheet, the command line, Ctrl-C and progress."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import picture
from PIL import Image, ImageFont

import camserve
from camserve.catalogue.method import Runs
from camserve.catalogue.methods import FAMILIES, METHODS, family_of, parse_methods
from camserve.catalogue.options import ExplainOptions, OverlayOptions
from camserve.catalogue.targets import Best, parse_targets
from camserve.cli import main
from camserve.errors import OptionError, UnknownName
from camserve.explain import estimate as estimating
from camserve.explain import open_photo, to_input
from camserve.explain import side_by_side as comparing
from camserve.explain.run import Run
from camserve.explain.side_by_side import compare_classes, compare_methods
from camserve.explanation import contact_sheet as sheet
from camserve.explanation.contact_sheet import Entry

AT_10 = ExplainOptions(layer="blocks.10")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "one.png"
    picture(1, (120, 90)).save(path)
    return path


# ---- what is meant


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        ((), ()),
        (("rise,cam",), ("cam", "rise")),
        (("rise", "cam, rise"), ("cam", "rise")),
        (("auto",), ("auto",)),
        (("cam,all",), tuple(METHODS)),
    ],
)
def test_methods_are_separated_by_commas_and_sorted_by_family(texts: tuple[str, ...], names: tuple[str, ...]) -> None:
    assert parse_methods(texts) == names


def test_a_misspelt_method_among_several_is_named() -> None:
    with pytest.raises(UnknownName, match="unknown method 'gradcan'; did you mean 'gradcam'"):
        parse_methods(["cam,gradcan"])


def test_targets_are_classes_or_how_many() -> None:
    assert parse_targets("3") == Best(3, "3")
    assert parse_targets("tabby; 281-282 ;") == ["tabby", "281-282"]
    with pytest.raises(OptionError, match="targets ' ; ' names no class"):
        parse_targets(" ; ")


def test_every_method_has_one_family() -> None:
    assert [m.name for family in FAMILIES.values() for m in family] == list(METHODS)
    assert {family_of(name) for name in METHODS} == set(FAMILIES)


# ---- what each shows


def test_a_method_that_does_not_go_with_the_model_has_a_reason(model: camserve.Model, image: Path) -> None:
    photo = open_photo(model, image)
    found = list(compare_methods(model, photo, ["cam", "legrad"], 281, AT_10))
    assert [(one.name, one.explanation is None) for one in found] == [("cam", True), ("legrad", True)]
    assert "need global average pooling" in found[0].reason
    assert "no attention layers" in found[1].reason


def test_what_no_method_could_do_with_is_an_error(model: camserve.Model, image: Path) -> None:
    photo = open_photo(model, image)
    with pytest.raises(UnknownName, match="unknown class 'tigre cat'"):
        list(compare_methods(model, photo, ["cam"], "tigre cat"))
    with pytest.raises(UnknownName, match="unknown layer"):
        list(compare_methods(model, photo, ["gradcam"], None, ExplainOptions(layer="haed")))


def test_a_method_is_given_up_at_its_limit_and_ends(model: camserve.Model, image: Path) -> None:
    photo, reports = open_photo(model, image), []

    def progress(done: int, total: int) -> None:
        reports.append(time.monotonic())

    (found,) = compare_methods(model, photo, ["rise"], run=Run(deadline=0.5, progress=progress))
    assert (found.explanation, found.reason) == (None, "stopped after 0.5 s: it costs 1000 forward passes")
    model.explain(photo.image)  # waits for nothing but a batch
    time.sleep(2)
    assert len(reports) < 60  # of 63 batches


def forwards(model: camserve.Model, image: Path, name: str) -> int:
    """How many a method says that it will run; it is ended then."""
    told = []

    class Enough(Exception):
        pass

    def progress(_done: int, total: int) -> None:
        told.append(total)
        raise Enough

    with pytest.raises(Enough):
        model.explain(image, method=name, progress=progress)
    return told[0]


def test_an_estimate_counts_the_forwards_that_are_run(model: camserve.Model, image: Path) -> None:
    photo = open_photo(model, image)
    pixels = to_input(photo, model.frame(photo.size, "fit"), model.card.input)
    facts, seconds = model.workers.run(lambda: estimating._measured(model, model.layer(), pixels))
    assert all(one > 0 for one in seconds.values())
    assert seconds[Runs.GRADIENT] > seconds[Runs.FORWARD]
    for name in ("scorecam", "iscam", "rise", "opticam", "integratedgradients"):
        assert METHODS[name].cost.runs(facts) == forwards(model, image, name), name
    assert facts.stages[-1] == 1280  # all of them, also those that fire nowhere
    assert facts.channels < 1280
    assert len(facts.stages) == 5


def test_what_takes_longer_than_its_limit_is_not_begun(model: camserve.Model, image: Path) -> None:
    photo, sixty = open_photo(model, image), Run(deadline=60)
    (found,) = compare_methods(model, photo, ["rise"], run=sixty, expected={"rise": 95.2})
    assert (found.explanation, found.reason) == (None, "about 95 s, not begun: the limit is 60 s")
    (found,) = compare_methods(model, photo, ["cam"], run=sixty, expected={"rise": 95.2})
    assert found.explanation is not None


def test_the_command_names_what_it_did_not_begin(image: Path, tmp_path: Path) -> None:
    start = time.monotonic()
    result = run("explain", image, "--method", "cam,sscam", "--limit", "5", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "sscam: left out: about " in result.stdout
    assert "  not started: sscam; use a larger --limit, or --limit 0, to run them" in result.stdout
    assert "1 of 2 -> " in result.stdout
    assert time.monotonic() - start < 60  # sscam alone takes minutes


def test_entries_say_what_they_took_in_this_layer_s_numbers(model: camserve.Model, image: Path) -> None:
    photo = open_photo(model, image)
    details = {one.name: one.detail for one in compare_methods(model, photo, ["cam", "ablationcam", "gradcam++"])}
    assert all(detail.endswith(", no extra forward pass") for detail in details.values())
    made = next(iter(compare_methods(model, photo, ["reciprocam"], None, AT_10))).explanation
    assert made is not None
    height, width = made.map.shape
    assert comparing._cost(model, made) == f"{width * height} forward passes of the head, one per cell"


def test_classes_have_folders_of_their_own(model: camserve.Model, image: Path) -> None:
    targets: list[str] = ["tiger cat", "tiger cat-tabby", 282]  # type: ignore[list-item]
    found = list(compare_classes(model, open_photo(model, image), targets, ExplainOptions()))
    assert [one.name for one in found] == ["tiger-cat", "tiger-cat-tabby", "tiger-cat-2"]
    assert [one.title for one in found] == ["tiger cat", "tiger cat - tabby", "tiger cat"]


# ---- the sheet


def entries(*groups: int) -> list[Entry]:
    return [Entry(f"m{g}{i}", "M", f"group {g}", reason="no") for g, count in enumerate(groups) for i in range(count)]


def test_groups_stand_together_after_the_photograph() -> None:
    places = [(group, x, y) for _, group, x, y in sheet._places(entries(6, 2, 4, 3, 8))]
    assert places[0] == ("", 0, 0)
    assert [place for place in places if place[0]] == [
        ("group 0", 1, 0), ("group 1", 1, 1), ("group 2", 0, 2), ("group 3", 0, 3), ("group 4", 0, 4),
    ]  # fmt: skip
    assert len({place[1:] for place in places}) == len(places)
    assert max(x for _, x, _ in places) == sheet.COLUMNS - 1


def test_every_tile_is_where_its_place_says_in_its_own_colours(model: camserve.Model, image: Path) -> None:
    photo = open_photo(model, image)
    found = [*compare_methods(model, photo, ["gradcam", "layercam", "legrad"], None, AT_10)]
    drawn = sheet.draw_sheet(photo.image, "heading", found)
    small = photo.image.resize((240, 180), Image.Resampling.NEAREST)  # from 120 x 90: as often as a tile has room for
    top = sheet.MARGIN + sheet._line(32) + sheet._line(18)
    for column, entry in enumerate([None, *found]):
        left = sheet.MARGIN + column * (sheet.TILE + sheet.GAP) + (sheet.TILE - small.width) // 2
        tile = np.asarray(drawn.crop((left, top, left + small.width, top + small.height)))
        if entry is None:
            assert np.array_equal(tile, np.asarray(small))
        elif entry.explanation is not None:
            assert np.array_equal(tile, np.asarray(sheet.tile_overlay(small, entry.explanation, OverlayOptions())))
        else:
            assert np.array_equal(tile[-1], np.broadcast_to(sheet.EMPTY, tile[-1].shape))
            assert (tile[:60] < 140).any()  # the reason is written there


def test_tiles_are_drawn_as_overlays_are_but_for_what_they_have_no_room_for(model: camserve.Model) -> None:
    made, small = model.explain(picture(4, (1200, 900))), picture(4, (300, 225))

    def tile(**options: Any) -> Image.Image:
        return sheet.tile_overlay(small, made, OverlayOptions(**options))

    seen = {"colormap": "viridis", "alpha": 0.4, "contour": 0.5}
    for name, value in seen.items():
        assert tile(**{name: value}) != tile()
    assert tile(**seen, signed=True, scale=3.0, boxes=0.5, legend=True) == tile(**seen)


@pytest.mark.parametrize("how", [{}, {"size": "crop"}, {"method": "integratedgradients"}])
def test_tiles_show_the_mean_heat_of_their_pixels(model: camserve.Model, how: dict[str, Any]) -> None:
    made = model.explain(picture(4, (1200, 900)), **how)
    small = sheet._smaller(made, (300, 225))
    blocks = made.heatmap.reshape(225, 4, 300, 4)
    expected = np.nanmean(np.where(np.isnan(blocks), 0, blocks), (1, 3))
    edges = np.isnan(blocks).any((1, 3)) & ~np.isnan(blocks).all((1, 3))
    assert np.array_equal(np.isnan(small)[~edges], np.isnan(blocks).all((1, 3))[~edges])
    if "method" in how:  # averaged over 5 x 5 of them, and smooth between
        assert np.abs(small[2::5, 2::5] - expected.reshape(45, 5, 60, 5).mean((1, 3))).max() < 1e-5
    else:
        inside = ~np.isnan(small) & ~edges
        np.testing.assert_allclose(small[inside], expected[inside], atol=1e-5)


def test_text_is_wrapped_and_cut_off() -> None:
    font = ImageFont.load_default(size=15)
    lines = sheet._wrapped("one two three four five six", font, 60, 2)
    assert lines[0] == "one two"
    assert lines[1].endswith("...")


# ---- the command


def test_several_methods_have_a_folder_each_and_a_sheet(image: Path, tmp_path: Path) -> None:
    result = run("explain", image, "--method", "legrad,cam", "--method", "random", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    folder = tmp_path / "out" / "one.png"
    assert {path.name for path in folder.iterdir()} == {"cam", "random", "sheet.jpg"}
    assert (folder / "cam" / "manifest.json").exists()
    lines = result.stdout.splitlines()
    assert lines[0].startswith("  cam: ")
    assert lines[1].startswith("  legrad: left out: this network has no attention layers")
    assert any(line.startswith("  note on random: this map is random on purpose") for line in lines)
    assert lines[-1] == f"{image}: 2 of 3 -> {folder / 'sheet.jpg'}"
    with Image.open(folder / "sheet.jpg") as made:
        assert made.width == 2 * sheet.MARGIN + 4 * (sheet.TILE + sheet.GAP) - sheet.GAP


def test_several_classes_have_a_folder_each_and_a_sheet(image: Path, tmp_path: Path, model: camserve.Model) -> None:
    options = ("--target", "tabby", "--target", "tiger cat-tabby", "--json", "-o", tmp_path / "out")
    facts = json.loads(run("explain", image, *options).stdout)
    assert [one["name"] for one in facts["entries"]] == ["tabby", "tiger-cat-tabby"]
    assert Path(facts["sheet"]).exists()
    found = np.load(Path(facts["entries"][1]["folder"]) / "map.npy")
    assert np.array_equal(found, model.explain(image, target="tiger cat-tabby").map)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "cam,gradcan"), "unknown method 'gradcan'; did you mean 'gradcam'"),
        (("--method", "cam,random", "-t", "1", "-t", "2"), "cannot combine several methods and several classes"),
        (("--top", "2", "-t", "1"), "--top and --target both say which classes"),
        (("--method", "cam,random", "--at", "3,4"), "--region and --polygons work with one method, one target"),
        (("--method", "cam,random", "-t", "tigre cat"), "unknown class 'tigre cat'; did you mean 'tiger cat'"),
        (("--top", "2000"), "2000 classes were asked for; the model has 1000"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    image: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    result = run("explain", image, "-o", tmp_path / "out", *options)
    assert result.exit_code in (2, 3)
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_ctrl_c_leaves_a_sheet_of_what_there_is(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(model: camserve.Model, photo: object, methods: list[str], *rest: Any) -> Any:
        if methods == ["layercam"]:
            raise KeyboardInterrupt
        return compare_methods(model, photo, methods, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(comparing, "compare_methods", stopped)
    result = run("explain", image, "--method", "cam,layercam,random", "-o", tmp_path / "out")
    assert result.exit_code == 130
    assert "1 of 3 -> " in result.stdout
    assert (tmp_path / "out" / "one.png" / "sheet.jpg").exists()


# ---- progress


def test_progress_tells_how_many_forwards_of_how_many(model: camserve.Model, image: Path) -> None:
    reports: list[tuple[int, int]] = []
    model.explain(image, method="occlusion", progress=lambda done, total: reports.append((done, total)))
    assert reports[-1][0] == reports[-1][1] > 100
    assert [done for done, _ in reports] == sorted({done for done, _ in reports})
    assert len(reports) > 5


def test_what_progress_raises_ends_the_work(model: camserve.Model, image: Path) -> None:
    class Enough(Exception):
        pass

    def progress(done: int, total: int) -> None:
        reports.append(done)
        raise Enough

    reports: list[int] = []
    with pytest.raises(Enough):
        model.explain(image, method="rise", progress=progress)
    assert len(reports) == 1


def test_the_bar_is_drawn_on_a_terminal_and_nowhere_else(image: Path, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty", reason="no terminals of its own here")
    import os

    arguments = [
        sys.executable,
        "-m",
        "camserve",
        "explain",
        str(image),
        "--method",
        "occlusion",
        "-o",
        str(tmp_path / "o"),
    ]
    ours, theirs = pty.openpty()
    with subprocess.Popen(arguments, stderr=theirs, stdout=subprocess.DEVNULL) as process:
        os.close(theirs)
        drawn = b""
        try:
            while part := os.read(ours, 65536):
                drawn += part
        except OSError:  # Linux: the other end is closed
            pass
    os.close(ours)
    assert process.returncode == 0
    assert b"/169" in drawn or b"/170" in drawn or b"explaining" in drawn
    plain = subprocess.run(arguments, capture_output=True, check=True)
    assert plain.stderr == b""


def test_a_small_photograph_fills_its_tiles(model: camserve.Model, tmp_path: Path) -> None:
    picture(3, (40, 30)).save(tmp_path / "small.png")
    photo = open_photo(model, tmp_path / "small.png")
    entries = list(compare_methods(model, photo, ["cam", "guidedbackprop"]))
    drawn = sheet.draw_sheet(photo.image, "", entries)
    left, top = sheet.MARGIN + (sheet.TILE - 280) // 2, sheet.MARGIN + sheet._line(32) + sheet._line(18)
    tile = np.asarray(drawn.crop((left, top, left + 280, top + 210)))
    assert np.array_equal(tile, np.kron(np.asarray(photo.image), np.ones((7, 7, 1), np.uint8)))
    for entry in entries:
        assert entry.explanation is not None
        painted = sheet.tile_overlay(Image.fromarray(tile), entry.explanation, OverlayOptions())
        assert painted.size == (280, 210)
        assert not np.array_equal(np.asarray(painted), tile)
