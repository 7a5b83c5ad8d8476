"""What a client does to the HTTP server itself: too much, too slowly, or so that two would read it differently.

Whatever the server cannot read is a denial, and never a 5xx, which a proxy may take for an error and let pass.
"""

import contextlib
import resource
import signal
import socket
import struct
import time
from pathlib import Path

import pytest

from extauthz.doors.http_limits import HEAD_BYTES, MOST_WAITING, PATIENCE, Patience
from forward_auth.by_hand import ALLOWED, TARGET, door_in_process, everything, head
from forward_auth.opening import USER, Doors, gateway, opened_doors, told
from support.clients import Response, Session, http1, raw
from support.process import READY_SECONDS, wait_until

STRANGER = "127.0.0.200"


def closed(connection: socket.socket) -> bool:
    """Whether the server has closed this connection; nothing may have been sent on it."""
    connection.settimeout(0.05)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


# Two readings of one request.

SMUGGLED = head(target="/smuggled")


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 4", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 4"],
        ["Content-Length: 4", "Content-Length: 5"],
        ["Content-Length: +4"],
        ["Content-Length: 4, 4"],
        ["Content-Length: 0x4"],
        ["Content-Length: -1"],
        ["Content-Length: 99999999999999999999"],
        ["Transfer-Encoding: xchunked", "Content-Length: 4"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding : chunked"],
        ["Transfer-Encoding:\x0bchunked"],
        ["X-A: 1", " folded: 2"],
        ["X-A: 1", "\tfolded: 2"],
        ["X-Forwarded-User : eve@example.com"],
        ["X-A: 1\nX-B: 2"],
        ["X-A: a\x00b"],
        ["X-A: a\rb"],
        ["no colon"],
        [": no name"],
        ["X A: 1"],
        ["X-\xe4: 1"],
    ],
)
def test_request_that_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_answered(
    lines: list[str], doors: Doors
) -> None:
    found = everything(doors.port, head(*lines) + b"0\r\n\r\n" + SMUGGLED)
    assert found.startswith(b"HTTP/1.1 403 ")
    assert found.count(b"HTTP/1.1 ") == 1
    assert b"request_malformed" in found


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET " + TARGET.encode() + b"\r\n\r\n",
        b"GET " + TARGET.encode() + b" HTTP/3.0\r\n\r\n",
        b"get " + TARGET.encode() + b" HTTP/1.1\r\n\r\n",
        b"GET /forward-auth/traefik/op\xc3\xa9n HTTP/1.1\r\n\r\n",
        b"GET /forward-auth/traefik/open claw HTTP/1.1\r\n\r\n",
        b"CONNECT door:443 HTTP/1.1\r\n\r\n",
        b"GET http:// HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 10.0.0.7 10.0.0.7 1 1\r\n" + head(),
    ],
)
def test_bytes_that_are_no_request_are_denied(sent: bytes, doors: Doors) -> None:
    found = everything(doors.port, sent)
    assert found.startswith(b"HTTP/1.1 403 ")
    assert found.count(b"HTTP/1.1 ") == 1


def test_who_is_no_caller_learns_nothing_from_bytes_that_are_no_request(doors: Doors) -> None:
    assert b"caller_not_allowed" in everything(doors.port, b"nonsense\r\n\r\n", source=STRANGER)


# Bodies.


@pytest.mark.parametrize("line", ["Content-Length: 100000000", "Transfer-Encoding: chunked"])
def test_body_that_does_not_come_is_not_waited_for(line: str, doors: Doors) -> None:
    # nginx with proxy_pass_request_body off sends the length of the client's body, and no body.
    with Session(doors.port) as session:
        response = session.send(head(line, method="POST"))
    assert (told(response), response.values("connection")) == (f"allow:{USER}", ["close"])


def test_request_inside_a_body_is_not_answered(doors: Doors) -> None:
    sent = head(f"Content-Length: {len(SMUGGLED)}", method="POST") + SMUGGLED
    found = everything(doors.port, sent + SMUGGLED)
    assert found.startswith(b"HTTP/1.1 200 ")
    assert found.count(b"HTTP/1.1 ") == 1


def test_answer_arrives_although_a_large_body_is_still_being_sent() -> None:
    body = b"x" * 900_000
    assert PATIENCE.linger > 0
    with door_in_process(patience=Patience(linger=READY_SECONDS)) as endpoint:
        response = raw(endpoint.port, head(f"Content-Length: {len(body)}", method="POST") + body)
    assert told(response) == f"allow:{USER}"


def test_endless_body_is_cut_off(doors: Doors) -> None:
    with socket.create_connection(("127.0.0.1", doors.port), 20) as connection:
        connection.sendall(head("Transfer-Encoding: chunked", method="POST"))
        with pytest.raises(ConnectionError):
            connection.sendall((b"10000\r\n" + b"x" * 65_536 + b"\r\n") * 1_000)


def test_hundred_continue_is_not_asked_for(doors: Doors) -> None:
    found = everything(doors.port, head("Content-Length: 3", "Expect: 100-continue", method="POST"))
    assert found.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "lines", [["Upgrade: websocket", "Connection: Upgrade"], ["Upgrade: h2c", "Connection: upgrade"]]
)
def test_upgrade_is_answered_as_any_request(lines: list[str], doors: Doors) -> None:
    found = everything(doors.port, head(*lines, "Sec-WebSocket-Key: x") + SMUGGLED)
    assert found.startswith(b"HTTP/1.1 200 ")
    assert found.count(b"HTTP/1.1 ") == 1


# Sizes.


def test_headers_over_the_limits_of_the_configuration_are_malformed(doors: Doors) -> None:
    many = [(f"x-{number}", "") for number in range(200)]
    assert told(http1(doors.port, [*ALLOWED, *many], target=TARGET)) == "deny:request_malformed"
    assert told(http1(doors.port, [*ALLOWED, ("cookie", "a" * 16_385)], target=TARGET)) == "deny:request_malformed"
    assert told(http1(doors.port, [*ALLOWED, ("cookie", "a" * 16_384)], target=TARGET)) == f"allow:{USER}"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a" * HEAD_BYTES + b": 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"a" * HEAD_BYTES + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"a" * 4 * HEAD_BYTES,
        b"GET / HTTP/1.1\r\n" + b"x: 1\r\n" * 801 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: 1\r\n" * HEAD_BYTES,
        b"G" * 4 * HEAD_BYTES,
        b"\r\n" * 4 * HEAD_BYTES,
    ],
)
def test_head_without_measure_is_refused_before_it_is_complete(sent: bytes, doors: Doors) -> None:
    found = everything(doors.port, sent)
    # What the client still sends may reset the connection before it reads; then it reads nothing.
    assert found == b"" or (found.startswith(b"HTTP/1.1 403 ") and found.count(b"HTTP/1.1 ") == 1)
    assert told(http1(doors.port, ALLOWED, target=TARGET)) == f"allow:{USER}"


# Connections.


def test_connection_is_kept_for_the_next_request(doors: Doors) -> None:
    with Session(doors.port) as session:
        for _ in range(5):
            response = session.send(head())
            assert (told(response), response.values("connection")) == (f"allow:{USER}", [])


def test_http_1_0_is_answered_and_closed(doors: Doors) -> None:
    found = everything(doors.port, head(version="1.0", target="/forward-auth/nginx/openclaw") + SMUGGLED)
    assert found.startswith(b"HTTP/1.1 200 ")
    assert found.count(b"HTTP/1.1 ") == 1


def test_pipelined_requests_are_answered_in_order(doors: Doors) -> None:
    targets = [TARGET, "/nowhere", "/forward-auth/traefik/unknown", TARGET]
    found = everything(doors.port, b"".join(head(target=target) for target in targets) + head("Connection: close"))
    statuses = [part[:3] for part in found.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"404", b"403", b"200", b"200"]


def test_flood_of_pipelined_requests_is_cut_short(doors: Doors) -> None:
    found = everything(doors.port, b"GET / HTTP/1.1\r\n\r\n" * 5_000)
    assert 1 <= found.count(b"HTTP/1.1 404") <= MOST_WAITING + 2


def test_head_gets_no_body_and_the_next_answer_begins_where_it_would(doors: Doors) -> None:
    found = everything(
        doors.port, head(method="HEAD", target="/forward-auth/traefik/unknown") + head("Connection: close")
    )
    first, second = found.split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"403 ")
    assert first.endswith(b"\r\n\r\n")
    assert second.startswith(b"200 ")


def test_head_over_a_limit_is_refused_without_a_body(doors: Doors) -> None:
    found = everything(doors.port, head(f"X-A: {'a' * HEAD_BYTES}", method="HEAD"))
    assert found.startswith(b"HTTP/1.1 403 ")
    assert found.endswith(b"\r\n\r\n")
    assert b"\r\ncontent-length: " in found


def test_slow_clients_do_not_hold_up_the_others(doors: Doors) -> None:
    slow = [socket.create_connection(("127.0.0.1", doors.port), 20) for _ in range(100)]
    try:
        for connection in slow:
            connection.sendall(b"GET " + TARGET.encode() + b" HTTP/1.1\r\nX-")
        for _ in range(20):
            assert told(http1(doors.port, ALLOWED, target=TARGET)) == f"allow:{USER}"
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nX-A: ", b"\r\n", head() + b"GET /"])
def test_request_that_does_not_arrive_is_not_waited_for(sent: bytes) -> None:
    with door_in_process(patience=Patience(head=0.1)) as endpoint:
        everything(endpoint.port, sent)


@pytest.mark.parametrize(("begun", "byte"), [(b"GET / HTTP/1.1\r\n", b"X"), (b"", b"\r\n")])
def test_request_a_byte_at_a_time_is_not_waited_for(begun: bytes, byte: bytes) -> None:
    with door_in_process(patience=Patience(head=0.2)) as endpoint, contextlib.ExitStack() as stack:
        opened: list[socket.socket] = []

        def answered() -> bool:
            # Again where this thread did not get to send in so short a time.
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", endpoint.port), 20))
            opened[:] = [connection]
            with contextlib.suppress(ConnectionError):
                connection.sendall(head() + begun)
                if answer := connection.recv(65_536):
                    assert answer.startswith(b"HTTP/1.1 200 ")
                    return True
            connection.close()
            return False

        wait_until(answered, "an answer to the request before it")

        def trickle() -> bool:
            with contextlib.suppress(ConnectionError):
                opened[0].sendall(byte)
            return closed(opened[0])

        wait_until(trickle, "a slow client's connection is closed")


def test_connection_without_requests_is_closed() -> None:
    with door_in_process(patience=Patience(idle=0.1)) as endpoint:
        assert everything(endpoint.port, head()).startswith(b"HTTP/1.1 200 ")


def test_client_that_does_not_read_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "door.sock"
    asked = b"GET " + TARGET.encode() + b" HTTP/1.1\r\nHost: door\r\nAccept: text/html\r\n\r\n"
    with door_in_process(f"unix:{path}", "html", Patience(stall=0.1)), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.setblocking(False)

        def written_off() -> bool:
            try:
                connection.send(asked * 8)
            except BlockingIOError:
                return False
            except ConnectionError:
                return True
            return False

        wait_until(written_off, "a client that reads nothing is disconnected")


def test_stranger_does_not_hold_a_connection_for_further_requests(doors: Doors) -> None:
    asked = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: door\r\n\r\n"
    found = everything(doors.port, asked * 3, source=STRANGER)
    assert found.count(b"HTTP/1.1 ") == 1
    assert b"\r\nconnection: close\r\n" in found


def test_one_stranger_does_not_take_the_places_of_the_others(tmp_path: Path) -> None:
    config = {
        "callers": {"addresses": ["127.0.0.1"]},
        "stamp": {"enabled": False},
        "server": {"maxConcurrent": 32},
        "gateways": {"openclaw": gateway()},
    }
    with opened_doors(tmp_path, config) as few, contextlib.ExitStack() as stack:

        def connect(source: str) -> socket.socket:
            return stack.enter_context(
                socket.create_connection(("127.0.0.1", few.port), 20, source_address=(source, 0))
            )

        first = [connect(STRANGER) for _ in range(8)]
        wait_until(lambda: sum(map(closed, first)) == 6, "all but a quarter of the eight places are refused to it")
        assert http1(few.port, target="/elsewhere", source="127.0.0.201").status == 404
        for connection in first:
            connection.close()
        wait_until(
            lambda: http1(few.port, target="/elsewhere", source=STRANGER).status == 404, "there is room for it again"
        )


def test_connections_at_once_are_limited_and_strangers_to_a_part_of_them(tmp_path: Path) -> None:
    config = {
        "callers": {"addresses": ["127.0.0.1"]},
        "stamp": {"enabled": False},
        "server": {"maxConcurrent": 8},
        "gateways": {"openclaw": gateway()},
    }
    with opened_doors(tmp_path, config) as few, contextlib.ExitStack() as stack:

        def connect(source: str) -> socket.socket:
            return stack.enter_context(
                socket.create_connection(("127.0.0.1", few.port), 20, source_address=(source, 0))
            )

        strangers = [connect(f"127.0.0.{200 + number}") for number in range(6)]
        wait_until(lambda: sum(map(closed, strangers)) == 4, "all strangers but a quarter of eight are closed")
        with Session(few.port) as session:
            assert told(session.send(head())) == f"allow:{USER}"
            callers = [connect("127.0.0.1") for _ in range(10)]
            wait_until(lambda: sum(map(closed, callers)) == 5, "what is over eight in all is closed")
            assert told(session.send(head())) == f"allow:{USER}"
        for connection in (*strangers, *callers):
            connection.close()

        def answered() -> bool:
            response: Response = http1(few.port, ALLOWED, target=TARGET)
            return response.status == 200

        wait_until(answered, "there is room again")


def test_flood_of_connections_beyond_the_limit_of_open_files_fills_no_log(tmp_path: Path) -> None:
    with opened_doors(tmp_path, {"stamp": {"enabled": False}, "gateways": {"openclaw": gateway()}}) as few:
        program = few.service.program
        opened = len(list(Path(f"/proc/{program.pid}/fd").iterdir()))
        resource.prlimit(program.pid, resource.RLIMIT_NOFILE, (opened + 8, opened + 8))
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(socket.create_connection(("127.0.0.1", few.port), 20))
            time.sleep(3)  # asyncio tries again each second
            lines = program.log_text().splitlines()
        assert len(lines) < 20
        assert [line for line in lines if not line.startswith("{")] == []
        wait_until(lambda: http1(few.port, ALLOWED, target=TARGET).status == 200, "there is room again")


def test_client_that_resets_before_it_is_answered_fills_no_log(tmp_path: Path) -> None:
    with opened_doors(tmp_path, {"stamp": {"enabled": False}, "gateways": {"openclaw": gateway()}}) as doors:
        program = doors.service.program
        with socket.create_connection(("127.0.0.1", doors.port), 20) as connection:
            connection.sendall(head())
            assert connection.recv(12) == b"HTTP/1.1 200"
            program.freeze()
            connection.sendall(head() * MOST_WAITING)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        program.signal(signal.SIGCONT)
        assert http1(doors.port, ALLOWED, target=TARGET).status == 200
        assert [line for line in program.log_text().splitlines() if not line.startswith("{")] == []
        assert "socket.send" not in program.log_text()
