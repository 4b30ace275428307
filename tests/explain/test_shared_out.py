"""Methods with many forwards, done by one worker and by several: the same bits."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import picture

import camserve
from camserve.catalogue.options import ExplainOptions
from camserve.errors import DeadlinePassed
from camserve.explain.pipeline import explain
from camserve.explain.run import Run
from camserve.methods import masking, occluding, pixel_gradients
from camserve.system.workers import Workers


@pytest.mark.parametrize("method", ["rise", "occlusion", "scorecam", "groupcam", "integratedgradients"])
def test_several_workers_give_the_bits_of_one(
    model: camserve.Model, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """And report the same forwards, in order, on the thread that was asked."""
    monkeypatch.setattr(occluding, "MASKS", 18)
    monkeypatch.setattr(occluding, "WINDOWS", 3)
    monkeypatch.setattr(pixel_gradients, "STEPS", 6)
    monkeypatch.setattr(masking, "GROUPS", 10)
    varying = masking._varying
    monkeypatch.setattr(masking, "_varying", lambda maps: varying(maps)[:18])
    helped, given = list[object](), Workers.spare

    def spare(pool: Workers, task: Callable[[], Any]) -> Future[Any] | None:
        helped.append(found := given(pool, task))
        return found

    monkeypatch.setattr(Workers, "spare", spare)
    options, maps, reports = ExplainOptions(method=method, size="crop"), [], []
    for count in (1, 3):
        pool, told = Workers(count, 1), list[tuple[int, int]]()
        run = Run(pool, progress=lambda *done, told=told: told.append(done))
        maps.append(explain(model, picture(size=(64, 64)), 5, options, run).map)
        reports.append(told)
        pool.close()
    assert np.array_equal(maps[0], maps[1])
    assert reports[0] == reports[1] != []
    assert any(helped)


def test_a_passed_deadline_ends_what_is_shared_out(model: camserve.Model) -> None:
    pool = Workers(2, 1)
    with pytest.raises(DeadlinePassed):
        explain(model, picture(), 5, ExplainOptions(method="rise"), replace(Run(pool), deadline=0.5))
    pool.close()
