"""A run whose first images all fail for one reason is stopped: a million more would fail for it, too."""

import re

from camserve.findings.results import Row

LIMIT = 200  # images

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_PATH_OR_NUMBER = re.compile(r"\S*[/\\]\S*|\d+")
_CAUSES = {
    "bad_image": "the files: do they lie where the list says, can they be read, and are they images",
    "unsupported_type": "the files: are they images of a type that is read",
    "bad_option": "an option, or the table",
    "unknown_name": "an option, or the table",
    "internal": "the model, or too little memory",
}


class Alike:
    """Is told of the rows that a run makes. any_good: whether an image was explained before."""

    def __init__(self, *, any_good: bool) -> None:
        self._ended, self._count, self._reason = any_good, 0, ""

    def add(self, row: Row) -> str | None:
        """Why the run should stop, in words, as soon as its first 200 images have failed alike."""
        if self._ended:
            return None
        reason = reason_of(row) if row["status"] == "failed" else None
        self._reason = self._reason or reason or ""
        self._ended = reason is None or reason != self._reason
        self._count += 1
        if self._ended or self._count < LIMIT:
            return None
        self._ended = True
        cause = _CAUSES.get(row["code"], "the model, or an option")
        return (
            f"stopped, as the first {LIMIT} images all failed alike, the last with: {row['error'].rstrip('.')}. Likely "
            f"cause: {cause}. When it is set right, --restart starts again; --resume --keep-going continues as it is"
        )


def reason_of(row: Row) -> str:
    """The error of a failed row, without what differs from image to image: names, paths and numbers."""
    said = row["error"].replace(row["file"], "").replace(row.get("name", row["file"]), "")
    return f"{row['code']}: {_PATH_OR_NUMBER.sub('', _QUOTED.sub('', said))}"
