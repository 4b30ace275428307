"""A temporary database in a file without a name, for lists that do not fit into memory."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from camserve.errors import OutputError


@contextmanager
def scratch(*tables: str) -> Iterator[sqlite3.Connection]:
    """A database with these tables, in the system's folder for temporary files; any thread may use it.

    Raises OutputError if that folder is full, also for the statements of the block.
    """
    try:
        with closing(sqlite3.connect("", check_same_thread=False)) as kept:
            for table in tables:
                kept.execute(f"CREATE TABLE {table}")
            yield kept
    except sqlite3.Error as error:
        raise OutputError(f"cannot keep a list in the folder for temporary files (TMPDIR): {error}") from None
