"""How far a long method is: a bar on standard error where that is a terminal, nothing elsewhere."""

from types import TracebackType
from typing import Self


class Interrupted(Exception):
    """Raised where a method works on although nobody waits for it any more."""


class Bar:
    """A `progress` for `explain`: shown from its first report on, gone when the block is left.

    Leaving the block also ends a method that still runs, at its next report; else Ctrl-C would wait for it.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("explaining", total=None, visible=False)
        self._left = False

    def begin(self, name: str) -> None:
        """What is done next, in a word or two."""
        self._bar.reset(self._task, description=name, total=None, visible=False)

    def __call__(self, done: int, total: int) -> None:
        if self._left:
            raise Interrupted
        self._bar.update(self._task, completed=done, total=total, visible=True)

    def __enter__(self) -> Self:
        if self._bar.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        if self._bar.console.is_terminal:  # elsewhere stopping alone would write a line
            self._bar.stop()
