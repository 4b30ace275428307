"""Converted models kept on disk, so that the next start is quick: whole or not at all, the latest used ones.

Keyed by everything that decides the result: weights, graph, the versions of the libraries and of camserve.
"""

import hashlib
import logging
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

from torch import fx, nn

from camserve.errors import EngineError
from camserve.models.snapshot import add_weights
from camserve.version import __version__

log = logging.getLogger("camserve")

Made = TypeVar("Made")
Opened = TypeVar("Opened")

# Raised whenever the same module is converted to another graph.
_RECIPE = 2
# Each takes about twice the size of its weights.
KEPT = 16


@dataclass(frozen=True)
class KeptModels:
    """folder: where they are. library: what they are converted for. file: what the converted model is called."""

    folder: Path
    library: str
    file: str

    def place_of(self, module: nn.Module, only: tuple[int | str, ...]) -> Path:
        """The file of a module that was converted for what `only` says, such as a size, whether it is there or not."""
        digest = hashlib.sha256()
        about = [
            __version__,
            _RECIPE,
            version("torch"),
            version(self.library),
            type(module).__name__,
            only,
            repr(module),
        ]
        graphs = [part.code for part in module.modules() if isinstance(part, fx.GraphModule)]
        digest.update(repr((about, graphs)).encode())
        add_weights(digest, module)
        return self.folder / f"{self.library}-{digest.hexdigest()[:32]}" / self.file

    def opened(
        self,
        file: Path,
        start: Callable[[Path | Made], Opened],
        make: Callable[[], Made],
        write: Callable[[Made, Path], None],
    ) -> Opened:
        """What `start` makes of the kept model, or of one made anew where there is none that can be read.

        file: as of `place_of`. make: converts the model; write: puts it on disk. Raises EngineError.
        """
        if self.has(file):
            try:
                return start(file)
            except EngineError:
                log.warning("the converted model in '%s' cannot be read: it is made again (compute.cache)", file.parent)
                self.drop(file)
        made = make()
        try:
            self.keep(file, partial(write, made))
        except OSError as error:
            log.warning("cannot keep the converted model in '%s': %s (compute.cache)", self.folder, error.strerror)
            return start(made)
        return start(file)

    def has(self, file: Path) -> bool:
        """Whether it is there; marked as used, if that may be, as what was not used for longest goes first."""
        try:
            there = file.exists()
        except OSError:  # a folder of somebody else's
            return False
        if there:
            with suppress(OSError):  # one that may only be read is as good
                file.touch()
        return there

    def drop(self, file: Path) -> None:
        """Take one away, such as one that cannot be read."""
        shutil.rmtree(file.parent, ignore_errors=True)

    def keep(self, file: Path, write: Callable[[Path], None]) -> None:
        """Put what `write` writes on disk, and take the least used ones away. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = Path(mkdtemp(prefix="part-", dir=self.folder))
        try:
            write(part / self.file)
            if not file.exists():  # another process may have been faster
                part.replace(file.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        kept = sorted(self.folder.glob(f"{self.library}-*/{self.file}"), key=lambda path: path.stat().st_mtime)
        for old in kept[:-KEPT]:
            self.drop(old)
