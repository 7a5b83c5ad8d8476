"""What a line of the decision log says, and what it never says."""

import json
import re
import typing
from pathlib import Path
from typing import Any

import pytest

from cases.build import PAIRS, gateway, policy_of, request_of
from cases.corpus import Case, cases
from cases.messages import check_request
from extauthz.core.address import parse_address
from extauthz.core.explain import explain
from extauthz.core.request import Caller, Headers, Request
from extauthz.telemetry import gateway_lines, lines
from extauthz.telemetry.lines import DecisionLine, LineMaker, line
from extauthz.telemetry.paths import LONGEST_PATH_CHARACTERS, shown_path
from extauthz.wire.forward_auth import HttpMessage
from extauthz.wire.pb import check_pb2 as pb
from forward_auth.asking import DIALECTS, Asked
from telemetry.looking import Asking
from telemetry.records import record_of

PAGE = Path(__file__).parents[2] / "docs" / "decision-log.md"
KEYS = list(DecisionLine.__annotations__)


def _told(request: Request, redact: tuple[str, ...] = (), **rules: Any) -> DecisionLine:
    return line(record_of(policy_of({"g": gateway(**rules)}), request), redact)


# The format.


def test_line_of_an_allow_is_what_the_format_says() -> None:
    asking = Asking({"g": gateway()})
    pairs = [*PAIRS, ("accept", "text/html"), ("accept", "*/*"), ("x-real-ip", "198.51.100.1")]
    record = asking.check(pairs, path="/chat?token=t0ken#top", peer="10.0.0.7")
    told = asking.told(record)
    assert told.pop("microseconds") == record.door_ns // 1000  # type: ignore[misc]
    assert told == {
        "time": "2026-11-22T17:05:54.123456Z",
        "id": record.id,
        "gateway": "g",
        "door": "grpc",
        "caller": "127.0.0.1",
        "peer": "10.0.0.7",
        "client": "203.0.113.9",
        "user": "nick@example.com",
        "method": "GET",
        "host": "gateway.example.com",
        "path": "/chat",
        "result": "allow",
        "reason": None,
        "step": None,
        "policy": asking.authorizer.snapshot.version,
        "shadow": False,
        "headers": {
            "x-forwarded-user": "nick@example.com",
            "x-forwarded-proto": True,
            "x-forwarded-for": "203.0.113.9",
            "accept": True,
            "x-real-ip": "198.51.100.1",
        },
        "repeated": ["accept"],
    }
    assert re.fullmatch(r"[0-9a-f]{12}", told["policy"])


@pytest.mark.parametrize("zone", ['a"b', "a\\", 'a","user":"root', 'a"}\n{"user":"root'])
def test_zone_of_a_trusted_peer_writes_nothing_else_into_the_line(zone: str) -> None:
    asking = Asking({"g": gateway(trustedProxies=["fe80::/10"])}, callers={"addresses": ["fe80::/10"]})
    peer = f"fe80::1%{zone}"
    for _ in range(2):
        told = asking.told(asking.grpc(check_request(PAIRS, peer=peer), Caller(parse_address(peer))))
        assert (told["peer"], told["caller"], told["user"]) == (peer, peer, "nick@example.com")


def test_the_map_form_does_not_prove_how_often_a_header_came() -> None:
    asking = Asking({"g": gateway()})
    told = asking.told(asking.check(PAIRS, form="map"))
    assert told["exact"] is False
    assert "repeated" not in told
    assert "exact" not in asking.told(asking.check(PAIRS, form="raw"))


def test_the_page_tells_every_key_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == KEYS


@pytest.mark.only_pure  # annotations are not kept where it is compiled
def test_every_key_but_those_said_to_be_missing_is_always_there() -> None:
    always = {key for key, kind in DecisionLine.__annotations__.items() if "NotRequired" not in str(kind)}
    assert DecisionLine.__required_keys__ == always
    unreadable = Asking({"g": gateway()})
    assert always <= unreadable.told(unreadable.grpc(b"\xff")).keys()
    assert typing.get_type_hints(DecisionLine).keys() == set(KEYS)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_line_says_what_explain_says(case: Case) -> None:
    asking = Asking({"g": case.gateway})
    hosts = [value for name, value in case.pairs if name.lower() == "host"]
    pairs = [pair for pair in case.pairs if pair[0].lower() != "host"]
    record = asking.check(pairs, peer=case.peer, host=hosts[0] if hosts else "")
    told = asking.told(record)
    explanation = explain(record.decided.policy, record.request)
    last = explanation.outcomes[-1]
    assert told["step"] == (None if last.passed else last.step)
    assert told["reason"] == case.exact.reason
    assert told["result"] == ("allow" if case.exact.allowed else "deny")
    if case.exact.allowed:
        assert told["user"] == case.exact.user


# Every way a decision can come about.


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_is_named_as_the_door(dialect: str) -> None:
    asking = Asking({"g": gateway()})
    asked = Asked(pairs=(*PAIRS, ("cookie", "s3cret")), path="/chat?q=s3cret", method="POST")
    told = asking.told(asking.forward(dialect, "g", asked))
    assert (told["door"], told["result"], told["user"]) == (dialect, "allow", "nick@example.com")
    assert (told["method"], told["host"], told["path"]) == ("POST", "gateway.example.com", "/chat")
    assert (told["peer"], told["client"]) == ("10.0.0.7", "203.0.113.9")
    assert told["headers"]["cookie"] is True
    assert told.get("exact", True) is (dialect != "envoy")


def test_shadow_is_told_apart_from_a_denial() -> None:
    asking = Asking({"g": gateway(mode="shadow"), "h": gateway()})
    shadowed = asking.told(asking.check([]))
    assert (shadowed["result"], shadowed["shadow"]) == ("shadow", True)
    assert shadowed["reason"] == "trusted_proxy_missing_header_x-forwarded-proto"
    allowed = asking.told(asking.check(PAIRS))
    assert (allowed["result"], allowed["shadow"]) == ("allow", True)
    denied = asking.told(asking.check([], gateway="h"))
    assert (denied["result"], denied["shadow"]) == ("deny", False)


def test_caller_that_may_not_ask_and_gateway_that_is_not_there() -> None:
    asking = Asking({"g": gateway()})
    refused = asking.told(asking.grpc(check_request(PAIRS), Caller(parse_address("192.0.2.1"))))
    assert (refused["caller"], refused["gateway"], refused["named"]) == ("192.0.2.1", None, "g")
    assert (refused["reason"], refused["step"]) == ("caller_not_allowed", "caller")
    assert (refused["peer"], refused["client"], refused["user"]) == (None, None, None)
    unknown = asking.told(asking.check(PAIRS, gateway="x" * 1000))
    assert (unknown["reason"], unknown["gateway"]) == ("gateway_unknown", None)
    assert unknown["named"] == "x" * 63 + "…"
    unix = asking.told(asking.grpc(check_request(PAIRS), Caller(None, unix=True)))
    assert (unix["caller"], unix["result"]) == ("unix", "allow")
    assert "named" not in unix


def test_no_door_is_no_door() -> None:
    asking = Asking({"g": gateway()})
    for target in (b"/forward-auth", b"/forward-auth/apache/g", b"/forward-auth/traefik"):
        assert asking.told(asking.http(HttpMessage.of("GET", target, [])))["reason"] == "gateway_unknown"
    assert asking.told(asking.http(HttpMessage.of("GET", b"/forward-auth/apache/g", [])))["door"] is None


MALFORMED = {
    "no request": (b"\xff", "the bytes are no request"),
    "no http": (pb.CheckRequest().SerializeToString(), "the request has no HTTP attributes"),
    "a long header": (
        check_request([*PAIRS, ("x-long", "s3cret" * 4000)]),
        '"x-long" is longer than limits.headerBytes',
    ),
    "many headers": (check_request([(f"h{n}", "") for n in range(201)]), "201 headers; limits.headers is 200"),
    "no UTF-8": (check_request([("x-forwarded-user", b"s3cret\xff")]), '"x-forwarded-user" is no UTF-8'),
    "a control character": (
        check_request([("x-forwarded-user", "nick\x07"), ("x-forwarded-proto", "https")]),
        "no header should carry this user",
    ),
}


@pytest.mark.parametrize(("message", "fault"), MALFORMED.values(), ids=MALFORMED)
def test_log_says_what_could_not_be_read_and_quotes_no_value(message: bytes, fault: str) -> None:
    asking = Asking({"g": gateway({"allowUsers": []})})
    told = asking.told(asking.grpc(message))
    assert told["reason"] == "request_malformed"
    assert told["fault"].startswith(fault)
    assert "s3cret" not in json.dumps(told)


def test_fault_at_an_http_door_is_told() -> None:
    asking = Asking({"g": gateway()})
    twice = HttpMessage.of("GET", b"/forward-auth/nginx/g", [(b"host", b"h"), *([(b"x-original-uri", b"/")] * 2)])
    assert asking.told(asking.http(twice))["fault"] == "x-original-uri came more than once"


# Values.


def test_blank_required_header_is_told_from_one_that_is_there() -> None:
    pairs = [("x-forwarded-proto", " ,"), ("x-forwarded-user", " "), ("accept", "")]
    told = _told(request_of(pairs))["headers"]
    assert told == {"x-forwarded-proto": "", "x-forwarded-user": " ", "accept": True}


def test_weighed_value_that_is_required_too_is_told() -> None:
    told = _told(request_of(PAIRS), trusted_proxy={"requiredHeaders": ["X-Forwarded-For", "x-forwarded-proto"]})
    assert told["headers"] == {**dict(PAIRS), "x-forwarded-proto": True}


@pytest.mark.parametrize("value", [b"nick\xff", b"\xe2\x28", b"n" * (gateway_lines.LONGEST_VALUE_BYTES + 1)])
def test_value_that_is_no_text_or_too_long_is_there_and_not_told(value: bytes) -> None:
    headers = Headers.joined([("x-forwarded-user", value)], exact=True, size=len(value))
    assert _told(request_of()._replace(headers=headers))["headers"]["x-forwarded-user"] is True


def test_long_blank_value_is_blank() -> None:
    assert _told(request_of([("x-forwarded-user", " " * 2000)]))["headers"]["x-forwarded-user"] == ""


def test_user_that_is_too_long_is_not_told_as_another_one() -> None:
    pairs = [("x-forwarded-proto", "https"), ("x-forwarded-user", "nick@example.com" * 100)]
    told = _told(request_of(pairs))
    assert (told["user"], told["reason"]) == (None, "trusted_proxy_user_not_allowed")


def test_redaction_hides_the_user_everywhere() -> None:
    told = _told(request_of(PAIRS), redact=(" X-Forwarded-User ",))
    assert (told["user"], told["headers"]["x-forwarded-user"]) == ("[redacted]", "[redacted]")
    assert "nick" not in json.dumps(told)
    assert _told(request_of([("x-forwarded-user", "")]), ("x-forwarded-user",))["headers"]["x-forwarded-user"] == ""


def test_redaction_of_the_chain_hides_the_client_but_not_the_peer() -> None:
    told = _told(request_of(PAIRS), redact=("x-forwarded-for",))
    assert (told["client"], told["peer"]) == ("[redacted]", "10.0.0.7")
    assert "203.0.113.9" not in json.dumps(told)
    direct = _told(request_of(PAIRS, peer="192.0.2.1"), redact=("x-forwarded-for",))
    assert direct["client"] == "192.0.2.1"


def test_redaction_of_the_host_hides_it() -> None:
    assert _told(request_of(PAIRS, host="secret.example"), redact=("host",))["host"] == "[redacted]"


@pytest.mark.parametrize(
    ("chain", "real", "client"),
    [
        ("203.0.113.9", None, "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9, 10.0.0.7", None, "203.0.113.9"),
        ("junk," * 2000 + "203.0.113.9", None, "203.0.113.9"),
        ("1" * 3000 + "203.0.113.9", None, None),
        (None, "203.0.113.9", "203.0.113.9"),
        ("10.0.0.7", None, None),
        (None, None, None),
    ],
)
def test_client_is_found_as_the_rules_find_it(chain: str | None, real: str | None, client: str | None) -> None:
    pairs = [(name, value) for name, value in (("x-forwarded-for", chain), ("x-real-ip", real)) if value is not None]
    assert _told(request_of(pairs), allowRealIpFallback=True)["client"] == client


def test_names_that_crowd_out_others_do_not_crowd_out_what_is_weighed() -> None:
    pairs = [*((f"x-{n}", "") for n in range(500)), *PAIRS]
    told = _told(request_of(pairs))
    assert len(told["headers"]) == gateway_lines.MOST_NAMES
    assert told["headers"]["x-forwarded-user"] == "nick@example.com"
    assert told["more"] == 503 - gateway_lines.MOST_NAMES
    long = _told(request_of([("x" * 5000, ""), *PAIRS]))
    assert (len(long["headers"]), long["more"]) == (0, 4)


PATHS = {
    "/chat": "/chat",
    "/chat?token=s3cret": "/chat",
    "/chat#s3cret": "/chat",
    "/chat%3Ftoken=s3cret": "/chat",
    "/chat%23s3cret": "/chat",
    "/a;jsessionid=s3cret/b;v=s3cret": "/a;/b;",
    "/a%3bjsessionid=s3cret/b": "/a%3b/b",
    "http://nick:s3cret@gateway.example.com/chat?q": "http://…@gateway.example.com/chat",
    "//nick:s3cret@gateway.example.com/chat": "//…@gateway.example.com/chat",
    "nick:s3cret@gateway.example.com:443": "…@gateway.example.com:443",
    "/open/https://nick:s3cret@example.com/": "/open/https://…@example.com/",
    "/open/https:/nick:s3cret@example.com/": "/open/https:/…@example.com/",
    "/open/https%3A%2F%2Fnick:s3cret%40example.com": "/open/https%3A%2F%2F…@example.com",
    "/users/nick@example.com/chat": "/users/nick@example.com/chat",
    "/100%/;": "/100%/;",
    "": "",
}


@pytest.mark.parametrize(("path", "shown"), PATHS.items())
def test_path_loses_what_may_be_a_secret(path: str, shown: str) -> None:
    assert shown_path(path) == shown


def test_long_path_is_cut_and_what_was_cut_off_takes_no_secret_apart() -> None:
    assert shown_path("/" + "a" * 5000) == "/…"
    assert shown_path("/a" * 5000) == "/a" * 511 + "/…"
    assert len(shown_path("/a" * 5000)) == LONGEST_PATH_CHARACTERS
    assert "s3cret" not in shown_path("http://" + "s3cret" * 1000 + "@example.com/")


@pytest.mark.parametrize(
    ("host", "shown"),
    [("gateway.example.com:8443", "gateway.example.com:8443"), ("nick:s3cret@example.com", "…@example.com")],
)
def test_host_loses_user_information(host: str, shown: str) -> None:
    assert _told(request_of(PAIRS, host=host))["host"] == shown


def test_long_host_is_cut_and_can_match_no_configured_one() -> None:
    shown = _told(request_of(PAIRS, host="a." * 500 + "example.com"))["host"]
    assert len(shown) == lines.LONGEST_HOST_CHARACTERS
    assert shown.endswith("…")


# Attacks on the log.

SECRET = "s3cr3t-v4lue"
PLACES: dict[str, tuple[tuple[str, str], ...]] = {
    "cookie": (("cookie", f"session={SECRET}"),),
    "authorization": (("authorization", f"Bearer {SECRET}"),),
    "proxy-authorization": (("proxy-authorization", f"Basic {SECRET}"),),
    "api key": (("x-api-key", SECRET),),
    "an assertion": (("x-pomerium-jwt-assertion", f"a.{SECRET}.c"),),
    "a required assertion": (("x-goog-iap-jwt-assertion", f"a.{SECRET}.c"),),
    "the required header": (("x-forwarded-proto", SECRET),),
    "a header that came twice": (("x-token", SECRET), ("x-token", SECRET)),
    "referer": (("referer", f"https://example.com/?{SECRET}"),),
    "a header that looks like a stamp": (("x-authz-stamp", SECRET),),
    "a protected header's alias": (("x_authz_user", SECRET),),
    "too long a header": (("x-long", SECRET * 2000),),
}


@pytest.mark.parametrize("door", ["grpc raw", "grpc map", *DIALECTS])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("path", [f"/?q={SECRET}", f"/;jsessionid={SECRET}", f"//a:{SECRET}@b/", f"/#{SECRET}"])
def test_secret_in_any_place_of_a_request_is_in_no_line(door: str, place: str, path: str) -> None:
    required = {"requiredHeaders": ["x-forwarded-proto", "x-goog-iap-jwt-assertion"]}
    asking = Asking({"g": gateway(required), "open": gateway({"requiredHeaders": []}, mode="shadow")})
    pairs = [(name, value) for name, value in PAIRS if name != PLACES[place][0][0]] + list(PLACES[place])
    for name in ("g", "open", "no-such"):
        if door.startswith("grpc"):
            record = asking.check(pairs, form=door.split()[1], gateway=name, path=path)
        else:
            record = asking.forward(door, name, Asked(pairs=tuple(pairs), path=path))
        written = LineMaker(asking.redact).written(record)
        assert SECRET.encode() not in written
        assert PLACES[place][0][0] in json.loads(written)["headers"]
