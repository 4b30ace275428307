"""The attackers of benchmarks/load.py send what they say, and normal clients are counted beside them."""

import asyncio
import json
from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest

import camserve


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmarks import each other as programs in one folder do."""
    monkeypatch.syspath_prepend(str(Path(camserve.__file__).parent.parent / "benchmarks"))


def test_a_client_that_waited_counts_for_all_it_did_not_ask() -> None:
    """Half a minute without an answer is not hidden by a few quick seconds after it."""
    from clients import Answer
    from normal import Seen

    quick = [Answer(30 + 0.02 * number, 0.02, 200) for number in range(500)]
    quiet = Seen(answers=quick)
    assert quiet.median == 0.02
    assert quiet.late(quiet) == 0
    stopped = Seen(answers=[Answer(0, 30, 504), Answer(0, 30, 504), *quick])
    assert stopped.late(quiet) == pytest.approx(75, abs=1)
    assert stopped.gap == pytest.approx(30.02)
    refused = Seen(answers=[Answer(number, seconds, 429) for number, seconds in enumerate((0.05, 0.05, 0.05, 0.2))])
    assert 0 < refused.late(quiet) < 80
    assert refused.gap == pytest.approx(3.2)
    assert Seen().late(quiet) == 100


def test_what_abusive_clients_send_is_what_it_is_called() -> None:
    import hostile
    from PIL import Image

    file = hostile.bomb(1, 2, 3, 65_535)
    assert len(file) < 10**6
    assert Image.open(BytesIO(file)).size == (10_000, 5_000)
    assert len(json.loads(hostile.many_instances(7))["instances"]) == 7
    assert json.loads(hostile.faults(3)) == {"instances": [0, 0, 0]}


def test_every_input_is_another_and_can_be_made_again() -> None:
    from inputs import KINDS, made

    for kind in KINDS:
        requests = [made(kind, number) for number in range(20)]
        assert len(set(requests)) > 15
        assert requests == [made(kind, number) for number in range(20)]


def test_normal_clients_are_watched_beside_inputs_and_slow_readers(cache: Path) -> None:
    from inputs import KINDS, tried
    from normal import watched
    from readers import read_slowly
    from running import running

    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("what a process holds is read from /proc, which is Linux's")
    ends: Counter[str] = Counter()
    with running(CAMSERVE_COMPUTE_CACHE=str(cache)) as service:
        with watched(service) as seen:
            found = asyncio.run(tried(service.address, 0.5))
            for seconds in (1, 5, 25):  # a busy machine takes longer for the first bytes of 24 MB
                ends.clear()
                asyncio.run(read_slowly(service.address, 1, seconds, ends))
                if "waiting at the end" not in ends:
                    break
        held = service.holds()["MB"]
        service.end_now()
    assert set(found) <= set(KINDS)
    assert any(answer.status in (400, 415, 422) for answers in found.values() for answer in answers.values())
    assert ends == {"200, reading at the end": 1}
    (quiet, meanwhile) = seen.table("Normal requests", seen).rows
    assert quiet["normal requests"] == meanwhile["normal requests"] > 0
    assert seen.peak >= held > 50
    assert seen.health["asked"] > 5
