"""Images at URIs: the same as in a folder, whatever they are called; on a real file system and from a real S3."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import picture

import camserve
from camserve.batch import Options, run_batch
from camserve.datasets.inputs import find_items
from camserve.datasets.remote import inside_of
from camserve.errors import OptionError

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem

pytest.importorskip("pyarrow", reason="no pyarrow to read other file systems with")

NAMES = ("a.png", "deep/b.png", "deep/sp ace#q?m%20.png", "ünï=.png", "fake.png", "notes.txt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with names that a URI cannot hold as they are, one that is none, and another file."""
    folder = tmp_path_factory.mktemp("in")
    for number, name in enumerate(NAMES):
        (folder / name).parent.mkdir(exist_ok=True)
        if name.startswith(("fake", "notes")):
            (folder / name).write_text("no picture")
        else:
            picture(number).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 that forgets everything in the end; its keys are in the environment."""
    program = shutil.which("moto_server") or shutil.which("moto_server", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip('no S3 to talk to: pip install "moto[server]"')
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log = (tmp_path_factory.mktemp("s3") / "log").open("w")
    before = dict(os.environ)
    os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "key", "AWS_EC2_METADATA_DISABLED": "true"}
    with log, subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log) as process:
        _wait(port, process)
        yield f"127.0.0.1:{port}"
        process.terminate()
    os.environ.clear()
    os.environ |= before


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert process.poll() is None, "the S3 has ended"
            time.sleep(0.1)
    pytest.fail("the S3 did not answer within 30 s")


@pytest.fixture(scope="module")
def bucket(server: str, folder: Path) -> str:
    """The URI of a folder in a bucket that holds the files of `folder`, with {} in place of what comes below."""
    from pyarrow import fs

    how = {"endpoint_override": server, "scheme": "http", "region": "us-east-1"}
    system: S3FileSystem = fs.S3FileSystem(**how, allow_bucket_creation=True)
    system.create_dir("bucket")
    fs.copy_files(str(folder), "bucket/some photos", destination_filesystem=system)
    return "s3://bucket/some photos{}?" + "&".join(f"{key}={value}" for key, value in how.items())


def contents(out: Path) -> dict[str, bytes]:
    """Every file below OUT but those that name the source."""
    named = ("run.json", "inputs.jsonl", "index.html")
    paths = (path for path in out.rglob("*") if path.is_file() and path.name not in named)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def test_images_at_a_uri_are_those_of_a_folder(model: camserve.Model, folder: Path, tmp_path: Path) -> None:
    for name, source in (("path", str(folder)), ("uri", folder.as_uri())):
        summary = run_batch(model, source, tmp_path / name, Options(outputs=("map",)))
        assert (summary.explained, summary.failed, summary.ignored) == (4, 1, 1)
    assert contents(tmp_path / "path") == contents(tmp_path / "uri")


def test_a_list_of_uris_names_images_by_where_they_lie(folder: Path, tmp_path: Path) -> None:
    uris = [f"{folder.as_uri()}/a.png", "s3://key:secret@bucket/b c.png?region=eu-west-1", "gs://bucket/%C3%BC.png"]
    (tmp_path / "list.txt").write_text("\n".join(uris))
    items = [item for item in find_items(str(tmp_path / "list.txt"), tmp_path) if item]
    names = [f"=file{folder}/a.png", "=s3/bucket/b c.png", "=gs/bucket/ü.png"]
    assert [(item.name, item.path) for item in items] == list(zip(names, uris, strict=True))
    assert [item.file for item in items] == [uris[0], "s3://bucket/b c.png?region=eu-west-1", uris[2]]  # no password
    assert inside_of("file:///a%20b.png") == "a b.png"


def test_what_is_not_at_a_uri_is_said(model: camserve.Model, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot list 'file:///nowhere/at/all'"):
        list(find_items("file:///nowhere/at/all", tmp_path))
    with pytest.raises(OptionError, match="'nonesuch://bucket' cannot be opened"):
        list(find_items("nonesuch://bucket", tmp_path))
    (tmp_path / "list.txt").write_text("file:///nowhere.png\n")
    run_batch(model, str(tmp_path / "list.txt"), tmp_path / "out")
    row = json.loads((tmp_path / "out" / "results.jsonl").read_text())
    assert (row["file"], row["name"], row["code"]) == ("file:///nowhere.png", "=file/nowhere.png", "bad_image")
    assert "cannot read 'file:///nowhere.png'" in row["error"]


def test_a_bucket_of_s3_is_the_same_as_the_folder(
    model: camserve.Model, folder: Path, bucket: str, tmp_path: Path
) -> None:
    for name, source in (("path", str(folder)), ("s3", bucket.format(""))):
        summary = run_batch(model, source, tmp_path / name, Options(outputs=("map", "overlay")))
        assert (summary.explained, summary.failed, summary.ignored) == (4, 1, 1)
    assert contents(tmp_path / "path") == contents(tmp_path / "s3")


def test_an_object_that_is_not_in_the_bucket_fails_alone(model: camserve.Model, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\n".join(bucket.format(name) for name in ("/gone.png", "/a.png")))
    summary = run_batch(model, str(tmp_path / "list.txt"), tmp_path / "out", Options(outputs=()))
    assert (summary.explained, summary.failed) == (1, 1)
    rows = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [row["name"] for row in rows] == ["=s3/bucket/some photos/a.png", "=s3/bucket/some photos/gone.png"]
    assert rows[1]["code"] == "bad_image"
    assert "gone.png" in rows[1]["error"]
