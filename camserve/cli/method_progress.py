"""A progress bar for long methods, on standard error if that is a terminal."""

from types import TracebackType
from typing import Self


class Interrupted(Exception):
    """Raised in a method that still runs although nobody waits for its result."""


class Bar:
    """A `progress` for `explain`. It appears with the first report, and disappears when the block ends.

    The end of the block also stops a method that still runs, at its next report. Without this, Ctrl-C would wait for
    the method.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("explaining", total=None, visible=False)
        self._left = False

    def begin(self, name: str) -> None:
        """Set the name of the next step, in one or two words."""
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
        if self._bar.console.is_terminal:  # without a terminal, stop() would write an empty line
            self._bar.stop()
