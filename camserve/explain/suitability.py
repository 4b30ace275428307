"""Which methods do not work with a model, and why. Only a try can tell, so each method is tried."""

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

# A method that needs more runs of the network than this is not tried.
_FEW = 10
# After this many seconds no further method is tried.
_PATIENCE = 5.0


def unsuitable(model: Classifier) -> dict[str, str]:
    """Return by name why methods do not work with the model. Only methods with few runs of the network are tried.

    They are tried at the model's own layer, on an image that shows nothing. Call this on a worker.
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
        except Exception as error:  # the user sees this error when he asks for the method
            log.info("trying %s: %s", method.name, error)
    return found
