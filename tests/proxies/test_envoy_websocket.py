"""WebSockets through real Envoy and the real service: decided as any request, once, before the first frame."""

import os

import pytest

from support.clients import Refused, Response
from support.world import IDENTITY, STRANGER, TRUSTED_REMOTE, USER, Way, identity


def refusal(way: Way, headers: list[tuple[str, str]], **where: str) -> Response:
    """The answer to an upgrade that is refused."""
    with pytest.raises(Refused) as refused, way.open(headers, **where):
        pass
    assert way.world.arrived() == []
    return refused.value.response


@pytest.mark.parametrize(
    ("gateway", "peer"), [("openclaw", "127.0.0.7"), ("openclaw", TRUSTED_REMOTE), ("claw", TRUSTED_REMOTE)]
)
def test_an_upgrade_that_is_allowed_carries_the_identity_and_its_frames(way1: Way, gateway: str, peer: str) -> None:
    with way1.open(gateway=gateway, peer=peer) as opened:
        frames: list[str | bytes] = ["hello", "", "Zoë", b"\x00\xff", "x" * 100_000, os.urandom(70_000)]
        assert [opened.echo(frame) for frame in frames] == frames
        hello = opened.hello
    (arrived,) = way1.world.arrived()
    assert hello == arrived.as_json()
    assert arrived.values("x-authz-user") == arrived.values("x-forwarded-user") == [USER]
    assert arrived.values("x-authz-gateway") == [gateway]
    assert way1.world.verified(arrived).user == USER
    assert arrived.values("upgrade") == ["websocket"]
    assert arrived.values("connection") == ["Upgrade"]


@pytest.mark.parametrize(
    ("reason", "headers", "status"),
    [
        ("trusted_proxy_user_missing", identity(x_forwarded_user=None), 401),
        ("trusted_proxy_user_not_allowed", identity(x_forwarded_user="eve@example.com"), 403),
        ("trusted_proxy_user_ambiguous", [*IDENTITY, ("x-forwarded-user", "eve@example.com")], 403),
        ("trusted_proxy_missing_header_X-Forwarded-Host", identity(x_forwarded_host=None), 403),
        ("header_alias_refused", [*IDENTITY, ("x.authz.user", "root")], 403),
    ],
)
def test_an_upgrade_that_is_refused_says_why(
    way1: Way, reason: str, headers: list[tuple[str, str]], status: int
) -> None:
    answer = refusal(way1, headers)
    assert (answer.status, answer.values("x-authz-reason")) == (status, [reason])


def test_an_upgrade_from_a_stranger_is_refused(way1: Way) -> None:
    answer = refusal(way1, list(IDENTITY), peer=STRANGER)
    assert answer.values("x-authz-reason") == ["trusted_proxy_untrusted_source"]


@pytest.mark.parametrize("origin", ["https://evil.example", "https://openclaw.example.com.evil.example", "null"])
def test_a_page_of_another_site_cannot_hijack_a_websocket(way1: Way, origin: str) -> None:
    answer = refusal(way1, identity(origin=origin))
    assert (answer.status, answer.values("x-authz-reason")) == (403, ["trusted_proxy_origin_not_allowed"])
    if way1.can_come_from(TRUSTED_REMOTE):
        answer = refusal(way1, identity(origin=origin), gateway="claw", peer=TRUSTED_REMOTE)
        assert answer.values("x-authz-reason") == ["trusted_proxy_origin_not_allowed"]


def test_a_page_of_the_gateway_itself_may_open_a_websocket(way1: Way) -> None:
    with way1.open(identity(origin="https://openclaw.example.com")) as opened:
        assert opened.echo("hello") == "hello"
