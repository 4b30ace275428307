"""Shapes that come often have graphs of their own: the same bits, made beside the work, few, and let go of."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import picture

import camserve
from camserve.config import load_settings
from camserve.models.onnx_export import export
from camserve.system.workers import Workers

if find_spec("openvino") is None:
    pytest.skip("camserve[openvino] is not installed", allow_module_level=True)
from camserve.models.engines import frequent_shapes
from camserve.models.engines.compiled_model import Compiled

SIZES = [(1, 1), (3, 5), (33, 47), (225, 223), (299, 224), (101, 333)]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(frequent_shapes, "OFTEN", 4)
    model = camserve.load(settings=load_settings(overrides={"compute": {"engine": "openvino"}}))
    yield model.layer().engine
    model.forget_sizes()


def images(size: tuple[int, int], count: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(seed))


def of(engine: Any) -> frequent_shapes.FrequentShapes:
    found: frequent_shapes.FrequentShapes = engine.observed.frequent
    return found


def asked(engine: Any, given: torch.Tensor, times: int = 5) -> list[Any]:
    """Its answers, the graph being made after one of them."""
    found = []
    for _ in range(times):
        found.append(engine(given))
        of(engine).settled()
    return found


@pytest.mark.parametrize("size", SIZES)
def test_a_shape_that_comes_often_has_a_graph_that_gives_the_same_bits(engine: Any, size: tuple[int, int]) -> None:
    others = [images(size, seed=seed) for seed in (1, 2)]
    before = [engine(one) for one in others]
    asked(engine, images(size))
    assert [shape.of for shape in of(engine).graphs] == [(1, 3, *size)]
    for given, known in zip(others, before, strict=True):
        again = engine(given)
        assert torch.equal(again[0], known[0])
        assert torch.equal(again[2], known[2])


def test_no_answer_waits_for_one(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, compiled = threading.Event(), of(engine)._compiled

    def slowly(shape: frequent_shapes.Shape) -> Any:
        assert may_end.wait(30)
        return compiled(shape)

    monkeypatch.setattr(of(engine), "_compiled", slowly)
    given = images((40, 40))
    found = [engine(given) for _ in range(8)]  # would never end if one waited
    assert not of(engine).graphs
    may_end.set()
    of(engine).settled()
    assert len(of(engine).graphs) == 1
    assert all(torch.equal(engine(given)[2], one[2]) for one in found)


def test_there_are_few_and_the_rarest_makes_room(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of(engine), "_most", lambda: 2)
    for side in (30, 31, 32):
        asked(engine, images((side, 40)))
    assert [shape.of[2] for shape in of(engine).graphs] == [30, 31]  # no rarer than the third
    asked(engine, images((31, 40)), 20)
    asked(engine, images((32, 40)), 20)
    assert [shape.of[2] for shape in of(engine).graphs] == [31, 32]


def test_a_heavy_network_has_none(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frequent_shapes, "WEIGHTS", 10**6)
    asked(engine, images((40, 40)))
    assert not of(engine).graphs


def test_one_that_gives_other_bits_is_never_taken(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given, compiled = images((40, 40)), of(engine)._compiled
    before = engine(given)
    other = frequent_shapes.Shape((1, 3, 40, 41), is_modest=False)
    monkeypatch.setattr(of(engine), "_compiled", lambda shape: compiled(other))
    made = [engine(given)]
    made += asked(engine, given, 8)
    assert not of(engine).graphs
    assert all(torch.equal(one[2], before[2]) for one in made)
    monkeypatch.undo()
    wrong = before[0].numpy() + 1, before[2].numpy()
    of(engine)._make(frequent_shapes.Shape((1, 3, 40, 40), is_modest=False), given.numpy(), list(wrong))
    assert not of(engine).graphs


def test_one_that_fails_gives_way_to_the_graph_of_any_shape(engine: Any) -> None:
    given = images((40, 40))
    (known, *_) = asked(engine, given)
    (shape,) = of(engine).graphs
    other = frequent_shapes.Shape((1, 3, 50, 50), is_modest=False)
    of(engine).graphs[shape] = of(engine)._compiled(other)  # refuses the size
    assert torch.equal(engine(given)[2], known[2])
    assert not of(engine).graphs


def test_rest_lets_go_of_what_has_become_rare(engine: Any) -> None:
    asked(engine, images((40, 40)), 8)
    engine.forget_sizes()
    assert len(of(engine).graphs) == 1
    for _ in range(3):
        engine.forget_sizes()
    assert not of(engine).graphs
    assert torch.equal(engine(images((40, 40)))[2], engine(images((40, 40)))[2])


def test_threads_that_give_way_have_graphs_of_their_own(engine: Any) -> None:
    workers = Workers(1, 1, modest=True)
    given = images((40, 40))
    (first, *_) = workers.run(lambda: asked(engine, given))
    assert [shape.is_modest for shape in of(engine).graphs] == [True]
    asked(engine, given)
    assert sorted(shape.is_modest for shape in of(engine).graphs) == [False, True]
    assert torch.equal(workers.run(lambda: engine(given))[2], first[2])
    workers.close()


def test_many_threads_get_the_serial_bits(engine: Any) -> None:
    sizes = [(40 + 8 * number, 56) for number in range(4)]
    known, found = [engine(images(size))[2] for size in sizes], dict[int, list[bool]]()

    def ask(number: int) -> None:
        found[number] = [torch.equal(engine(images(sizes[number]))[2], known[number]) for _ in range(12)]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    of(engine).settled()
    assert of(engine).graphs
    assert all(map(all, found.values()))


def test_explanations_of_a_file_have_them_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(frequent_shapes, "OFTEN", 4)
    model = camserve.load(settings=load_settings(overrides={"compute": {"engine": "torch"}}))
    export(model, tmp_path / "net.onnx")
    file = camserve.load(tmp_path / "net.onnx")
    compiled: Compiled = file.closed._compiled
    before = file.explain(picture())
    for _ in range(6):
        again = file.explain(picture())
        compiled.frequent.settled()
    assert compiled.frequent.graphs
    assert (again.map == before.map).all()


FORKING = """
import os, sys, threading, time
import torch
import camserve
from camserve.config import load_settings
from camserve.models.engines import frequent_shapes

frequent_shapes.OFTEN = 4
engine = camserve.load(settings=load_settings(overrides={"compute": {"engine": "openvino"}})).layer().engine
frequent, given = engine.observed.frequent, torch.zeros(1, 3, 40, 40)
asked, may_end = threading.Event(), threading.Event()

def work():
    for _ in range(8):
        engine(given)
        frequent.settled()
    assert frequent.graphs
    asked.set()
    may_end.wait()

thread = threading.Thread(target=work)
thread.start()
asked.wait()
for shape in list(frequent.graphs):
    frequent.drop(shape)
child = os.fork()
if not child:
    os._exit(0)
end = time.monotonic() + 60
while (found := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < end:
    time.sleep(0.05)
if not found[0]:
    os.kill(child, 9)
may_end.set()
thread.join()
sys.exit("the child of a fork has not ended" if found != (child, 0) else 0)
"""


def test_a_thread_is_not_the_last_to_hold_a_graph_that_went() -> None:
    """Or the child of a fork, where other threads' storage is destroyed, waits for what they would have to do."""
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
