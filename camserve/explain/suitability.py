"""Which methods do not go with a model, and why: they are tried, as nothing else knows."""

import logging
import time

from camserve.catalogue.method import Needs
from camserve.catalogue.methods import METHODS
from camserve.catalogue.targets import class_target
from camserve.errors import OptionError
from camserve.explain.estimate import facts_of
from camserve.explain.observation import evidence_of
from camserve.methods.apply import apply
from camserve.models.classifier import Classifier

log = logging.getLogger("camserve")

# Runs of the network that are worth it to find out whether a method goes with a model.
_FEW = 10
# Seconds after which no further method is tried.
_PATIENCE = 5.0


def unsuitable(model: Classifier) -> dict[str, str]:
    """Why methods do not go with the model, by name, of those that take a few runs of the network at most.

    They are tried at the model's own layer, on an image that shows nothing. To be called on a worker.
    """
    layer, until = model.layer(), time.monotonic() + _PATIENCE
    images = model.network.given.image(model.own_frame((64, 64)).input)
    seen = layer.observe(images)
    evidence = evidence_of(model, layer, images, class_target(0), seen)
    facts, found = facts_of(model, layer, seen[0], seen[0].shape[1]), dict[str, str]()
    for method in sorted(METHODS.values(), key=lambda one: (one.needs is Needs.ANY_HEAD, one.cost.runs(facts))):
        if method.cost.runs(facts) > _FEW:
            continue
        if time.monotonic() > until:
            break
        try:
            apply(method, evidence)
        except OptionError as error:
            found[method.name] = str(error)
        except Exception as error:  # an error of the method's own is told to who asks for it
            log.info("trying %s: %s", method.name, error)
    return found
