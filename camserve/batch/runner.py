"""A batch from beginning to end, or from where it was: nothing is lost, and one bad file never stops the rest."""

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

# Gives the rows of the plan from one on, in order.
Engine = Callable[[Plan, int], Generator[Row]]


@dataclass(frozen=True)
class Summary:
    """How a batch ended. explained, failed: images, those of earlier runs that it went on with included.

    ignored: files whose name does not end like an image's. interrupted: by Ctrl-C. left_out: by reason, how many
    and examples, see `LeftOut.to_dict`. notes: what else there is to say of the source. stopped: why the run was given
    up before its end; it can be resumed. answers: of those explained. findings: what OUT/findings.json says, without
    its maps, see `in_short`.
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
    keep_going: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Explain every image of `source` into OUT.

    source, folders_are_classes: see `find_items`. objects: see `Objects`. exports: of EXPORTS.
    resume: go on with an unfinished run; one that is finished, or none, is no error. restart: remove what the run in
    OUT wrote, and start again. With neither, a run that is finished is left as it is, but for exports.
    keep_going: also where the first 200 images all fail for one reason, which else stops the run.
    cluster: where to run; None is the process's own threads. Both give the same bits.
    Writes the files of each image, OUT/results.jsonl as it goes; and OUT/findings.json, OUT/index.html and the exports
    at the end, also after Ctrl-C.
    Raises OptionError where there are no images, an option is bad, OUT is the images' folder, or OUT holds an
    unfinished run, another one, or one of other images; OutputError where OUT cannot be written: then it stops, and can
    be resumed; and where another run has OUT, which is this run's alone from beginning to end.
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
    """The findings and the page: passes over the results. Gives what was answered, and the findings in short."""
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
    """The plan to follow: the one that is there, or a new one."""
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
    """How many are ok and failed so far. Raises OptionError where the rows are not the plan's."""
    counts = {"ok": 0, "failed": 0}
    rows, items = read_rows(plan.out), plan.items()
    for row, item in zip(rows, items, strict=False):
        if (name := name_in(row)) != item.name:
            raise OptionError(f"'{plan.out / RESULTS}' is of another run: {name!r} in place of {item.name!r}")
        counts[row["status"]] += 1
    if sum(counts.values()) != done:
        raise OptionError(
            f"'{plan.out / RESULTS}' has {done} rows, and the plan {plan.count} images; --restart starts again"
        )
    return counts


def _on_threads(work: Work, items: Generator[Item], threads: int) -> Generator[Row]:
    futures = cast("Generator[Future[Row]]", in_order(work, items, threads))
    with closing(items), closing(futures):
        for future in futures:
            yield future.result()


def check_options(model: Model, options: Options) -> None:
    """Raise OptionError once, before the first file, rather than for each of ten thousand."""
    targets = options.targets
    if not isinstance(targets, int):
        own = (target for target in targets if target != EXPECTED and not needs_expected(target, model.labels))
        targets = tuple(own) or 1
    grey = plain_photo(model, 128)
    for method in options.methods:
        asked = targets if isinstance(targets, int) else list(targets)
        explain_classes(model, grey, asked, options.by(method))[0].drawn(options.look)
