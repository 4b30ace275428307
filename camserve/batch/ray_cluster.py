"""A batch on a Ray cluster: the same work as on threads, by a pool of actors; nothing else knows Ray.

Ray Data schedules, restarts what dies and keeps the order; the rows come back to the one process that writes
results.jsonl, so resuming works as it does on one machine. Images are read by the actor that explains them, from paths
that all machines see or from what pyarrow's file systems read: a file that cannot be read is then a row that says so,
where a reader of Ray's would end the job. OUT must be a folder that all machines see.
"""

import json
import logging
import os
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camserve.batch.preflight import check_ray
from camserve.errors import CamserveError, ModelError, OptionError, OutputError, Unavailable

if TYPE_CHECKING:
    from camserve.batch.batch_options import Options
    from camserve.batch.plan import Plan
    from camserve.config.schema import Settings
    from camserve.datasets.inputs import Item
    from camserve.findings.results import Row
    from camserve.model import Model

BATCH = 8  # images that an actor is given at once: little enough to lose when it dies
WINDOW = 8192  # images for each actor that one job of Ray's is given: what the driver holds, a few hundred bytes each
_STOP = "stop"
_PATIENCE = 10.0  # seconds for a thread of Ray's to end


@dataclass(frozen=True)
class Cluster:
    """Where to run.

    address: of a running cluster, as Ray takes it: "auto", "host:port", "ray://..."; None starts one on this machine.
    actors: how many, each with `compute.threads` CPUs; None: as many as the cluster has CPUs for.
    """

    address: str | None = None
    actors: int | None = None


@dataclass(frozen=True)
class Recipe:
    """What an actor needs to do the same work.

    home, name: the model's card, by path or by name. output: of the network, None: the card's. weights: its hash.
    folder: the one the batch was begun in.
    """

    home: str
    name: str
    output: str | int | None
    weights: str
    settings: "Settings"
    options: "Options"
    out: str
    labelled: bool
    targets: int
    objects: str | None
    folder: str


class Explainer:
    """What runs in each actor: the model, loaded once, and the work."""

    def __init__(self, recipe: Recipe) -> None:
        from camserve.batch.explain_item import Work
        from camserve.datasets.ground_truth import Objects
        from camserve.explain.pipeline import open_picture

        if Path(recipe.folder).is_dir():
            os.chdir(recipe.folder)  # what the plan's relative paths are relative to
        model = _load(recipe).of_labels(recipe.options.how.labels)
        objects = Objects(Path(recipe.objects), partial(open_picture, model)) if recipe.objects else None
        how: dict[str, Any] = {"labelled": recipe.labelled, "targets": recipe.targets, "objects": objects}
        self._work = Work(model, recipe.options, Path(recipe.out), **how)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """A column `item` of lines of the plan to a column `row` of rows, both JSON."""
        from camserve.batch.plan import item_of

        return {"row": [json.dumps(self._row(item_of(line))) for line in batch["item"]]}

    def _row(self, item: "Item") -> "Row":
        try:
            return self._work(item)
        except CamserveError as error:  # a full disk: told to the driver, which stops
            return {_STOP: str(error)}


def recipe_of(model: "Model", options: "Options", plan: "Plan", objects: Path | None) -> Recipe:
    """What actors need; the model must have passed `check_card`."""
    assert model.home is not None
    one = {"compute": model.settings.compute.model_copy(update={"workers": 1})}  # an actor is one worker
    return Recipe(
        str(model.home.resolve()), model.name, model.card.output, model.weights_sha256,
        model.settings.model_copy(update=one), options, str(plan.out.resolve()), plan.labelled, plan.targets,
        str(objects.resolve()) if objects else None, str(Path.cwd()),
    )  # fmt: skip


def check_card(model: "Model") -> None:
    """Raise OptionError for a model without a card, which actors could not load."""
    if model.home is None:
        raise OptionError(
            f"the actors of a cluster load '{model.name}' by its card, and it has none: try `camserve add`"
        )


def rows_on(cluster: Cluster, recipe: Recipe, plan: "Plan", first: int) -> "Generator[Row]":
    """The rows of the plan from number `first` on, in order.

    Raises OutputError where an actor cannot write, Unavailable where the cluster cannot be used, OptionError where Ray
    is not installed or the actors do not fit.
    """
    threads = recipe.settings.compute.threads
    with _session(cluster, threads) as actors, closing(plan.items(first)) as items:
        while window := [json.dumps(item) for item in islice(items, WINDOW * actors)]:
            for text in _explained(window, recipe, actors, threads):
                row = json.loads(text)
                if _STOP in row:
                    raise OutputError(row[_STOP])
                yield row


def _explained(lines: list[str], recipe: Recipe, actors: int, threads: int) -> Iterator[str]:
    """One job of Ray's: the rows of these lines of the plan, in order."""
    import ray

    blocks = -(-len(lines) // BATCH)
    data = ray.data.from_items([{"item": line} for line in lines], override_num_blocks=blocks)
    pool = ray.data.ActorPoolStrategy(size=min(actors, blocks))
    made = data.map_batches(Explainer, fn_constructor_args=(recipe,), batch_size=BATCH, compute=pool, num_cpus=threads)
    try:
        for row in made.iter_rows():
            yield row["row"]
    except ray.exceptions.RayError as error:
        raise Unavailable(f"the cluster gave up: {_reason(error)}; --resume continues it") from None


@contextmanager
def _session(cluster: Cluster, threads: int) -> Iterator[int]:
    """A connection, closed at the end if it was made here; gives the number of actors."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # reports to its makers unless told not to
    check_ray()
    import ray
    import ray.data

    own = not ray.is_initialized()
    if own:
        _connect(cluster, threads)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    try:
        room = int(ray.cluster_resources().get("CPU", 0) // threads)  # type: ignore[no-untyped-call]
        wanted = cluster.actors or max(room, 1)
        if wanted > room:
            raise OptionError(f"{wanted} actors of {threads} CPUs do not fit: the cluster has room for {room}")
        yield wanted
    finally:
        if own:
            _let_threads_end()
            ray.shutdown()


def _let_threads_end() -> None:
    """Wait for the threads of jobs that were given up: one that asks Ray for something after its end ends the process.

    Seen with Ray 2.60, which gives them two seconds: "the core worker has already been shutdown", and exit status 1
    whatever the program's own is.
    """
    for thread in threading.enumerate():
        if thread.name.startswith("StreamingExecutor"):
            thread.join(_PATIENCE)


def _connect(cluster: Cluster, threads: int) -> None:
    import ray

    from camserve.system.cores import granted_cores

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if cluster.address is None:
        actors = cluster.actors or max(1, granted_cores() // threads)
        ray.init(num_cpus=threads * actors, include_dashboard=False, **quiet)
        return
    try:
        ray.init(address=cluster.address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        token = "; one that asks for a token needs RAY_AUTH_MODE=token" if "RAY_AUTH_MODE" not in os.environ else ""
        raise Unavailable(f"no cluster answers at {cluster.address!r}: {_reason(error)}{token}") from None


def _load(recipe: Recipe) -> "Model":
    """The model, from the same path or, where a machine has it elsewhere, by its name. Raises ModelError."""
    from camserve.model import load

    source = recipe.home if Path(recipe.home).is_file() else recipe.name
    model = load(source, output=recipe.output, settings=recipe.settings)
    if model.weights_sha256 != recipe.weights:
        raise ModelError(f"'{recipe.name}' has other weights on this machine than where the batch was begun")
    return model


def _reason(error: Exception) -> str:
    """The last line with something in it, which is where the error behind a remote traceback stands."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
