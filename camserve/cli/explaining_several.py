"""`camserve explain` with several methods, classes or outputs: a folder for each, and a sheet of all."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from camserve.catalogue.methods import family_of
from camserve.cli.method_progress import Bar
from camserve.cli.program import INTERRUPTED

if TYPE_CHECKING:
    from camserve.catalogue.options import ExplainOptions, OverlayOptions
    from camserve.catalogue.targets import Above, TargetOption
    from camserve.explanation.contact_sheet import Entry
    from camserve.images.reading import Photo
    from camserve.model import Model

SHEET = "sheet.jpg"
NOT_BEGUN = "not begun"


@dataclass(frozen=True)
class SheetOf:
    """What is compared: methods, classes, or outputs of the network.

    limit: seconds per method; a method that would take longer is not started. Ctrl-C leaves out the remaining methods.
    """

    methods: Sequence[str] = ()
    targets: "Above | list[str] | None" = None
    outputs: Sequence[str] = ()
    limit: float | None = None

    def show(
        self,
        model: "Model",
        image: str,
        folder: Path,
        target: "TargetOption",
        how: "ExplainOptions",
        look: "OverlayOptions",
        as_json: bool,
    ) -> None:
        """Compare on one image: write files into `folder`, and facts to standard output. Raises CamserveError.

        target: for methods and outputs. how: without the methods. look: how pictures are drawn.
        """
        from camserve.explain.pipeline import open_photo
        from camserve.explanation.contact_sheet import Entry

        photo, entries, interrupted = open_photo(model, image), [], False
        with Bar() as bar:
            try:
                for entry in self._entries(model, photo, target, how, bar):
                    entries.append(entry)
                    if not as_json:
                        click.echo(f"  {entry.name}: {entry.detail or 'left out: ' + entry.reason}")
                    if entry.explanation is not None:
                        entry.explanation.save(folder / entry.name, look=look)
            except KeyboardInterrupt:
                interrupted = True
                entries += [Entry(m, m, family_of(m), reason="not run: interrupted") for m in self._left(entries)]
        _write_sheet(model, photo, entries, folder, look)
        facts = {"sheet": str(folder / SHEET), "entries": [_facts(entry, folder) for entry in entries]}
        if as_json:
            click.echo(json.dumps({"image": image, **facts}))
        else:
            _sum_up(image, facts)
        if interrupted:
            sys.exit(INTERRUPTED)

    def _entries(
        self, model: "Model", photo: "Photo", target: "TargetOption", how: "ExplainOptions", bar: Bar
    ) -> "Iterator[Entry]":
        from camserve.explain.estimate import estimate
        from camserve.explain.run import Run
        from camserve.explain.side_by_side import compare_classes, compare_methods, compare_outputs

        run = Run(deadline=self.limit, progress=bar)
        if self.targets is not None:
            yield from compare_classes(model, photo, self.targets, how, run)
            return
        if self.outputs:
            yield from compare_outputs(model, photo, self.outputs, target, how, run)
            return
        expected = estimate(model, photo, how, run) if self.limit else None
        for name in self.methods:
            bar.begin(name)
            yield from compare_methods(model, photo, [name], target, how, run, expected)

    def _left(self, entries: "list[Entry]") -> list[str]:
        return [name for name in self.methods if name not in {entry.name for entry in entries}]


def _sum_up(image: str, facts: dict[str, Any]) -> None:
    """Print each note once, and where the sheet is."""
    notes: dict[str, list[str]] = {}
    for entry in facts["entries"]:
        for note in entry["warnings"]:
            notes.setdefault(note, []).append(entry["name"])
    shown = [entry for entry in facts["entries"] if entry["folder"]]
    for note, names in notes.items():
        click.echo(f"  note{'' if len(names) == len(shown) else ' on ' + ', '.join(names)}: {note}")
    waiting = [entry["name"] for entry in facts["entries"] if NOT_BEGUN in entry["reason"]]
    if waiting:
        click.echo(f"  not started: {', '.join(waiting)}; use a larger --limit, or --limit 0, to run them")
    click.echo(f"{image}: {len(shown)} of {len(facts['entries'])} -> {facts['sheet']}")


def _write_sheet(model: "Model", photo: "Photo", entries: "list[Entry]", folder: Path, look: "OverlayOptions") -> None:
    from camserve.explanation.contact_sheet import draw_sheet
    from camserve.images.reading import encode
    from camserve.system.files import write_whole

    sheet = draw_sheet(photo.image, _heading(photo, entries), entries, look)
    style = model.settings.render
    write_whole(folder / SHEET, encode(sheet, "jpeg", quality=style.quality, subsampling=style.subsampling))


def _heading(photo: "Photo", entries: "list[Entry]") -> str:
    made = next((entry.explanation for entry in entries if entry.explanation is not None), None)
    if made is None:
        return photo.name
    what = "" if any(entry.group in ("Classes", "Outputs") for entry in entries) else f": {made.in_short}"
    return f"{photo.name}{what} ({made.model_name}, layer {made.layer})"


def _facts(entry: "Entry", folder: Path) -> dict[str, Any]:
    made = entry.explanation
    return {
        "name": entry.name,
        "detail": entry.detail,
        "reason": entry.reason,
        "folder": str(folder / entry.name) if made else None,
        "class_name": made.class_name if made else None,
        "score": made.score if made else None,
        "warnings": list(made.warnings) if made else [],
    }
