"""Requests of abusive clients for load.py: much work, much memory, and malformed requests."""

import base64
import json
import zlib
from functools import cache
from io import BytesIO

from clients import post
from PIL import Image
from subjects import jpeg, photographs

BOMB_SIZE = (10_000, 5_000)
MODEL = "efficientnet-lite0"
# Sizes of the network's input; each needs a little more memory than the one before.
SIZES = range(250, 400)


# ---- much work, or much memory


def dilated() -> bytes:
    """Return a request that needs minutes for one forward pass."""
    return post(photograph(300, 200), "/api/v1/explain?output_stride=1")


def polygons() -> bytes:
    """Return a request that needs a minute for outlines and pictures."""
    path = "/api/v1/explain/classes?targets=1000&polygons=on&outputs=overlay,heatmap,mask"
    return post(photograph(120, 80), path, "application/json")


def scorecam() -> bytes:
    """Return a request that needs over a thousand forward passes."""
    return post(photograph(4000, 3000), "/api/v1/explain?method=scorecam")


def fifty_megapixels(query: str = "", red: int = 30_000) -> bytes:
    """Return an upload of less than 1 MB that decodes to 400 MB."""
    return post(bomb(red, 20_000, 10_000, 65_535), f"/api/v1/explain{query}", "application/json", kind="image/png")


def sized(size: int) -> bytes:
    """Return a request that sets the size of the network's input."""
    return post(photograph(500, 400), f"/api/v1/explain?size={size}")


def large_answer() -> bytes:
    """Return a request whose answer has 24 MB."""
    return post(photograph(3000, 2000), accept="application/x-npy")


def predict(body: bytes, path: str = f"/v1/models/{MODEL}:predict") -> bytes:
    """Return a request with JSON."""
    return post(body, path, kind="application/json")


@cache
def bomb(*colour: int) -> bytes:
    """A PNG of one colour, four numbers of 16 bits: 50 megapixels, 400 MB decoded, from under 0.5 MB."""
    width, height = BOMB_SIZE
    row = b"\0" + b"".join(value.to_bytes(2, "big") for value in colour) * width
    packed = zlib.compressobj(9)
    pixels = b"".join(packed.compress(row) for _ in range(height)) + packed.flush()
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((16, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


@cache
def photograph(*size: int) -> bytes:
    """Return a JPEG of (W, H)."""
    return jpeg(photographs(1, (size[0], size[1]))[0])


@cache
def faults(count: int = 10**6, fault: str = "0") -> bytes:
    """Return JSON for :predict whose instances are all wrong."""
    return b'{"instances":[' + b",".join([fault.encode()] * count) + b"]}"


@cache
def many_instances(count: int = 150_000) -> bytes:
    """Return JSON for :predict with `count` equal images of one pixel."""
    buffer = BytesIO()
    Image.new("RGB", (1, 1), (200, 30, 30)).save(buffer, "PNG")
    one = json.dumps({"b64": base64.b64encode(buffer.getvalue()).decode()})
    return faults(count, one)


# ---- malformed requests


@cache
def faulty_json() -> list[bytes]:
    """Return bodies with a million faults for every dialect, and bodies with deep nesting and odd types."""
    zeros, tensor = (
        b"[" + b",".join([b"0"] * 10**6) + b"]",
        b'"inputs":[{"name":"i","datatype":"BYTES","shape":[1],"data":["x"]',
    )
    infer = f"/v2/models/{MODEL}/infer"
    return [
        predict(faults()),
        predict(faults(fault="{}")),
        predict(b"{" + tensor + b'}],"outputs":' + zeros + b"}", infer),
        predict(b"{" + tensor + b'}],"parameters":{"target":' + zeros + b"}}", infer),
        predict(b'{"instances":' + b"[" * 10**5),
        predict(b'{"instances":[],"parameters":{"format":[]}}'),
        predict(b'{"instances":[],"parameters":{"format":{}}}'),
    ]


MALFORMED = (
    b"zz\r\n0\r\n\r\n", b"-1\r\n", b"1_0\r\n", b"\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"3;a=\0\r\nabc\r\n0\r\n\r\n",
    b"f" * 40 + b"\r\n", b"0\r\nContent-Length: 5\r\n\r\n", b"0\r\nno trailer\r\n\r\n",
)  # fmt: skip


def chunked(chunks: bytes) -> bytes:
    """Return a request whose body comes in `chunks`."""
    head = b"POST /api/v1/explain HTTP/1.1\r\nHost: load\r\nConnection: close\r\nContent-Type: image/jpeg\r\n"
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks


@cache
def odd() -> list[bytes]:
    """Return valid but rare HTTP: a trailer, variables of the server as headers, absurd numbers."""
    photo = photograph(300, 200)
    named = [b"SCRIPT_NAME: /x", b"SCRIPT_NAME: /v1", b"REMOTE_USER: x", b"X-Forwarded-Prefix: /x", b"PATH_INFO: /x"]
    queries = [
        f"target={'-' * 1000}",
        "scale=1e-320",
        "scale=nan",
        "alpha=1e400",
        "size=999999999",
        "top_k=-1",
        "x" * 7000,
    ]
    return [
        chunked(b"%x\r\n%b\r\n0\r\nX-Sum: 5\r\n\r\n" % (len(photo), photo)),
        *(post(photo).replace(b"\r\n", b"\r\n" + line + b"\r\n", 1) for line in named),
        *(post(photo, f"/api/v1/explain?{query}") for query in queries),
    ]
