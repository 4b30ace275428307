"""For mkdocs: pages and files of the checkout outside docs/ that the documentation links to become part of the site."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
# Pages outside docs/, and what they are called in the site.
PAGES = {"models/README.md": "cards.md", "benchmarks/README.md": "measured.md"}
FILES = "deploy"
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
    for path in sorted((ROOT / FILES).iterdir()):
        files.append(File.generated(config, f"{FILES}/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Links to what is in the site lead there; of what is only in the checkout words are left."""

    def link(found: re.Match[str]) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        if target in PAGES:
            return f"[{words}]({PAGES[target]}{anchor})"
        if target.startswith(f"{FILES}/") and (ROOT / target).is_file():
            return f"[{words}]({target})"
        return words

    markdown = NOT_RUN.sub("```\\1", markdown)
    return OUTER.sub(link, markdown).replace("](notebooks)", "](notebooks/first-explanation.ipynb)")
