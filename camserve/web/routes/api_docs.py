"""The page at /docs shows /openapi.json with Swagger UI, from the extra `apidocs`."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from flask import Blueprint, render_template, send_from_directory
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from camserve.version import __version__

api_docs = Blueprint("api_docs", __name__, url_prefix="/docs")

# Files of the package flask_swagger_ui that the page needs. Its Python code is not used.
_FILES = ("swagger-ui.css", "swagger-ui-bundle.js")


@api_docs.get("")
def show() -> ResponseReturnValue:
    """The page. Without the extra, it says how to install the extra."""
    return render_template("api_docs.html", version=__version__, available=_folder() is not None)


@api_docs.get("/<name>")
def file(name: str) -> ResponseReturnValue:
    """A file of Swagger UI."""
    folder = _folder()
    if folder is None or name not in _FILES:
        raise NotFound
    return send_from_directory(folder, name, max_age=86400)


@cache
def _folder() -> Path | None:
    """The folder of Swagger UI; None if it is not installed."""
    spec = find_spec("flask_swagger_ui")
    folders = spec.submodule_search_locations if spec is not None else None
    found = Path(folders[0]) / "dist" if folders else None
    return found if found is not None and all((found / name).is_file() for name in _FILES) else None
