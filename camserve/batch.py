"""A folder in; overlays, a line per file and a page out. One bad file never stops the rest."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from camserve import workers as pool
from camserve.errors import CamserveError, OptionError, OutputError
from camserve.explanation import Explanation
from camserve.files import write_all
from camserve.images import OUTPUTS, encode
from camserve.models import Model
from camserve.pipeline import in_order
from camserve.report import write_report

# Files with other endings lie in every folder of photographs; those that claim to be images must be ones.
IMAGE_ENDINGS = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff",
    ".avif", ".avifs",
))  # fmt: skip
THUMBNAIL = 360  # pixels, longest side: two fit side by side on a telephone


@dataclass(frozen=True)
class Outcome:
    """What became of one file: a result, or an error in words."""

    file: str
    status: str  # "ok" or "failed"
    class_index: int | None = None
    class_name: str | None = None
    score: float | None = None
    logit: float | None = None
    method: str | None = None
    layer: str | None = None
    overlay: str | None = None
    thumbnail: str | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None
    code: str | None = None


@dataclass(frozen=True)
class Summary:
    """How a batch ended. ignored: files whose name does not end like an image's."""

    explained: int
    failed: int
    ignored: int
    interrupted: bool

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def run_batch(
    model: Model,
    folder: Path,
    out: Path,
    *,
    image_format: str = "jpeg",
    how: dict[str, Any],
    look: dict[str, Any],
    progress: bool = True,
) -> Summary:
    """Explain every image below `folder`.

    how: options of `Model.explain`. look: options of `Explanation.overlay`. Writes OUT/overlays, OUT/thumbnails,
    OUT/results.jsonl as it goes and OUT/index.html at the end, also after Ctrl-C. Raises OptionError where
    `folder` has no images, or a bad option; OutputError where OUT cannot be written: then it stops.
    """
    files, ignored = find_images(folder, out)
    check_options(model, how, look)

    def work(path: Path) -> Outcome:
        return explain_file(model, path, folder, out, image_format, how, look)

    counts = {"ok": 0, "failed": 0}
    interrupted = False
    out.mkdir(parents=True, exist_ok=True)
    with (out / "results.jsonl").open("w", encoding="utf-8") as results, _bar(progress) as bar:
        task = bar.add_task("explaining", total=len(files)) if bar else None
        try:
            for future in in_order(work, files, pool.shared(model.settings.compute).count + 1):
                outcome = future.result()
                counts[outcome.status] += 1
                results.write(json.dumps(asdict(outcome), ensure_ascii=False) + "\n")
                results.flush()
                if bar and task is not None:
                    if outcome.error:
                        bar.console.print(f"[red]failed[/red] {outcome.error}", highlight=False)
                    bar.advance(task)
        except KeyboardInterrupt:
            interrupted = True
    write_report(out, model, counts["ok"], counts["failed"])
    return Summary(counts["ok"], counts["failed"], ignored, interrupted)


def find_images(folder: Path, out: Path) -> tuple[list[Path], int]:
    """Files below `folder` named like images, sorted, and the number of others; what lies in `out` is neither.

    Raises OptionError where there are none.
    """
    if not folder.is_dir():
        raise OptionError(f"'{folder}' is not a folder; for single files use `camserve explain`")
    found, ignored = [], 0
    for path in _walk(folder, out.resolve()):
        if path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith("."):
            found.append(path)
        else:
            ignored += 1
    if not found:
        raise OptionError(
            f"no images below '{folder}' ({ignored} other files); looked for {', '.join(sorted(IMAGE_ENDINGS))}"
        )
    return sorted(found), ignored


def _walk(folder: Path, out: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            if path.resolve() != out:
                yield from _walk(path, out)
        elif path.is_file():
            yield path


def check_options(model: Model, how: dict[str, Any], look: dict[str, Any]) -> None:
    """Raise OptionError once, before the first file, rather than for each of ten thousand."""
    model.explain(Image.new("RGB", (64, 64), "grey"), **how).overlay(**look)


def explain_file(
    model: Model,
    path: Path,
    folder: Path,
    out: Path,
    image_format: str,
    how: dict[str, Any],
    look: dict[str, Any],
) -> Outcome:
    """Explain one file and write its overlay and thumbnail. Raises OutputError only."""
    name = path.relative_to(folder).as_posix()
    try:
        explanation = model.explain(path, **how)
        overlay = explanation.overlay(**look)
    except OutputError:
        raise
    except CamserveError as error:
        return Outcome(name, "failed", error=str(error), code=error.code)
    # the whole name stays in front, so that cat.jpg and cat.png never meet
    written = f"overlays/{name}{OUTPUTS[image_format].ending}", f"thumbnails/{name}.jpg"
    quality = model.settings.render.quality
    write_all(
        out,
        {
            written[0]: encode(overlay, image_format, quality=quality),
            written[1]: encode(thumbnail(overlay), "jpeg", quality=quality),
        },
    )
    return _outcome(name, explanation, *written)


def thumbnail(overlay: Image.Image) -> Image.Image:
    """A small copy for the page; never larger than the overlay itself."""
    share = min(1, THUMBNAIL / max(overlay.size))
    size = (max(1, round(overlay.width * share)), max(1, round(overlay.height * share)))
    return overlay.resize(size, Image.Resampling.BICUBIC, reducing_gap=3)


def _outcome(name: str, explanation: Explanation, overlay: str, small: str) -> Outcome:
    return Outcome(
        name,
        "ok",
        explanation.class_index,
        explanation.class_name,
        explanation.score,
        explanation.logit,
        explanation.method,
        explanation.layer,
        overlay,
        small,
        explanation.warnings,
    )


def _bar(shown: bool) -> Any:
    """Progress on standard error: a bar on a terminal, only the failures elsewhere, nothing when not shown."""
    if not shown:
        return nullcontext()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True))
