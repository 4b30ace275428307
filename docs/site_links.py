"""For mkdocs: pages and files of the checkout outside docs/ that the documentation links to become part of the site.

One page, api.md, is made of the docstrings alone.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
# Pages outside docs/, and what they are called in the site.
PAGES = {"models/README.md": "cards.md", "benchmarks/README.md": "measured.md"}
FILES = "deploy"
# What api.md shows: {heading: names}. A class is shown with what it has.
API = {
    "Load and explain": ("camserve.load", "camserve.Model"),
    "What comes back": ("camserve.Explanation", "camserve.explanation.several.Explanations"),
    "Folders of photographs": ("camserve.batch.run_batch", "camserve.batch.Options", "camserve.batch.Summary"),
    "Options": ("camserve.catalogue.options.ExplainOptions", "camserve.catalogue.options.OverlayOptions"),
    "Settings": ("camserve.config.load_settings",),
    "Errors": ("camserve.errors",),
}
# Pages that a search should show before others with the same words: they answer what people ask in these words.
BOOSTED = {"faithful.md": 4, "models.md": 4}
# "```python not-run" is a mark for the tests, and no beginning of a block to mkdocs.
NOT_RUN = re.compile(r"^```(\w+) [\w-]+$", re.MULTILINE)
OUTER = re.compile(r"\[([^\]]*)\]\(\.\./([^)#]*)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages and files from elsewhere."""
    for source, name in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        beside = f"](../{Path(source).parent.as_posix()}/"
        text = re.sub(r"\]\((?!https?:|\.\./|#)", beside, text).replace("](../docs/", "](")
        files.append(File.generated(config, name, content=text))
    files.append(File.generated(config, "api.md", content=api()))
    for path in sorted(path for path in (ROOT / FILES).rglob("*") if path.is_file()):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def api() -> str:
    """The page of docstrings."""
    text = (
        "# Python API\n\nFor programmers who look up a name: every public one, with its arguments and errors, as its "
    )
    text += "docstring has it. [python.md](python.md) shows how they are used.\n"
    for heading, names in API.items():
        text += f"\n## {heading}\n" + "".join(f"\n::: {name}\n" for name in names)
    return text


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Links to what is in the site lead there; of what is only in the checkout words are left."""
    if page.file.src_uri in BOOSTED:
        page.meta["search"] = {"boost": BOOSTED[page.file.src_uri]}

    def link(found: re.Match[str]) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        if target in PAGES:
            return f"[{words}]({PAGES[target]}{anchor})"
        if target.startswith(f"{FILES}/") and (ROOT / target).is_file():
            return f"[{words}]({target})"
        return words

    markdown = NOT_RUN.sub("```\\1", markdown)
    return OUTER.sub(link, markdown).replace("](notebooks)", "](notebooks/first-explanation.ipynb)")
