"""`camserve serve --check` tests every model that the settings name, in the same way as a request."""

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
    """The result of testing one model. card: the file that describes it. error: None if it works.

    load_milliseconds: time of loading and the first explanation; milliseconds: time of a later request.
    """

    model: str
    card: str
    engine: str | None = None
    load_milliseconds: float | None = None
    milliseconds: float | None = None
    error: str | None = None


def try_models(settings: Settings) -> Iterator[Trial]:
    """Test `explain.model`, the models of `serve.preload`, then all models in `models.folders`.

    Other shipped models are not tested, because their packages may be missing on purpose. Raises ModelNotFound and
    ConfigError, like `Shelf`.
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
    """The name of the painter that draws overlays."""
    return described(native=settings.render.native)


def _try(service: Service, name: str) -> Trial:
    card, start = str(service.shelf.card(name)), time.perf_counter()
    try:
        service.warm(name)
        warm = time.perf_counter()
        engine = _request(service, name)
    except CamserveError as error:
        return Trial(name, card, error=str(error))
    except Exception as error:  # the network of a card may be any code
        return Trial(name, card, error=f"{type(error).__name__}: {error}")
    end = time.perf_counter()
    return Trial(name, card, engine, round(1000 * (warm - start), 1), round(1000 * (end - warm), 1))


def _request(service: Service, name: str) -> str:
    """Decode, explain, render and encode, like a request. Returns the name of the engine that ran the network."""
    options, now = Options(model=name), Record("check")
    with service.gate.turn(now) as until:
        spec = service.model(name, until).card.input
        gradient = Image.linear_gradient("L")
        bands = np.repeat(np.asarray(gradient)[..., None], spec.samples, 2)
        picture = encode(gradient.convert("RGB"), "png") if spec.bands is None else bands
        explanation = service.explain(picture, options, now, until)
        overlay_bytes(explanation, options, "png", now.timing)
    return explanation.engine
