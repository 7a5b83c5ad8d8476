"""Clients that stamp themselves: through real Envoy and the real service, no copy of theirs reaches the Gateway.

Each attack is made on every stamped header. Where the request is allowed the Gateway sees what extauthz set, once;
where it is refused the Gateway is not reached.
"""

from collections.abc import Callable

import pytest

from support.clients import Headers, Refused, Response
from support.echo_gateway import Arrived
from support.world import IDENTITY, STRANGER, TRUSTED, USER, Way, World, identity

STAMPED = ("x-authz-user", "x-authz-gateway", "x-authz-decision", "x-authz-stamp")
FORGED = "forged@example.com"
each_name = pytest.mark.parametrize("name", STAMPED)
# With stripping the client's copies are gone before extauthz is asked; without, its answer alone must be enough.
stripped_or_not = pytest.mark.parametrize("strip", [True, False], ids=["stripped", "overwritten"])

# How the client sends its copy of a header.
COPIES: dict[str, Callable[[str], Headers]] = {
    "plain": lambda name: [(name, FORGED)],
    "twice": lambda name: [(name, FORGED), (name, "second@example.com")],
    "ten-times": lambda name: [(name, f"{n}@example.com") for n in range(10)],
    "empty": lambda name: [(name, "")],
    "empty-and-full": lambda name: [(name, ""), (name, FORGED), (name, "")],
    "blank": lambda name: [(name, "\t ")],
    "joined": lambda name: [(name, f"{FORGED},{USER}, ,")],
    "long": lambda name: [(name, "a" * 8192)],
    "odd-bytes": lambda name: [(name, b"\xff\xfe\x80")],
}
# What only HTTP/1.1 can carry.
COPIES_1: dict[str, Callable[[str], Headers]] = {
    "upper-case": lambda name: [(name.upper(), FORGED)],
    "cases-mixed": lambda name: [(name.title(), FORGED), (name, "second@example.com"), (name.upper(), "")],
    "folded": lambda name: [(name, f"{FORGED}\r\n {FORGED}")],
    "in-connection": lambda name: [("Connection", f"keep-alive, {name}"), (name, FORGED)],
    "in-connection-alone": lambda name: [("Connection", name)],
    "in-two-connections": lambda name: [("Connection", "close"), ("Connection", name.upper()), (name, FORGED)],
}


def is_ours(world: World, arrived: Arrived, gateway: str = "openclaw") -> bool:
    """Whether the stamped headers of a request are extauthz's: each there once, none forged, and the stamp verifies."""
    (decision,) = arrived.values("x-authz-decision")
    said = world.verified(arrived)
    return (
        arrived.values("x-authz-user") == [USER] == [said.user]
        and arrived.values("x-authz-gateway") == [gateway] == [said.gateway]
        and len(arrived.values("x-authz-stamp")) == 1
        and len(decision) >= 8
        and FORGED not in decision
        and not any(FORGED in value for _, value in arrived.headers)
    )


def kept_out(way: Way, answer: Response, reason: str) -> bool:
    """Whether a request was refused for this reason, and no Gateway saw it."""
    return answer.values("x-authz-reason") == [reason] and way.world.arrived() == []


@stripped_or_not
@each_name
@pytest.mark.parametrize("attack", COPIES)
def test_a_copy_of_a_stamped_header_does_not_survive_an_allow(way: Way, attack: str, name: str, strip: bool) -> None:
    answer = way.send([*IDENTITY, *COPIES[attack](name)], front={"strip_stamped": strip})
    assert answer.status == 200
    (arrived,) = way.world.arrived()
    assert is_ours(way.world, arrived)


@stripped_or_not
@each_name
@pytest.mark.parametrize("attack", COPIES_1)
def test_a_copy_that_only_http1_carries_does_not_survive_either(way1: Way, attack: str, name: str, strip: bool) -> None:
    answer = way1.send([*IDENTITY, *COPIES_1[attack](name)], front={"strip_stamped": strip})
    assert answer.status == 200
    (arrived,) = way1.world.arrived()
    assert is_ours(way1.world, arrived)


@pytest.mark.parametrize(
    "header", [("X-Authz-User", FORGED), ("connection", "x-authz-user"), ("x-authz-user", "a\r\nb")]
)
def test_what_http2_forbids_ends_the_connection(world: World, header: tuple[str, str]) -> None:
    assert Way(world, raw=True, version=2).send([*IDENTITY, header]).status == 0
    assert world.arrived() == []


@stripped_or_not
@each_name
def test_a_copy_in_trailers_does_not_arrive(way: Way, name: str, strip: bool) -> None:
    answer = way.send(
        [*IDENTITY, ("te", "trailers")], body=b"body", trailers=[(name, FORGED)], front={"strip_stamped": strip}
    )
    assert answer.status == 200
    (arrived,) = way.world.arrived()
    assert is_ours(way.world, arrived)
    assert arrived.trailers == ()
    assert arrived.body == "body"


@each_name
def test_a_copy_announced_as_a_trailer_does_not_arrive(way: Way, name: str) -> None:
    headers = [*IDENTITY, ("trailer", name), (name, FORGED)]
    answer = way.send(headers, body=b"body", trailers=[(name, FORGED)])
    assert answer.status == 200
    (arrived,) = way.world.arrived()
    assert is_ours(way.world, arrived)


@pytest.mark.parametrize("name", [*STAMPED, "x-forwarded-user"])
def test_an_alias_with_underscores_is_refused(way: Way, name: str) -> None:
    for alias in (name.replace("-", "_"), name.replace("-", "_", 1)):
        answer = way.send([*IDENTITY, (alias, FORGED)], front={"underscores": "allow"})
        assert kept_out(way, answer, "header_alias_refused")


def test_an_alias_with_underscores_does_not_even_come_to_be_asked_about(way: Way) -> None:
    assert way.send([*IDENTITY, ("x_authz_user", FORGED)]).status == (400 if way.version == 1 else 0)
    assert way.world.arrived() == []


@pytest.mark.parametrize("sign", [".", "!", "~", "'", "*", "+", "|", "`", "^", "$", "%", "&", "#"])
def test_an_alias_with_any_other_sign_is_refused(way: Way, sign: str) -> None:
    for alias in (f"x{sign}authz{sign}user", f"x-authz{sign}stamp", f"x{sign}forwarded-user"):
        assert kept_out(way, way.send([*IDENTITY, (alias, FORGED)]), "header_alias_refused")


def test_an_alias_is_refused_whoever_sends_it_and_whatever_is_in_it(way: Way) -> None:
    for peer in filter(way.can_come_from, (STRANGER, "203.0.113.66")):
        for value in ("", USER):
            assert kept_out(way, way.send([("x.authz.user", value)], peer=peer), "header_alias_refused")


def test_a_stranger_with_every_header_there_is_reaches_nobody(way: Way) -> None:
    forged = [(name, FORGED) for name in STAMPED]
    headers = [*IDENTITY, *forged, ("x-real-ip", TRUSTED), ("forwarded", f"for={TRUSTED}")]
    for peer in filter(way.can_come_from, (STRANGER, "203.0.113.66")):
        assert kept_out(way, way.send(headers, peer=peer), "trusted_proxy_untrusted_source")


@pytest.mark.parametrize("forwarded", ["10.0.0.7", "127.0.0.7", "1.2.3.4, 10.0.0.7", "10.0.0.7, 10.0.0.7", "127.0.0.1"])
def test_x_forwarded_for_makes_nobody_a_trusted_peer(way: Way, forwarded: str) -> None:
    answer = way.send(identity(x_forwarded_for=forwarded), peer=STRANGER)
    assert kept_out(way, answer, "trusted_proxy_untrusted_source")


@pytest.mark.parametrize(
    "headers",
    [
        [("x-forwarded-user", FORGED)],
        [("X-Forwarded-User", FORGED)],
        [("x-forwarded-user", "")],
        [("x-forwarded-user", USER)],
    ],
    ids=["other", "other-case", "empty", "same"],
)
def test_a_second_identity_beside_the_proxys_is_ambiguous(way: Way, headers: Headers) -> None:
    sent = [(str(key).lower() if way.version == 2 else key, value) for key, value in headers]
    for both in ([*IDENTITY, *sent], [*sent, *IDENTITY]):
        assert kept_out(way, way.send(both), "trusted_proxy_user_ambiguous")


def test_an_identity_header_in_another_case_is_the_same_header(way1: Way) -> None:
    headers = [*identity(x_forwarded_user=None), ("X-FORWARDED-USER", USER)]
    assert way1.send(headers).status == 200
    (arrived,) = way1.world.arrived()
    assert arrived.values("x-forwarded-user") == arrived.values("x-authz-user") == [USER]


def test_the_identity_header_of_another_gateway_says_nothing_here(way: Way) -> None:
    answer = way.send([*identity(x_forwarded_user=None), ("x-email", USER)])
    assert kept_out(way, answer, "trusted_proxy_user_missing")


def test_an_identity_in_trailers_or_in_the_query_is_none(way: Way) -> None:
    headers = [*identity(x_forwarded_user=None), ("te", "trailers")]
    answer = way.send(headers, body=b"body", trailers=[("x-forwarded-user", USER)])
    assert kept_out(way, answer, "trusted_proxy_user_missing")
    answer = way.send(identity(x_forwarded_user=None), target=f"/?x-forwarded-user={USER}&x-authz-user={USER}")
    assert kept_out(way, answer, "trusted_proxy_user_missing")


def test_an_identity_named_in_connection_is_none(way1: Way) -> None:
    answer = way1.send([("Connection", "keep-alive, X-Forwarded-User"), *IDENTITY])
    assert kept_out(way1, answer, "trusted_proxy_user_missing")


def test_a_websocket_upgrade_cannot_bring_stamps_of_its_own(way1: Way) -> None:
    forged = [(name, FORGED) for name in STAMPED] + [(name.upper(), "second") for name in STAMPED]
    with way1.open([*IDENTITY, *forged]) as opened:
        assert opened.echo("hello") == "hello"
    (arrived,) = way1.world.arrived()
    assert is_ours(way1.world, arrived)
    way1.world.clear()
    with pytest.raises(Refused) as refused, way1.open(forged, peer=STRANGER):
        pass
    assert kept_out(way1, refused.value.response, "trusted_proxy_untrusted_source")
