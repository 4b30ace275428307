"""Run the notebooks and keep what they show: `python docs/run_notebooks.py [NAME...]`; with --check only compare.

A notebook runs in a new folder with photos/ in it, in a kernel of its own. --check compares the words of its output
with those that are kept. Numbers may differ in their last digits from machine to machine, so they are not compared.
Pictures are kept as small JPEGs.
"""

import base64
import io
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

FOLDER = Path(__file__).parent / "notebooks"
PHOTOS = Path(__file__).parent.parent / "photos"
SECONDS = 300  # of one cell
WIDEST = 900  # pixels of a picture that is kept


def run(notebook: NotebookNode) -> NotebookNode:
    """The notebook with what its cells give now. Raises nbclient's CellExecutionError."""
    fresh = nbformat.from_dict(notebook)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(PHOTOS, Path(folder) / "photos")
        NotebookClient(fresh, timeout=SECONDS, resources={"metadata": {"path": folder}}).execute()
    for cell in fresh.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
        for output in cell.get("outputs", ()):
            shrink(output)
    fresh.metadata.pop("widgets", None)
    fresh.metadata["language_info"] = {"name": "python"}
    return fresh


def joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """What a cell printed as one piece for each stream: how it comes in pieces is chance."""
    found: list[NotebookNode] = []
    for output in outputs:
        same = next((one for one in found if output.output_type == "stream" and one.get("name") == output.name), None)
        if same is None:
            found.append(output)
        else:
            same.text += output.text
    return found


def shrink(output: NotebookNode) -> None:
    """A picture as a JPEG of at most WIDEST pixels. The place in memory of an object goes, as does a widget."""
    data = output.get("data", {})
    data.pop("application/vnd.jupyter.widget-view+json", None)
    if "image/png" in data:
        picture = Image.open(io.BytesIO(base64.b64decode(data.pop("image/png")))).convert("RGB")
        picture.thumbnail((WIDEST, WIDEST))
        content = io.BytesIO()
        picture.save(content, "JPEG", quality=80)
        data["image/jpeg"] = base64.b64encode(content.getvalue()).decode()
        data["text/plain"] = "a picture"


def words(notebook: NotebookNode) -> list[str]:
    """What each cell says, without its numbers, and where it shows a picture."""
    said = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            text = output.get("text", "") or ("" if "image/jpeg" in data else data.get("text/plain", ""))
            numberless = re.sub(r"\d+(\.\d+)?", "#", text)
            said.append(f"{cell.id}: {output.output_type} {'picture' if 'image/jpeg' in data else numberless}")
    return said


def main(arguments: list[str]) -> int:
    """The exit status: 1 where a notebook shows something else than what is kept."""
    check, names = "--check" in arguments, [name for name in arguments if name != "--check"]
    stale = 0
    for path in sorted(FOLDER.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        kept = nbformat.read(path, as_version=4)
        fresh = run(kept)
        if not check:
            nbformat.write(fresh, path)
        elif words(fresh) != words(kept):
            stale += 1
            old, new = words(kept), words(fresh)
            sys.stdout.write("\n".join([f"{path.name} shows something else:", *(w for w in new if w not in old), ""]))
    return min(stale, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
