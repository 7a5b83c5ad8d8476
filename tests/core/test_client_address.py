"""Who is behind the proxy: X-Forwarded-For from the right, X-Real-IP only where asked, Forwarded never."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.build import PAIRS, ask, gateway, policy_of, request_of
from cases.generated import HOPS, bounded
from cases.oracle import client_of as plainly
from cases.oracle import read_address
from extauthz.core.address import AddressSet, parse_address, parse_entry
from extauthz.core.attribution import client_behind, has_forwarded_evidence, has_tailscale_evidence

TRUSTED = ["10.0.0.7", "10.0.1.0/28"]


def _client(forwarded_for: str | None, real_ip: str | None = None, peer: str = "10.0.0.7") -> str | None:
    address = parse_address(peer)
    assert address is not None
    trusted = AddressSet(map(parse_entry, TRUSTED))
    # An untrusted peer is the client itself.
    trusts = address in trusted
    found = client_behind(address, trusted, forwarded_for=forwarded_for, real_ip=real_ip) if trusts else address
    return str(found) if found is not None else None


@pytest.mark.parametrize(
    ("forwarded_for", "client"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, 10.0.1.5, 10.0.0.7", "203.0.113.9"),
        ("203.0.113.9, 127.0.0.1", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::9]:4711", "2001:db8::9"),
        ("[2001:db8::9]", "2001:db8::9"),
        ("2001:db8::9", "2001:db8::9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("\u00a0203.0.113.9\ufeff", "203.0.113.9"),
        ("203.0.113.9,,", "203.0.113.9"),
        ("203.0.113.9, unknown", "203.0.113.9"),
        ("10.0.0.7", None),
        ("127.0.0.1, ::1", None),
        ("unknown, _hidden, 203.0.113.999", None),
        ('"203.0.113.9"', None),
        ("0177.0.0.1", None),
        ("2001:db8::9:", None),
        ("203.0.113.9:", None),
        ("203.0.113.9:http", None),
        ("203.0.113.9:80:80", None),
        ("[2001:db8::9]443", None),
        ("[2001:db8::9]:443 evil", None),
        ("[[2001:db8::9]]:443", None),
        ("", None),
        (None, None),
        ("x" * 100_000, None),
    ],
)
def test_client_is_the_last_entry_that_no_proxy_wrote_about_itself(
    forwarded_for: str | None, client: str | None
) -> None:
    assert _client(forwarded_for) == client


def test_untrusted_peer_is_the_client_whatever_it_claims() -> None:
    assert _client("203.0.113.9", "203.0.113.10", peer="192.0.2.1") == "192.0.2.1"


def test_real_ip_is_what_it_is_and_one_address_only() -> None:
    assert _client(None, "10.0.0.7") == "10.0.0.7"  # trusted entries are not passed over here
    assert _client(None, "127.0.0.1") == "127.0.0.1"
    # Two headers run together are no address, with a port neither.
    for two in ("203.0.113.9, 203.0.113.10", "203.0.113.9:80,eve", "[2001:db8::9],eve", "[2001:db8::9]:80,eve"):
        assert _client(None, two) is None
    assert _client("203.0.113.9", "203.0.113.10") == "203.0.113.9"


@bounded
@given(
    hops=st.lists(st.sampled_from(HOPS), max_size=5),
    real_ip=st.none() | st.sampled_from(HOPS),
    peer=st.sampled_from(["10.0.0.7", "10.0.1.3", "192.0.2.1", "127.0.0.1"]),
)
def test_client_is_found_as_plain_loops_find_it(hops: list[str], real_ip: str | None, peer: str) -> None:
    read = read_address(peer)
    assert read is not None
    forwarded_for = ",".join(hops) if hops else None
    found = plainly(read, TRUSTED, forwarded_for, real_ip)
    wanted = None if found is None else str(found[0]) + (f"%{found[1]}" if found[1] else "")
    assert _client(forwarded_for, real_ip, peer) == wanted


@pytest.mark.parametrize("name", ["forwarded", "x-real-ip", "x-forwarded-for", "X-Forwarded-Anything", "x-forwarded-"])
def test_empty_forwarded_header_is_evidence(name: str) -> None:
    headers = request_of([(name, "")]).headers
    assert headers is not None
    assert has_forwarded_evidence(headers)
    assert not has_tailscale_evidence(headers)


@pytest.mark.parametrize("name", ["x-forwarded", "forwarded-for", "x-real-ip2", "my-x-forwarded-for", "via"])
def test_header_that_resembles_a_forwarded_one_is_no_evidence(name: str) -> None:
    headers = request_of([(name, "203.0.113.9")]).headers
    assert headers is not None
    assert not has_forwarded_evidence(headers)


@pytest.mark.parametrize(
    ("name", "evidence"),
    [
        ("tailscale-funnel-request", True),
        ("Tailscale-Headers-Info", True),
        ("tailscale-user-login", True),
        ("tailscale-user-name", True),
        ("tailscale-user-profile-pic", True),
        ("tailscale-user", False),
        ("tailscale-user-login2", False),
    ],
)
def test_tailscale_evidence_is_these_five_names(name: str, evidence: bool) -> None:
    headers = request_of([(name, "")]).headers
    assert headers is not None
    assert has_tailscale_evidence(headers) == evidence


def test_local_process_without_forwarded_headers_is_no_proxy() -> None:
    # Anything on the host can connect from loopback and name a user: 2026.9 wants to see that a proxy did.
    config = gateway({"allowLoopback": True, "requiredHeaders": []}, trustedProxies=["127.0.0.1"])
    policy = policy_of({"g": {**config, "ruleset": "openclaw-2026.9"}})
    assert ask(policy, peer="127.0.0.1", pairs=PAIRS[:1]) == "deny:proxy_attribution_required"
    assert ask(policy, peer="127.0.0.1", pairs=PAIRS) == "allow:nick@example.com"
