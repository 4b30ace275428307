"""A batch on a real Ray, started on this machine with two actors: the same bits, and an actor's death loses nothing.

Each in a process of its own, as Ray leaves threads and settings behind in the one that talks to it.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from conftest import picture

import camserve
from camserve.batch import Options, run_batch
from camserve.batch.plan import make_plan
from camserve.batch.ray_cluster import Cluster, recipe_of
from camserve.datasets.inputs import find_items
from camserve.errors import OptionError

MANY = 1000
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 32}
QUICK = ("--output", "none", "--size", "64")

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'camserve[ray]'")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand small pictures, fifty of them broken in one way or another."""
    folder = tmp_path_factory.mktemp("in")
    for number in range(MANY):
        path = folder / f"{number:04}.png"
        picture(number, (80, 64)).save(path)
        if number % 20 == 7:
            path.write_bytes(path.read_bytes()[: number // 3])
    return folder


def command(folder: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "camserve", "batch", str(folder), str(out), "--quiet", *more]


def on_ray(folder: Path, out: Path, *more: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command(folder, out, "--engine-cluster", "ray", "--actors", "2", *more))


def actors_of(process: "subprocess.Popen[bytes]") -> Iterator[psutil.Process]:
    """The processes of Ray's that explain for this one."""
    for child in psutil.Process(process.pid).children(recursive=True):
        if child.name().startswith("ray::MapWorker"):
            yield child


def contents(out: Path) -> dict[str, bytes]:
    """Every file below OUT but those that name the source."""
    named = ("run.json", "inputs.jsonl", "index.html")
    paths = (path for path in out.rglob("*") if path.is_file() and path.name not in named)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


@needs_ray
@pytest.mark.large
def test_methods_are_evaluated_alike_on_ray(tmp_path: Path) -> None:
    words = ["--method", "gradcam,random", "--metric", "deletion", "--json"]
    found = []
    for name, more in (("local", []), ("ray", ["--engine-cluster", "ray"])):
        call = ["evaluate", "efficientnet-lite0", "photos", "-o", str(tmp_path / name), *words, *more]
        done = subprocess.run([sys.executable, "-m", "camserve", *call], capture_output=True, check=True)
        found.append([(row["name"], row["figures"]["deletion"]) for row in json.loads(done.stdout)["methods"]])
    assert [name for name, _ in found[0]] == ["gradcam", "random"] and found[0] == found[1]


@needs_ray
def test_a_thousand_images_on_two_actors_one_of_which_is_killed(folder: Path, tmp_path: Path) -> None:
    local, out = tmp_path / "local", tmp_path / "ray"
    assert subprocess.run(command(folder, local, *QUICK), check=False).returncode == 1
    running = on_ray(folder, out, *QUICK)
    results = out / "results.jsonl"
    while running.poll() is None and (not results.exists() or results.read_bytes().count(b"\n") < 100):
        time.sleep(0.02)
    actors = list(actors_of(running))
    assert len(actors) == 2, "it ended before it could be disturbed"
    actors[0].kill()
    assert running.wait(300) == 1
    assert results.read_bytes() == (local / "results.jsonl").read_bytes()
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert (len(rows), sum(row["status"] == "failed" for row in rows)) == (MANY, 50)


@needs_ray
def test_files_are_the_same_bit_for_bit_and_a_local_run_goes_on_on_ray(folder: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.txt"
    few.write_text("\n".join(str(folder / f"{number:04}.png") for number in range(24)))
    outputs = ("--method", "cam,layercam", "--output", "overlay", "--output", "npy", "--output", "polygons")
    local, out = tmp_path / "local", tmp_path / "ray"
    assert subprocess.run(command(few, local, *outputs), check=False).returncode == 1
    assert subprocess.run(command(few, out, *outputs), check=False).returncode == 1
    lines = (out / "results.jsonl").read_bytes().splitlines(keepends=True)
    (out / "results.jsonl").write_bytes(b"".join(lines[:5]))  # as a kill after five rows leaves it
    later = [path for path in out.rglob("0020.png.*") if path.is_file()]
    assert len(later) == 6
    for path in later:
        path.unlink()
    assert on_ray(few, out, *outputs, "--resume").wait(300) == 1
    assert contents(out) == contents(local)


@needs_ray
@pytest.mark.large
def test_images_that_all_fail_alike_stop_a_cluster_s_run_too(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(250):
        (tmp_path / "in" / f"{number:03}.png").write_text("no picture")
    assert on_ray(tmp_path / "in", tmp_path / "out", *QUICK).wait(300) == 3
    assert (tmp_path / "out" / "results.jsonl").read_bytes().count(b"\n") == 200


@pytest.fixture
def address(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[str]:
    """Of a Ray with two CPUs that somebody else has started, and that asks for a token."""
    if not pytestconfig.getoption("--large"):
        pytest.skip("takes half a minute: --large")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = ["start", "--head", "--block", "--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats"]
    log = tmp_path_factory.mktemp("ray") / "log"
    # sockets lie below, whose paths may have 107 bytes
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as below, log.open("w") as said:
        command = [sys.executable, "-m", "ray.scripts.scripts", *words, f"--port={port}", f"--temp-dir={below}"]
        with subprocess.Popen(command, env={**os.environ, **TOKEN}, stdout=said, stderr=said) as head:
            while "Ray runtime started" not in log.read_text():
                assert head.poll() is None, log.read_text()
                time.sleep(0.1)
            yield f"127.0.0.1:{port}"
            for process in [*psutil.Process(head.pid).children(recursive=True), head]:  # asked, it would take 30 s
                process.kill()


@needs_ray
def test_a_cluster_that_runs_already_is_used_and_left_running(folder: Path, address: str, tmp_path: Path) -> None:
    few = tmp_path / "few.txt"
    few.write_text("\n".join(str(folder / f"{number:04}.png") for number in range(24)))
    local, out = tmp_path / "local", tmp_path / "ray"
    assert subprocess.run(command(few, local), check=False).returncode == 1
    there = ("--engine-cluster", "ray", "--cluster-address", address, "--actors", "2")
    for again in ((), ("--restart",)):
        ended = subprocess.run(command(few, out, *there, *again), env={**os.environ, **TOKEN}, check=False)
        assert ended.returncode == 1
        assert contents(out) == contents(local)


@needs_ray
def test_where_no_cluster_answers_a_token_is_thought_of(
    folder: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    if not pytestconfig.getoption("--large"):
        pytest.skip("Ray waits half a minute for a cluster (--large)")
    there = ("--engine-cluster", "ray", "--cluster-address", "ray://127.0.0.1:9")
    ended = subprocess.run(command(folder, tmp_path / "out", *there), capture_output=True, text=True, check=False)
    assert "no cluster answers at 'ray://127.0.0.1:9'" in ended.stderr
    assert "RAY_AUTH_MODE=token" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_model_without_a_card_is_refused_before_a_cluster_is_asked(tmp_path: Path) -> None:
    from planted import LABELS, Net

    network = camserve.load(Net(), labels=LABELS, size=64)
    picture(1).save(tmp_path / "a.png")
    with pytest.raises(OptionError, match="load a model from its card, but 'Net' has no card: try `camserve add`"):
        run_batch(network, tmp_path, tmp_path / "out", cluster=Cluster())
    assert not (tmp_path / "out").exists()


def test_what_actors_get_is_one_worker_each(model: camserve.Model, tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    plan = make_plan(find_items(str(tmp_path), tmp_path / "out"), tmp_path / "out", "x", model, {})
    recipe = recipe_of(model, Options(), plan, None)
    assert recipe.settings.compute.workers == 1
    assert recipe.weights == model.weights_sha256
    assert Path(recipe.home).is_file()
    assert Path(recipe.out).is_absolute()


def test_options_of_a_cluster_need_one(tmp_path: Path) -> None:
    asked = command(tmp_path, tmp_path / "out", "--actors", "2")
    ended = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "add --engine-cluster ray" in ended.stderr
