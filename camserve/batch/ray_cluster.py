"""A batch on a Ray cluster: a pool of actors does the same work as threads. Only this module imports Ray.

Ray Data schedules the work, restarts actors that die, and keeps the order. The rows come back to the one process that
writes results.jsonl, so resuming works as on one machine. The actor that explains an image also reads it, from a path
that all machines see or through pyarrow's file systems. If a file cannot be read, its row says so; Ray's own readers
would end the job. OUT must be a folder that all machines see.
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

BATCH = 8  # images that an actor gets at once; if the actor dies, their work is lost
WINDOW = 8192  # images per actor in one Ray job; the driver holds a few hundred bytes for each
_STOP = "stop"
_PATIENCE = 10.0  # seconds to wait for a thread of Ray to end


@dataclass(frozen=True)
class Cluster:
    """The Ray cluster to run on.

    address: the address of a running cluster, such as "auto", "host:port" or "ray://..."; None starts a cluster on this
    machine. actors: the number of actors, each with `compute.threads` CPUs; None: as many as the cluster has CPUs for.
    """

    address: str | None = None
    actors: int | None = None


@dataclass(frozen=True)
class Recipe:
    """Everything that an actor needs for the work.

    home, name: the path and the name of the model's card. output: the output of the network, None: the card's. weights:
    the hash of the weights. folder: the working folder in which the batch was started.
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
    """The code of one actor: it loads the model once and explains images."""

    def __init__(self, recipe: Recipe) -> None:
        from camserve.batch.explain_item import Work
        from camserve.datasets.ground_truth import Objects
        from camserve.explain.pipeline import open_picture

        if Path(recipe.folder).is_dir():
            os.chdir(recipe.folder)  # relative paths in the plan start here
        model = _load(recipe).of_labels(recipe.options.how.labels)
        objects = Objects(Path(recipe.objects), partial(open_picture, model)) if recipe.objects else None
        how: dict[str, Any] = {"labelled": recipe.labelled, "targets": recipe.targets, "objects": objects}
        self._work = Work(model, recipe.options, Path(recipe.out), **how)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Turn a column `item` of lines of the plan into a column `row` of rows; both are JSON."""
        from camserve.batch.plan import item_of

        return {"row": [json.dumps(self._row(item_of(line))) for line in batch["item"]]}

    def _row(self, item: "Item") -> "Row":
        try:
            return self._work(item)
        except CamserveError as error:  # such as a full disk: the driver gets the error and stops
            return {_STOP: str(error)}


def recipe_of(model: "Model", options: "Options", plan: "Plan", objects: Path | None) -> Recipe:
    """The recipe for the actors; the model must have passed `check_card`."""
    assert model.home is not None
    one = {"compute": model.settings.compute.model_copy(update={"workers": 1})}  # an actor is one worker
    return Recipe(
        str(model.home.resolve()), model.name, model.card.output, model.weights_sha256,
        model.settings.model_copy(update=one), options, str(plan.out.resolve()), plan.labelled, plan.targets,
        str(objects.resolve()) if objects else None, str(Path.cwd()),
    )  # fmt: skip


def check_card(model: "Model") -> None:
    """Raise OptionError for a model without a card, because actors cannot load it."""
    if model.home is None:
        raise OptionError(
            f"the actors of a cluster load a model from its card, but '{model.name}' has no card: try `camserve add`"
        )


def rows_on(cluster: Cluster, recipe: Recipe, plan: "Plan", first: int) -> "Generator[Row]":
    """The rows of the plan from number `first` on, in order.

    Raises OutputError if an actor cannot write, Unavailable if the cluster cannot be used, OptionError if Ray is not
    installed or the cluster has too few CPUs for the actors.
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
    """Run one Ray job: yield the rows of these lines of the plan, in order."""
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
    """Connect to the cluster and yield the number of actors. Closes the connection at the end if it opened it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # without this, Ray sends usage reports to its makers
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
    """Wait for the threads of interrupted jobs. A thread that calls Ray after its shutdown ends the whole process.

    Seen with Ray 2.60, which waits only two seconds for them: "the core worker has already been shutdown", and the exit
    status becomes 1.
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
        token = "; a cluster with a token needs RAY_AUTH_MODE=token" if "RAY_AUTH_MODE" not in os.environ else ""
        raise Unavailable(f"no cluster answers at {cluster.address!r}: {_reason(error)}{token}") from None


def _load(recipe: Recipe) -> "Model":
    """Load the model from the same path or, if this machine has no such file, by its name. Raises ModelError."""
    from camserve.model import load

    source = recipe.home if Path(recipe.home).is_file() else recipe.name
    model = load(source, output=recipe.output, settings=recipe.settings)
    if model.weights_sha256 != recipe.weights:
        raise ModelError(
            f"'{recipe.name}' has other weights on this machine than on the machine that started the batch"
        )
    return model


def _reason(error: Exception) -> str:
    """The last line that is not blank: after a remote traceback, it holds the error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
