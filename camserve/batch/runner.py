"""A batch from beginning to end, or from where it was: nothing is lost, and one bad file never stops the rest."""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from PIL import Image

from camserve.batch.batch_options import BOXES, EXPECTED, POLYGONS, Options, facts_of
from camserve.batch.explain_item import Work
from camserve.batch.plan import Plan, check_same, make_plan, read_plan
from camserve.batch.progress import Progress, Silent
from camserve.batch.ray_cluster import Cluster, check_card, recipe_of, rows_on
from camserve.batch.shortcut_test import cover
from camserve.datasets.ground_truth import Objects
from camserve.datasets.inputs import Item, find_items
from camserve.errors import OptionError, UnknownName
from camserve.explain.pipeline import explain_classes, open_photo
from camserve.findings.answers import Answers
from camserve.findings.exports import EXPORTS, check_parquet, export
from camserve.findings.findings import find, write_findings
from camserve.findings.report_page import write_report
from camserve.findings.results import RESULTS, Ledger, Row, read_rows, whole_rows
from camserve.model import Model
from camserve.system.files import sweep
from camserve.system.ordered import in_order

# Gives the rows of the plan from one on, in order.
Engine = Callable[[Plan, int], Generator[Row]]


@dataclass(frozen=True)
class Summary:
    """How a batch ended. explained, failed: images, those of earlier runs that it went on with included.

    ignored: files whose name does not end like an image's. interrupted: by Ctrl-C. answers: of those explained.
    """

    explained: int
    failed: int
    ignored: int
    interrupted: bool
    answers: Answers = Answers()  # noqa: RUF009 - frozen

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "answers": self.answers.to_dict()}


def run_batch(
    model: Model,
    source: str | Path,
    out: Path,
    options: Options | None = None,
    *,
    folders_are_classes: bool = False,
    objects: Path | None = None,
    resume: bool = False,
    restart: bool = False,
    exports: Sequence[str] = (),
    cluster: Cluster | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Explain every image of `source` into OUT.

    source, folders_are_classes: see `find_items`. objects: see `Objects`. resume: go on with an unfinished run; one
    that is finished, or none, is no error. restart: throw an unfinished run away. exports: of EXPORTS.
    cluster: where to run; None is the process's own threads. Both give the same bits.
    Writes the files of each image, OUT/results.jsonl as it goes; and OUT/findings.json, OUT/index.html and the exports
    at the end, also after Ctrl-C.
    Raises OptionError where there are no images, an option is bad, or OUT holds an unfinished or another run;
    OutputError where OUT cannot be written: then it stops, and can be resumed.
    """
    options, shown = options or Options(), progress or Silent()
    with ExitStack() as stack:
        where = stack.enter_context(closing(Objects(objects, partial(open_photo, model)))) if objects else None
        check_exports(exports, options)
        if cluster is not None:
            check_card(model)
        check_options(model, options)
        facts = {**facts_of(model, options), "objects": None if objects is None else str(objects)}
        facts["folders_are_classes"] = folders_are_classes
        plan = _plan(model, str(source), out, facts, resume=resume, restart=restart)

        def rows(plan: Plan, first: int) -> Generator[Row]:
            if cluster is not None:
                return rows_on(cluster, recipe_of(model, options, plan, objects), plan, first)
            work = Work(model, options, out, labelled=plan.labelled, targets=plan.targets, objects=where)
            return _on_threads(work, plan.items(first), model.workers.count + 1)

        summary = _run(plan, rows, shown)
    return replace(summary, answers=_finish(model, plan, options, exports))


def _finish(model: Model, plan: Plan, options: Options, exports: Sequence[str]) -> Answers:
    """Everything that is about all images: passes over the results. Gives what was answered."""
    for format in exports:
        export(plan.out, format, model.labels)
    findings = find(plan.out, model.labels, lambda shortcuts: cover(model, plan, shortcuts, options.how.size))
    facts = write_findings(plan.out, findings)
    write_report(plan.out, plan.source, model.name, findings, facts, model.settings.render.colormap)
    return findings.answers


def _plan(model: Model, source: str, out: Path, facts: dict[str, Any], *, resume: bool, restart: bool) -> Plan:
    """The plan to follow: the one that is there, or a new one."""
    old = read_plan(out) if not restart else None
    if old is not None and resume:
        check_same(old, source, facts)
        return old
    if old is not None and (done := whole_rows(out)[0]) < old.count:
        raise OptionError(
            f"'{out}' holds an unfinished run, {done} of {old.count} images: --resume goes on with it, "
            "--restart begins anew"
        )
    classes = bool(facts["folders_are_classes"])
    return make_plan(find_items(source, out, folders_are_classes=classes), out, source, model, facts)


def _run(plan: Plan, engine: Engine, shown: Progress) -> Summary:
    interrupted = False
    with Ledger(plan.out) as ledger:
        sweep(plan.out)
        counts = _counts_of(plan, ledger.count)
        with shown.of(plan.count, ledger.count, counts["failed"]):
            try:
                with closing(engine(plan, ledger.count)) as rows:
                    for row in rows:
                        ledger.append(row)
                        counts[row["status"]] += 1
                        shown.advance(row)
            except KeyboardInterrupt:
                interrupted = True
    return Summary(counts["ok"], counts["failed"], plan.ignored, interrupted)


def _counts_of(plan: Plan, done: int) -> dict[str, int]:
    """How many are ok and failed so far. Raises OptionError where the rows are not the plan's."""
    counts = {"ok": 0, "failed": 0}
    rows, items = read_rows(plan.out), plan.items()
    for row, item in zip(rows, items, strict=False):
        if row["file"] != item.name:
            raise OptionError(f"'{plan.out / RESULTS}' is of another run: {row['file']!r} in place of {item.name!r}")
        counts[row["status"]] += 1
    if sum(counts.values()) != done:
        raise OptionError(
            f"'{plan.out / RESULTS}' has {done} rows, and the plan {plan.count} images; --restart begins anew"
        )
    return counts


def _on_threads(work: Work, items: Generator[Item], threads: int) -> Generator[Row]:
    futures = cast("Generator[Future[Row]]", in_order(work, items, threads))
    with closing(items), closing(futures):
        for future in futures:
            yield future.result()


def check_exports(exports: Sequence[str], options: Options) -> None:
    """Raise OptionError before the work, not after it, where it could not be written."""
    for format in exports:
        if format not in EXPORTS:
            raise UnknownName("export", format, EXPORTS)
    if "parquet" in exports:
        check_parquet()
    if "coco" in exports and not {BOXES, POLYGONS} & set(options.outputs):
        raise OptionError("COCO is made of boxes: add --output boxes or polygons, beside others such as overlay")


def check_options(model: Model, options: Options) -> None:
    """Raise OptionError once, before the first file, rather than for each of ten thousand."""
    targets = options.targets
    if not isinstance(targets, int):
        targets = tuple(target for target in targets if target != EXPECTED) or 1
    grey = Image.new("RGB", (64, 64), "grey")
    for method in options.methods:
        asked = targets if isinstance(targets, int) else list(targets)
        explain_classes(model, grey, asked, options.by(method))[0].drawn(options.look)
