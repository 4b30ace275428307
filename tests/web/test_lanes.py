"""Whoever asks for little never waits for those who ask for much, and too much is refused before it is begun."""

import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import picture
from flask.testing import FlaskClient
from PIL import Image
from test_web import check_problem

import camserve
from camserve.config import load_settings
from camserve.errors import Busy, DeadlinePassed, TooMuch
from camserve.images.reading import announced_pixels, encode
from camserve.system import workers
from camserve.system.workers import Workers
from camserve.web.app import create_app
from camserve.web.request_options import make_options
from camserve.web.request_record import Record
from camserve.web.service import Service
from camserve.web.work.pricing import Demand, check_drawn, demand_of, is_costly

PNG = encode(picture(), "png")
EXPLAIN = "/api/v1/explain"


def post(client: FlaskClient, query: str = "", data: bytes = PNG) -> Any:
    return client.post(f"{EXPLAIN}{query}", data=data, content_type="image/png")


@pytest.fixture
def small() -> Iterator[Service]:
    """One worker, and three more places."""
    yield from served(deadline_seconds=2.0)


@pytest.fixture
def patient() -> Iterator[Service]:
    """The same, where nothing is late on a machine that has much else to do."""
    yield from served(deadline_seconds=60.0)


def served(deadline_seconds: float) -> Iterator[Service]:
    overrides: dict[str, dict[str, Any]] = {
        "compute": {"workers": 1},
        "serve": {"queue": 3, "deadline_seconds": deadline_seconds},
    }
    made = Service(load_settings(environ={}, overrides=overrides))
    made.load()
    yield made
    made.close()


# ---- what is costly


@pytest.mark.parametrize(
    ("given", "about", "costly"),
    [
        ({}, {}, False),
        ({}, {"pixels": 16_000_000}, False),
        ({}, {"pixels": 16_000_001}, True),
        ({}, {"pixels": 5_000_000, "heatmap": True}, False),
        ({}, {"pixels": 6_000_000, "heatmap": True}, True),
        ({}, {"images": 8}, False),
        ({}, {"images": 9}, True),
        ({}, {"classes": 9}, True),
        ({}, {"measuring": True}, True),
        ({"method": "gradcam"}, {}, False),
        ({"method": "ablationcam"}, {}, False),  # a closed form at the model's own layer
        ({"method": "scorecam"}, {}, True),
        ({"method": "integratedgradients"}, {}, True),
        ({"method": "occlusion"}, {}, True),
        ({"sharp": True}, {}, True),
        ({"output_stride": 16}, {}, True),
        ({"layer": "blocks.5"}, {}, True),  # nobody has asked for it yet
        ({"size": 448}, {}, False),
        ({"size": 1000}, {"pixels": 90_000}, True),
        ({"size": "native"}, {"pixels": 4_000_000}, True),
        ({"size": "native"}, {"pixels": 90_000}, False),
    ],
)
def test_what_is_costly_is_known_before_anything_is_decoded(
    model: camserve.Model, given: dict[str, Any], about: dict[str, Any], costly: bool
) -> None:
    request = Demand(make_options(given), **{"pixels": 60_000, **about})
    assert is_costly(model, request) == costly


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_pixels_are_read_from_the_header(format: str) -> None:
    file = io.BytesIO()
    picture(size=(300, 200)).save(file, format)
    for source in (file.getvalue(), io.BytesIO(file.getvalue())):
        assert announced_pixels(source) == 60_000
    read = io.BytesIO(file.getvalue())
    announced_pixels(read)
    assert read.tell() == 0  # it is there to be decoded


def test_what_tells_only_when_it_is_decoded_counts_by_its_bytes() -> None:
    assert announced_pixels(b"\0\0\0\x18ftypheic" + bytes(988)) == 8000
    assert announced_pixels(b"no picture") == 80
    assert announced_pixels(picture(size=(30, 20))) == 600
    assert demand_of(9 * [PNG], make_options({})).pixels == 0  # nine are costly, whatever they are


def test_more_pictures_than_are_drawn_for_one_request_are_refused() -> None:
    many = Demand(make_options({"outputs": "overlay,heatmap,mask", "polygons": True}), 9600, classes=1000)
    with pytest.raises(TooMuch, match=r"1000 times overlay, heatmap, mask, polygons .* drawing 238 mega.* are 200 \(4"):
        check_drawn(many, 50)
    check_drawn(Demand(make_options({"outputs": "overlay,heatmap,mask"}), 50_000_000), 50)


# ---- cells of a dilated network


def test_a_map_has_a_largest_number_of_cells(model: camserve.Model, client: FlaskClient) -> None:
    said = "output_stride 1 on an input of 336 x 224 pixels makes 336 x 224 = 75264 cells; allowed are 10000 (explain"
    start = time.monotonic()
    with pytest.raises(TooMuch) as caught:
        model.explain(Image.new("RGB", (300, 200)), output_stride=1)
    assert said in str(caught.value)
    for query, cells in (("output_stride=1", "224 x 224 = 50176"), ("output_stride=4&size=500", "188 x 125 = 23500")):
        refused = post(client, f"?{query}", encode(Image.new("RGB", (300, 200)), "png"))
        check_problem(refused, 422, "too_much", f"makes {cells} cells")
    with pytest.raises(TooMuch, match="224 x 224 = 50176 cells"):
        model.layer(output_stride=1)  # asked for by itself
    assert time.monotonic() - start < 10


# ---- lanes


def test_costly_requests_block_no_others(small: Service) -> None:
    client, end = create_app(service=small).test_client(), threading.Event()
    post(client, "?output_stride=16")  # the first one has a layer made, however long that takes
    running = small.pools.costly.submit(end.wait, 120)
    start = time.monotonic()
    late = post(client, "?method=rise")
    assert time.monotonic() - start < 6
    check_problem(late, 504, "deadline_passed", "no answer within 2 s")
    for number in range(3):
        assert post(client, data=encode(picture(number), "png")).status_code == 200
    assert client.get("/readyz").status_code == 200
    end.set()
    assert running.result(120)
    answer = post(client, "?output_stride=16")
    assert answer.status_code == 200


def test_costly_requests_take_half_of_the_places(small: Service) -> None:
    with small.gate.turn(Record("a"), costly=True):
        waiting = threading.Thread(target=_until_late, args=(small,))
        waiting.start()
        while small.gate.admitted < 2:
            time.sleep(0.001)
        with pytest.raises(Busy, match="2 costly requests are in progress"), small.gate.turn(Record("c"), costly=True):
            pass
        with small.gate.turn(Record("d")):
            assert small.gate.admitted == 3
        waiting.join()
    assert small.gate.admitted == 0


def _until_late(service: Service) -> None:
    with pytest.raises(DeadlinePassed), service.gate.turn(Record("b"), costly=True):
        pass


def test_a_costly_answer_is_the_same_as_any_other(patient: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    client, path = create_app(service=patient).test_client(), "?size=300"
    usual = post(client, path)
    monkeypatch.setattr("camserve.web.service.is_costly", lambda *_: True)
    costly = post(client, path)
    assert usual.status_code == 200
    assert (costly.status_code, costly.data, costly.headers["ETag"]) == (200, usual.data, usual.headers["ETag"])


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness of their own on Linux")
def test_threads_of_costly_requests_give_way() -> None:
    modest, usual = Workers(1, 1, modest=True), Workers(1, 1)
    niceness = [
        pool.run(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())) for pool in (modest, usual)
    ]
    assert niceness[0] == 10 + niceness[1]
    modest.close()
    usual.close()


# ---- nothing is answered


def test_a_service_that_answers_nothing_is_not_ready(small: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_LATE_SECONDS", 0.1)
    client, end = create_app(service=small).test_client(), threading.Event()
    with pytest.raises(DeadlinePassed):
        small.pools.usual.run(lambda: end.wait(20), 0.05)
    assert client.get("/readyz").status_code == 200  # it may still end
    time.sleep(0.2)
    check_problem(client.get("/readyz"), 503, "unavailable", "no request can be answered")
    check_problem(post(client), 503, "unavailable", "no request can be answered")
    assert client.get("/livez").status_code == 200
    end.set()
    small.pools.usual.run(lambda: None)
    assert client.get("/readyz").status_code == 200
