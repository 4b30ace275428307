"""Show a picture or a page on the screen: in the notebook, in the system's viewer, or in a browser."""

import os
import sys
import webbrowser
from importlib import import_module
from pathlib import Path

from PIL import Image, ImageShow

from camserve.errors import OptionError


def show_picture(picture: Image.Image) -> None:
    """Show a picture below the cell of a notebook, else in the system's viewer.

    Raises OptionError if there is no screen.
    """
    if _in_notebook():
        import_module("IPython.display").display(picture)
    elif not (has_screen() and ImageShow.show(picture)):
        raise OptionError(
            "there is no screen to show a picture on: save it, as in explanation.overlay().save('why.png')"
        )


def _in_notebook() -> bool:
    """Whether a Jupyter kernel runs this process; IPython in a terminal shows no pictures."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return getattr(shell, "kernel", None) is not None


def open_page(page: Path) -> bool:
    """Open a page, an absolute path, in the browser. Returns whether it was opened. BROWSER can name a browser.

    Without a screen no browser is opened: a browser in the terminal would cover the output of the command.
    """
    return bool((has_screen() or os.environ.get("BROWSER")) and webbrowser.open(page.as_uri()))


def has_screen() -> bool:
    """Whether this process can open a window, as far as its environment says."""
    return not sys.platform.startswith("linux") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
