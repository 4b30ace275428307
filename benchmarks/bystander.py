"""What do normal clients get while other clients attack?

    python benchmarks/bystander.py HOST PORT FOLDER CLIENTS PAUSE

load.py starts this as a process of its own, like probe.py for health checks: CLIENTS clients; each waits for its
answer, then PAUSE seconds, and asks again. Each request is one of the JPEG files in FOLDER with its own comment, so
that no answer comes from the cache. When standard input ends, it prints as JSON the start (time.monotonic()), seconds,
status and failure of each answer.
"""

import asyncio
import json
import sys
from dataclasses import astuple
from pathlib import Path

from clients import Address, Answer, ask, posts

PATIENCE = 40.0  # seconds: longer than the service may take for any answer
REFUSED_PAUSE = 0.1  # seconds until a refused client asks again


async def main(address: Address, folder: str, clients: int, pause: float) -> None:
    """Send requests until standard input ends."""
    requests = posts([path.read_bytes() for path in sorted(Path(folder).iterdir())])
    over = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    answers: list[Answer] = []

    async def client() -> None:
        while not over.done():
            answers.append(await ask(address, next(requests), PATIENCE))
            await asyncio.sleep(pause if answers[-1].status == 200 else max(pause, REFUSED_PAUSE))

    await asyncio.gather(*(client() for _ in range(clients)))
    print(json.dumps([astuple(one) for one in answers]))


if __name__ == "__main__":
    asyncio.run(main((sys.argv[1], int(sys.argv[2])), sys.argv[3], int(sys.argv[4]), float(sys.argv[5])))
