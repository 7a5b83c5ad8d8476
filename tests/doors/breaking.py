"""What is tried to break a gRPC engine: calls of every wrong form, and connections that flood. Nothing here judges.

docs/engines.md has the outcome of each under its name here, for each engine.
"""

import gzip
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import grpc
from hyperframe.frame import (
    ContinuationFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from cases.build import PAIRS
from cases.messages import check_request
from doors.door import CHECK, status_of
from doors.h2_by_hand import PREFACE, Ending, Fields, Wire, grpc_frame, request_fields
from support.engine import ENGINES

PAGE: Final = Path(__file__).parents[2] / "docs" / "engines.md"
MESSAGE: Final = check_request(PAIRS)
MIB: Final = 1024 * 1024

_NAMES: Final = {code.value[0]: code.name for code in grpc.StatusCode}


class Form(NamedTuple):
    """One call of a wrong form: its headers, and its body where that is not a good message."""

    fields: Fields
    body: bytes = grpc_frame(MESSAGE)


_GZIP: Final = ("grpc-encoding", "gzip")

FORMS: Final[Mapping[str, Form]] = {
    "method GET": Form(request_fields(method="GET")),
    "method CONNECT": Form(request_fields(method="CONNECT")),
    "no te": Form(request_fields(without="te")),
    "te: gzip": Form(request_fields(te="gzip")),
    "content-type text/plain": Form(request_fields(content_type="text/plain")),
    "no content-type": Form(request_fields(without="content-type")),
    "a scheme that is none": Form(request_fields(scheme="x y")),
    "no :authority": Form(request_fields(without=":authority")),
    "an empty :path": Form(request_fields(path="")),
    "a :path of 12 KiB": Form(request_fields(path="/" + "a" * 12_288)),
    "the :path with a query": Form(request_fields(path=f"{CHECK}?a=b")),
    "the :path with two slashes": Form(request_fields(path=f"/{CHECK}")),
    "a second :path, late": Form(request_fields((":path", "/other/Method"))),
    "connection: close": Form(request_fields(("connection", "close"))),
    "a wrong content-length": Form(request_fields(("content-length", "3"))),
    "300 headers": Form(request_fields(*((f"x-{number}", "a") for number in range(300)))),
    "metadata of 15 KiB": Form(request_fields(("x-a", "a" * 15_360))),
    "metadata of 17 KiB": Form(request_fields(("x-a", "a" * 17_408))),
    "metadata that is no UTF-8": Form(request_fields(("x-a", b"\xff\xfe"))),
    "metadata with a line's end": Form(request_fields(("x-a", "a\nb"))),
    "a name in capitals": Form(request_fields(("X-A", "b"))),
    "a -bin value that is no base64": Form(request_fields(("x-bin", "!!!"))),
    "a deadline that is none": Form(request_fields(("grpc-timeout", "soon"))),
    "a deadline that has passed": Form(request_fields(("grpc-timeout", "0m"))),
    "no message": Form(request_fields(), b""),
    "a message of no bytes": Form(request_fields(), grpc_frame(b"")),
    "a message cut short": Form(request_fields(), grpc_frame(MESSAGE)[:-3]),
    "a length of 4 GiB": Form(request_fields(), grpc_frame(MESSAGE, length=2**32 - 1)),
    "two messages": Form(request_fields(), grpc_frame(MESSAGE) * 2),
    "a compression flag of 2": Form(request_fields(), b"\x02" + grpc_frame(MESSAGE)[1:]),
    "compressed, and with what is not said": Form(request_fields(), grpc_frame(MESSAGE, compressed=True)),
    "gzip": Form(request_fields(_GZIP), grpc_frame(gzip.compress(MESSAGE), compressed=True)),
    "deflate": Form(request_fields(("grpc-encoding", "deflate")), grpc_frame(zlib.compress(MESSAGE), compressed=True)),
    "an unknown compression": Form(request_fields(("grpc-encoding", "x")), grpc_frame(MESSAGE, compressed=True)),
    "gzip that is none": Form(request_fields(_GZIP), grpc_frame(b"nonsense", compressed=True)),
    "a gzip bomb of 10 MiB": Form(request_fields(_GZIP), grpc_frame(gzip.compress(bytes(10 * MIB)), compressed=True)),
}


def outcome_of(ending: Ending, wire: Wire) -> str:
    """Say what a caller got for a call of a wrong form: a status, or the end of the stream or of the connection."""
    if ending.status is not None:
        return _NAMES[ending.status]
    if ending.reset is not None:
        return "reset"
    return "cut" if wire.closed or wire.gone_away is not None else "nothing"


def flood_outcome(wire: Wire, address: str) -> str:
    """Say what became of a connection that floods, and of the others meanwhile."""
    if status_of(address, MESSAGE) != grpc.StatusCode.OK:
        return "others are refused"
    return "cut" if wire.closed or wire.gone_away is not None else "endured"


def _many(wire: Wire, portion: bytes, times: int) -> None:
    """Send the same again and again until the server has had enough, reading what it says."""
    for _ in range(times):
        if not wire.send(portion):
            return
        wire.read_until(lambda: True)


def _garbage(wire: Wire) -> None:
    wire.send(bytes(range(256)) * 64)


def _http1(wire: Wire) -> None:
    wire.send(f"POST {CHECK} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".encode())


def _garbage_frames(wire: Wire) -> None:
    wire.open().send(b"\xff" * 4096)


def _frame_too_large(wire: Wire) -> None:
    wire.open().write(wire.headers(1))
    wire.send(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + bytes(100_000))


def _settings(wire: Wire) -> None:
    _many(wire.open(), SettingsFrame(0, settings={3: 100}).serialize() * 100, 200)


def _pings(wire: Wire) -> None:
    _many(wire.open(), PingFrame(0, b"12345678").serialize() * 100, 200)


def _resets(wire: Wire) -> None:
    """CVE-2023-44487: calls that are opened and reset at once, so that none counts as open."""
    wire.open()
    for first in range(1, 10_001, 100):
        frames = [(wire.headers(stream), RstStreamFrame(stream, 8)) for stream in range(first, first + 100, 2)]
        if not wire.write(*(frame for pair in frames for frame in pair)):
            return
        wire.read_until(lambda: True)


def _continuations(wire: Wire) -> None:
    """CVE-2024-27316 and its like: headers that never end."""
    head = wire.open().headers(1)
    head.flags.discard("END_HEADERS")
    wire.write(head)
    more = ContinuationFrame(1, b"\x00\x03x-a\x7f\x81\x01" + b"a" * 256).serialize()
    _many(wire, more * 50, 100)


def _empty_continuations(wire: Wire) -> None:
    head = wire.open().headers(1)
    head.flags.discard("END_HEADERS")
    wire.write(head)
    _many(wire, ContinuationFrame(1, b"").serialize() * 100, 200)


def _empty_data(wire: Wire) -> None:
    wire.open().write(wire.headers(1))
    _many(wire, wire.data(1, b"", end=False).serialize() * 100, 500)


def _hpack_bomb(wire: Wire) -> None:
    """One byte for each 4 KiB of headers, by the table that both sides keep."""
    large = ("x-a", "a" * 3900)
    wire.open().write(wire.headers(1, request_fields(large)))
    wire.write(wire.headers(3, request_fields(*[large] * 10_000)))


def _large_head(wire: Wire) -> None:
    wire.open().write(wire.headers(1, request_fields(path="/" + "a" * 15_000)))
    more = wire.headers(3, request_fields(*((f"x-{number}", "a" * 500) for number in range(1000))))
    more.flags.discard("END_HEADERS")
    first, rest = more.data[:16_000], more.data[16_000:]
    more.data = first
    frames = [ContinuationFrame(3, rest[start : start + 16_000]) for start in range(0, len(rest), 16_000)]
    frames[-1].flags.add("END_HEADERS")
    wire.write(more, *frames)


def _windows(wire: Wire) -> None:
    _many(wire.open(), WindowUpdateFrame(0, window_increment=2**31 - 1).serialize() * 2, 1)


def _priorities(wire: Wire) -> None:
    _many(wire.open(), PriorityFrame(1, depends_on=0, stream_weight=1).serialize() * 100, 200)


def _silent_calls(wire: Wire) -> None:
    wire.open()
    for first in range(1, 10_001, 100):
        if not wire.write(*(wire.headers(stream) for stream in range(first, first + 100, 2))):
            return
        wire.read_until(lambda: True)


def _half_open(wire: Wire) -> None:
    wire.send(PREFACE[:10])


def _slow_reader(wire: Wire) -> None:
    """Calls whose answers have no room to be sent."""
    wire.open(INITIAL_WINDOW_SIZE=0)
    for stream in range(1, 1001, 2):
        wire.write(wire.headers(stream), wire.data(stream, grpc_frame(MESSAGE)))


FLOODS: Final[Mapping[str, Callable[[Wire], None]]] = {
    "bytes that are no HTTP/2": _garbage,
    "HTTP/1.1": _http1,
    "frames that are none": _garbage_frames,
    "a frame of 16 MiB": _frame_too_large,
    "20,000 SETTINGS": _settings,
    "20,000 PING": _pings,
    "20,000 PRIORITY": _priorities,
    "5,000 calls, each reset at once": _resets,
    "CONTINUATION without end": _continuations,
    "20,000 empty CONTINUATION": _empty_continuations,
    "50,000 empty DATA": _empty_data,
    "headers of 39 MiB in 10 KB": _hpack_bomb,
    "headers of 500 KB": _large_head,
    "a window beyond its limit": _windows,
    "5,000 calls without a message": _silent_calls,
    "500 answers with no window to send them": _slow_reader,
    "half of the preface": _half_open,
}


def outcomes() -> dict[str, dict[str, str]]:
    """Return the outcomes that the page tells: by what was tried, by engine."""
    found = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
        if len(cells) == 1 + len(ENGINES) and cells[0] in FORMS.keys() | FLOODS.keys():
            found[cells[0]] = dict(zip(ENGINES, cells[1:], strict=True))
    return found
