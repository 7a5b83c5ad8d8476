"""One connection to an HTTP door: every question gets its own answer, in order, however the bytes come and go."""

import contextlib
import fcntl
import socket
import struct
import termios
import threading
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from extauthz.config.values import Endpoint
from extauthz.core.request import Caller
from extauthz.doors.http_limits import HEAD_BYTES, Limits
from extauthz.doors.http_server import HttpServer, HttpServerSettings
from extauthz.wire.forward_auth import HttpAnswer, HttpMessage
from forward_auth.by_hand import TARGET, everything, head, opened_in_process
from forward_auth.opening import Doors
from support.loop import chosen_loop
from support.process import wait_until

LAST = head("Connection: close")
# Large answers, in an order that can be told from every other.
PAGES = [head("Accept: text/html", target=target) for target in ("/forward-auth/traefik/none", "/nowhere", TARGET)]
STATUSES = [b"403", b"404", b"200"]


def statuses(found: bytes) -> list[bytes]:
    """The statuses of all answers, in order."""
    return [part[:3] for part in found.split(b"HTTP/1.1 ")[1:]]


# What arrives in pieces, or all at once.


def test_question_a_byte_at_a_time_is_answered_as_a_whole_one(doors: Doors) -> None:
    with socket.create_connection(("127.0.0.1", doors.port), 20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(LAST)):
            connection.sendall(LAST[at : at + 1])
        found = b"".join(iter(lambda: connection.recv(65_536), b""))
    whole = everything(doors.port, LAST)
    assert [line.partition(b":")[0] for line in found.splitlines()] == [
        line.partition(b":")[0] for line in whole.splitlines()
    ]
    assert statuses(found) == [b"200"]


@pytest.mark.parametrize("size", [1, 7, 100, 333, 1_000])
def test_pipelined_questions_cut_anywhere_are_answered_in_order(size: int, doors: Doors) -> None:
    sent = b"".join(PAGES) + LAST
    with socket.create_connection(("127.0.0.1", doors.port), 20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(sent), size):
            connection.sendall(sent[at : at + size])
        found = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert statuses(found) == [*STATUSES, b"200"]


def test_empty_lines_before_a_question_are_passed_over(doors: Doors) -> None:
    assert statuses(everything(doors.port, b"\r\n\r\n" + head() + b"\r\n" + LAST)) == [b"200", b"200"]


def test_garbage_behind_a_good_question_does_not_take_its_answer_away(doors: Doors) -> None:
    found = everything(doors.port, head() + b"garbage\r\n\r\n" + head())
    assert statuses(found) == [b"200", b"403"]
    assert found.count(b"connection: close") == 1
    assert found.index(b"connection: close") > found.index(b"HTTP/1.1 403")


@pytest.mark.parametrize(
    "behind",
    [
        (["Transfer-Encoding: chunked"], b"0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"1\r\nx\r\n0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"no chunk\r\n"),
        (["Content-Length: 1"], b"x"),
        (["Upgrade: websocket", "Connection: Upgrade"], b""),
        (["Connection: close"], b""),
    ],
)
def test_nothing_behind_a_body_an_upgrade_or_the_last_question_is_answered(
    behind: tuple[list[str], bytes], doors: Doors
) -> None:
    lines, body = behind
    found = everything(doors.port, head(*lines, method="POST") + body + head() + head())
    assert statuses(found) == [b"200"]
    assert b"\r\nconnection: close\r\n" in found


def test_many_heads_in_one_piece_are_each_measured_by_themselves(doors: Doors) -> None:
    # Together they are longer than one may be; none is.
    large = head(*(f"X-{number}: {'a' * 8_000}" for number in range(3)))
    assert statuses(everything(doors.port, large * 8 + LAST)) == [b"200"] * 9
    found = everything(doors.port, head() + head(f"X-A: {'a' * HEAD_BYTES}") + head())
    assert found == b"" or statuses(found) == [b"200", b"403"]


def test_answers_have_a_date_and_only_the_last_closes(doors: Doors) -> None:
    began = int(time.time())
    first, second = everything(doors.port, head() + LAST).split(b"HTTP/1.1 ")[1:]
    for answer in (first, second):
        (date,) = [line.partition(b": ")[2] for line in answer.splitlines() if line.startswith(b"date: ")]
        assert began - 1 <= parsedate_to_datetime(date.decode()).timestamp() <= time.time()
    assert b"connection:" not in first
    assert second.count(b"\r\nconnection: close\r\n") == 1


def test_value_that_would_be_another_header_is_never_sent() -> None:
    for name, value in (
        (b"x", b"1\r\nx-authz-user: eve"),
        (b"x", b"1\n"),
        (b"x", b"\0"),
        (b"x: 1\r\ny", b""),
        (b"", b"1"),
    ):
        with pytest.raises(ValueError, match="cannot be sent"):
            HttpAnswer.of(200, [(name, value)], b"")


class Untellable:
    """Answers later, with what no response can be written of."""

    async def answer(self, _message: HttpMessage, _caller: Caller) -> HttpAnswer:
        """Answer with a status that there is not."""
        return HttpAnswer.of(999, [], b"")

    def admits(self, _caller: Caller) -> bool:
        """Admit everybody."""
        return True

    def refuse(self, _caller: Caller) -> HttpAnswer:
        """Answer what is no request."""
        return HttpAnswer.of(403, [], b"")


def test_answer_that_came_later_and_cannot_be_written_holds_no_place() -> None:
    limits = Limits(connections=10, header_lines=100, gatekeeper=Untellable())
    settings = HttpServerSettings(
        name="test",
        endpoints=[Endpoint.parse("127.0.0.1:0")],
        limits=limits,
        drain_seconds=1,
        loop=chosen_loop(),
    )
    server = HttpServer(Untellable(), settings)
    server.start()
    try:
        assert everything(server.endpoints[0].port, head()) == b""
        wait_until(lambda: limits.open == 0, "the connection holds no place")
    finally:
        server.drain()


# A client that reads late.


@contextlib.contextmanager
def stalled(connection: socket.socket) -> Iterator[int]:
    """Ask, and read nothing, until the door reads no more either; yields how many questions it was asked."""
    asked = 0
    while True:
        connection.sendall(b"".join(PAGES))
        asked += len(PAGES)
        deadline = time.monotonic() + 0.5
        while unread(connection):
            if time.monotonic() > deadline:
                yield asked
                return
            time.sleep(0.001)


def unread(connection: socket.socket) -> int:
    """How many bytes the other end of a unix socket has not taken."""
    return int(struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0" * 4))[0])


def test_client_that_reads_late_gets_every_answer_in_order(tmp_path: Path) -> None:
    path = tmp_path / "door.sock"
    with opened_in_process(f"unix:{path}", "html"), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(path))
        with stalled(connection) as asked:
            connection.sendall(LAST)
            found = b"".join(iter(lambda: connection.recv(1_048_576), b""))
    assert statuses(found) == [*STATUSES * (asked // len(STATUSES)), b"200"]


def refuses(path: Path) -> bool:
    """Whether nobody listens on a unix socket any more."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):  # from Python 3.13 on a closed server's file is removed
            return True
    return False


def test_client_that_reads_late_gets_its_answers_when_the_door_is_drained(tmp_path: Path) -> None:
    path = tmp_path / "door.sock"
    with opened_in_process(f"unix:{path}", "html") as door, socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(path))
        with stalled(connection):
            draining = threading.Thread(target=door.drain)
            draining.start()
            wait_until(lambda: refuses(path), "no further connection is taken")
            found = b"".join(iter(lambda: connection.recv(1_048_576), b""))
            draining.join()
    got = statuses(found)
    assert got == (STATUSES * len(got))[: len(got)]
    assert len(got) > len(STATUSES)
    assert found.count(b"\r\nconnection: close\r\n") <= 1
