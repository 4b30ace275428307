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


# Blocks of 64 KB, 200 MB of them, of which every second is freed: in between lie those that stay.
HELD = """
import time
from camserve.system import allocation
allocation.keep_freed_memory()
began, rested = 0.0, []
allocation._LOOK_SECONDS, allocation._LOADING_SECONDS = 0.05, 0
allocation._PAUSE_SECONDS = allocation._BUSY_SECONDS = 0.4
allocation._GROWTH = {growth} * 2**20
allocation.give_back_when_idle(lambda: {idle_seconds}, lambda: rested.append(1))
time.sleep(0.5)  # until it knows what there was
blocks = [bytearray(2**16) for _ in range(3200)]
full = allocation._resident()
del blocks[::2]
began = time.monotonic()
end = time.monotonic() + {patience}
while time.monotonic() < end and full - allocation._resident() < 80 * 2**20:
    time.sleep(0.05)
print((full - allocation._resident()) // 2**20, len(rested))
"""


def given_back(*, patience: float = 20, **values: object) -> tuple[int, int]:
    """10^6 bytes that came back within `patience` seconds, and how often the process rested."""
    code = HELD.format(patience=patience, **values)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    freed, rested = done.stdout.split()
    return int(freed), int(rested)


def test_what_lies_between_other_blocks_comes_back_when_there_is_nothing_to_do() -> None:
    freed, rested = given_back(growth=999, idle_seconds="began and time.monotonic() - began")
    assert freed >= 80
    assert rested == 1  # once for each time


def test_what_grew_comes_back_in_the_middle_of_work() -> None:
    freed, rested = given_back(growth=5, idle_seconds="0.0")
    assert freed >= 80
    assert rested == 0
    freed, rested = given_back(growth=999, idle_seconds="0.0", patience=0.8)
    assert freed < 20  # it is worth too little
