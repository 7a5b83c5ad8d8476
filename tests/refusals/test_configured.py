"""`limits.refusals` in the file: off by default, faults with place and cure, and a reload that forgets nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cases.build import GATEWAY, LOOPBACK, gateway, load_gateways
from cases.messages import check_request, read
from extauthz.assembly import make_snapshot
from extauthz.config.faults import ConfigError
from extauthz.refusals import RateLimit, RefusalLimits
from refusals.limiting import EVE, NICK, TOO_MANY
from telemetry.scrape import built, configuration, reconfigure

HOURLY = {"perPeer": "5/hour", "perUser": "3/hour"}


def limits_of(refusals: Any) -> RefusalLimits | None:
    limiter = make_snapshot(load_gateways({"g": GATEWAY}, limits={"refusals": refusals})).refusals
    return limiter.limits if limiter is not None else None


def test_off_by_default() -> None:
    assert make_snapshot(load_gateways({"g": GATEWAY})).refusals is None
    assert limits_of(None) is None


def test_empty_block_takes_the_defaults() -> None:
    assert limits_of({}) == RefusalLimits(per_peer=RateLimit(100, 60), per_user=RateLimit(20, 60), tracked=10_000)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("1/second", RateLimit(1, 1)), ("20/minute", RateLimit(20, 60)), ("999999/hour", RateLimit(999_999, 3600))],
)
def test_rates(text: str, rate: RateLimit) -> None:
    found = limits_of({"perPeer": text, "perUser": None})
    assert found is not None
    assert (found.per_peer, found.per_user) == (rate, None)


@pytest.mark.parametrize(
    "rate",
    [*("0/minute", "20", "20/min", "20 / minute", "-1/minute", "1.5/minute", "/minute", "20/", "20/minutes", ""),
     *("1000000/minute", "020/minute", "20/day", "20/minute ", "\uff12\uff10/minute", 20, True)],
)  # fmt: skip
def test_what_is_no_rate_is_refused_with_place_and_cure(rate: Any) -> None:
    with pytest.raises(ConfigError) as raised:
        limits_of({"perUser": rate})
    (fault,) = raised.value.faults
    assert fault.path == "limits.refusals.perUser"
    assert fault.line is not None
    if isinstance(rate, str):
        assert "e.g. 20/minute" in fault.message


@pytest.mark.parametrize(
    ("refusals", "path"),
    [
        ({"perPeer": None, "perUser": None}, "limits.refusals"),
        ({"tracked": 99}, "limits.refusals.tracked"),
        ({"tracked": 1_000_001}, "limits.refusals.tracked"),
        ({"perClient": "1/hour"}, "limits.refusals.perClient"),
        (True, "limits.refusals"),
    ],
)
def test_other_faults_have_their_place(refusals: Any, path: str) -> None:
    with pytest.raises(ConfigError) as raised:
        limits_of(refusals)
    assert [fault.path for fault in raised.value.faults] == [path]


def config(refusals: Mapping[str, Any] | None, **sections: Any) -> dict[str, Any]:
    limits = {"limits": {"refusals": dict(refusals)}} if refusals is not None else {}
    return configuration(stamp={"enabled": False}, **limits, **sections)


def test_reload_keeps_what_was_counted_where_the_limits_stay(tmp_path: Path) -> None:
    service = built(tmp_path, config(HOURLY))

    def status() -> int:
        return read(service.authorizer.check(check_request(EVE), LOOPBACK)).status

    assert [status() for _ in range(4)] == [403, 403, 403, TOO_MANY]
    assert reconfigure(service, tmp_path, config(HOURLY, denial={"reason": False}))
    assert status() == TOO_MANY
    assert reconfigure(service, tmp_path, config({**HOURLY, "perUser": "4/hour"}))
    assert [status() for _ in range(5)] == [403, 403, 403, 403, TOO_MANY]
    assert reconfigure(service, tmp_path, config(None))
    assert {status() for _ in range(20)} == {403}
    assert reconfigure(service, tmp_path, config(HOURLY))
    assert [status() for _ in range(4)] == [403, 403, 403, TOO_MANY]


def test_user_who_is_put_on_the_list_is_in_at_once(tmp_path: Path) -> None:
    """A lockout ends with its cause: nothing of what was counted is in the way of an allow."""
    service = built(tmp_path, config(HOURLY))
    for _ in range(50):
        service.authorizer.check(check_request(EVE), LOOPBACK)
    both = gateway({"allowUsers": ["nick@example.com", "eve@example.com"]})
    assert reconfigure(service, tmp_path, {**config(HOURLY), "gateways": {"g": both}})
    assert read(service.authorizer.check(check_request(EVE), LOOPBACK)).told == "allow:eve@example.com"
    assert read(service.authorizer.check(check_request(NICK), LOOPBACK)).told == "allow:nick@example.com"
