"""What a folder holds besides images is named, links to folders are followed, and nothing is looked at twice."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import picture

import camserve
from camserve.batch import Options, run_batch
from camserve.cli import main
from camserve.datasets.inputs import find_images, find_items
from camserve.datasets.left_out import OTHER, LeftOut
from camserve.errors import OptionError


def looked(source: Path, out: Path, *, classes: bool = False) -> tuple[list[tuple[str, str | None]], LeftOut]:
    """Names and classes, and what was left out."""
    left_out = LeftOut()
    items = find_items(str(source), out, folders_are_classes=classes, left_out=left_out)
    return sorted((item.name, item.expected) for item in items if item is not None), left_out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images, and much else."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.png", "deep/b.png"):
        picture(1).save(folder / name)
    for name in ("1.txt", "2.txt", "deep/3.TXT", "4.txt", "README", "._a.png"):
        (folder / name).write_text("no image")
    (folder / "lost").symlink_to(folder / "nowhere")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "up").symlink_to(folder, target_is_directory=True)
    return folder


def test_all_that_is_left_out_is_counted_with_its_reason_and_examples(folder: Path, tmp_path: Path) -> None:
    names, left_out = looked(folder, tmp_path / "out")
    assert [name for name, _ in names] == ["a.png", "deep/b.png"]
    assert str(left_out) == (
        f"5 files that are no images (.txt 4, no ending 1), 1 hidden file (._a.png), 2 links that lead nowhere "
        f"({_lost(left_out)}), 1 link to a folder that is looked at already (up)"
    )
    kept = left_out.to_dict()
    assert kept[0] == {"reason": OTHER[1], "ending": ".txt", "count": 4, "examples": kept[0]["examples"]}
    assert len(kept[0]["examples"]) == 3


def _lost(left_out: LeftOut) -> str:
    """The two links in the order in which the system listed them."""
    (entry,) = (one for one in left_out.to_dict() if one["reason"] == "links that lead nowhere")
    return ", ".join(entry["examples"])


def test_links_to_folders_are_followed_and_no_folder_is_entered_twice(folder: Path, tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    (pool / "cats").mkdir(parents=True)
    picture(2).save(pool / "cats" / "c.png")
    (pool / "back").symlink_to(folder, target_is_directory=True)
    (pool / "cats" / "again").symlink_to(pool, target_is_directory=True)
    (folder / "linked").symlink_to(pool, target_is_directory=True)
    (folder / "twin").symlink_to(pool / "cats", target_is_directory=True)
    (folder / "below").symlink_to(folder / "deep", target_is_directory=True)
    names, left_out = looked(folder, tmp_path / "out")
    assert [name for name, _ in names] == ["a.png", "deep/b.png", "linked/cats/c.png"]
    (seen,) = (one for one in left_out.to_dict() if one["reason"].startswith("links to folders"))
    assert (seen["count"], seen["examples"]) == (5, ["below", "linked/back", "linked/cats/again"])


def test_a_link_can_be_the_folder_of_a_class(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "in").mkdir()
    picture(2).save(tmp_path / "pool" / "c.png")
    (tmp_path / "in" / "tabby").symlink_to(tmp_path / "pool", target_is_directory=True)
    names, _ = looked(tmp_path / "in", tmp_path / "out", classes=True)
    assert names == [("tabby/c.png", "tabby")]


def test_a_link_to_out_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    picture(2).save(tmp_path / "out" / "result.png")
    (folder / "results").symlink_to(tmp_path / "out", target_is_directory=True)
    assert len(find_images(folder, tmp_path / "out")[0]) == 2


def test_results_of_another_batch_are_no_photographs(model: camserve.Model, folder: Path) -> None:
    run_batch(model, folder, folder / "march")
    summary = run_batch(model, folder, folder / "april")
    assert summary.explained == 2
    assert summary.left_out[-2:] == [
        {"reason": "places of this batch's own results", "count": 1, "examples": ["april"]},
        {"reason": "folders of other batches' results", "count": 1, "examples": ["march"]},
    ]


def test_what_is_neither_file_nor_folder_is_named(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(folder / "pipe")
    _, left_out = looked(folder, tmp_path / "out")
    assert "1 entry that is neither file nor folder (pipe)" in str(left_out)


def test_endings_without_number_are_counted_in_bounded_memory() -> None:
    left_out = LeftOut()
    for number in range(10_000):
        left_out.add(OTHER, f"scan.{number}")
    kept = left_out.to_dict()
    assert (len(kept), sum(one["count"] for one in kept)) == (41, 10_000)
    assert kept[0]["ending"] == "others"
    assert str(left_out).startswith("10000 files that are no images (others 9960, .0 1, ")
    assert str(left_out).endswith(", ...)")


def test_a_flat_folder_has_images_and_no_folders_of_classes(folder: Path, tmp_path: Path) -> None:
    (folder / "deep" / "b.png").unlink()
    for number in range(3):
        picture(number).save(folder / f"{number}.png")
    said = (
        f"4 images are directly in '{folder}', not in folders named by classes: put each into the folder of its class"
    )
    result = CliRunner().invoke(main, ["batch", str(folder), str(tmp_path / "out"), "--folders-are-classes"])
    assert (result.exit_code, said in result.stderr) == (2, True)


def test_a_folder_of_other_files_says_which(tmp_path: Path) -> None:
    for name in ("a.raw", "b.raw", "c.txt"):
        (tmp_path / name).write_text("no image")
    with pytest.raises(OptionError, match=r"left out: 3 files that are no images \(.raw 2, .txt 1\); looked for"):
        find_images(tmp_path, tmp_path / "out")


def test_a_batch_says_it_in_the_terminal_in_json_and_in_the_run(folder: Path, tmp_path: Path) -> None:
    said = "left out: 5 files that are no images (.txt 4, no ending 1), 1 hidden file (._a.png), "
    result = CliRunner().invoke(main, ["batch", str(folder), str(tmp_path / "out"), "--output", "none"])
    assert result.exit_code == 0, result.output
    assert said in result.stderr
    kept = json.loads((tmp_path / "out" / "run.json").read_text())["left_out"]
    assert [one["count"] for one in kept] == [4, 1, 1, 2, 1]
    again = CliRunner().invoke(main, ["batch", str(folder), str(tmp_path / "other"), "--output", "none", "--json"])
    assert json.loads(again.stdout)["left_out"] == kept
    assert again.stderr == ""


def test_lines_that_name_an_image_again_are_counted(model: camserve.Model, folder: Path, tmp_path: Path) -> None:
    (folder / "t.csv").write_text("file,target\na.png,tench\na.png,tabby\n./a.png,tench\ndeep/b.png,\n")
    summary = run_batch(model, folder / "t.csv", tmp_path / "out", Options(outputs=()))
    assert summary.explained == 2
    assert summary.left_out == [{"reason": "lines that name an image again", "count": 1, "examples": ["./a.png"]}]
