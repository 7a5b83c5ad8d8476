"""What a client, or one who is no proxy, sends to become someone else at a door; each test is named for what fails."""

import base64
import json
from typing import Any

import pytest

from extauthz.stamp.claims import path_hash
from forward_auth.asking import DIALECTS, PEER_HEADER, QUESTIONS, Asked, ask
from forward_auth.opening import USER, Doors, told
from support.clients import Response, http1

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)
with_chain = pytest.mark.parametrize("dialect", ["traefik", "caddy", "nginx"])

IDENTITY = (("x-forwarded-user", USER),)
STRANGER = "127.0.0.200"

# Whatever says, in one family of headers or another, where a request comes from and what it was.
FORGED = (
    ("x-forwarded-for", "10.0.0.7"),
    ("x-forwarded-method", "DELETE"),
    ("x-forwarded-uri", "/forged"),
    ("x-forwarded-host", "forged.example.com"),
    ("x-forwarded-proto", "https"),
    ("x-original-method", "DELETE"),
    ("x-original-uri", "/forged"),
    ("x-original-url", "/forged"),
    ("x-real-ip", "10.0.0.7"),
    ("forwarded", "for=10.0.0.7;host=forged.example.com"),
    (PEER_HEADER, "10.0.0.7"),
)


def claims(response: Response) -> dict[str, Any]:
    """Return what the stamp of an allow says."""
    payload = response.values("x-authz-stamp")[0].split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return found


@every_dialect
def test_who_is_no_caller_gets_nothing_whatever_it_sends(dialect: str, doors: Doors) -> None:
    for gateway in ("openclaw", "unknown"):
        response = ask(dialect, doors.port, gateway, Asked((*IDENTITY, *FORGED)), source=STRANGER)
        assert (response.status, told(response)) == (403, "deny:caller_not_allowed")
    assert told(ask(dialect, doors.port, "openclaw", Asked(IDENTITY))) == f"allow:{USER}"


@every_dialect
def test_caller_of_one_gateway_is_none_of_a_narrower_one(dialect: str, doors: Doors) -> None:
    asked = Asked(IDENTITY)
    assert told(ask(dialect, doors.port, "narrow", asked)) == "deny:caller_not_allowed"
    assert told(ask(dialect, doors.port, "narrow", asked, source="127.0.0.9")) == f"allow:{USER}"


@every_dialect
def test_headers_of_every_family_do_not_make_a_stranger_the_proxy(dialect: str, doors: Doors) -> None:
    response = ask(dialect, doors.port, "openclaw", Asked((*IDENTITY, *FORGED), peer="192.0.2.66"))
    assert told(response) == "deny:trusted_proxy_untrusted_source"


@every_dialect
def test_headers_of_another_dialect_change_nothing_that_is_stamped(dialect: str, doors: Doors) -> None:
    asked = Asked((*IDENTITY, *FORGED), method="POST", host="Gateway.example.com:443", path="/chat?session=main")
    if dialect == "caddy":  # it keeps no client's copy of its own, and the query goes to the door as well
        assert QUESTIONS[dialect]("openclaw", asked).target.endswith("?session=main")
    stamped = claims(ask(dialect, doors.port, "openclaw", asked))
    assert (stamped["aud"], stamped["sub"], stamped["prx"]) == ("openclaw", USER, "10.0.0.7")
    assert (stamped["htm"], stamped["hth"], stamped["pth"]) == (
        "POST",
        "gateway.example.com",
        path_hash("/chat?session=main"),
    )


@with_chain
def test_forged_chain_ends_in_the_clients_own_address(dialect: str, doors: Doors) -> None:
    for chain in ("10.0.0.7", "10.0.0.7, 10.0.0.7", "10.0.0.7,", ",10.0.0.7 "):
        response = ask(
            dialect, doors.port, "openclaw", Asked((*IDENTITY, ("x-forwarded-for", chain)), peer="192.0.2.66")
        )
        assert told(response) == "deny:trusted_proxy_untrusted_source"


@every_dialect
def test_without_a_peer_nobody_is_trusted(dialect: str, doors: Doors) -> None:
    for peer in (None, "", "unix:", "10.0.0.7:1", "10.0.0.7 10.0.0.7", "localhost"):
        response = ask(dialect, doors.port, "openclaw", Asked(IDENTITY, peer=peer))
        assert told(response) == "deny:trusted_proxy_untrusted_source", peer


def test_chain_does_not_tell_the_peer_at_the_envoy_door(doors: Doors) -> None:
    asked = Asked((*IDENTITY, ("x-forwarded-for", "10.0.0.7")), peer=None)
    assert told(ask("envoy", doors.port, "openclaw", asked)) == "deny:trusted_proxy_untrusted_source"


def test_peer_header_of_the_envoy_door_is_no_word_of_a_proxy_when_it_came_twice(doors: Doors) -> None:
    question = QUESTIONS["envoy"]("openclaw", Asked(IDENTITY))
    pairs = [*question.pairs, (PEER_HEADER, "10.0.0.7")]
    response = http1(doors.port, pairs, target=question.target)
    assert told(response) == "deny:request_malformed"


@pytest.mark.parametrize(
    ("dialect", "name"),
    [
        *((dialect, name) for dialect in ("traefik", "caddy") for name in ("X-Forwarded-Method", "x-forwarded-uri")),
        *((dialect, "X-FORWARDED-HOST") for dialect in ("traefik", "caddy")),
        *(("nginx", name) for name in ("X-Original-Method", "X-Original-URI", "Host")),
        ("envoy", "Host"),
    ],
)
def test_second_copy_of_what_the_proxy_sets_is_refused(dialect: str, name: str, doors: Doors) -> None:
    question = QUESTIONS[dialect]("openclaw", Asked(IDENTITY))
    for value in ("x", ""):
        response = http1(doors.port, [*question.pairs, (name, value)], target=question.target, host=question.host)
        assert told(response) == "deny:request_malformed"


@with_chain
def test_what_the_proxy_does_not_say_is_not_guessed(dialect: str, doors: Doors) -> None:
    pairs = [("X-Forwarded-For", "10.0.0.7"), *IDENTITY]
    response = http1(doors.port, pairs, method="PATCH", target=f"/forward-auth/{dialect}/openclaw", host="door")
    stamped = claims(response)
    assert (stamped["htm"], stamped["pth"]) == ("", path_hash(""))
    assert stamped["hth"] == ("door" if dialect == "nginx" else "")


@pytest.mark.parametrize(
    "path",
    [
        "/../other",
        "/../../envoy/other",
        "/..%2f..%2fenvoy%2fother",
        "/%2e%2e/other",
        "/.%2E/%2e./traefik/other",
        "//other",
        "//../../../forward-auth/envoy/other",
        "/\\..\\other",
        "/;/../other",
        "/?/../../other",
        "/?x=/forward-auth/envoy/other#/",
        "/forward-auth/envoy/other",
        "/http://door/forward-auth/envoy/other",
        "/%00/../other",
        "/",
        "?",
    ],
)
def test_clients_path_does_not_choose_another_gateway_at_the_envoy_door(path: str, doors: Doors) -> None:
    response = ask("envoy", doors.port, "openclaw", Asked(IDENTITY, path=path))
    assert told(response) == f"allow:{USER}"
    assert response.values("x-authz-gateway") == ["openclaw"]
    assert claims(response)["pth"] == path_hash(path)


@pytest.mark.parametrize("path", ["2/x", "%2fother", "%2f..%2fother", "*", "..", ".", "%20", "#/x", ";/x"])
def test_path_that_begins_with_no_slash_selects_no_gateway(path: str, doors: Doors) -> None:
    assert told(ask("envoy", doors.port, "openclaw", Asked(IDENTITY, path=path))) == "deny:gateway_unknown"


@pytest.mark.parametrize("dialect", ["traefik", "caddy", "nginx"])
@pytest.mark.parametrize("behind", ["", "/", "?", "/?a=b", "?next=/forward-auth/nginx/other", "?../../other"])
def test_query_and_final_slash_belong_to_no_gateways_name(dialect: str, behind: str, doors: Doors) -> None:
    question = QUESTIONS[dialect]("openclaw", Asked(IDENTITY))
    target = f"/forward-auth/{dialect}/openclaw{behind}"
    assert told(http1(doors.port, question.pairs, target=target, host=question.host)) == f"allow:{USER}"


@pytest.mark.parametrize(
    "target",
    [
        "/forward-auth",
        "/forward-auth/",
        "/forward-auth?x",
        "/forward-auth/traefik",
        "/forward-auth/traefik/",
        "/forward-auth/traefik//",
        "/forward-auth//openclaw",
        "/forward-auth/haproxy/openclaw",
        "/forward-auth/Traefik/openclaw",
        "/forward-auth/%74raefik/openclaw",
        "/forward-auth/traefik/open%63law",
        "/forward-auth/traefik/OPENCLAW",
        "/forward-auth/traefik/openclaw/x",
        "/forward-auth/traefik/openclaw//",
        "/forward-auth/traefik/openclaw%2f",
        "/forward-auth/traefik/openclaw;x",
        "/forward-auth/traefik/openclaw#",
        "/forward-auth/traefik/../traefik/openclaw",
        "/forward-auth/./traefik/openclaw",
        "/forward-auth/traefik/.",
    ],
)
def test_path_that_is_almost_a_door_denies_and_is_no_error(target: str, doors: Doors) -> None:
    # nginx makes an error of anything but 2xx, 401 and 403; the host must not choose instead either.
    pairs = QUESTIONS["traefik"]("openclaw", Asked(IDENTITY)).pairs
    response = http1(doors.port, pairs, target=target)
    assert (response.status, told(response)) == (403, "deny:gateway_unknown")


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/forward-authx/traefik/openclaw",
        "/forward%2dauth/traefik/openclaw",
        "//forward-auth/traefik/openclaw",
        "/x/../forward-auth/traefik/openclaw",
        "http://door/forward-auth/traefik/openclaw",
        "*",
    ],
)
def test_path_outside_the_doors_is_not_found(target: str, doors: Doors) -> None:
    pairs = QUESTIONS["traefik"]("openclaw", Asked(IDENTITY)).pairs
    response = http1(doors.port, pairs, target=target, method="OPTIONS")
    assert (response.status, response.json()) == (404, {"error": "not_found"})


@every_dialect
def test_second_user_is_never_taken(dialect: str, doors: Doors) -> None:
    for second in (USER, "eve@example.com", ""):
        asked = Asked((*IDENTITY, ("X-Forwarded-User", second)))
        assert told(ask(dialect, doors.port, "openclaw", asked)) == "deny:trusted_proxy_user_ambiguous"


@every_dialect
def test_comma_is_one_user_only_where_the_proxy_does_not_join(dialect: str, doors: Doors) -> None:
    once = ask(dialect, doors.port, "commas", Asked([("x-forwarded-user", "Doe, Jane")]))
    twice = ask(dialect, doors.port, "commas", Asked([("x-forwarded-user", "Doe"), ("x-forwarded-user", "Jane")]))
    assert told(once) == ("deny:trusted_proxy_user_ambiguous" if dialect == "envoy" else "allow:Doe, Jane")
    assert told(twice) == "deny:trusted_proxy_user_ambiguous"


@every_dialect
def test_empty_and_very_long_users_are_denied(dialect: str, doors: Doors) -> None:
    empty = ask(dialect, doors.port, "openclaw", Asked([("x-forwarded-user", "")]))
    assert (empty.status, told(empty)) == (401, "deny:trusted_proxy_user_missing")
    assert empty.values("www-authenticate") == ['TrustedProxy realm="openclaw"']
    long = ask(dialect, doors.port, "openclaw", Asked([("x-forwarded-user", "a" * 8192)]))
    assert told(long) == "deny:trusted_proxy_user_not_allowed"
    allowed = ask(dialect, doors.port, "commas", Asked([("x-forwarded-user", "a" * 1024)]))
    assert told(allowed) == f"allow:{'a' * 1024}"
    longer = ask(dialect, doors.port, "commas", Asked([("x-forwarded-user", "a" * 1025)]))
    assert told(longer) == "deny:request_malformed"


@every_dialect
@pytest.mark.parametrize("name", ["X_Forwarded_User", "x.authz.user", "X_Authz-Stamp", "x-authz_decision"])
def test_alias_of_a_protected_name_is_refused(dialect: str, name: str, doors: Doors) -> None:
    assert told(ask(dialect, doors.port, "openclaw", Asked((*IDENTITY, (name, "x"))))) == "deny:header_alias_refused"


@every_dialect
def test_clients_own_stamp_is_overwritten(dialect: str, doors: Doors) -> None:
    forged = tuple((f"x-authz-{name}", "forged") for name in ("user", "gateway", "decision", "stamp"))
    response = ask(dialect, doors.port, "openclaw", Asked((*IDENTITY, *forged)))
    assert response.status == 200
    for name in ("x-forwarded-user", "x-authz-user", "x-authz-gateway", "x-authz-decision", "x-authz-stamp"):
        assert len(response.values(name)) == 1
        assert response.values(name) != ["forged"]


@every_dialect
def test_shadow_empties_every_protected_header(dialect: str, doors: Doors) -> None:
    response = ask(dialect, doors.port, "shadow", Asked([("x-forwarded-user", "eve@example.com")]))
    protected = ("x-forwarded-user", "x-authz-user", "x-authz-gateway", "x-authz-decision", "x-authz-stamp")
    assert response.status == 200
    assert [response.values(name) for name in protected] == [[""]] * 5


@every_dialect
def test_caller_as_peer_is_the_connection_whatever_the_headers_say(dialect: str, doors: Doors) -> None:
    asked = Asked((*IDENTITY, *FORGED), peer="192.0.2.66")
    assert told(ask(dialect, doors.port, "caller", asked)) == f"allow:{USER}"
    response = ask(dialect, doors.port, "caller", Asked(IDENTITY, peer="127.0.0.1"), source="127.0.0.2")
    assert told(response) == "deny:trusted_proxy_untrusted_source"


@every_dialect
def test_proxy_that_vouches_itself_names_the_client_in_the_chain(dialect: str, doors: Doors) -> None:
    # peer: caller with openclaw-2026.9: the last entry, which the proxy wrote, must reach the rules.
    chain = () if dialect != "envoy" else (("x-forwarded-for", "203.0.113.10"),)
    asked = Asked((*IDENTITY, *chain), peer="203.0.113.10")
    assert told(ask(dialect, doors.port, "claw-caller", asked)) == f"allow:{USER}"
    local = Asked(IDENTITY, peer="127.0.0.1")
    assert told(ask(dialect, doors.port, "claw-caller", local)) == "deny:proxy_attribution_required"


@every_dialect
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_every_method_is_answered_and_stamped_as_the_client_sent_it(dialect: str, method: str, doors: Doors) -> None:
    response = ask(dialect, doors.port, "openclaw", Asked(IDENTITY, method=method))
    assert response.status == 200
    assert response.body == b""
    assert claims(response)["htm"] == method


@every_dialect
def test_every_answer_forbids_to_be_kept(dialect: str, doors: Doors) -> None:
    for asked in (Asked(IDENTITY), Asked(), Asked(IDENTITY, peer="192.0.2.66")):
        assert ask(dialect, doors.port, "openclaw", asked).values("cache-control") == ["no-store"]
