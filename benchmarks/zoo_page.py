"""docs/networks.md: the results of the zoo: counts first, then a table for each library."""

import platform
from importlib.metadata import version
from typing import Any

from zoo_members import LIBRARIES

_HEADER = """# Networks that were tried

For people who ask whether their architecture works: what was found for each network that was tried.

`python benchmarks/zoo.py --write` made this page, with {versions}.

Every image-classification architecture of transformers, torchvision's 80 classifiers, and the smallest member of every
module of timm with some of further kinds were loaded into camserve, each with random weights in which nothing is zero.
What camserve answers was compared with the network itself, by plain autograd on the uncut module:

- **logits**: as the module's own on the same pixels, at its own size, at others, and at its own again;
- **layer**: its cells lie over the image, most of them have influence, nothing of the image reaches the logits beside
  them (beside a class token: no patch does), and behind it nothing mixes places; Grad-CAM and HiResCAM there are those
  of autograd;
- **exact**: class maps are offered, and their means with the bias are the logits of all classes;
- **sizes**: pictures of other shapes work at default settings: "any" size of input, or the network's "own" alone;
- **engines**: what runs it; OpenVINO's logits and maps are torch's to a thousandth;
- **legrad**, **rollout**: the grid of the map that these two methods for transformers give, or "refused" in words.

A network is *right* where all that camserve answers is right, *refused* where camserve says in words that it does not
take it, *WRONG* else. *Not done*: checking it took longer than five minutes, or more memory than there was. *Not made*:
its own library cannot make it here.
"""
VERDICTS = ("right", "refused", "WRONG", "not done", "not made")
_COLUMNS = ("network", "layer", "head", "exact", "sizes", "engines", "legrad", "rollout", "verdict and notes")


def page(rows: list[dict[str, Any]]) -> str:
    """Return the page for rows in the order of the tables."""
    parts = [_HEADER.format(versions=_versions(rows)), _counts(rows)]
    for library in LIBRARIES:
        own = [row for row in rows if row["library"] == library]
        if own:
            parts.append(f"## {library}\n\n{_table(_COLUMNS, [_cells(row) for row in own])}")
    return "\n".join(parts)


def counts(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Return {verdict: how many rows}."""
    verdicts = [row["verdict"] for row in rows]
    return {verdict: verdicts.count(verdict) for verdict in VERDICTS}


def _versions(rows: list[dict[str, Any]]) -> str:
    own = " and ".join(sorted({str(row["camserve"]) for row in rows}))
    packages = ("torch", "torchvision", "timm", "transformers", "openvino")
    return ", ".join(
        [f"camserve {own}", *(f"{name} {version(name)}" for name in packages), f"Python {platform.python_version()}"]
    )


def _counts(rows: list[dict[str, Any]]) -> str:
    lines = []
    for library in (*LIBRARIES, "all"):
        own = [row for row in rows if library in (row["library"], "all")]
        lines.append([library, str(len(own)), *map(str, counts(own).values())])
    return _table(("library", "tried", *VERDICTS), lines)


def _cells(row: dict[str, Any]) -> list[str]:
    verdict = row["verdict"] if row["verdict"] == "right" else f"**{row['verdict']}**: {row['words']}"
    layer = f"`{row['layer']}`" if row.get("layer") else ""
    columns = [row.get(name, "") for name in ("head", "exact", "sizes", "engines", "legrad", "rollout")]
    return [row["name"], layer, *columns, ". ".join([verdict, *row["notes"]])]


def _table(columns: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [list(columns), ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(_plain(cell) for cell in line)} |\n" for line in lines)


def _plain(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
