"""The service holds: more requests than it can answer, clients that disappear, SIGTERM at work, and a killed worker.

Short runs of benchmarks/load.py against one real `camserve serve` of few places. Limits of time are wide, as tests
share their cores.
"""

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import picture

import camserve
from camserve.config import load_settings
from camserve.errors import ClientGone
from camserve.images.reading import encode
from camserve.web.app import create_app
from camserve.web.request_record import Record
from camserve.web.server.gunicorn_worker import PROBE
from camserve.web.server.incoming import FIRST_BYTES, HEAD_BYTES, Arriving
from camserve.web.server.outgoing import PACE_BYTES, PACE_SECONDS, Outgoing, Sending, too_slow
from camserve.web.service import Service
from camserve.web.work.desks import Desks

if TYPE_CHECKING:
    from running import Running

THREADS = 8
HEAD = b"POST /x HTTP/1.1\r\nHost: x\r\n"
PLACES = 5


@pytest.fixture(autouse=True, scope="module")
def beside() -> Iterator[None]:
    """The benchmarks import each other as programs in one folder do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(camserve.__file__).parent.parent / "benchmarks"))
        yield


@pytest.fixture(scope="module")
def running_service(beside: None, cache: Path) -> "Iterator[Running]":
    """A service of one worker, in front of which four requests wait. The last test ends it."""
    from running import FORGETFUL, running

    if not Path("/proc/self/status").exists():
        pytest.skip("what a process holds is read from /proc, which is Linux's")
    small = {
        "CAMSERVE_COMPUTE_WORKERS": "1",
        "CAMSERVE_SERVE_QUEUE": str(PLACES - 1),
        "CAMSERVE_SERVE_HTTP_THREADS": str(THREADS),
    }
    with running(**FORGETFUL, **small, CAMSERVE_COMPUTE_CACHE=str(cache)) as made:
        yield made


@pytest.fixture(scope="module")
def requests(beside: None) -> Iterator[bytes]:
    """Without end, of which no two are alike."""
    from clients import posts
    from overload import small_photographs

    return posts(small_photographs())


def statuses(answers: list[Any]) -> "Counter[str]":
    return Counter(str(one.status or one.failure) for one in answers)


# ---- a request on its way in


def arriving(*pieces: bytes, largest: int = 10**6) -> Arriving:
    one = Arriving(largest, 0)
    for piece in pieces:
        one.add(piece)
    return one


@pytest.mark.parametrize(
    ("pieces", "here"),
    [
        ([HEAD[:20]], False),
        ([HEAD], False),
        ([HEAD, b"\r\n"], True),
        ([HEAD, b"\r", b"\n"], True),
        ([HEAD + b"Content-Length: 0\r\n\r\n"], True),
        ([HEAD + b"content-length:3\r\n\r\n", b"ab"], False),
        ([HEAD + b"content-length:3\r\n\r\n", b"ab", b"c"], True),
        ([HEAD + b"Content-Length: 100000\r\n\r\n", bytes(FIRST_BYTES - 1)], False),
        ([HEAD + b"Content-Length: 100000\r\n\r\n", bytes(FIRST_BYTES)], True),
        ([HEAD + b"Content-Length: 1000001\r\n\r\n"], True),  # will be refused unread
        ([HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n"], True),
        ([HEAD + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"], True),  # comes only when asked for
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n"], False),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n0\r\n", b"\r\nGET /"], True),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n", bytes(FIRST_BYTES)], True),
    ],
)
def test_a_request_gets_a_thread_when_it_is_known_to_come(pieces: list[bytes], here: bool) -> None:
    one = arriving(*pieces)
    assert one.here == here
    assert bytes(one.data) == b"".join(pieces)
    assert not one.too_long


@pytest.mark.parametrize(
    ("data", "is_head"),
    [
        (HEAD, False),
        (HEAD + b"\r\n", True),
        (HEAD + b"\r\nGET /", False),
        (HEAD + b"Content-Length: 3\r\n\r\nabc", False),
        (HEAD + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n", False),
        (HEAD + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n", False),
    ],
)
def test_a_head_alone_is_told_from_what_has_more(data: bytes, is_head: bool) -> None:
    assert arriving(data).is_head == is_head


@pytest.mark.parametrize(
    ("pieces", "is_whole"),
    [
        ([HEAD], False),
        ([HEAD + b"\r\n"], True),
        ([HEAD + b"Content-Length: 3\r\n\r\nab"], False),
        ([HEAD + b"Content-Length: 3\r\n\r\nab", b"c"], True),
        ([HEAD + b"Content-Length: 3\r\n\r\nabcGET /"], False),
        ([HEAD + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"], False),
        ([HEAD + b"Content-Length: 1000001\r\n\r\n"], False),  # too large to be read
        ([HEAD + b"Content-Length: 100000\r\n\r\n", bytes(FIRST_BYTES)], False),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n"], False),
    ],
)
def test_a_connection_may_end_at_once_where_nothing_is_left_to_read(pieces: list[bytes], is_whole: bool) -> None:
    assert arriving(*pieces).is_whole == is_whole


def test_every_probe_is_answered_on_the_main_thread() -> None:
    paths = {rule.rule for rule in create_app(service=Service(load_settings(environ={}))).url_map.iter_rules()
             if rule.endpoint.startswith("health.")}  # fmt: skip
    assert len(paths) == 6
    assert all(PROBE.match(f"GET {path} HTTP/1.1".encode()) for path in paths)
    assert not PROBE.match(b"GET /livezz HTTP/1.1")
    assert not PROBE.match(b"POST /livez HTTP/1.1")


def test_a_head_has_a_largest_size() -> None:
    assert not arriving(bytes(HEAD_BYTES)).too_long
    assert arriving(bytes(HEAD_BYTES), b"x").too_long
    assert not arriving(HEAD + b"\r\n", bytes(HEAD_BYTES)).too_long


def test_a_client_that_has_closed_its_side_is_gone() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        now = Record("x", ours)
        now.check_client()
        theirs.sendall(b"GET /next")
        now.check_client()
        assert ours.recv(100) == b"GET /next"
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(ClientGone, match="the client has closed the connection"):
            now.check_client(3, 100)
    Record("x").check_client()


# ---- an answer on its way out


@pytest.fixture
def pair() -> Iterator[tuple[Outgoing, socket.socket]]:
    """Our end of a connection, and the client's."""
    ours, theirs = socket.socketpair()
    with Outgoing(ours) as outgoing, theirs:
        yield outgoing, theirs


def test_an_answer_that_is_not_read_waits_for_nobody_and_loses_nothing(pair: tuple[Outgoing, socket.socket]) -> None:
    ours, theirs = pair
    sent, read = os.urandom(3_000_000), bytearray()
    ours.sendall(sent[:10])
    assert ours.unsent == 0
    ours.sendall(sent[10:1_000_000])
    ours.sendall(memoryview(sent)[1_000_000:])
    assert 0 < ours.unsent == len(sent) - ours.accepted
    while ours.unsent:
        read += theirs.recv(100_000)
        ours.send_more()
    while len(read) < len(sent):
        read += theirs.recv(100_000)
    assert read == sent
    ours.sendall(bytes(10_000_000))
    theirs.close()
    with pytest.raises(OSError, match="Broken pipe"):
        ours.send_more()


def test_who_reads_too_little_is_given_up(pair: tuple[Outgoing, socket.socket]) -> None:
    ours, theirs = pair
    ours.sendall(bytes(10_000_000))
    one, before = Sending(ours, Future()), ours.accepted
    assert not one.is_too_slow(one.began + 1)
    while ours.accepted < before + PACE_BYTES:
        theirs.recv(100_000)
        ours.send_more()
    assert not one.is_too_slow(one.began + PACE_SECONDS)
    theirs.recv(1000)
    ours.send_more()
    assert not one.is_too_slow(one.began + 1.9 * PACE_SECONDS)
    assert one.is_too_slow(one.began + 2 * PACE_SECONDS)


def test_the_slowest_are_given_up_where_too_much_is_held() -> None:
    with ExitStack() as stack:
        sending = []
        for read in (3, 0, 2):
            ours, theirs = socket.socketpair()
            mine = stack.enter_context(Outgoing(ours))
            stack.enter_context(theirs)
            mine.sendall(bytes(1_000_000))
            sending.append(Sending(mine, Future(), time.monotonic() - 20))
            for _ in range(read):
                theirs.recv(50_000)
                mine.send_more()
        held = [one.connection.unsent for one in sending]
        assert too_slow(sending, sum(held)) == []
        assert too_slow(sending, sum(held) - 1) == [sending[1]]
        assert too_slow(sending, held[0]) == [sending[1], sending[2]]
        assert too_slow(sending, 0) == [sending[1], sending[2]]  # one answer may be larger than all that is allowed


# ---- who works next


def test_who_has_waited_longest_is_next() -> None:
    desks, order, end = Desks(1), [], threading.Event()
    assert desks.take(0)
    assert not desks.take(0.01)

    def work(name: int) -> None:
        assert desks.take(10)
        order.append(name)
        assert end.wait(10)
        desks.give_back()

    threads = [threading.Thread(target=work, args=(name,)) for name in range(5)]
    for waiting, thread in enumerate(threads, 1):
        thread.start()
        while len(desks._line) < waiting:
            time.sleep(0.001)
    desks.give_back()
    assert not desks.take(0)  # nobody overtakes
    end.set()
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]


# ---- the real service


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /livez HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n",  # and no more
        b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n" + bytes(FIRST_BYTES),
        b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 40_000,  # whose answers nobody reads
    ],
)
def test_a_client_that_plays_with_health_checks_stops_nobody(running_service: "Running", sent: bytes) -> None:
    with socket.create_connection(running_service.address) as rude:
        rude.settimeout(0.5)
        with suppress(TimeoutError):
            rude.sendall(sent)
        time.sleep(0.1)
        slowest = 0.0
        for _ in range(5):
            start = time.monotonic()
            with socket.create_connection(running_service.address, timeout=30) as polite:
                polite.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
                assert b" 200 " in polite.recv(100)
            slowest = max(slowest, time.monotonic() - start)
    assert slowest < 2


def test_slow_readers_hold_no_thread(running_service: "Running") -> None:
    photograph = encode(picture(size=(1600, 1200)), "jpeg")
    head = f"POST /api/v1/explain HTTP/1.1\r\nHost: x\r\nContent-Length: {len(photograph)}\r\n"

    def ask(accept: str) -> socket.socket:
        made = stack.enter_context(socket.socket())
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # else the system reads for the client
        made.settimeout(30)
        made.connect(running_service.address)
        made.sendall(f"{head}Accept: {accept}\r\n\r\n".encode() + photograph)
        return made

    with ExitStack() as stack:
        slow = [ask("application/x-npy")]
        first = bytearray(slow[0].recv(2000))
        for _ in range(THREADS + PLACES):
            slow.append(ask("application/x-npy"))
            assert b" 200 " in slow[-1].recv(100)
        start = time.monotonic()
        assert b" 200 " in ask("application/json").recv(100)
        assert time.monotonic() - start < 5
        headers, body = first.split(b"\r\n\r\n")
        while len(body) < 4 * 1600 * 1200 + 128:
            piece = slow[0].recv(2**20)
            assert piece
            body += piece
        assert b"Content-Length: %d" % len(body) in headers
    assert running_service.complaints() == []


def test_beyond_its_capacity_every_request_is_answered_or_refused(
    running_service: "Running", requests: Iterator[bytes]
) -> None:
    from clients import at_rate
    from running import probed

    with probed(running_service) as health:
        answers = asyncio.run(at_rate(running_service.address, requests, 300, 2))
    assert len(answers) == 600
    found = statuses(answers)
    assert set(found) == {"200", "429"}
    assert found["200"] >= PLACES
    assert max(one.seconds for one in answers) < 30
    assert health["failed"] == 0
    assert health["asked"] > 5
    assert health["slowest"] < 2000
    assert running_service.complaints() == []


def test_clients_that_disappear_leave_nothing_behind(running_service: "Running", requests: Iterator[bytes]) -> None:
    from clients import ask, post
    from faults import WAYS, abandoned_after, among_vanishing
    from running import seconds_until

    gone: Counter[str] = Counter()
    for path in ("?size=700", "?method=gradcam"):  # the first ones have an engine made, and the network met
        asked = post(encode(picture(), "jpeg"), f"/api/v1/explain{path}")
        assert asyncio.run(ask(running_service.address, asked)).status == 200
    assert seconds_until(lambda: running_service.busy() == 0, 30) < 30
    before = running_service.holds()
    answers = asyncio.run(among_vanishing(running_service.address, requests, 50, 2, gone))
    assert set(gone) == set(WAYS)
    found = statuses(answers)
    assert found["200"] > 0
    assert set(found) <= {"200", "429"}
    # A thousand forwards for each of PLACES clients who have left; all of them take far longer.
    assert abandoned_after(running_service, PLACES) < 4
    most = before["descriptors"] + 2  # a size that has come often has the network's files opened, once
    assert seconds_until(lambda: running_service.holds()["descriptors"] <= most, 60) < 60
    logged = [json.loads(line) for line in running_service.log.read_text().splitlines() if '"client_gone"' in line]
    assert {line["status"] for line in logged} == {499}
    assert running_service.complaints() == []


def test_a_killed_worker_is_replaced(running_service: "Running", requests: Iterator[bytes]) -> None:
    from faults import until_answered

    killed = running_service.worker
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    answers = asyncio.run(until_answered(running_service.address, requests, time.monotonic() + 60))
    assert answers[-1].status == 200
    assert running_service.worker not in (None, killed)
    assert running_service.complaints() == []


def test_a_term_signal_under_load_loses_nothing_and_takes_nothing(
    running_service: "Running", requests: Iterator[bytes]
) -> None:
    from faults import left_alone, through_term

    answers, told, took = asyncio.run(through_term(running_service, requests, 100, 2))
    before = statuses([one for one in answers if one.began < told - 0.1])
    after = [one for one in answers if one.began > told + 0.1]
    assert before["200"] > 0
    assert set(before) <= {"200", "429"}
    assert len(after) > 0
    assert set(statuses(after)) == {"ConnectionRefusedError"}
    assert left_alone(after) == 0
    assert took < 15
    assert running_service.popen.returncode == 0
    assert running_service.complaints() == []


# ---- the benchmark


def test_a_broken_promise_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import load
    from measuring import Aim, Results, Table

    def part(seconds: float) -> Results:
        """At most two."""
        return Results([Table("Seconds", [{"seconds": seconds}])], [Aim("seconds", seconds, 2)])

    monkeypatch.setattr(load, "PARTS", {"overload": part})
    for seconds, broken in (("2", None), ("3", "not as promised: seconds")):
        words = ["load.py", "--only", "overload", "--seconds", seconds, "--out", str(tmp_path / "load")]
        monkeypatch.setattr("sys.argv", words)
        if broken:
            with pytest.raises(SystemExit, match=broken):
                load.main()
        else:
            load.main()
        assert (
            f"| seconds | {seconds}.00 | at most 2 | {'no' if broken else 'yes'} |"
            in (tmp_path / "load.md").read_text()
        )
