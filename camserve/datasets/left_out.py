"""Counts the files of a source that are not explained, by reason, with a few examples."""

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from camserve.datasets.naming import legible

# The reasons, in the singular and the plural.
OTHER = "file that is no image", "files that are no images"
HIDDEN = "hidden file", "hidden files"
LOST = "link that leads nowhere", "links that lead nowhere"
SPECIAL = "entry that is neither file nor folder", "entries that are neither files nor folders"
SEEN = "link to a folder that is looked at already", "links to folders that are looked at already"
RESULTS_OF_A_BATCH = "folder of another batch's results", "folders of other batches' results"
OWN = "place of this batch's own results", "places of this batch's own results"
LINKED = "link to a result of a batch", "links to results of batches"
BESIDE = "image that lies beside the folders of classes", "images that lie beside the folders of classes"
AGAIN = "line that names an image again", "lines that name an image again"
_ORDER = (OTHER, BESIDE, AGAIN, HIDDEN, LOST, SPECIAL, SEEN, OWN, RESULTS_OF_A_BATCH, LINKED)

_EXAMPLES = 3  # per reason and ending
_ENDINGS = 40  # endings that are counted one by one; a folder may have files that end in numbers, all different
_SAID = 5  # endings in a sentence


class LeftOut:
    """Counts files by reason and by ending. notes: further notes about the source, in sentences."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._counts: dict[tuple[str, str], Counter[str]] = {}
        self._examples: dict[tuple[str, str], dict[str, list[str]]] = {}

    def note(self, text: str) -> None:
        """Add a note about the source; the same text is added only once."""
        if text not in self.notes:
            self.notes.append(text)

    def add(self, reason: tuple[str, str], path: str) -> None:
        """Count one more file. path: the path that users know."""
        counts, examples = self._counts.setdefault(reason, Counter()), self._examples.setdefault(reason, {})
        ending = (PurePath(path).suffix.lower()[:12] or "no ending") if reason == OTHER else ""
        if ending not in counts and len(counts) >= _ENDINGS:
            ending = "others"
        counts[ending] += 1
        if len(several := examples.setdefault(ending, [])) < _EXAMPLES:
            several.append(legible(path))

    def count(self, reason: tuple[str, str]) -> int:
        """The number of files that were left out for one reason."""
        return self._counts.get(reason, Counter()).total()

    def to_dict(self) -> list[dict[str, Any]]:
        """A list for JSON: an entry for each reason and ending, the most frequent endings first."""
        return [
            {"reason": reason[1], **({"ending": ending} if ending else {}), "count": count,
             "examples": self._examples[reason][ending]}
            for reason in _ORDER if reason in self._counts
            for ending, count in self._counts[reason].most_common()
        ]  # fmt: skip

    def __str__(self) -> str:
        """The counts in words, such as "14 files that are no images (.txt 14), 1 hidden file (._a.jpg)", or ""."""
        return ", ".join(self._words())

    def _words(self) -> Iterator[str]:
        for reason in _ORDER:
            if total := self.count(reason):
                yield f"{total} {reason[total > 1]} ({self._detail(reason)})"

    def _detail(self, reason: tuple[str, str]) -> str:
        counts, examples = self._counts[reason], self._examples[reason]
        if reason != OTHER:
            (several,) = examples.values()
            return ", ".join(several) + (", ..." if counts.total() > len(several) else "")
        common = counts.most_common()
        return ", ".join(f"{ending} {count}" for ending, count in common[:_SAID]) + (
            ", ..." if len(common) > _SAID else ""
        )
