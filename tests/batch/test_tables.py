"""Lists and tables as people and programs write them, and what is said of those that cannot be understood."""

import codecs
import json
import os
from pathlib import Path

import pytest
from conftest import picture

import camserve
from camserve.batch import Options, run_batch
from camserve.batch.progress import Silent
from camserve.datasets.ground_truth import check_objects
from camserve.datasets.inputs import Item, find_items
from camserve.datasets.left_out import LeftOut
from camserve.errors import OptionError

A, B = ("a.png", "tench", ()), ("sub/b c.png", "tabby", ("281",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for number, name in enumerate(("a.png", "sub/b c.png")):
        picture(number).save(tmp_path / name)
    return tmp_path


def items(source: Path, left_out: LeftOut | None = None) -> list[Item]:
    return [item for item in find_items(str(source), source.parent / "out", left_out=left_out) if item is not None]


def told(source: Path) -> list[tuple[str, str | None, tuple[str, ...]]]:
    return [(item.name, item.expected, item.targets) for item in items(source)]


def refused(source: Path) -> str:
    with pytest.raises(OptionError) as error:
        items(source)
    return str(error.value)


TABLES = [
    "file,class,target\na.png,tench,\nsub/b c.png,tabby,281\n",
    "file, class, target\na.png, tench,\nsub/b c.png, tabby , 281\n",
    " File ,CLASS,Target\na.png,tench,\nsub/b c.png,tabby,281\n",
    "file;class;target\na.png;tench;\nsub/b c.png;tabby;281\n",
    "file\tclass\ttarget\na.png\ttench\t\nsub/b c.png\ttabby\t281\n",
    "sep=;\nfile;class;target\na.png;tench;\nsub/b c.png;tabby;281\n",
    '"file","class","target"\n"a.png","tench",""\n"sub/b c.png","tabby","281"\n',
    "\n  \nfile,class,target\n\na.png,tench\n,,\n  \nsub/b c.png,tabby,281\n\n",
    "file,class,target\r\na.png,tench,\r\nsub\\b c.png,tabby,281\r\n",
    "target,note,class,file\n,,tench,a.png \n281,x,tabby,  sub/b c.png\n",
]


@pytest.mark.parametrize("text", TABLES)
def test_a_table_is_read_as_people_write_it(folder: Path, text: str) -> None:
    (folder / "t.csv").write_bytes(text.encode())
    assert told(folder / "t.csv") == [A, B]


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
     (codecs.BOM_UTF32_LE, "utf-32-le"), (b"", "utf-16-le"), (b"", "utf-16-be")],
)  # fmt: skip
def test_lists_and_tables_come_in_any_unicode(folder: Path, mark: bytes, encoding: str) -> None:
    picture(3).save(folder / "ü.png")
    (folder / "t.csv").write_bytes(mark + "file,class\na.png,tench\nü.png,Löwe\n".encode(encoding))
    (folder / "l.txt").write_bytes(mark + "a.png\r\nü.png\r\n".encode(encoding))
    assert told(folder / "t.csv") == [A, ("ü.png", "Löwe", ())]
    assert [item.name for item in items(folder / "l.txt")] == ["a.png", "ü.png"]


def test_other_encodings_are_named_and_files_that_are_called_so_are_taken(folder: Path) -> None:
    latin = "ö.png".encode("latin-1")
    (folder / "l.txt").write_bytes(b"a.png\n" + latin + b"\n")
    said = refused(folder / "l.txt")
    assert said.endswith(
        "l.txt', line 2: this is not UTF-8 text; save the file as UTF-8, which Excel calls 'CSV UTF-8'"
    )
    (folder / "t.csv").write_bytes("file,class\na.png,Löwe\n".encode("latin-1"))
    assert "t.csv', line 2, column class: this is not UTF-8 text" in refused(folder / "t.csv")
    (folder / "cut.txt").write_bytes(codecs.BOM_UTF16_LE + "a.png".encode("utf-16-le")[:-1])
    assert "is not utf-16" in refused(folder / "cut.txt")
    Path(os.fsdecode(os.fsencode(folder) + b"/" + latin)).write_bytes(b"")
    assert [item.file for item in items(folder / "l.txt")] == ["a.png", "\ufffd.png"]


def test_backslashes_and_blanks_belong_to_a_name_only_where_such_a_file_is_there(folder: Path) -> None:
    (folder / "l.txt").write_text("sub\\b c.png\n  a.png  \n")
    second, first = items(folder / "l.txt")
    assert (first.name, second.name) == ("a.png", "sub/b c.png")
    assert second.file == "sub\\b c.png"
    picture(4).save(folder / "sub\\b c.png")
    picture(5).save(folder / "  a.png  ", "png")
    assert [item.name for item in items(folder / "l.txt")] == ["sub\\b c.png", "  a.png  "]


def test_a_nul_never_reaches_the_system(folder: Path) -> None:
    (folder / "l.txt").write_bytes(b"a.png\0sub/b c.png\0")
    assert "l.txt', line 1, holds a NUL character: write one path per line, as UTF-8 text" in refused(folder / "l.txt")
    (folder / "t.csv").write_bytes(b"file,class\na\0.png,tench\n")
    assert "NUL" in refused(folder / "t.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,label\na.png,tench\n", "has a column 'label', but no column 'class': rename it to 'class' if it says "
         "which class an image shows, else remove it; known columns are file, class, target"),
        ("file,Classes\na.png,tench\n", "has a column 'classes', but no column 'class'"),
        ("file,targets\na.png,tench\n", "has a column 'targets', but no column 'target'"),
        ("a.png,tench\nsub/b c.png,tabby\n", "begins with 'a.png,tench'; its first line must name the columns, as in "
         "'file,class'"),
        ("path,class\na.png,tench\n", "has the columns path, class; one must be called 'file'"),
        ("path;class\na.png;tench\n", "has the columns path, class; one must be called 'file'"),
        ("file,class,Class\na.png,tench,\n", "has several columns called 'class'"),
        ("", "is empty; its first line must name the columns, as in 'file'"),
        ("file,class\na,b.png,tench\n", "line 2: 3 cells, but the header names 2 columns; put cells that hold ',' in "
         "double quotes"),
        ("file,class\na.png,tench\n,tabby\n", "line 3: the column file is empty"),
    ],
)  # fmt: skip
def test_a_table_that_is_not_understood_is_named(folder: Path, text: str, said: str) -> None:
    (folder / "t.csv").write_text(text)
    assert said in refused(folder / "t.csv")


def test_columns_that_are_not_used_are_named_once(model: camserve.Model, folder: Path) -> None:
    lines: list[str] = []

    class Said(Silent):
        def say(self, text: str) -> None:
            lines.append(text)

    (folder / "t.csv").write_text("file,class,label,note\na.png,tench,x,y\n")
    summary = run_batch(model, folder / "t.csv", folder / "out", Options(outputs=()), progress=Said())
    line = f"'{folder / 't.csv'}': columns not used: label, note; known are file, class, target"
    assert summary.notes == [line]
    assert line in lines
    assert json.loads((folder / "out" / "run.json").read_text())["notes"] == [line]


def test_boxes_are_read_as_tables_are(folder: Path) -> None:
    text = "File; Left; top; right; bottom; label\na.png; 1; 2; 3; 4; cat\n"
    (folder / "boxes.csv").write_bytes(codecs.BOM_UTF16_LE + text.encode("utf-16-le"))
    check_objects(folder / "boxes.csv")
    (folder / "boxes.csv").write_text("file,left,top,right,bottom\na.png,1,2,x,4\n")
    with pytest.raises(OptionError, match="line 2: left, top, right, bottom must be numbers"):
        check_objects(folder / "boxes.csv")
