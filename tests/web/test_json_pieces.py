"""Large answers as JSON in pieces: the same values, never in one piece, and no longer than somebody waits."""

import json
import time
from base64 import b64decode
from collections.abc import Iterator

import numpy as np
import pytest

from camserve.errors import DeadlinePassed
from camserve.system.deadlines import within
from camserve.web.json_pieces import Large, in_base64, in_numbers, json_pieces


@pytest.mark.parametrize("sizes", [[], [0], [1], [2, 1], [196_608], [196_607, 2], [5, 500_000, 1, 1]])
def test_bytes_in_any_pieces_are_one_string(sizes: list[int]) -> None:
    data = [np.random.default_rng(size).bytes(size) for size in sizes]
    pieces = json_pieces({"before": 1, "b64": in_base64(data), "after": ["ä", None]})
    assert max(map(len, pieces)) <= 2**18
    found = json.loads(b"".join(pieces))
    assert b64decode(found["b64"], validate=True) == b"".join(data)
    assert (found["before"], found["after"]) == (1, ["ä", None])


@pytest.mark.parametrize("count", [0, 1, 4096, 4097, 10_000])
def test_numbers_are_one_list_to_the_last_bit(count: int) -> None:
    values = np.random.default_rng(0).standard_normal((1, count)).astype(np.float32)
    pieces = json_pieces([in_numbers(values)])
    assert np.array_equal(np.array(json.loads(b"".join(pieces))[0], np.float32), values[0])
    assert max(map(len, pieces)) < 2**17


def test_what_is_not_finite_is_null() -> None:
    values = np.array([np.nan, 1, -np.inf, np.inf], np.float32)
    assert json.loads(b"".join(json_pieces(in_numbers(values)))) == [None, 1.0, None, None]


def test_no_value_is_taken_for_another() -> None:
    body = {"a": Large([b'"one"']), "b": [Large([b"2"]), 'x"y', Large(json_pieces({"c": Large([b"[3]"])}))]}
    assert json.loads(b"".join(json_pieces(body))) == {"a": "one", "b": [2, 'x"y', {"c": [3]}]}
    with pytest.raises(TypeError, match="set is not a JSON value"):
        json_pieces({"a": {1}})
    with pytest.raises(ValueError, match="Out of range float"):
        json_pieces({"a": float("nan")})


def test_nothing_more_is_made_when_nobody_waits() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(10**6)

    with within(time.monotonic() + 0.05), pytest.raises(DeadlinePassed):
        json_pieces(in_base64(endless()))
