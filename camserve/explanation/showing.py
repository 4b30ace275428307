"""A picture on the screen: in the notebook, or in the viewer of the system."""

import os
import sys
from importlib import import_module

from PIL import Image, ImageShow

from camserve.errors import OptionError


def show_picture(picture: Image.Image) -> None:
    """Shows it below the cell of a notebook, else in the system's viewer.

    Raises OptionError where there is no screen.
    """
    if _in_notebook():
        import_module("IPython.display").display(picture)
    elif not (has_screen() and ImageShow.show(picture)):
        raise OptionError(
            "there is no screen to show a picture on: save it, as in explanation.overlay().save('why.png')"
        )


def _in_notebook() -> bool:
    """Whether a kernel of Jupyter runs this process; a terminal's IPython shows no pictures."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return getattr(shell, "kernel", None) is not None


def has_screen() -> bool:
    """Whether this process can open a window, as far as its environment says."""
    return not sys.platform.startswith("linux") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
