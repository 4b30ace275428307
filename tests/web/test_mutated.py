"""Requests to every path, changed at random: whatever comes, the answer is a documented one, and others are answered.

The requests are made of /openapi.json, so a new path is among them. `--large` asks fifty times as many.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from attacks import Raw, ask_raw
from conftest import picture

from camserve.images.reading import encode

if TYPE_CHECKING:
    from running import Running

JPEG = encode(picture(size=(32, 24)), "jpeg")
COUNT = 400
# What is worth a minute of work is another test's.
LONG = {"sharp"}
VALUES = ["", "[]", "{}", "[[[1]]]", "true", "null", "NaN", "-Infinity", "1e400", "-1", "0", "9" * 30, "9" * 5000,
          '"\\ud800"', '"\\u0000"', '""', '"auto"', '"a,b;c-d"', '"1,1;2,2"',
          '"' + "-" * 1000 + '"', "[" * 300, "{" * 3000, "[" + "0," * 3000 + "0]"]  # fmt: skip
OPTIONS = ["", "nan", "inf", "-1", "0", "1e400", "1e-320", "on", "9" * 2000, "\0", "é",
           "a,b", ";" * 300, "-" * 300, "1,1", "0,0,9,9", "#1", "auto", "png",
           "null", "[]", "%", "../..", "A" * 4000]  # fmt: skip
HEADERS = [b"SCRIPT_NAME: /v1", b"X-Forwarded-Proto: https", b"Content-Length: 5", b"Content-Length: x",
           b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Expect: 100-continue", b"Expect: more",
           b"Content-Encoding: gzip", b"Content-Encoding: br", b"Content-Type: text/csv", b"Content-Type: image/png",
           b"Content-Type: multipart/form-data", b"Content-Type: multipart/form-data; boundary=\xff",
           b"Accept: */*;q=x", b"Accept: application/zip", b"Accept: text/html", b"If-None-Match: *",
           b'If-None-Match: "', b"Host: [", b"Host: ",
           b"Inference-Header-Content-Length: 9", b"Inference-Header-Content-Length: -1", b"X-Request-Id: \xff",
           b"Authorization: Bearer", b"Range: bytes=0-", b"Connection: upgrade", b"A B: c", b"Upgrade: h2c", b" folded",
           b"Cookie: " + b"a" * 9000, b"X: 1\r\n" * 150 + b"X: 2"]  # fmt: skip


class Mutator:
    """Makes valid requests of a description, and others of those. seed: of what is chosen at random."""

    def __init__(self, description: dict[str, Any], seed: int) -> None:
        self.random = random.Random(seed)
        self.valid = list(_valid(description))
        self.options = [one for one in description["components"]["schemas"]["Options"]["properties"] if one not in LONG]

    def request(self) -> bytes:
        """One that was valid once."""
        method, path, headers, body = self.random.choice(self.valid)
        changes = self.random.sample(
            (self._query, self._body, self._headers, self._chunks, self._method, self._nothing),
            self.random.choice((1, 2)),
        )
        request = method, path, [*headers, b"Host: x", b"Connection: close"], body
        for change in changes:
            request = change(*request)
        method, path, headers, body = request
        if body and not any(one.lower().startswith(b"transfer-encoding: chunked") for one in headers):
            headers = [*headers, b"Content-Length: %d" % len(body)]
        whole = b"%b %b HTTP/1.1\r\n%b\r\n\r\n%b" % (method, path, b"\r\n".join(headers), body)
        return self._flipped(whole) if self.random.random() < 0.3 else whole

    def _nothing(self, *request: Any) -> Any:
        return request

    def _query(self, method: bytes, path: bytes, headers: list[bytes], body: bytes) -> Any:
        asked = [
            (self.random.choice(self.options), self.random.choice(OPTIONS)) for _ in range(self.random.choice((1, 2)))
        ]
        asked += asked[:1] * self.random.choice((0, 0, 1))
        joined = "&".join(f"{name}={quote(value, safe='%')}" for name, value in asked)
        return method, path + (b"&" if b"?" in path else b"?") + joined.encode(), headers, body

    def _body(self, method: bytes, path: bytes, headers: list[bytes], body: bytes) -> Any:
        if body[:1] == b"{":
            return method, path, headers, self._json(json.loads(body))
        cut = self.random.randrange(len(body) + 1)
        return (
            method,
            path,
            headers,
            self.random.choice((body[:cut], body + body[:cut], self._flipped(body), b"", b"{}")),
        )

    def _json(self, value: Any) -> bytes:
        """With another value, which need not be JSON, in a place of it."""
        places = list(_places(value))
        holder, key = self.random.choice(places)
        holder[key] = "@"
        return json.dumps(value).replace('"@"', self.random.choice(VALUES)).encode()

    def _headers(self, method: bytes, path: bytes, headers: list[bytes], body: bytes) -> Any:
        more = [self.random.choice(HEADERS) for _ in range(self.random.choice((1, 1, 2)))]
        return method, path, self.random.sample([*headers, *more], len(headers) + len(more)), body

    def _chunks(self, method: bytes, path: bytes, headers: list[bytes], body: bytes) -> Any:
        """In pieces, of which one part may be wrong."""
        parts, rest = [], body
        while rest:
            size = self.random.choice((1, 7, 100, len(rest)))
            parts += [
                b"%x" % len(rest[:size]),
                self.random.choice((b"", b"", b";a=b", b' ;a="b"')),
                b"\r\n",
                rest[:size],
                b"\r\n",
            ]
            rest = rest[size:] if len(parts) < 200 else b""
        parts += [b"0", b"\r\n", self.random.choice((b"", b"X-Sum: 5\r\n", b"Host: y\r\n", b"junk\r\n")), b"\r\n"]
        if self.random.random() < 0.5:
            parts[self.random.randrange(len(parts))] = self.random.choice(
                (b"", b"zz", b"-1", b"\n", b"f" * 20, b";=", b"\0")
            )
        return method, path, [*headers, b"Transfer-Encoding: chunked"], b"".join(parts)

    def _method(self, method: bytes, path: bytes, headers: list[bytes], body: bytes) -> Any:
        method = self.random.choice(
            (b"GET", b"PUT", b"POST", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH", b"get", b"\xff")
        )
        place = self.random.randrange(len(path))
        path = self.random.choice(
            (path, path + b"/", b"/" + path, path[:place] + b"%00" + path[place:], b"*", path * 300)
        )
        return method, path, headers, body

    def _flipped(self, data: bytes) -> bytes:
        made = bytearray(data)
        for _ in range(self.random.choice((1, 1, 4)) if made else 0):
            made[self.random.randrange(len(made))] = self.random.randrange(256)
        return bytes(made)


def _valid(description: dict[str, Any]) -> Iterator[tuple[bytes, bytes, list[bytes], bytes]]:
    """Method, path, headers and body of a request of each kind that is described."""
    for path, operations in description["paths"].items():
        for method, made in operations.items():
            names = {"name": "efficientnet-lite0", "version": "1", "job": "0" * 16}
            place, verb = path.format(**names).encode(), method.upper().encode()
            if any(one["name"] == "targets" for one in made["parameters"]):
                place += b"?targets=2"
            content = made.get("requestBody", {}).get("content", {})
            if not content:
                yield verb, place, [], b""
            if "image/jpeg" in content:
                yield verb, place, [b"Content-Type: image/jpeg"], JPEG
                part = (
                    b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n%b\r\n--x--\r\n' % JPEG
                )
                yield verb, place, [b"Content-Type: multipart/form-data; boundary=x"], part
            if "application/json" in content:
                body = json.dumps(content["application/json"]["example"]).encode()
                yield verb, place, [b"Content-Type: application/json"], body


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(list or object, index or name) of each value inside another."""
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield value, key
        yield from _places(one)


@pytest.fixture(scope="module")
def description(attacked: "Running") -> Any:
    with urlopen(f"{attacked.url}/openapi.json", timeout=30) as answer:
        return json.load(answer)


def test_whatever_comes_is_answered_as_documented(
    attacked: "Running", description: dict[str, Any], pytestconfig: pytest.Config
) -> None:
    from running import probed

    normal = b"POST /api/v1/explain HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(JPEG), JPEG)
    before = ask_raw(attacked.address, normal, patience=60)
    made = [one for operations in description["paths"].values() for one in operations.values()]
    documented = {int(status) for one in made for status in one["responses"]} | {301, 308, 405}
    mutator, statuses = Mutator(description, 16), Counter[int]()
    with probed(attacked) as health:
        for _ in range(COUNT * 50 if pytestconfig.getoption("--large") else COUNT):
            request = mutator.request()
            answer = ask_raw(attacked.address, request)
            statuses[answer.status] += 1
            assert answer.status in documented or answer.given_up, request[:2000]
            assert answer.status < 500 or answer.status in (501, 503, 504), request[:2000]
            assert answer.status < 400 or is_problem(request, answer), request[:2000]
    after = ask_raw(attacked.address, normal, patience=60)
    assert (before.status, after.body) == (200, before.body)
    assert min(statuses[200], statuses[400]) > COUNT / 10
    assert health["failed"] == 0
    assert health["slowest"] < 2000  # milliseconds; tests share their cores
    assert attacked.complaints() == []


def is_problem(request: bytes, answer: Raw) -> bool:
    """Whether it has the form of all errors; the page at / has its own, and HEAD nothing."""
    if request.startswith(b"HEAD ") or answer.headers["content-type"].startswith("text/html"):
        return True
    problem = json.loads(answer.body)
    return bool(problem["status"] == answer.status and problem["request_id"] == answer.headers["x-request-id"])
