"""The hint of a denial: opened with what the request shows and what is nearest to it, and never more than that."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cases.build import PAIRS, gateway, text_of
from cases.generated import bounded
from extauthz.cli import main
from extauthz.core.nearest import MOST_COMPARED, distance, nearest_text

NO_USER = dict(PAIRS[1:])


def hint(folder: Path, rules: dict[str, Any] | None = None, peer: str = "10.0.0.7", **asked: Any) -> str:
    """Return the hint of one denied request; `headers` in place of those that the ordinary gateway allows."""
    sections = asked.pop("sections", {})
    gateways = asked.pop("gateways", {"g": gateway(rules, **asked.pop("keys", {}))})
    (folder / "e.yaml").write_text(text_of({**sections, "gateways": gateways}), encoding="utf-8")
    line = {"gateway": "g", "peer": peer, "headers": dict(PAIRS), **asked}
    argv = ["explain", "--config", str(folder / "e.yaml"), "--requests", "-", "--format", "json"]
    found = json.loads(CliRunner().invoke(main, argv, input=json.dumps(line)).stdout)
    assert not found["allowed"]
    told: str = found["hint"]
    return told


@pytest.mark.parametrize("peer", ["fe80::1%\x1b[2J", "fe80::1%a\nallowed as root", "fe80::1%\x9b"])
def test_a_peer_cannot_steer_the_terminal(tmp_path: Path, peer: str) -> None:
    (tmp_path / "e.yaml").write_text(text_of({"gateways": {"g": gateway()}}), encoding="utf-8")
    line = {"gateway": "g", "peer": peer, "headers": dict(PAIRS)}
    argv = ["explain", "--config", str(tmp_path / "e.yaml"), "--requests", "-"]
    shown = CliRunner().invoke(main, argv, input=json.dumps(line), color=True).stdout
    assert "trusted_proxy_untrusted_source" in shown
    assert peer not in shown
    assert ascii(peer) in shown


# The source.


def test_peer_and_nearest_entry_are_named(tmp_path: Path) -> None:
    keys = {"trustedProxies": ["172.17.0.1", "10.0.0.7", "172.16.0.0/24"]}
    said = hint(tmp_path, keys=keys, peer="172.17.0.5")
    assert said.startswith("The peer 172.17.0.5 is not in trustedProxies; 172.17.0.1 is.")
    for helps in ("containers change", "load balancer", "`docker inspect`", "`kubectl get pods -o wide`"):
        assert helps in said


def test_a_peer_of_the_other_version_of_ip_is_told(tmp_path: Path) -> None:
    assert "is not in trustedProxies, which has no IPv6 entry" in hint(tmp_path, peer="2001:db8::5")


def test_a_trusted_proxy_behind_the_peer_says_that_something_is_in_between(tmp_path: Path) -> None:
    chain = {**dict(PAIRS), "x-forwarded-for": "203.0.113.9, 10.0.0.7"}
    assert "X-Forwarded-For names 10.0.0.7, which is trusted" in hint(tmp_path, peer="10.9.9.9", headers=chain)
    assert "X-Forwarded-For" not in hint(tmp_path, peer="10.9.9.9")
    odd = {**dict(PAIRS), "x-forwarded-for": "," * 20_000 + "10.0.0.7"}
    assert "which is trusted" not in hint(
        tmp_path, peer="10.9.9.9", headers=odd, sections={"limits": {"headerBytes": 65536}}
    )


def test_where_strangers_are_refused_for_attribution_the_peer_is_named_all_the_same(tmp_path: Path) -> None:
    keys = {"ruleset": "openclaw-2026.9"}
    assert "The peer 10.0.0.8 is not in trustedProxies; 10.0.0.7 is." in hint(tmp_path, keys=keys, peer="10.0.0.8")
    no_chain = {name: value for name, value in PAIRS if name != "x-forwarded-for"}
    assert "is trusted, but sent no X-Forwarded-For" in hint(tmp_path, keys=keys, headers=no_chain)
    looped = {**dict(PAIRS), "x-forwarded-for": "127.0.0.1"}
    assert "every address is loopback or trusted" in hint(tmp_path, keys=keys, headers=looped)
    local = {"ruleset": "openclaw-2026.9", "trustedProxies": ["127.0.0.1"]}
    bare = {"x-email": "nick@example.com"}  # x-forwarded-user would be forwarded evidence itself
    rules = {"allowLoopback": True, "requiredHeaders": [], "userHeader": "x-email"}
    assert "sent no forwarded header at all" in hint(tmp_path, rules, keys=local, peer="127.0.0.1", headers=bare)


# Identity.


def test_a_misspelt_user_header_is_named(tmp_path: Path) -> None:
    said = hint(tmp_path, headers={**NO_USER, "x-forwardet-user": "s3cret", "x-remote-user": "s3cret"})
    assert '"x-forwarded-user" did not arrive.' in said
    assert "x-remote-user" in said
    assert 'Is it "x-forwardet-user", which arrived and differs in one character?' in said
    assert "signed in" in said
    assert "s3cret" not in said


def test_a_blank_user_header_says_that_nobody_is_signed_in(tmp_path: Path) -> None:
    assert "arrived and is blank, as it does from a proxy at which nobody is signed in" in hint(
        tmp_path, headers={**NO_USER, "x-forwarded-user": " , "}
    )


def test_a_missing_header_is_blank_or_not_there_and_the_nearest_is_named(tmp_path: Path) -> None:
    rules = {"requiredHeaders": ["X-Proof-Of-Proxy"]}
    assert '"x-proof-of-proxy" did not arrive.' in hint(tmp_path, rules)
    blank = hint(tmp_path, rules, headers={**dict(PAIRS), "x-proof-of-proxy": " "})
    assert '"x-proof-of-proxy" arrived and is blank.' in blank
    near = hint(tmp_path, rules, headers={**dict(PAIRS), "x-proof-off-proxy": "s3cret"})
    assert 'Is it "x-proof-off-proxy"' in near
    assert "Find the hop that strips it" in near
    assert "s3cret" not in near


@pytest.mark.parametrize(
    ("user", "listed", "says"),
    [
        ("Nick@Example.com", "nick@example.com", 'allowUsers has "nick@example.com", which differs in case.'),
        ("nick@ example.com", "nick@example.com", "which differs in white space."),
        ("NICK@ example.com", "nick@example.com", "which differs in case and white space."),
        ("nikc@example.com", "nick@example.com", "which differs in one character."),
        ("nik@example.co", "nick@example.com", "which differs in 2 characters."),
        ("nick", " nick ", "which differs in white space."),
    ],
)
def test_the_nearest_user_is_named_with_what_differs(tmp_path: Path, user: str, listed: str, says: str) -> None:
    said = hint(
        tmp_path, {"allowUsers": ["somebody@else.example", listed]}, headers={**NO_USER, "x-forwarded-user": user}
    )
    assert f'The user seen is "{user}"; ' in said
    assert says in said
    assert "Add the user, exactly as seen" in said


@pytest.mark.parametrize("user", ["eve@example.com", "Nick@example.com", "n"])
def test_opening_the_list_is_never_advised(tmp_path: Path, user: str) -> None:
    said = hint(tmp_path, headers={**NO_USER, "x-forwarded-user": user}).lower()
    for advice in ("remove", "empty", "[]", "delete", "clear", "everyone", "leave out"):
        assert advice not in said


def test_two_users_are_told_by_how_they_came(tmp_path: Path) -> None:
    twice = {**NO_USER, "x-forwarded-user": ["nick@example.com", "s3cret"]}
    assert "came more than once" in hint(tmp_path, headers=twice)
    assert "s3cret" not in hint(tmp_path, headers=twice)
    assert "holds a comma" in hint(tmp_path, headers={**NO_USER, "x-forwarded-user": "a,b"})


# The rest.


def test_the_nearest_gateway_and_host_are_named(tmp_path: Path) -> None:
    assert 'The proxy names "openclwa"; the file has "openclaw".' in hint(
        tmp_path, gateways={"openclaw": gateway(), "other": gateway()}, gateway="openclwa"
    )
    hosts = {"a": gateway(hosts=["gateway.example.com"]), "b": gateway(hosts=["b.example"])}
    said = hint(tmp_path, gateways=hosts, gateway=None, host="gatway.example.com:8443")
    assert 'no `hosts` has "gatway.example.com"; "gateway.example.com" is there.' in said


def test_the_nearest_caller_is_named(tmp_path: Path) -> None:
    sections = {"callers": {"addresses": ["10.1.0.0/28", "10.2.0.4"]}}
    said = hint(tmp_path, sections=sections, caller="10.2.0.5")
    assert said.startswith("Asked by 10.2.0.5, which is not in callers; 10.2.0.4 is.")
    own = {"callers": {"addresses": ["127.0.0.2"]}}
    assert "which is not in the callers of gateway g; 127.0.0.2 is." in hint(tmp_path, keys=own, caller="127.0.0.1")
    assert "Asked by unix." in hint(tmp_path, sections=sections, caller="unix")


def test_an_alias_is_named_with_what_it_becomes(tmp_path: Path) -> None:
    said = hint(tmp_path, headers={**dict(PAIRS), "x_authz_user": "s3cret"})
    assert '"x_authz_user" would become "x-authz-user".' in said
    assert "s3cret" not in said


def test_the_nearest_origin_is_named(tmp_path: Path) -> None:
    keys = {"controlUi": {"allowedOrigins": ["https://control.example.com"]}}
    said = hint(tmp_path, keys=keys, headers={**dict(PAIRS), "origin": "http://control.example.com"})
    assert 'The Origin seen is "http://control.example.com"; allowedOrigins has "https://control.example.com".' in said


UPGRADES: list[dict[str, str]] = [
    {"upgrade": "websocket", "connection": "Upgrade"},
    {"upgrade": "h2c, WebSocket"},
    {"sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA=="},  # as a proxy tells of it that keeps Upgrade back
]


@pytest.mark.parametrize("upgrade", UPGRADES, ids=str)
def test_a_websocket_is_told_what_upgrades_need(tmp_path: Path, upgrade: dict[str, str]) -> None:
    for headers, peer in ((NO_USER, "10.0.0.7"), ({}, "10.0.0.7"), (dict(PAIRS), "10.9.9.9")):
        said = hint(tmp_path, headers={**headers, **upgrade}, peer=peer)
        for needs in ("`Upgrade` and `Connection`", "on the upgrade request too", "no second way to sign in"):
            assert needs in said
        assert "WebSocket" not in hint(tmp_path, headers=headers, peer=peer)


# What is nearest.


def _plain_distance(left: str, right: str) -> int:
    """The optimal string alignment distance, as it is defined."""
    rows = [[max(i, j) if not i or not j else 0 for j in range(len(right) + 1)] for i in range(len(left) + 1)]
    for i in range(1, len(left) + 1):
        for j in range(1, len(right) + 1):
            found = [rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (left[i - 1] != right[j - 1])]
            if i > 1 and j > 1 and left[i - 1] == right[j - 2] and left[i - 2] == right[j - 1]:
                found.append(rows[i - 2][j - 2] + 1)
            rows[i][j] = min(found)
    return rows[-1][-1]


_short = st.text(alphabet="abc", max_size=6)


@bounded
@given(left=_short, right=_short, most=st.integers(0, 3))
def test_distance_is_the_defined_one_up_to_its_limit(left: str, right: str, most: int) -> None:
    wanted = _plain_distance(left, right)
    assert distance(left, right, most) == (wanted if wanted <= most else None)


def test_what_resembles_nothing_is_given_nothing_and_what_is_listed_needs_nothing() -> None:
    known = frozenset({"nick@example.com"})
    for text in ("eve@example.com", "", "x", "nick@example.com", "nick@example.community"):
        assert nearest_text(text, known) is None


def test_a_list_that_is_too_long_to_be_compared_letter_by_letter_is_compared_by_case() -> None:
    known = frozenset(f"{number}@example.com" for number in range(MOST_COMPARED)) | {"nick@example.com"}
    near = nearest_text("Nick@example.com", known)
    assert near is not None
    assert near.text == "nick@example.com"
    assert nearest_text("nikc@example.com", known) is None
