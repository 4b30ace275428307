"""Run two checkouts of camserve, for frozen.py and pairs.py, which use only their public interfaces."""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


def parser(about: str | None) -> argparse.ArgumentParser:
    """Return a parser for OLD and NEW."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("old", type=Path, help="a checkout, such as of git worktree")
    made.add_argument("new", type=Path, help="another one")
    return made


def environment(tree: Path, folder: Path, **settings: str) -> dict[str, str]:
    """Return the environment of a process that imports camserve from `tree`: one intra-op thread, no user settings.

    folder: holds its cache. settings: by section and key, as in serve_queue="2".
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CAMSERVE_")}
    kept |= {"PYTHONPATH": str(tree.resolve()), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    settings = {"models_folders": "", "compute_cache": str(folder / "cache"), "compute_threads": "1"} | settings
    return kept | {f"CAMSERVE_{name.upper()}": value for name, value in settings.items()}


def check(tree: Path, folder: Path) -> None:
    """End the program if camserve would not be imported from `tree`. folder: a working directory outside a checkout."""
    ask = [sys.executable, "-c", "import camserve; print(camserve.__file__)"]
    found = subprocess.run(ask, env=environment(tree, folder), cwd=folder, capture_output=True, text=True, check=False)
    if found.returncode or not Path(found.stdout.strip()).is_relative_to(tree.resolve()):
        sys.exit(f"{tree} is no checkout of camserve: {found.stdout or found.stderr}")


def command(words: Sequence[str]) -> list[str]:
    """Return the command line `camserve WORDS`."""
    return [sys.executable, "-m", "camserve", *words]


@contextmanager
def serving(surroundings: Mapping[str, str], folder: Path) -> Iterator[tuple[str, int]]:
    """Run a real `camserve serve`; yields its address and the master's process id when it is ready.

    It ends with the block, also if SIGTERM ends this process.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with (
        (folder / "serve.log").open("ab") as log,
        subprocess.Popen(
            command(["serve", "--port", "0"]),
            env=surroundings,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as started,
    ):
        try:
            assert started.stdout is not None
            found = re.search(r"http://\S+", started.stdout.readline())
            if found is None:
                raise RuntimeError(f"camserve serve did not start; see {folder / 'serve.log'}")
            wait_for(f"{found[0]}/readyz")
            yield found[0], started.pid
        finally:
            started.terminate()
            started.wait(60)


def wait_for(url: str, seconds: float = 120) -> None:
    """Wait until the service answers 200."""
    end = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
