"""How fast are health checks answered?

    python benchmarks/probe.py HOST PORT

load.py starts this as a process of its own, so that it measures the service and not the clients. Twenty times a second,
until standard input ends, it opens a connection and asks /livez and /readyz alternately. Then it prints as JSON the
number of checks, how many were not answered with 200, how many of these also did not get /readyz's 503, and the median,
the 99th percentile and the longest time, in milliseconds.
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
    """Ask until standard input ends."""
    taken: list[float] = []
    failed = lost = 0
    while not select.select([sys.stdin], [], [], PAUSE)[0]:
        start = time.perf_counter()
        path = PATHS[len(taken) % len(PATHS)]
        status = status_of((host, port), path)
        failed += status != 200
        lost += status != 200 and (path, status) != ("/readyz", 503)
        taken.append(1e3 * (time.perf_counter() - start))
    ranked = sorted(taken)
    p50, p99 = (ranked[math.ceil(share * len(ranked)) - 1] for share in (0.5, 0.99))
    found = {"asked": len(taken), "failed": failed, "lost": lost, "p50": p50, "p99": p99, "slowest": ranked[-1]}
    print(json.dumps(found))


def status_of(address: tuple[str, int], path: str) -> int:
    """Return the status of the answer; 0 without an answer."""
    try:
        with socket.create_connection(address, timeout=PATIENCE) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n".encode())
            with connection.makefile("rb") as answer:
                return int(answer.read()[9:12])
    except (OSError, ValueError):
        return 0


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
