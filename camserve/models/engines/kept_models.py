"""A cache of converted models on disk for the next start. Files are written as a whole; the latest used ones are kept.

The key is made of all that decides the result: weights, graph, the versions of the libraries and of camserve.
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

# Increase it whenever the same module is converted to another graph.
_RECIPE = 2
# Most models in the cache. Each takes about twice the size of its weights.
KEPT = 16


@dataclass(frozen=True)
class KeptModels:
    """folder: of the cache. library: the models are converted for it. file: name of the converted model's file."""

    folder: Path
    library: str
    file: str

    def place_of(self, module: nn.Module, only: tuple[int | str, ...]) -> Path:
        """The file of a converted module; it need not exist. only: limits of the conversion, such as a size."""
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
        """The result of `start` on the cached model, or on a new one if none can be read.

        file: from `place_of`. make: converts the model; write: writes it to disk. Raises EngineError.
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
        """Whether the file exists. Marks it as used, if possible: the file used longest ago is deleted first."""
        try:
            there = file.exists()
        except OSError:  # a folder that may not be read
            return False
        if there:
            with suppress(OSError):  # a read-only cache works, too
                file.touch()
        return there

    def drop(self, file: Path) -> None:
        """Delete one model, for example one that cannot be read."""
        shutil.rmtree(file.parent, ignore_errors=True)

    def keep(self, file: Path, write: Callable[[Path], None]) -> None:
        """Have `write` write a model, and delete the models used longest ago. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = Path(mkdtemp(prefix="part-", dir=self.folder))
        try:
            write(part / self.file)
            if not file.exists():  # another process may have written it already
                part.replace(file.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        kept = sorted(self.folder.glob(f"{self.library}-*/{self.file}"), key=lambda path: path.stat().st_mtime)
        for old in kept[:-KEPT]:
            self.drop(old)
