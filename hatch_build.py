"""Compiles camserve/render/painter.c while camserve is installed, where there is a C compiler; else goes on without.

    python hatch_build.py

does so in a checkout. Overlays are the same either way, bit for bit; camserve/render/native_painter.py loads it.
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
SOURCE = ROOT / "camserve" / "render" / "painter.c"
LIBRARY = SOURCE.with_suffix(".so")
# Without -ffp-contract=off a compiler may round once where numpy rounds twice. The first try asks for code for
# processors with AVX2 beside code for all, which not every compiler and C library can do; the second does not.
_FLAGS = ["-O3", "-std=c11", "-fPIC", "-shared", "-ffp-contract=off", "-fvisibility=default"]
_TRIES = [["-DMANY_PROCESSORS"], []]


def compiler() -> list[str] | None:
    """The C compiler's command: CC, or the first of the usual names; None where there is none."""
    if named := os.environ.get("CC"):
        return shlex.split(named)
    return next(([found] for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)


def build(library: Path = LIBRARY) -> str | None:
    """Make the library. Why that was not possible; None where it was."""
    command = compiler()
    if sys.platform == "win32" or command is None:
        return "there is no C compiler"
    said = ""
    for more in _TRIES:
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:  # put in place whole: another may be using it
            made = Path(folder) / library.name
            words = [*command, *_FLAGS, *more, "-o", str(made), str(SOURCE)]
            try:
                done = subprocess.run(words, capture_output=True, text=True, check=False)
            except OSError as error:
                return str(error)
            if done.returncode == 0:
                made.replace(library)
                return None
            said = done.stderr.strip()
    return said or "the C compiler failed"


class PainterBuildHook(BuildHookInterface):  # type: ignore[misc]
    """Of a wheel, an editable one too; a source distribution has painter.c and compiles nothing."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        LIBRARY.unlink(missing_ok=True)  # of an earlier build, perhaps for another machine
        problem = build()
        if problem is not None:
            self.app.display_warning(f"overlays will be painted by numpy: {problem}")
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data.update(pure_python=False, tag=f"py3-none-{platform}")
        build_data["artifacts"].append(f"/{LIBRARY.relative_to(ROOT).as_posix()}")


if __name__ == "__main__":
    problem = build()
    sys.exit(problem and f"{LIBRARY.name} was not made: {problem}")
