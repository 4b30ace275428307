"""How many forward passes does each method run, and how long does it take, compared with other libraries?

    python benchmarks/methods.py [--model efficientnet-lite0] [--patience 120]

One photograph at the model's training size, one intra-op thread, from the input tensor to the map of the predicted
class. Forwards: images through the network, counted while the method runs, with the prediction's own; passes through
the head alone are not counted. Times are multiples of camserve's forward pass on torch: median and quartiles,
interleaved with the forward pass; a method of 20 times the forward pass or more is timed once. What takes longer than
--patience seconds is stopped. Another library's method cannot be stopped, so it is not started if its forwards alone
would need that long. Methods for transformers are measured on torchvision's vit_b_16 with random weights.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from measuring import Results, Row, Table, Work, interleaved, spread, timed
from others import OTHERS, Other, attached, installed, trainable
from program import alone
from subjects import Plan, load, photographs
from torch import Tensor, fx, nn
from torch.nn.modules.module import register_module_forward_pre_hook

import camserve
from camserve.catalogue.method import Method, Needs
from camserve.catalogue.methods import METHODS
from camserve.catalogue.options import ExplainOptions
from camserve.errors import CamserveError, DeadlinePassed
from camserve.explain import open_photo
from camserve.explain.observation import observe
from camserve.explain.run import Run
from camserve.models.inputs.preprocessing import to_input

TRANSFORMER = "torchvision:vit_b_16"
FORWARD, OURS = "forward alone", "camserve"
# A method that takes at least this many times the forward pass is timed once.
OFTEN = 20
SMOKE = ("cam", "gradcam", "guidedgradcam", "occlusion", "sscam")


@dataclass
class Count:
    """Images that went through a network."""

    images: int = 0


@dataclass(frozen=True)
class Once:
    """One run of a method. forwards, seconds: of that run. work: runs it again; None if it did not finish, with the
    problem as text.
    """

    forwards: int
    seconds: float
    work: Work | None = None
    problem: str = ""


def measure(plan: Plan) -> Results:
    """Make one table for convolutional networks, and one for transformers."""
    torch.set_num_threads(1)
    attention = [method for method in METHODS.values() if method.needs is Needs.ATTENTION]
    others = [m for m in METHODS.values() if m not in attention and (not plan.quick or m.name in SMOKE)]
    results = Results([table(load(plan.model, "torch"), others, plan)])
    if not plan.quick:
        results.tables.append(table(load(TRANSFORMER, "torch"), attention, plan))
    return results


def table(model: camserve.Model, methods: list[Method], plan: Plan) -> Table:
    """Make a row per method: forwards and time of camserve and of every library that has the method."""
    pixels, layer = input_of(model), model.layer()

    def forward() -> object:
        return layer.observe(pixels)

    bare = spread(interleaved({FORWARD: forward}, plan.repeats)[FORWARD])[1]
    columns = [OURS, *dict.fromkeys(other.library for other in OTHERS if installed(other.library))]
    found = []
    for method in methods:
        once = {OURS: ours(model, method, pixels, plan)}
        for other in (other for other in OTHERS if other.method == method.name and other.library in columns):
            once[other.library] = theirs(model, other, pixels, bare, plan)
        empty = {f"{column}: {what}": "" for what in ("forwards", "time") for column in columns}
        found.append({"method": method.name, **empty, **cells(once, forward, bare, plan)})
    title = f"{model.name} at {pixels.shape[-1]} x {pixels.shape[-2]}: forwards, and time in forwards"
    return Table(title, found, f"One forward pass takes {1e3 * bare:.1f} ms. Empty: the library has no such method.")


def cells(once: dict[str, Once], forward: Work, bare: float, plan: Plan) -> Row:
    """Return the cells of a row. once: by library. Fast methods run again, interleaved with the forward pass."""
    again = {library: run.work for library, run in once.items() if run.work and run.seconds < OFTEN * bare}
    samples = interleaved({FORWARD: forward, **again}, plan.choose(max(5, plan.repeats // 3), 2)) if again else {}
    row: Row = {}
    for library, run in once.items():
        row[f"{library}: forwards"] = run.forwards or ""
        if library in samples:
            low, median, high = spread([a / b for a, b in zip(samples[library], samples[FORWARD], strict=True)])
            row[f"{library}: time"] = [median, low, high]
        else:
            row[f"{library}: time"] = run.problem or run.seconds / bare
    return row


def ours(model: camserve.Model, method: Method, pixels: Tensor, plan: Plan) -> Once:
    """Run one of camserve's methods; it is stopped after `plan.patience` seconds."""
    ended = threading.Event()
    pool = model.workers

    def look() -> object:
        try:
            return observe(model, pixels, [None], None, ExplainOptions(method=method.name), Run())
        finally:
            ended.set()

    try:
        with counted() as count:
            seconds = timed(lambda: pool.run(look, plan.patience))
    except DeadlinePassed:
        ended.wait()  # the method stops at its next batch, because no caller waits
        return Once(0, plan.patience, problem=f"over {plan.patience:g} s: {method.cost}")
    except CamserveError as error:
        return Once(0, 0, problem=str(error))
    return Once(count.images, seconds, lambda: pool.run(look))


def theirs(model: camserve.Model, other: Other, pixels: Tensor, bare: float, plan: Plan) -> Once:
    """Run another library's method, on its own copy of the network."""
    forwards = other.forwards(model.layer().observe(pixels)[0].shape[1])
    if forwards * bare > plan.patience:
        return Once(forwards, plan.patience, problem=f"not begun: over {forwards * bare:,.0f} s")
    network = trainable(model.module)
    with torch.no_grad():
        classes = network(pixels).argmax(1).tolist()
    try:
        maps = attached(other, model, network)
        assert maps is not None
        with counted(network) as count:
            seconds = timed(lambda: maps(pixels, classes))
    except Exception as error:  # a library can raise anything for an unsupported network
        return Once(0, 0, problem=f"fails: {type(error).__name__}")
    return Once(count.images, seconds, lambda: maps(pixels, classes))


@contextmanager
def counted(network: nn.Module | None = None) -> Iterator[Count]:
    """Count images that go into `network`; without one, into any traced network, as camserve's networks are."""
    count = Count()

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        watched = module is network if network is not None else isinstance(module, fx.GraphModule)
        if watched and inputs and isinstance(inputs[0], Tensor) and inputs[0].ndim == 4 and inputs[0].shape[1] == 3:
            count.images += len(inputs[0])

    def interpreted(self: fx.Interpreter, *inputs: Any, **options: Any) -> Any:
        before(self.module, inputs)
        return run(self, *inputs, **options)

    run, handle = fx.Interpreter.run, register_module_forward_pre_hook(before)
    try:
        with mock.patch.object(fx.Interpreter, "run", interpreted):
            yield count
    finally:
        handle.remove()


def input_of(model: camserve.Model) -> Tensor:
    """Return a photograph of a cat as the model's input."""
    side = model.card.input.size
    photo = open_photo(model, photographs(1, (2 * side, 2 * side))[0])
    return to_input(photo, model.frame(photo.size), model.card.input)


if __name__ == "__main__":
    alone(measure, __doc__)
