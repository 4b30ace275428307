"""What does not fit into memory while images are looked for: a database in a file without a name."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from camserve.errors import OutputError


@contextmanager
def scratch(*tables: str) -> Iterator[sqlite3.Connection]:
    """A database with these tables, in the system's folder for temporary files; any thread may use it.

    Raises OutputError where that folder has no room, also for what the block does.
    """
    try:
        with closing(sqlite3.connect("", check_same_thread=False)) as kept:
            for table in tables:
                kept.execute(f"CREATE TABLE {table}")
            yield kept
    except sqlite3.Error as error:
        raise OutputError(f"cannot keep a list in the folder for temporary files (TMPDIR): {error}") from None
