"""How a line is written: one line of JSON whatever was asked, and the quick way writes what the plain one does."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.build import PAIRS, gateway, policy_of, request_of
from cases.generated import bounded
from extauthz.core.address import parse_address
from extauthz.core.request import Caller, Headers, Request
from extauthz.telemetry import lines
from extauthz.telemetry.lines import LineMaker, encode, line
from telemetry.looking import Asking
from telemetry.records import TIME_NS, record_of

_texts = st.text(max_size=30) | st.sampled_from(
    ["\n", '"}\n{"result":"allow"', "\u2028", "\u202e", "\x1b[2J", "\x9b", "\x7f"]
)
_loose = _texts | st.text(st.characters(categories=["Cs"]), max_size=3)
_names = st.sampled_from(["x-forwarded-user", "X-Forwarded-For", "x-real-ip", "origin", "x-forwarded-proto"]) | _loose
_headers = st.lists(st.tuples(_names, st.binary(max_size=20) | _texts.map(str.encode)), max_size=8)
_allowed = st.fixed_dictionaries(
    {"user": _texts, "real_ip": _texts, "origin": _texts, "host": _texts, "path": _texts, "method": _texts},
    optional={"more": st.lists(st.tuples(_names, _texts), max_size=4)},
)
_fuzzed = Asking({"g": gateway({"allowUsers": []}), "h": gateway(ruleset="openclaw-2026.9", mode="shadow")})
_policy = _fuzzed.authorizer.snapshot.policy


@bounded
@given(_allowed, st.booleans(), st.sampled_from([(), ("x-forwarded-user",), ("origin", "host"), ("x-real-ip",)]))
def test_allow_is_written_by_the_quick_way_as_by_the_plain_one(
    asked: dict[str, Any], exact: bool, redact: tuple[str, ...]
) -> None:
    pairs = [("x-forwarded-user", asked["user"]), ("x-real-ip", asked["real_ip"]), ("origin", asked["origin"])]
    pairs += [*PAIRS[1:], *asked.get("more", [])]
    try:
        headers = Headers.joined([(name, value.encode()) for name, value in pairs], exact=exact, size=1000)
        request = request_of(())._replace(
            headers=headers, host=asked["host"], path=asked["path"], method=asked["method"]
        )
        record = record_of(_policy, request)
    except UnicodeEncodeError:
        return  # no door hands over what is no text
    maker = LineMaker(redact)
    for _ in range(2):  # before anything is remembered, and after
        assert maker.written(record) == encode(maker.line(record))


@bounded
@given(
    st.builds(
        Request,
        caller=st.sampled_from([Caller(parse_address("127.0.0.1")), Caller(None)]),
        gateway=st.sampled_from(["g", "h", None]) | _loose,
        source=st.sampled_from(["10.0.0.7"]) | _loose,
        method=_loose,
        host=_loose,
        path=_loose,
        headers=st.none() | st.builds(Headers.joined, _headers, exact=st.booleans(), size=st.just(1000)),
        fault=st.just(""),
    )
)
def test_whatever_is_asked_is_one_line_that_every_reader_reads(request: Request) -> None:
    try:
        record = record_of(_policy, request)
    except UnicodeEncodeError:
        return  # no door hands over a name that is no text
    told = line(record, ["cookie"])
    written = encode(told)
    assert LineMaker(["cookie"]).written(record) == written
    text = written.decode()  # UTF-8, so that no lone surrogate is in it as such
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    read = json.loads(text)
    json.dumps(read, ensure_ascii=False).encode()  # nor in an escape
    if all(character < "\ud800" or character > "\udfff" for character in json.dumps(told, ensure_ascii=False)):
        assert read == told


@pytest.mark.parametrize(
    ("time_ns", "told"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (5_000, "1970-01-01T00:00:00.000005Z"),
        (123_456_789, "1970-01-01T00:00:00.123456Z"),
        (1_000_000_000, "1970-01-01T00:00:01.000000Z"),
        (TIME_NS, "2026-11-22T17:05:54.123456Z"),
    ],
)
def test_time_is_told_to_the_microsecond_whatever_the_clock_says(time_ns: int, told: str) -> None:
    request = request_of()
    record = record_of(policy_of({"g": gateway()}), request, time_ns=time_ns)
    assert line(record, ())["time"] == told
    assert json.loads(LineMaker(()).written(record))["time"] == told


@pytest.mark.parametrize("microseconds", [0, 1, 9, 10, 99, 100, 999, 1000, 12_345_678])
def test_how_long_it_took_is_told_in_microseconds(microseconds: int) -> None:
    record = record_of(policy_of({"g": gateway()}), request_of(), door_ns=microseconds * 1000 + 999)
    written = LineMaker(()).written(record)
    assert written == encode(line(record, ()))
    assert json.loads(written)["microseconds"] == microseconds


def test_paths_that_are_remembered_are_told_as_others_are() -> None:
    policy, maker = policy_of({"g": gateway()}), LineMaker(())
    paths = [f"/{number}?secret" for number in range(lines.REMEMBERED_PATHS + 2)]
    paths += ["/" + "a" * length for length in (254, 255, 256, 257, 3000)] + ["/\x07", "/\u00e9"]
    for path in paths * 2:
        record = record_of(policy, request_of()._replace(path=path))
        assert maker.written(record) == encode(maker.line(record))
