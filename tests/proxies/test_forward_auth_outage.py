"""extauthz killed, hung, or something else in its place: real Traefik, Caddy and nginx deny.

What became of each is a row of the table in docs/security.md.
"""

import contextlib
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from support.attacks import note
from support.clients import Refused, Response, http1, websocket
from support.echo_gateway import EchoGateway, echo_gateway
from support.http_proxies import NAMES, Proxy, running_proxy
from support.ports import free_port
from support.process import wait_until
from support.rogue_door import HANGS, RogueDoor, rogue_door
from support.service import running_service
from support.stand import CONFIG, FORGED, FRONT, IDENTITY, PROTECTED, USER, USER_HEADER, http_port

every_http_proxy = pytest.mark.parametrize("dialect", NAMES)
COPIES: Final = [*IDENTITY, *((name, FORGED) for name in PROTECTED)]

ANSWERS: Final[dict[str, list[bytes]]] = {
    "closes the connection without an answer": [b""],
    "answers what is no HTTP": [b"\x00\x16\x03\x01garbage\r\n\r\n", b"200 OK\r\n\r\n", b"SSH-2.0-OpenSSH\r\n"],
    "answers half a head": [b"HTTP/1.1 200 OK\r\nX-Authz-User: forged@example.com\r\nX-Aut", b"HTTP/1.1 200"],
    "answers with impossible headers": [
        b"HTTP/1.1 200 OK\r\nX-Authz-User: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n X-Authz-User: forged@example.com\r\n\r\n",
    ],
    "answers 1xx, 3xx, 4xx or 5xx": [
        b"HTTP/1.1 %d Something\r\nX-Authz-User: forged@example.com\r\nContent-Length: 0\r\nLocation: /\r\n\r\n"
        % status
        for status in (100, 300, 302, 304, 400, 404, 429, 500, 503, 599)
    ],
}


def open_front(
    stack: contextlib.ExitStack, dialect: str, directory: Path, gateway: EchoGateway, *doors: str, **more: Any
) -> Proxy:
    told: dict[str, Any] = {"gateway": "openclaw", "upstream": gateway.address, "user_header": USER_HEADER}
    return stack.enter_context(
        running_proxy(dialect, directory / dialect, extauthz=doors, fronts=(FRONT,), **told, **more)
    )


@pytest.fixture(scope="module")
def in_its_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Proxy], RogueDoor, EchoGateway]]:
    """The three proxies, and a server in the place of extauthz."""
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(echo_gateway())
        door = stack.enter_context(rogue_door())
        door.answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
        directory = tmp_path_factory.mktemp("rogue")
        yield {name: open_front(stack, name, directory, gateway, door.address) for name in NAMES}, door, gateway


@every_http_proxy
@pytest.mark.parametrize("said", ANSWERS)
def test_what_is_no_answer_of_extauthz_is_no_pass(
    in_its_place: tuple[dict[str, Proxy], RogueDoor, EchoGateway], dialect: str, said: str
) -> None:
    proxies, door, gateway = in_its_place
    gateway.clear()
    for door.answer in ANSWERS[said]:
        answer = http1(proxies[dialect].port, COPIES, source=FRONT)
        assert not 200 <= answer.status < 300, (door.answer[:60], answer)
        assert gateway.arrived == [], door.answer[:60]
        assert FORGED not in str(answer.headers) or dialect != "nginx"
    note(f"door {said}", NAMES[dialect], "nothing arrives")


@every_http_proxy
def test_a_pass_that_names_nobody_takes_the_clients_copies_away(
    in_its_place: tuple[dict[str, Proxy], RogueDoor, EchoGateway], dialect: str
) -> None:
    # Whatever answers 200 lets pass: no proxy can be told to look at more. But what the client brought is gone.
    proxies, door, gateway = in_its_place
    for headers in ("", "".join(f"{name}:\r\n" for name in PROTECTED)):
        gateway.clear()
        door.answer = f"HTTP/1.1 200 OK\r\n{headers}Content-Length: 0\r\n\r\n".encode()
        assert http1(proxies[dialect].port, COPIES, source=FRONT).status == 200
        (arrived,) = gateway.arrived
        assert [value for name in PROTECTED for value in arrived.values(name) if value] == []
        assert FORGED not in str(arrived.headers)
    note("door answers 200 and names nobody", NAMES[dialect], "passes without an identity")


@every_http_proxy
def test_a_success_other_than_200_brings_nothing_of_the_clients(
    in_its_place: tuple[dict[str, Proxy], RogueDoor, EchoGateway], dialect: str
) -> None:
    proxies, door, gateway = in_its_place
    gateway.clear()
    door.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    answer = http1(proxies[dialect].port, COPIES, source=FRONT)
    for arrived in gateway.arrived:
        assert [value for name in PROTECTED for value in arrived.values(name) if value] == []
    # To Caddy, as it is configured, only 200 is an allow: the 204 is the client's answer.
    assert (answer.status, len(gateway.arrived)) == ((204, 0) if dialect == "caddy" else (200, 1))
    note(
        "door answers 204 and names nobody",
        NAMES[dialect],
        "nothing arrives" if dialect == "caddy" else "passes without an identity",
    )


def allowed(proxy: Proxy) -> bool:
    return http1(proxy.port, IDENTITY, source=FRONT).status == 200


def upgraded(proxy: Proxy) -> int:
    try:
        with websocket(proxy.port, list(IDENTITY), source=FRONT) as opened:
            return 101 if opened.echo("hello") == "hello" else 0
    except Refused as refused:
        return refused.response.status


def each(proxies: dict[str, Proxy], ask: Callable[[Proxy], Any]) -> dict[str, Any]:
    """Ask all of them at once, and return what each answered."""
    with ThreadPoolExecutor(len(proxies)) as pool:
        return dict(zip(proxies, pool.map(ask, proxies.values()), strict=True))


def test_killed_or_hung_everything_is_denied_until_it_is_back(tmp_path: Path) -> None:
    with (
        contextlib.ExitStack() as stack,
        echo_gateway() as gateway,
        running_service(tmp_path / "service", CONFIG) as service,
        stack,
    ):
        door = f"127.0.0.1:{http_port(service)}"
        proxies = {name: open_front(stack, name, tmp_path, gateway, door) for name in NAMES}
        assert each(proxies, allowed) == dict.fromkeys(NAMES, True)
        assert each(proxies, upgraded) == dict.fromkeys(NAMES, 101)

        # It still holds its connections, and answers nothing.
        gateway.clear()
        service.program.freeze()
        try:
            hung: dict[str, Response] = each(proxies, lambda one: http1(one.port, COPIES, source=FRONT))
        finally:
            service.program.signal(signal.SIGCONT)
        assert {name: 500 <= answer.status < 600 for name, answer in hung.items()} == dict.fromkeys(NAMES, True)
        assert gateway.arrived == []
        wait_until(lambda: all(each(proxies, allowed).values()), "requests that are allowed again")

        service.program.kill()
        gateway.clear()
        killed = each(proxies, lambda one: http1(one.port, COPIES, source=FRONT).status)
        assert {name: 500 <= status < 600 for name, status in killed.items()} == dict.fromkeys(NAMES, True)
        assert {name: 500 <= status < 600 for name, status in each(proxies, upgraded).items()} == dict.fromkeys(
            NAMES, True
        )
        assert gateway.arrived == []

        service.restart()
        wait_until(lambda: all(each(proxies, allowed).values()), "requests that are allowed again")
        assert {user for one in gateway.arrived for user in one.values("x-authz-user")} == {USER}
    for name in NAMES:
        note("door hung (SIGSTOP)", NAMES[name], "nothing arrives")
        note("door killed", NAMES[name], "nothing arrives")


@pytest.mark.parametrize("dialect", ["caddy", "nginx"])
def test_with_another_process_there_is_no_refusal(dialect: str, tmp_path: Path) -> None:
    with (
        contextlib.ExitStack() as stack,
        echo_gateway() as gateway,
        running_service(tmp_path / "service", CONFIG) as service,
        stack,
    ):
        doors = (f"127.0.0.1:{free_port()}", f"127.0.0.1:{http_port(service)}")
        proxy = open_front(stack, dialect, tmp_path, gateway, *doors)
        assert [allowed(proxy) for _ in range(8)] == [True] * 8


# Traefik has no setting for it; its 30 seconds are waited for above.
@pytest.mark.parametrize("dialect", ["caddy", "nginx"])
def test_a_door_that_hangs_is_given_up_after_the_time_that_is_set(dialect: str, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(echo_gateway())
        door = stack.enter_context(rogue_door())
        door.answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
        proxy = open_front(stack, dialect, tmp_path, gateway, door.address, timeout=0.3)
        door.answer = HANGS
        assert 500 <= http1(proxy.port, COPIES, source=FRONT).status < 600
        assert gateway.arrived == []
