"""Stops a run whose first images all fail for the same reason, because all other images would fail, too."""

import re

from camserve.findings.results import Row

LIMIT = 200  # images

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_PATH_OR_NUMBER = re.compile(r"\S*[/\\]\S*|\d+")
_CAUSES = {
    "bad_image": "the files: do they exist where the list says, can they be read, and are they images",
    "unsupported_type": "the files: are they images of a supported type",
    "bad_option": "an option, or the table",
    "unknown_name": "an option, or the table",
    "internal": "the model, or too little memory",
}


class Alike:
    """Looks at the first rows of a run. any_good: whether an earlier part of the run explained an image."""

    def __init__(self, *, any_good: bool) -> None:
        self._ended, self._count, self._reason = any_good, 0, ""

    def add(self, row: Row) -> str | None:
        """Return a message as soon as the first 200 images have failed for the same reason; else None."""
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
            f"stopped: the first {LIMIT} images all failed for the same reason. The last error: "
            f"{row['error'].rstrip('.')}. Likely cause: {cause}. Correct it and start again with --restart; or "
            "continue without a change with --resume --keep-going"
        )


def reason_of(row: Row) -> str:
    """The error of a failed row without names, paths and numbers, because these differ from image to image."""
    said = row["error"].replace(row["file"], "").replace(row.get("name", row["file"]), "")
    return f"{row['code']}: {_PATH_OR_NUMBER.sub('', _QUOTED.sub('', said))}"
