"""What is no HTTP, or ends otherwise than it should: every refusal has the form of all others, and costs nothing."""

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from attacks import PROXY, ask_raw
from conftest import picture

from camserve.config import load_settings
from camserve.images.reading import encode
from camserve.web.other_origins import security_headers
from camserve.web.server.chunks import Chunks
from camserve.web.server.incoming import FIRST_BYTES, Arriving
from camserve.web.server.proxies import client_of

if TYPE_CHECKING:
    from running import Running

JPEG = encode(picture(size=(32, 24)), "jpeg")
CHUNKED = b"Host: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
EXPLAIN = b"POST /api/v1/explain HTTP/1.1\r\n" + CHUNKED
PREDICT = b"POST /v1/models/efficientnet-lite0:predict HTTP/1.1\r\nContent-Type: image/jpeg\r\n" + CHUNKED
FORM = EXPLAIN.replace(b"Host", b"Content-Type: multipart/form-data; boundary=a\r\nHost")
BODY = b"%x\r\n%b\r\n" % (len(JPEG), JPEG)
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"


# ---- where chunks end


def over(*pieces: bytes) -> int | None:
    """The place of the piece with which it is over."""
    data, chunks = bytearray(b"head"), Chunks(4)
    for place, piece in enumerate(pieces):
        data += piece
        if chunks.over(data):
            return place
    return None


@pytest.mark.parametrize(
    ("pieces", "at"),
    [
        ([b"3\r\nabc\r\n0\r\n\r\n"], 0),
        ([b"3\r\nabc\r\n0\r\n", b"X-Sum: 5\r\n", b"\r", b"\n"], 3),
        ([b"7\r\n0\r\n\r\n", b"ab\r\n"], None),  # which holds what looks like an end
        ([b"7\r\n0\r\n\r\n", b"ab\r\n", b"000;a=b\r\n\r\n"], 2),
        ([b"3", b"\r", b"\nab", b"c\r", b"\n0\r\n\r", b"\n"], 5),
        ([b"zz\r\n"], 0),  # no size: nothing more is awaited
        ([b"3\r\nabc", b"x"], 1),
        ([b"9" * 9000], 0),
        ([b"1\r\na\r\n" * 10_000], 0),  # who sends so many is read by a thread
        ([b"1\r\na\r\n" * 100], None),
    ],
)
def test_the_end_of_chunks_is_found_while_they_come(pieces: list[bytes], at: int | None) -> None:
    assert over(*pieces) == at


def test_many_tiny_chunks_cost_no_time() -> None:
    start = time.perf_counter()
    over(*[b"1\r\na\r\n"] * 10_000, *[b"9"] * FIRST_BYTES)
    assert time.perf_counter() - start < 2  # quadratic it would be a minute


@pytest.mark.parametrize(
    "head", [b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b"Transfer-Encoding: brotli\r\n\r\n"]
)
def test_what_is_refused_anyway_is_not_awaited(head: bytes) -> None:
    one = Arriving(10**6, 0)
    one.add(b"POST / HTTP/1.1\r\n" + head)
    assert one.here


@pytest.mark.parametrize("pieces", [[EXPLAIN + BODY + b"0\r\nX-Sum: 5\r\n\r\n"],
    [EXPLAIN, BODY[:40], BODY[40:] + b"0", b"\r\nX-S", b"um: 5\r\n", b"\r\n"]])  # fmt: skip
def test_a_trailer_is_no_reason_to_wait(attacked: "Running", pieces: list[bytes]) -> None:
    answer = ask_raw(attacked.address, *pieces, patience=5)
    assert (answer.status, answer.given_up) == (200, False)


@pytest.mark.parametrize("head", [EXPLAIN, PREDICT, FORM])
@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n0\r\n\r\n",
        b"-1\r\n",
        b"3;=\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabcXX0\r\n\r\n",
        BODY + b"0\r\nHost: y\r\n\r\n",
        BODY + b"0\r\nno trailer\r\n\r\n",
        b"5\r\nabc",
    ],
)
def test_malformed_chunks_are_the_caller_s_fault(attacked: "Running", head: bytes, body: bytes) -> None:
    answer = ask_raw(attacked.address, head + body)
    problem = json.loads(answer.body)
    assert (answer.status, problem["code"], answer.headers["connection"]) == (400, "bad_option", "close")
    assert problem["detail"].startswith(("the body's chunks are not valid HTTP", "the body ends early"))
    assert answer.headers["content-type"] == ("application/json" if head == PREDICT else "application/problem+json")
    assert attacked.complaints() == []


def test_a_body_in_too_many_chunks_is_refused(attacked: "Running") -> None:
    answer = ask_raw(attacked.address, EXPLAIN + b"1\r\na\r\n" * 60_000, patience=5)
    assert (answer.status, json.loads(answer.body)["code"]) == (422, "too_much")
    assert ask_raw(attacked.address, EXPLAIN + b"1\r\na\r\n" * 40_000 + b"0\r\n\r\n", patience=5).status == 415


def test_a_body_that_nobody_reads_ends_the_connection(attacked: "Running") -> None:
    answer = ask_raw(attacked.address, GET + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n" + GET + b"\r\n")
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert b"HTTP/1.1" not in answer.body


# ---- what the server refuses by itself


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"\x16\x03\x01\x02\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/3.0\r\n\r\n", 400, "bad_request"),
        (GET + b"A B: c\r\n\r\n", 400, "bad_request"),
        (GET + b"Host: y\r\n\r\n", 400, "bad_request"),
        (b"GET /livez?%b HTTP/1.1\r\nX-Request-Id: mine\r\n\r\n" % (b"a" * 5000), 414, "uri_too_long"),
        (GET + b"Expect: wonders\r\n\r\n", 417, "expectation_failed"),
        (GET + b"A: b\r\n" * 200 + b"\r\n", 431, "head_too_large"),
        (GET + b"A: %b\r\n\r\n" % (b"b" * 9000), 431, "head_too_large"),
        (GET + b"A: %b" % (b"b" * 70_000), 431, "head_too_large"),
        (EXPLAIN.replace(b"chunked", b"brotli"), 501, "unsupported_coding"),
    ],
)
def test_its_own_refusals_have_the_form_of_all(attacked: "Running", request_: bytes, status: int, code: str) -> None:
    answer = ask_raw(attacked.address, request_)
    problem = json.loads(answer.body)
    assert (answer.status, problem["status"], problem["code"]) == (status, status, code)
    assert (answer.headers["content-type"], answer.headers["connection"]) == ("application/problem+json", "close")
    told = security_headers(load_settings(environ={}).serve)
    assert {name: answer.headers.get(name.lower()) for name in told} == told
    assert answer.headers["x-request-id"] == problem["request_id"]
    assert status != 414 or problem["request_id"] == "mine"
    (line,) = [one for one in logged(attacked) if one.get("request") == problem["request_id"]][-1:]
    assert (line["status"], line["code"], line["client"]) == (status, code, "127.0.0.1")
    counted = ask_raw(attacked.address, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").body.decode()
    assert f'camserve_rejected_total{{code="{code}"}}' in counted


def logged(service: "Running") -> Iterator[dict[str, Any]]:
    """The lines of its log."""
    return map(json.loads, service.log.read_text().splitlines())


# ---- what is believed of whom


@pytest.mark.parametrize(
    "header",
    [
        b"SCRIPT_NAME: /x", b"SCRIPT_NAME: /v1", b"PATH_INFO: /metrics", b"REMOTE_USER: root", b"REMOTE_ADDR: 9.9.9.9",
        b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off", b"X_Forwarded_For: 9.9.9.9", b"X-Forwarded-For: 9.9.9.9",
        b"Forwarded: for=9.9.9.9",
    ],
)  # fmt: skip
def test_strangers_change_nothing_by_headers(attacked: "Running", header: bytes) -> None:
    name = f"stranger-{header[:30].hex()}"
    answer = ask_raw(attacked.address, b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-Request-Id: %b\r\n%b\r\n\r\n"
                     % (name.encode(), header))  # fmt: skip
    assert (answer.status, "models" in json.loads(answer.body)) == (200, True)
    (line,) = [one for one in logged(attacked) if one.get("request") == name]
    assert (line["client"], line["path"]) == ("127.0.0.1", "/v1/models")


def test_a_proxy_that_the_settings_name_is_believed(attacked: "Running") -> None:
    told = b"GET /at/livez HTTP/1.1\r\nHost: x\r\nSCRIPT_NAME: /at\r\nX-Forwarded-For: 1.1.1.1, 9.9.9.9\r\n"
    assert ask_raw(attacked.address, told + b"\r\n").status == 404
    assert ask_raw(attacked.address, told + b"X-Request-Id: by-proxy\r\n\r\n", source=PROXY).status == 200
    (line,) = [one for one in logged(attacked) if one.get("request") == "by-proxy"]
    assert line["client"] == "9.9.9.9"
    wrong = ask_raw(attacked.address, told.replace(b"SCRIPT_NAME: /at", b"SCRIPT_NAME: /of") + b"\r\n", source=PROXY)
    assert wrong.status == 400


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.7", "", "10.0.0.7"),
        ("10.0.0.7", "8.8.8.8", "8.8.8.8"),
        ("::ffff:10.0.0.7", "8.8.8.8", "8.8.8.8"),
        ("11.0.0.7", "8.8.8.8", "11.0.0.7"),
        ("10.0.0.7", "1.1.1.1, 8.8.8.8, 10.0.0.9", "8.8.8.8"),
        ("10.0.0.7", "10.0.0.8, 10.0.0.9", "10.0.0.8"),
        ("10.0.0.7", '8.8.8.8, "><script>', "10.0.0.7"),
        (None, "8.8.8.8", None),
    ],
)
def test_the_client_is_who_asked_the_first_proxy(peer: str | None, forwarded: str, client: str | None) -> None:
    assert client_of(peer, forwarded, ["10.0.0.0/8"]) == client
    assert client_of(peer, forwarded, []) == peer
