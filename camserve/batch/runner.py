"""Runs a batch, from its start or from the point where it was interrupted. A bad file never stops the other files."""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from camserve.batch.batch_options import Options, facts_of
from camserve.batch.earlier_run import check_news, check_out, check_same, has_page, remove_run
from camserve.batch.explain_item import Work
from camserve.batch.failing_alike import Alike
from camserve.batch.plan import Plan, in_plan, make_plan
from camserve.batch.preflight import check_apart, check_exports
from camserve.batch.progress import Progress, Silent
from camserve.batch.ray_cluster import Cluster, check_card, recipe_of, rows_on
from camserve.batch.shortcut_test import cover
from camserve.catalogue.run_files import PICTURES, RESULTS
from camserve.catalogue.targets import EXPECTED, needs_expected
from camserve.datasets.ground_truth import Objects
from camserve.datasets.inputs import Item, find_items
from camserve.datasets.left_out import LeftOut
from camserve.errors import OptionError
from camserve.explain.pipeline import explain_classes, open_picture, plain_photo
from camserve.findings.answers import Answers, count_answers
from camserve.findings.exports import export
from camserve.findings.findings import find, in_short, kept_findings, write_findings
from camserve.findings.report_page import write_report
from camserve.findings.results import Ledger, Row, name_in, read_rows, whole_rows
from camserve.model import Model
from camserve.system.files import sweep
from camserve.system.folder_lock import writing_into
from camserve.system.ordered import in_order

# Takes the plan and the number of its first image; returns the rows from there on, in order.
Engine = Callable[[Plan, int], Generator[Row]]


@dataclass(frozen=True)
class Summary:
    """The result of a batch. explained, failed: numbers of images, with those of the earlier runs that it resumed.

    ignored: the number of files whose name has no image ending. interrupted: whether Ctrl-C ended it. left_out: for
    each reason, the number of files and examples, see `LeftOut.to_dict`. notes: further notes about the source.
    stopped: why the run stopped before its end; it can be resumed. answers: the answers for the explained images.
    findings: the content of OUT/findings.json without its maps, see `in_short`.
    """

    explained: int
    failed: int
    ignored: int
    interrupted: bool
    left_out: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stopped: str | None = None
    answers: Answers = Answers()  # noqa: RUF009 - frozen
    findings: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The summary as a dict for JSON."""
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
    keep_going: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Explain every image of `source`, and write the results into OUT.

    source, folders_are_classes: see `find_items`. objects: see `Objects`. exports: keys of EXPORTS.
    resume: continue an unfinished run; without a run, or with a finished run, it is no error. restart: remove the files
    of the run in OUT, and start again. Without either, a finished run stays unchanged; only exports are written.
    keep_going: continue even if the first 200 images all fail for the same reason; without it, the run stops.
    cluster: the cluster to run on; None: threads of this process. Both give the same bits.
    During the run it writes the files of each image and OUT/results.jsonl; at the end, also after Ctrl-C,
    OUT/findings.json, OUT/index.html and the exports.
    Raises OptionError if there are no images, an option is bad, OUT is the folder of the images, or OUT holds an
    unfinished run, a run with other options, or a run of other images. Raises OutputError if OUT cannot be written (the
    run can be resumed), and if another run is writing into OUT.
    """
    options, shown = options or Options(), progress or Silent()
    check_apart(str(source), out)
    model = model.of_output(options.how.output).of_labels(options.how.labels)
    options = replace(options, how=replace(options.how, quantity=options.how.quantity or model.quantity))
    with ExitStack() as stack:
        where = stack.enter_context(closing(Objects(objects, partial(open_picture, model)))) if objects else None
        check_exports(exports, options)
        if cluster is not None:
            check_card(model)
        check_options(model, options)
        facts = {**facts_of(model, options), "objects": None if objects is None else str(objects)}
        facts["folders_are_classes"] = folders_are_classes
        stack.enter_context(writing_into(out))
        plan = _plan(model, str(source), out, facts, options.how.expected, shown, resume=resume, restart=restart)

        def rows(plan: Plan, first: int) -> Generator[Row]:
            if cluster is not None:
                return rows_on(cluster, recipe_of(model, options, plan, objects), plan, first)
            work = Work(model, options, out, labelled=plan.labelled, targets=plan.targets, objects=where)
            return _on_threads(work, plan.items(first), model.workers.count + 1)

        summary = _run(plan, rows, shown, keep_going=keep_going)
        for format in exports:
            export(out, format, model.labels)
        if resume or not has_page(out):
            answers, said = _look_at(model, plan, options)
        else:
            answers, said = count_answers(read_rows(out)), kept_findings(out)
        return replace(summary, answers=answers, findings=said)


def _look_at(model: Model, plan: Plan, options: Options) -> tuple[Answers, dict[str, Any]]:
    """Write the findings and the page from the results. Returns the answers, and the findings in short."""
    findings = find(plan.out, model.labels, lambda shortcuts: cover(model, plan, shortcuts, options.how.size))
    facts = write_findings(plan.out, findings)
    style = model.settings.render
    colormaps = options.look.colormap or style.colormap, options.look.colormap or style.signed_colormap
    write_report(plan.out, plan.source, model.title, findings, facts, colormaps)
    return findings.answers, in_short(facts)


def _plan(
    model: Model,
    source: str,
    out: Path,
    facts: dict[str, Any],
    expected: int | str | None,
    shown: Progress,
    *,
    resume: bool,
    restart: bool,
) -> Plan:
    """The plan of the run: the plan in OUT if there is one, else a new plan."""
    left_out = LeftOut()
    items = find_items(source, out, folders_are_classes=bool(facts["folders_are_classes"]), left_out=left_out)
    plan = None if restart else check_out(out, source, resume=resume)
    if plan is None:
        clear = partial(remove_run, out)
        made = make_plan(items, out, source, model, facts, expected=expected, left_out=left_out, clear=clear)
        for said in (*left_out.notes, f"left out: {left_out}" if str(left_out) else ""):
            shown.say(said)
        return made
    check_same(plan, source, facts)
    if whole_rows(out)[0] == plan.count:
        listed = in_plan((item for item in items if item is not None), out, model, expected)
        shown.say(check_news(plan, listed, resume=resume))
    return plan


def _run(plan: Plan, engine: Engine, shown: Progress, *, keep_going: bool) -> Summary:
    interrupted, stopped = False, None
    with Ledger(plan.out) as ledger:
        sweep(plan.out, PICTURES)
        counts = _counts_of(plan, ledger.count)
        alike = Alike(any_good=keep_going or counts["ok"] > 0)
        if ledger.count < plan.count:
            with shown.of(plan.count, ledger.count, counts["failed"]):
                try:
                    with closing(engine(plan, ledger.count)) as rows:
                        for row in rows:
                            ledger.append(row)
                            counts[row["status"]] += 1
                            shown.advance(row)
                            if stopped := alike.add(row):
                                break
                except KeyboardInterrupt:
                    interrupted = True
    return Summary(counts["ok"], counts["failed"], plan.ignored, interrupted, plan.left_out, plan.notes, stopped)


def _counts_of(plan: Plan, done: int) -> dict[str, int]:
    """How many images are ok and failed so far. Raises OptionError if the rows do not belong to the plan."""
    counts = {"ok": 0, "failed": 0}
    rows, items = read_rows(plan.out), plan.items()
    for row, item in zip(rows, items, strict=False):
        if (name := name_in(row)) != item.name:
            raise OptionError(f"'{plan.out / RESULTS}' is of another run: it has {name!r} in place of {item.name!r}")
        counts[row["status"]] += 1
    if sum(counts.values()) != done:
        raise OptionError(
            f"'{plan.out / RESULTS}' has {done} rows, but the plan has {plan.count} images; --restart starts again"
        )
    return counts


def _on_threads(work: Work, items: Generator[Item], threads: int) -> Generator[Row]:
    futures = cast("Generator[Future[Row]]", in_order(work, items, threads))
    with closing(items), closing(futures):
        for future in futures:
            yield future.result()


def check_options(model: Model, options: Options) -> None:
    """Try the options on a grey image, to raise OptionError once, before the first file, and not for every file."""
    targets = options.targets
    if not isinstance(targets, int):
        own = (target for target in targets if target != EXPECTED and not needs_expected(target, model.labels))
        targets = tuple(own) or 1
    grey = plain_photo(model, 128)
    for method in options.methods:
        asked = targets if isinstance(targets, int) else list(targets)
        explain_classes(model, grey, asked, options.by(method))[0].drawn(options.look)
