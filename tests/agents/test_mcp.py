"""`camserve mcp`, asked by the protocol's own client over standard input and output."""

import asyncio
import base64
import io
import json
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

import camserve
from camserve.agents.reach import Reach
from camserve.agents.tools import tools_of
from camserve.cli import main
from camserve.config import load_settings
from camserve.errors import CamserveError, ImageError, ImageTooLarge, OptionError, TooLong, TooMuch

sdk: Any = pytest.importorskip("mcp", reason='the official SDK: pip install "camserve[mcp]"')
ROOT = Path(camserve.__file__).parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs that may be named, beside a file that may not."""
    home = tmp_path_factory.mktemp("agents")
    shutil.copytree(ROOT / "photos", home / "photos")
    shutil.copy(ROOT / "photos" / "cat.jpg", home / "secret.jpg")
    (home / "photos" / "way.jpg").symlink_to(home / "secret.jpg")
    return home / "photos"


def asked(folder: Path, do: Callable[[Any], Awaitable[Any]]) -> Any:
    """What `do` gives, of a session with a server that was started as a program that uses it starts it."""

    async def session() -> Any:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        words = ["-W", "error::UserWarning", "-m", "camserve", "mcp", str(folder)]
        server = sdk.StdioServerParameters(command=sys.executable, args=words, env=environment)
        async with sdk.stdio_client(server) as streams, sdk.ClientSession(*streams) as client:
            begun = await client.initialize()
            return begun, await do(client)

    return asyncio.run(asyncio.wait_for(session(), 120))


def facts(result: Any) -> dict[str, Any]:
    """Of an answer, whose text is the same as its structured content."""
    text = [one.text for one in result.content if one.type == "text"]
    assert not result.is_error, text
    assert json.loads(text[0]) == result.structured_content
    return result.structured_content


def picture(result: Any) -> Image.Image:
    (shown,) = (one for one in result.content if one.type == "image")
    opened = Image.open(io.BytesIO(base64.b64decode(shown.data)))
    assert (opened.format, shown.mime_type) == ("JPEG", "image/jpeg")
    return opened


def test_a_client_lists_the_tools_and_uses_each(folder: Path, model: camserve.Model) -> None:
    """One server for all: it reads torch and loads the model once, which takes most of the time."""

    async def all_of_them(client: Any) -> dict[str, Any]:
        listed = await client.list_tools()
        calls = {
            "explain": {"image": "cat.jpg", "target": "tiger cat"},
            "compare": {"image": "cat.jpg", "targets": ["tabby", "tiger cat", "teapot"]},
            "evaluate": {"images": ["cat.jpg"], "methods": ["cam", "random"], "metrics": ["deletion"]},
            "inspect": {},
        }
        found = {name: await client.call_tool(name, given) for name, given in calls.items()}
        found["wrong"] = await client.call_tool("explain", {"image": "cat.jpg", "target": "tiger kat"})
        found["outside"] = await client.call_tool("explain", {"image": "../secret.jpg"})
        return {"listed": listed, **found}

    begun, found = asked(folder, all_of_them)
    assert (begun.server_info.name, begun.server_info.version) == ("camserve", camserve.__version__)
    assert str(folder) in begun.instructions
    assert "efficientnet-lite0" in begun.instructions
    tools = {tool.name: tool for tool in found["listed"].tools}
    assert set(tools) == {"explain", "compare", "evaluate", "inspect"}
    assert all(tool.annotations.read_only_hint and len(tool.description) > 50 for tool in tools.values())

    made = model.explain(folder / "cat.jpg", target="tiger cat")
    said = facts(found["explain"])
    assert (said["in_short"], said["score"]) == (made.in_short, pytest.approx(made.score, rel=1e-5))
    assert picture(found["explain"]).size == made.size

    said = facts(found["compare"])
    assert [one["name"] for one in said["targets"]] == ["tabby", "tiger cat", "teapot"]
    assert len(said["agreement"]) == 3
    assert all(-1 <= one["rank_correlation"] <= 1 for one in said["agreement"])
    assert picture(found["compare"]).width > 600

    said = facts(found["evaluate"])
    assert {"cam", "random"} <= {word for line in said["table"].splitlines() for word in line.split()}
    assert picture(found["evaluate"]).width > 600

    said = facts(found["inspect"])
    assert (said["model"], said["explained_layer"], said["classes"]) == ("efficientnet-lite0", "head", 1000)

    for name, words in (("wrong", "did you mean 'tiger cat'"), ("outside", "no file '../secret.jpg' in the folders")):
        assert found[name].is_error
        assert words in found[name].content[0].text


@pytest.mark.parametrize("given", ["../secret.jpg", "way.jpg", "nowhere.jpg", "\0", "a" * 5000, ".", "/etc/passwd"])
def test_no_other_file_is_reached_and_none_is_told_from_another(given: str, folder: Path) -> None:
    with pytest.raises(ImageError, match="there is no file .* in the folders of this server; "):
        Reach([folder]).file(given)


def test_files_of_the_folders_are_reached_by_any_of_their_names(folder: Path) -> None:
    reach = Reach([folder])
    cat = folder.resolve() / "cat.jpg"
    for given in ("cat.jpg", "./cat.jpg", str(folder / "cat.jpg"), "../photos/cat.jpg"):
        assert reach.file(given) == cat
    assert reach.names() == ["cat.jpg", "coffee.jpg", "tripod.jpg"]  # not the link that leads out
    with pytest.raises(ImageError, match=r"did you mean 'cat\.jpg'"):
        reach.file("kat.jpg")


def test_folders_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for given in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(OptionError, match="is not a folder"):
            Reach([given])
    result = CliRunner().invoke(main, ["mcp", str(tmp_path / "none")])
    assert (result.exit_code, "is not a folder: " in result.output) == (2, True)


def test_a_call_is_held_to_bounds(folder: Path) -> None:
    short = load_settings(environ={}, overrides={"limits": {"explanations": 2}, "serve": {"deadline_seconds": 0.5}})
    tools = tools_of([folder], short)
    with pytest.raises(TooMuch, match=r"3 targets were given; allowed are 2 at once \(limits\.explanations\)"):
        tools.compare("cat.jpg", None, ["tabby", "tiger cat", "lynx"], None, None)
    with pytest.raises(TooMuch, match="3 images"):
        tools.evaluate(["cat.jpg"] * 3, None, None, None, None)
    with pytest.raises(TooLong, match=r"about \d+ s on 1 photographs; allowed are 0\.5 s"):
        tools.evaluate(["cat.jpg"], ["rise"], None, None, None)
    small = load_settings(environ={}, overrides={"limits": {"megapixels": 0.1}})
    with pytest.raises(ImageTooLarge):
        tools_of([folder], small).explain("cat.jpg", None, None, None, trust=False)


@pytest.mark.parametrize("name", ["models/efficientnet-lite0", "./net.py:factory", "torchvision:resnet18", "hf:x/y"])
def test_only_cards_are_models(name: str, folder: Path) -> None:
    with pytest.raises(CamserveError, match="unknown model"):
        tools_of([folder], load_settings(environ={})).inspect(name)


def test_exactly_one_thing_is_compared(folder: Path) -> None:
    tools = tools_of([folder], load_settings(environ={}))
    for methods, targets in ((None, None), (["cam", "fem"], ["tabby", "lynx"]), (["cam"], None)):
        with pytest.raises(OptionError, match="give two or more methods, two or more targets, or two or more models"):
            tools.compare("cat.jpg", methods, targets, None, None)


def test_methods_and_models_are_compared(folder: Path) -> None:
    tools = tools_of([folder], load_settings(environ={}))
    found = tools.compare("cat.jpg", ["cam", "gradcam"], None, None, None)
    (agreement,) = found.facts["agreement"]
    assert agreement["between"] == ["cam", "gradcam"]
    assert agreement["rank_correlation"] > 0.99  # the same map, where the head is linear
    with pytest.raises(OptionError, match="give two"):
        tools.compare("cat.jpg", None, None, ["efficientnet-lite0"], None)
