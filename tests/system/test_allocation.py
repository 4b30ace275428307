"""Freed memory stays with the process, up to a bound, and only where the process is ours."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")

# Page faults of taking and freeing 2 x 8 MB, thirty times over, on a thread of its own, as workers do.
FAULTS = """
import resource, threading
import numpy as np
{before}
def work():
    for turn in range(33):
        if turn == 3:
            start = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        first, second = np.ones(2**21, np.float32), np.ones(2**21, np.float32)
        del first, second
    print(resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - start)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
GIVEN_BACK = {"MALLOC_TRIM_THRESHOLD_": "100000", "MALLOC_MMAP_THRESHOLD_": "100000"}
SOME = 0.3  # one of the two blocks may find a place of its own


def faults(before: str, **variables: str) -> int:
    command = [sys.executable, "-c", FAULTS.format(before=before)]
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    return int(subprocess.run(command, env=surroundings | variables, capture_output=True, text=True, check=True).stdout)


def test_what_was_freed_is_taken_again_without_asking_the_system() -> None:
    told = "from camserve.system.allocation import keep_freed_memory; keep_freed_memory()"
    every_time = faults("", **GIVEN_BACK)
    assert faults(told) < 0.1 * every_time
    assert faults(told, **GIVEN_BACK) > SOME * every_time  # who sets it, knows why


def test_importing_camserve_leaves_the_process_as_it_is() -> None:
    assert faults("import camserve, camserve.explain", **GIVEN_BACK) > SOME * faults("", **GIVEN_BACK)
