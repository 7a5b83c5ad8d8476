"""HTTP/2 and gRPC written by hand, frame by frame, as an attacker may write it: no rule is kept that a test breaks.

Nothing here judges what the server makes of it; `Ending` says what came back.
"""

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Self

from hpack import Decoder, Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from doors.door import CHECK

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ANSWER_SECONDS: Final = 20.0
# The largest frame that a server takes if it does not say more.
FRAME_BYTES: Final = 16_384
LARGEST_WINDOW: Final = 2**31 - 1

Fields = Sequence[tuple[str | bytes, str | bytes]]


def request_fields(*more: tuple[str | bytes, str | bytes], without: str = "", **changed: str) -> Fields:
    """Return the headers of a good call, changed: pseudo-headers and `te` by name, others added."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": CHECK,
        ":authority": "extauthz.test",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    for name, value in changed.items():
        pseudo = f":{name}"
        fields[pseudo if pseudo in fields else name.replace("_", "-")] = value
    fields.pop(without, None)
    return [*fields.items(), *more]


def grpc_frame(message: bytes, *, compressed: bool = False, length: int | None = None) -> bytes:
    """Return a message with its five bytes of gRPC in front, true or not."""
    return struct.pack("!BI", compressed, len(message) if length is None else length) + message


class Ending:
    """What came back on one stream.

    Attributes:
        http: The HTTP status.
        status: The status of gRPC.
        body: The answer's message, with gRPC's five bytes.
        reset: The error code with which the stream was reset.
    """

    def __init__(self) -> None:
        self.http: int | None = None
        self.status: int | None = None
        self.body = b""
        self.reset: int | None = None
        self.ended = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come."""
        return self.ended or self.reset is not None

    @property
    def message(self) -> bytes:
        """The answer's message; empty where there is none."""
        return self.body[5:]

    def __repr__(self) -> str:
        return f"<http {self.http} grpc {self.status} reset {self.reset} {len(self.body)} bytes, over: {self.is_over}>"


class Wire:
    """One connection to 127.0.0.1 or to a unix socket, from which nothing is sent that was not asked for."""

    def __init__(self, address: str, *, receive_buffer: int = 0) -> None:
        self.streams: dict[int, Ending] = {}
        self.gone_away: int | None = None
        self.closed = False
        self.pongs = 0
        self.send_window = 65_535
        self.stream_windows: dict[int, int] = {}
        self._initial_window = 65_535
        self._is_open = False
        self._encoder: Final = Encoder()
        self._decoder: Final = Decoder()
        self._received = b""
        if address.startswith("unix:"):
            self._socket = socket.socket(socket.AF_UNIX)
            where: str | tuple[str, int] = address.removeprefix("unix:")
        else:
            self._socket = socket.socket()
            host, _, port = address.rpartition(":")
            where = (host, int(port))
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(ANSWER_SECONDS)
        try:
            self._socket.connect(where)
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> bool:
        """Send these bytes; False if the server has had enough."""
        try:
            self._socket.sendall(data)
        except OSError:
            self.closed = True
        return not self.closed

    def write(self, *frames: Frame) -> bool:
        """Send these frames; False if the server has had enough."""
        return self.send(b"".join(frame.serialize() for frame in frames))

    def open(self, **settings: int) -> Self:
        """Send the preface and the first SETTINGS, of hyperframe's names in capitals."""
        numbers: dict[int, int] = {getattr(SettingsFrame, name): value for name, value in settings.items()}
        self._is_open = True
        self.send(PREFACE)
        self.write(SettingsFrame(0, settings=numbers))
        return self

    def headers(self, stream: int, fields: Fields | None = None, *, end: bool = False) -> HeadersFrame:
        """Return a HEADERS frame with everything in it, however large."""
        frame = HeadersFrame(stream, self._encoder.encode(request_fields() if fields is None else fields))
        frame.flags.add("END_HEADERS")
        if end:
            frame.flags.add("END_STREAM")
        return frame

    @staticmethod
    def data(stream: int, payload: bytes, *, end: bool = True) -> DataFrame:
        """Return a DATA frame."""
        frame = DataFrame(stream, payload)
        if end:
            frame.flags.add("END_STREAM")
        return frame

    def ask(self, stream: int, message: bytes, fields: Fields | None = None) -> Ending:
        """Send one call whose message fits a frame, and return how it ended."""
        self.write(self.headers(stream, fields), self.data(stream, grpc_frame(message)))
        return self.ending(stream)

    def ending(self, stream: int) -> Ending:
        """Read until nothing more can come on a stream."""
        self.read_until(lambda: self.streams.get(stream, Ending()).is_over)
        return self.streams.get(stream, Ending())

    def upload(self, stream: int, payload: bytes, *, end: bool = True) -> bool:
        """Send DATA frames as the server's flow control lets us; False if it ended the stream or the connection."""
        sent = 0

        def window() -> int:
            return min(self.send_window, self._stream_window(stream))

        def stopped() -> bool:
            return self.closed or self.streams.get(stream, Ending()).is_over

        while sent < len(payload) and not stopped():
            if not self.read_until(lambda: stopped() or window() > 0) or stopped():
                return False
            room = min(window(), FRAME_BYTES, len(payload) - sent)
            self.write(self.data(stream, payload[sent : sent + room], end=end and sent + room == len(payload)))
            self.send_window -= room
            self.stream_windows[stream] = self._stream_window(stream) - room
            sent += room
            self.read_until(lambda: True)
        return sent == len(payload)

    def read_until(self, enough: Callable[[], bool], seconds: float = ANSWER_SECONDS) -> bool:
        """Read what comes until there is enough, the server has closed, or time is up; tell whether there is enough."""
        end = time.monotonic() + seconds
        while True:
            self._parse()
            if enough():
                return True
            if self.closed or time.monotonic() > end:
                return False
            self._socket.settimeout(max(0.01, min(0.5, end - time.monotonic())))
            try:
                data = self._socket.recv(262_144)
            except TimeoutError:
                continue
            except OSError:
                data = b""
            finally:
                with contextlib.suppress(OSError):
                    self._socket.settimeout(ANSWER_SECONDS)
            if not data:
                self.closed = True
            self._received += data

    def wait_closed(self) -> bool:
        """Read until the server closes; tell whether it did."""
        self.read_until(lambda: False)
        return self.closed

    def _stream_window(self, stream: int) -> int:
        return self.stream_windows.setdefault(stream, self._initial_window)

    def _parse(self) -> None:
        for frame in self._frames():
            stream = self.streams.setdefault(frame.stream_id, Ending()) if frame.stream_id else Ending()
            if isinstance(frame, HeadersFrame):
                self._take_headers(stream, self._decoder.decode(frame.data))
            elif isinstance(frame, DataFrame):
                stream.body += frame.data
            elif isinstance(frame, RstStreamFrame):
                stream.reset = frame.error_code
            elif isinstance(frame, GoAwayFrame):
                self.gone_away = frame.error_code
            elif isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
                self._take_settings(frame)
            elif isinstance(frame, PingFrame) and "ACK" in frame.flags:
                self.pongs += 1
            elif isinstance(frame, WindowUpdateFrame):
                self._take_window(frame)
            if isinstance(frame, HeadersFrame | DataFrame) and "END_STREAM" in frame.flags:
                stream.ended = True

    def _frames(self) -> Iterator[Frame]:
        while len(self._received) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self._received[:9]))
            if len(self._received) < 9 + length:
                return
            frame.parse_body(memoryview(self._received[9 : 9 + length]))
            self._received = self._received[9 + length :]
            yield frame

    def _take_settings(self, frame: SettingsFrame) -> None:
        initial = frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, self._initial_window)
        for stream in self.stream_windows:
            self.stream_windows[stream] += initial - self._initial_window
        self._initial_window = initial
        if self._is_open:
            self.write(SettingsFrame(0, flags=["ACK"]))

    def _take_window(self, frame: WindowUpdateFrame) -> None:
        if frame.stream_id == 0:
            self.send_window += frame.window_increment
        else:
            self.stream_windows[frame.stream_id] = self._stream_window(frame.stream_id) + frame.window_increment

    @staticmethod
    def _take_headers(stream: Ending, fields: Iterable[tuple[str | bytes, str | bytes]]) -> None:
        for name, value in fields:
            if name == ":status":
                stream.http = int(value)
            elif name == "grpc-status":
                stream.status = int(value)
