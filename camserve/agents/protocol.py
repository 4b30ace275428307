"""The server: the tools over the Model Context Protocol, on standard input and output."""

import base64
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from camserve.agents.tools import Found, Tools
from camserve.errors import CamserveError, NotInstalled
from camserve.version import __version__

if TYPE_CHECKING:
    from mcp.server import MCPServer

_INSTRUCTIONS = """camserve explains what an image classifier looked at. A picture shows heat over the photograph: where
the network found evidence for one class. Read `warnings` before you say what a picture means, and do not take a map for
proof that the class is right. Photographs are named relative to {folders}; models are {models}."""


def server_of(tools: Tools) -> "MCPServer":
    """A server with the four tools. Raises NotInstalled without the extra `mcp`."""
    try:
        from mcp.server import MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
        from mcp.types import CallToolResult, ImageContent, TextContent, ToolAnnotations
    except ImportError:
        raise NotInstalled(
            '`camserve mcp` needs the official SDK of the protocol: pip install "camserve[mcp]"'
        ) from None

    folders, models = ", ".join(map(str, tools.reach.folders)), ", ".join(tools.names)
    said = _INSTRUCTIONS.format(folders=folders, models=models)
    server = MCPServer("camserve", instructions=said, version=__version__, log_level="WARNING")
    reading = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)

    def answer(call: Callable[[], Found]) -> CallToolResult:
        try:
            found = call()
        except CamserveError as error:
            raise ToolError(f"{error.code}: {error}") from None
        content: list[TextContent | ImageContent] = []
        if found.picture is not None:
            data = base64.b64encode(found.picture).decode()
            content.append(ImageContent(type="image", data=data, mime_type="image/jpeg"))
        content.append(TextContent(type="text", text=json.dumps(found.facts, ensure_ascii=False)))
        return CallToolResult(content=list(content), structured_content=found.facts)

    @server.tool(annotations=reading)
    def explain(
        image: str, target: str | None = None, method: str | None = None, model: str | None = None, trust: bool = False
    ) -> CallToolResult:
        """Why does the model give this photograph its class? A picture with heat, and facts: scores, boxes, warnings.

        image: a file in a folder of this server. target: a class, "a-b" for what distinguishes a from b, "-a" for
        evidence against a; default: the predicted class. method: such as cam, gradcam, layercam; default: the best for
        the model. trust: test whether the map can be trusted, with six more forward passes.
        """
        return answer(lambda: tools.explain(image, target, method, model, trust=trust))

    @server.tool(annotations=reading)
    def compare(
        image: str,
        methods: list[str] | None = None,
        targets: list[str] | None = None,
        models: list[str] | None = None,
        target: str | None = None,
    ) -> CallToolResult:
        """Several methods, several classes or several models on one photograph: a sheet, and how far the maps agree.

        Give two or more of exactly one of methods, targets and models. target: the class that methods or models
        explain.
        """
        return answer(lambda: tools.compare(image, methods, targets, models, target))

    @server.tool(annotations=reading)
    def evaluate(
        images: list[str],
        methods: list[str] | None = None,
        metrics: list[str] | None = None,
        classes: list[str] | None = None,
        model: str | None = None,
    ) -> CallToolResult:
        """Which method explains this model best on these photographs? Metrics of each method, and a recommendation.

        classes: the class that each photograph shows, if known. metrics: such as insertion, deletion, grid_pg.
        """
        return answer(lambda: tools.evaluate(images, methods, metrics, classes, model))

    @server.tool(annotations=reading)
    def inspect(model: str | None = None) -> CallToolResult:
        """What is this network made of? Layers, parameters, cost, the explained layer, the input sizes that work."""
        return answer(lambda: tools.inspect(model))

    return server


def run(tools: Tools) -> None:
    """Serve on standard input and output until the input ends. Raises NotInstalled."""
    server_of(tools).run("stdio")
