"""Compiles camserve's C files during installation. Without a C compiler, camserve uses numpy instead.

    python hatch_build.py

compiles them in a checkout. The results are the same with C and with numpy, bit for bit. The modules beside the files
load them.
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand
    BuildHookInterface = object

ROOT = Path(__file__).parent
SOURCES = [ROOT / "camserve" / file for file in ("render/painter.c", "images/arrays/resampler.c")]
# Without -ffp-contract=off a compiler may round once where numpy rounds twice. The first try compiles code for
# processors with AVX2 beside code for all processors. Not every compiler and C library can do that, so the second try
# leaves it out.
_FLAGS = ["-O3", "-std=c11", "-fPIC", "-shared", "-ffp-contract=off", "-fvisibility=default"]
_TRIES = [["-DMANY_PROCESSORS"], []]


def compiler() -> list[str] | None:
    """The command of the C compiler: CC, or the first of the usual names; None if there is no compiler."""
    if named := os.environ.get("CC"):
        return shlex.split(named)
    return next(([found] for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)


def build_all() -> str | None:
    """Compile every library. Returns the reason for a failure, None for success."""
    return next((problem for problem in map(build, SOURCES) if problem is not None), None)


def build(source: Path) -> str | None:
    """Compile the library of one file. Returns the reason for a failure, None for success."""
    library = source.with_suffix(".so")
    command = compiler()
    if sys.platform == "win32" or command is None:
        return "there is no C compiler"
    said = ""
    for more in _TRIES:
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:  # moved at once: another process may use it
            made = Path(folder) / library.name
            words = [*command, *_FLAGS, *more, "-o", str(made), str(source)]
            try:
                done = subprocess.run(words, capture_output=True, text=True, check=False)
            except OSError as error:
                return str(error)
            if done.returncode == 0:
                made.replace(library)
                return None
            said = done.stderr.strip()
    return said or "the C compiler failed"


class CompilingBuildHook(BuildHookInterface):  # type: ignore[misc]
    """Compiles for a wheel, also an editable one. A source distribution contains the C files and compiles nothing."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        libraries = [source.with_suffix(".so") for source in SOURCES]
        for library in libraries:
            library.unlink(missing_ok=True)  # from an earlier build, perhaps for another machine
        problem = build_all()
        if problem is not None:
            self.app.display_warning(
                f"the C files were not compiled, so numpy draws overlays and resamples photographs: {problem}"
            )
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data.update(pure_python=False, tag=f"py3-none-{platform}")
        build_data["artifacts"] += [f"/{library.relative_to(ROOT).as_posix()}" for library in libraries]


if __name__ == "__main__":
    problem = build_all()
    sys.exit(problem and f"a library was not compiled: {problem}")
