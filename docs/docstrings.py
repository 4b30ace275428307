"""For mkdocstrings: docstrings as camserve has them, and the signatures that `takes` gives its functions.

A docstring says `name: what it is` at the beginning of a line; on the site each is a paragraph with the name in bold.
"""

import inspect
import re
from importlib import import_module
from typing import Any

import griffe

from camserve.errors import CamserveError

NAMED = re.compile(r"^((?:\w+, )*\w+): ", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Changes each object that is read, before it is shown."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called with each module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = NAMED.sub(r"\n**\1**: ", obj.docstring.value)
        if isinstance(obj, griffe.Function):
            self._sign(obj)

    def _sign(self, function: griffe.Function) -> None:
        """Gives a function that is wrapped the parameters that it takes, with its class's names in short.

        A module that needs an extra which is not installed keeps the parameters as they are written.
        """
        try:
            home, found = import_module(function.module.path), None
        except (ImportError, CamserveError):
            return
        for part in function.path.removeprefix(f"{function.module.path}.").split("."):
            found = getattr(home if found is None else found, part, None)
        if not hasattr(found, "__wrapped__"):
            return
        signature = inspect.signature(found)
        if signature.return_annotation is not signature.empty:
            function.returns = short(signature.return_annotation)
        function.parameters = griffe.Parameters(
            *(
                griffe.Parameter(
                    one.name,
                    annotation=None if one.annotation is one.empty else short(one.annotation),
                    kind=griffe.ParameterKind[one.kind.name.lower()],
                    default=None if one.default is one.empty else repr(one.default),
                )
                for one in signature.parameters.values()
            )
        )


def short(annotation: Any) -> str:
    """A type as its module would write it."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", text)
