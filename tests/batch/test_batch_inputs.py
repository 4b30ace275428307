"""What a batch takes as its input, and names that cannot meet or leave the folder."""

import json
import os
from pathlib import Path

import pytest
from conftest import picture

import camserve
from camserve.batch import plan as planning
from camserve.batch.plan import make_plan
from camserve.datasets.inputs import Item, find_images, find_items
from camserve.datasets.naming import name_of
from camserve.errors import OptionError


def found(source: Path | str, tmp_path: Path) -> list[str]:
    return sorted(item.name for item in find_items(str(source), tmp_path / "out") if item is not None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "b" / "c").mkdir(parents=True)
    for name in ("one.png", "b/two.PNG", "b/c/three.jpg", "b/notes.txt"):
        (folder / name).write_bytes(b"")
    return folder


def test_a_folder_is_walked(folder: Path, tmp_path: Path) -> None:
    assert found(folder, tmp_path) == ["b/c/three.jpg", "b/two.PNG", "one.png"]


def test_a_loop_of_links_is_not_walked(folder: Path, tmp_path: Path) -> None:
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    assert len(find_images(folder, tmp_path / "out")[0]) == 3


@pytest.mark.parametrize(
    ("pattern", "names"),
    [("in/**/*.jpg", ["b/c/three.jpg"]), ("in/*/*", ["b/two.PNG"]), ("in/b/t*.PNG", ["two.PNG"])],
)
def test_a_pattern_matches(folder: Path, tmp_path: Path, pattern: str, names: list[str]) -> None:
    assert found(tmp_path / pattern, tmp_path) == names


def test_a_list_names_files_relative_to_itself(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere.png"
    (folder / "files.txt").write_text(f"one.png\n\n./b/two.PNG\r\n{folder / 'b/c/three.jpg'}\n../elsewhere.png\n")
    names = found(folder / "files.txt", tmp_path)
    assert names == ["=up/elsewhere.png", "b/c/three.jpg", "b/two.PNG", "one.png"]
    (folder / "files.txt").write_text(str(outside))
    assert found(folder / "files.txt", tmp_path) == ["=root/" + outside.as_posix().lstrip("/")]
    (item,) = find_items(str(folder / "files.txt"), tmp_path)
    assert item is not None
    assert item.file == str(outside)


def test_a_table_needs_a_column_of_files(folder: Path, tmp_path: Path) -> None:
    table = folder / "table.csv"
    table.write_text("path,class\none.png,1\n")
    with pytest.raises(OptionError, match="has the columns path, class; one must be called 'file'"):
        found(table, tmp_path)
    table.write_text("file,class\none.png,1\n,2\n")
    with pytest.raises(OptionError, match="line 3: the column file is empty"):
        found(table, tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("in/one.png", "is one file; for single images use `camserve explain`"),
        ("nowhere", "does not exist; allowed are"),
    ],
)
def test_what_is_no_source_is_named(folder: Path, tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        found(tmp_path / source, tmp_path)


HOSTILE = [
    "a.jpg", "a.png", "a.jpg.jpg", "a.jpg/b.png", "a.jpg.jpg/b.png", "a.jpg=/b.png", "a.jpg.jpg=/b.png", "=up/a.jpg",
    "../a.jpg", "../../a.jpg", "=root/a.jpg", "/a.jpg", "==up/a.jpg", "A.jpg", "a .jpg", "x" * 250 + ".jpg",
    "x" * 251 + ".jpg", "y" * 240 + "/a.jpg", os.fsdecode(b"caf\xe9.jpg"), "caf\ufffd.jpg", "new\nline.jpg",
    "ü" * 120 + ".jpg", "c.npy/d.jpg", "...jpg", "-.jpg",
]  # fmt: skip


def test_names_never_meet_and_never_leave_the_folder(tmp_path: Path) -> None:
    """Each with every ending a result can have is tried as a file, in one folder."""
    root = tmp_path / "in"
    names = [name_of(root / path, root) for path in HOSTILE]
    assert len(set(names)) == len(HOSTILE)
    for name in names:
        for ending in (".jpg", ".png", ".webp", ".npy", ".jpg.0123abcd.part"):
            path = (tmp_path / "out" / f"{name}{ending}").resolve()
            assert path.is_relative_to(tmp_path / "out")
            path.parent.mkdir(parents=True, exist_ok=True)
            assert not path.exists()
            path.write_bytes(b"")


def test_plain_names_stay_as_they_are(tmp_path: Path) -> None:
    for name in ("cat.jpg", "deep/er/ünï cødé #1?.webp", "photos.jpg.d/x.png", "a=b.png"):
        assert name_of(tmp_path / name, tmp_path) == name


def test_a_plan_is_sorted_in_pieces_and_lists_each_image_once(
    model: camserve.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "_PIECE", 3)
    names = [f"{number * 7 % 10}.png" for number in range(10)] + ["3.png", "3.png"]
    items = [Item(name, name, (str(place),)) for place, name in enumerate(names)]
    plan = make_plan([*items, None, None], tmp_path, "a list", model, {})
    assert [item.name for item in plan.items()] == sorted(set(names))
    assert [item.name for item in plan.items(7)] == ["7.png", "8.png", "9.png"]
    assert (plan.count, plan.ignored, plan.targets, plan.labelled) == (10, 2, 3, False)
    assert next(item.targets for item in plan.items() if item.name == "3.png") == ("9", "10", "11")


def test_an_unknown_or_second_class_of_an_image_is_named(model: camserve.Model, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="one.png: unknown class 'tenhc'; did you mean 'tench'"):
        make_plan([Item("one.png", "one.png", (), "tenhc")], tmp_path, "x", model, {})
    with pytest.raises(OptionError, match="one.png is listed with 2 classes"):
        make_plan([Item("one.png", "one.png", (), str(index)) for index in (1, 2)], tmp_path, "x", model, {})


def test_names_that_are_no_unicode_are_explained_all_the_same(model: camserve.Model, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    picture(1).save(os.fsencode(tmp_path / "in") + b"/caf\xe9.png", "png")
    summary = camserve.batch.run_batch(model, tmp_path / "in", tmp_path / "out")
    assert summary.explained == 1
    assert json.loads((tmp_path / "out" / "results.jsonl").read_text())["file"] == "caf\ufffd.png"
    (overlay,) = (tmp_path / "out" / "overlays").iterdir()
    assert overlay.name.startswith("caf\ufffd=")
