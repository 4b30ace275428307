"""How fast are health checks answered?

    python benchmarks/probe.py HOST PORT

A process of its own beside load.py, so that what it measures is the service and not the load: twenty times a second,
until standard input ends, it opens a connection and asks /livez or /readyz in turn; then it prints, as JSON, how many
it asked, how many were not answered with 200, and the 99th percentile and the longest, in milliseconds.
"""

import json
import math
import select
import socket
import sys
import time

PATHS = ("/livez", "/readyz")
PAUSE, PATIENCE = 0.05, 10.0


def main(host: str, port: int) -> None:
    """Ask until there is nobody left to tell."""
    taken: list[float] = []
    failed = 0
    while not select.select([sys.stdin], [], [], PAUSE)[0]:
        start = time.perf_counter()
        failed += not healthy((host, port), PATHS[len(taken) % len(PATHS)])
        taken.append(1e3 * (time.perf_counter() - start))
    ranked = sorted(taken)
    p99 = ranked[math.ceil(0.99 * len(ranked)) - 1]
    print(json.dumps({"asked": len(taken), "failed": failed, "p99": p99, "slowest": ranked[-1]}))


def healthy(address: tuple[str, int], path: str) -> bool:
    """Whether it is answered with 200."""
    try:
        with socket.create_connection(address, timeout=PATIENCE) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n".encode())
            with connection.makefile("rb") as answer:
                return answer.read().startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
