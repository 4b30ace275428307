"""What do normal clients get while others do what they like?

    python benchmarks/bystander.py HOST PORT FOLDER CLIENTS PAUSE

A process of its own beside load.py, as probe.py is one for health checks: so many clients, each of which waits for its
answer, then so many seconds, and asks again. Each request is one of the JPEG files in FOLDER with a comment of its own,
so that nothing is answered from memory. When standard input ends it prints, as JSON, each answer's beginning (of
time.monotonic()), seconds, status and failure.
"""

import asyncio
import json
import sys
from dataclasses import astuple
from pathlib import Path

from clients import Address, Answer, ask, posts

PATIENCE = 40.0  # seconds: longer than the service may take for any answer
REFUSED_PAUSE = 0.1  # seconds until who was refused asks again


async def main(address: Address, folder: str, clients: int, pause: float) -> None:
    """Ask until there is nobody left to tell."""
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
