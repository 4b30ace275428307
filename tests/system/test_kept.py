"""What is slow to make is made once, and only the latest are kept."""

import threading
import time

import pytest

from camserve.system.kept import Kept


def test_the_latest_used_are_kept() -> None:
    kept: Kept[str, int] = Kept(2)
    for key in ("a", "b", "a", "c"):
        kept.get(key, lambda key=key: ord(key))  # type: ignore[misc]
    assert ("a" in kept, "b" in kept, "c" in kept, len(kept)) == (True, False, True, 2)
    assert sorted(kept.values()) == [97, 99]


def test_who_asks_for_the_same_waits_and_who_asks_for_another_does_not() -> None:
    kept: Kept[str, int] = Kept(8)
    begun, go_on, made = threading.Event(), threading.Event(), list[str]()

    def slowly() -> int:
        made.append("slow")
        begun.set()
        assert go_on.wait(10)
        return 1

    threads = [threading.Thread(target=lambda: kept.get("slow", slowly)) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    start = time.monotonic()
    assert kept.get("other", lambda: 2) == 2
    assert time.monotonic() - start < 5
    assert kept.in_the_making == 1
    go_on.set()
    for thread in threads:
        thread.join()
    assert (made, kept.in_the_making) == (["slow"], 0)


def test_what_cannot_be_made_leaves_nothing_behind() -> None:
    kept: Kept[str, int] = Kept(8)

    def fails() -> int:
        raise ValueError("no")

    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            kept.get("a", fails)
    assert (len(kept), kept.in_the_making) == (0, 0)
    assert kept.get("a", lambda: 3) == 3
