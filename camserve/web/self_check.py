"""`camserve serve --check`: every model that the settings name, asked as a request asks it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from camserve.config.schema import Settings
from camserve.errors import CamserveError
from camserve.images.reading import encode
from camserve.models.card import find_cards
from camserve.render.native_painter import described
from camserve.web.request_options import Options
from camserve.web.request_record import Record
from camserve.web.responses import overlay_bytes
from camserve.web.service import Service


@dataclass(frozen=True)
class Trial:
    """How one model did. card: the file that describes it. error: what is wrong with it, None: nothing.

    load_milliseconds: until it had explained once; milliseconds: for a request after that.
    """

    model: str
    card: str
    engine: str | None = None
    load_milliseconds: float | None = None
    milliseconds: float | None = None
    error: str | None = None


def try_models(settings: Settings) -> Iterator[Trial]:
    """One Trial for each model: `explain.model`, those of `serve.preload`, then all in `models.folders`.

    Of the shipped models only those named, as the packages of the others may be left out on purpose.
    Raises ModelNotFound, ConfigError, as `Shelf`.
    """
    service = Service(settings)
    service.open()
    try:
        own = find_cards(settings.models, with_shipped=False)
        for name in dict.fromkeys([service.shelf.default, *service.shelf.at_start, *own]):
            yield _try(service, name)
    finally:
        service.close()


def painter_of(settings: Settings) -> str:
    """Which painter overlays have, in words."""
    return described(native=settings.render.native)


def _try(service: Service, name: str) -> Trial:
    card, start = str(service.shelf.card(name)), time.perf_counter()
    try:
        service.warm(name)
        warm = time.perf_counter()
        engine = _request(service, name)
    except CamserveError as error:
        return Trial(name, card, error=str(error))
    except Exception as error:  # a card's network is anybody's code
        return Trial(name, card, error=f"{type(error).__name__}: {error}")
    end = time.perf_counter()
    return Trial(name, card, engine, round(1000 * (warm - start), 1), round(1000 * (end - warm), 1))


def _request(service: Service, name: str) -> str:
    """Decode, explain, render and encode, as a request does; the name of the engine that ran the network."""
    options, now = Options(model=name), Record("check")
    with service.gate.turn(now) as until:
        spec = service.model(name, until).card.input
        gradient = Image.linear_gradient("L")
        bands = np.repeat(np.asarray(gradient)[..., None], spec.samples, 2)
        picture = encode(gradient.convert("RGB"), "png") if spec.bands is None else bands
        explanation = service.explain(picture, options, now, until)
        overlay_bytes(explanation, options, "png", now.timing)
    return explanation.engine
