"""What the console tells: right, bounded, without a secret, and without leaving a trace of having been asked."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from admin.watching import API, USER, Watched, bearer, watched_service, write_token
from extauthz.console.console import GATEWAYS_A_PAGE
from extauthz.console.policies import MOST_SHOWN
from extauthz.telemetry.recent import MOST_GIVEN
from forward_auth.opening import gateway
from support.files import replace_text
from support.process import wait_until

NAMED = [("x-forwarded-user", USER)]
SECRET = "s3cret-value-of-a-cookie"


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    config = {"gateways": {"openclaw": gateway(), "shadow": gateway(mode="shadow"), "forgotten": {}}}
    with watched_service(tmp_path, config) as found:
        yield found


def _fields(found: list[Any], name: str) -> list[Any]:
    return [line[name] for line in found]


def test_decisions_are_shown_newest_first_and_filtered(watched: Watched) -> None:
    watched.decide("openclaw", NAMED)
    watched.decide("openclaw", NAMED, peer="10.0.0.8")
    watched.decide("shadow", [])
    watched.decide("nobody", NAMED)
    found = watched.seen(4)
    assert _fields(found, "result") == ["deny", "shadow", "deny", "allow"]
    assert _fields(found, "gateway") == [None, "shadow", "openclaw", "openclaw"]
    assert _fields(found, "seq") == [4, 3, 2, 1]
    for query, expected in {
        "gateway=openclaw": [2, 1],
        "result=deny": [4, 2],
        "result=shadow": [3],
        "result=denied": [4, 3, 2],
        "reason=trusted_proxy_": [3, 2],
        "gateway=openclaw&result=deny&reason=trusted_proxy_untrusted_source": [2],
        "gateway=elsewhere": [],
        "after=2": [4, 3],
        "after=4": [],
        "most=1": [4],
    }.items():
        assert _fields(watched.data(f"decisions?{query}")["decisions"], "seq") == expected


def test_decisions_given_at_once_are_bounded_and_what_is_missed_is_told(watched: Watched) -> None:
    for _ in range(MOST_GIVEN + 5):
        watched.decide("openclaw", NAMED)
    assert len(watched.seen(MOST_GIVEN + 5)) == MOST_GIVEN
    assert watched.data("decisions")["missed"]
    assert not watched.data("decisions?after=10")["missed"]
    assert len(watched.data("decisions?most=100000")["decisions"]) == MOST_GIVEN


def test_counts_are_those_of_the_service_and_their_history_adds_up(watched: Watched) -> None:
    watched.decide("openclaw", NAMED)
    watched.decide("openclaw", [])
    watched.decide("shadow", [])

    def sampled(spans: str) -> int:
        return sum(map(sum, (point[1:] for point in watched.data("counts")[spans])))

    wait_until(lambda: sampled("seconds") == sampled("minutes") == 3, "all are sampled, in seconds and in minutes")
    counts = watched.data("counts")
    assert counts["totals"] == {"allow": 1, "deny": 1, "shadow": 1}
    assert counts["reasons"] == [{"reason": "trusted_proxy_user_missing", "count": 2}]
    assert [sum(column) for column in list(zip(*counts["minutes"], strict=True))[1:]] == [1, 1, 1]


def test_peers_and_users_that_are_denied_most_come_first(watched: Watched) -> None:
    for _ in range(3):
        watched.decide("openclaw", [("x-forwarded-user", "eve@example.com")])
    watched.decide("openclaw", NAMED, peer="10.0.0.8")
    watched.decide("openclaw", NAMED)
    # They are kept before they are counted.
    wait_until(lambda: sum(one["count"] for one in watched.data("top")["peers"]["top"]) == 4, "all denials are counted")
    top = watched.data("top")
    assert [(one["text"], one["count"]) for one in top["peers"]["top"]] == [("10.0.0.7", 3), ("10.0.0.8", 1)]
    assert [(one["text"], one["count"]) for one in top["users"]["top"]] == [("eve@example.com", 3)]


def test_user_whose_header_is_not_to_be_shown_is_in_no_list(tmp_path: Path) -> None:
    config = {"decisionLog": {"output": "none", "redact": [" X-Forwarded-User "]}, "gateways": {"openclaw": gateway()}}
    with watched_service(tmp_path, config) as found:
        found.decide("openclaw", [("x-forwarded-user", "eve@example.com")])
        found.seen(1)
        for name in ("decisions", "top", "counts"):
            assert "eve@example.com" not in json.dumps(found.data(name))


def test_request_that_is_explained_is_neither_logged_nor_counted(watched: Watched) -> None:
    request = {"gateway": "openclaw", "peer": "10.0.0.8", "headers": {"x-forwarded-user": USER}}
    told = watched.explain(request).json()
    assert (told["allowed"], told["reason"]) == (False, "trusted_proxy_untrusted_source")
    assert [step["step"] for step in told["steps"] if not step["passed"]] == ["trusted_source"]
    assert "10.0.0.7 is" in told["hint"]
    allowed = watched.explain({**request, "peer": "10.0.0.7"}).json()
    assert (allowed["allowed"], allowed["user"]) == (True, USER)
    watched.decide("openclaw", NAMED)
    assert [line["result"] for line in watched.seen(1)] == ["allow"]
    assert watched.data("status")["decisions"] == 1
    assert watched.data("top")["peers"]["top"] == []


def test_request_that_cannot_be_explained_is_told_why(watched: Watched) -> None:
    response = watched.explain({"gatway": "openclaw"})
    assert response.status == 400
    assert response.json()["do"].startswith("unknown key 'gatway'")


def test_policy_is_shown_as_it_is_compiled(watched: Watched) -> None:
    policy = watched.data("gateways/openclaw")
    assert policy["trustedProxies"] == {"shown": ["10.0.0.7"], "total": 1}
    assert policy["allowUsers"] == {"shown": [USER], "total": 1}
    assert "x-forwarded-user" in policy["protected"]
    assert {step["step"]: step["asked"] for step in policy["steps"]}["required_headers"] is False
    assert policy["incomplete"] == []
    assert len(watched.data("gateways/forgotten")["incomplete"]) == 2
    assert watched.get(API + "gateways/nobody").status == 404


def test_policies_of_thousands_are_shown_in_pages_and_lists_of_users_cut(tmp_path: Path) -> None:
    many = {f"gateway-{number}": gateway(hosts=[f"host-{number}.example.com"]) for number in range(1000)}
    many["crowd"] = gateway(rules={"allowUsers": [f"user-{number}@example.com" for number in range(20_000)]})
    with watched_service(tmp_path, {"gateways": many}) as found:
        first = found.get(API + "gateways")
        assert len(first.body) < 100_000
        assert (first.json()["all"], len(first.json()["gateways"])) == (1001, GATEWAYS_A_PAGE)
        last = found.data("gateways?offset=1000")["gateways"]
        assert [one["id"] for one in last] == ["gateway-999"]
        assert [one["id"] for one in found.data("gateways?q=HOST-77.")["gateways"]] == ["gateway-77"]
        crowd = found.get(API + "gateways/crowd")
        assert len(crowd.body) < 20_000
        assert crowd.json()["allowUsers"]["total"] == 20_000
        assert len(crowd.json()["allowUsers"]["shown"]) == MOST_SHOWN
        assert len(found.get(API + "findings").body) < 300_000


def test_findings_are_those_of_the_audit(watched: Watched) -> None:
    told = watched.data("findings")
    assert told["total"] == len(told["findings"]) > 0
    assert {"id", "severity", "gateway", "title", "seen", "do"} <= told["findings"][0].keys()
    assert any(finding["gateway"] == "shadow" for finding in told["findings"])


def test_keys_are_shown_with_state_and_age_and_nothing_of_what_they_are(watched: Watched, tmp_path: Path) -> None:
    told = watched.data("keys")
    (key,) = told["keys"]
    assert (key["state"], key["algorithm"]) == ("active", "ES256")
    assert 0 <= told["now"] - key["created"] < 600
    private = json.loads((tmp_path / "keys" / key["file"]).read_text(encoding="utf-8"))
    assert private["kid"] == key["kid"]
    assert private["d"] not in json.dumps(told)


def test_reload_that_is_refused_is_told_with_every_fault(watched: Watched, tmp_path: Path) -> None:
    file = tmp_path / "extauthz.yaml"
    before = watched.data("status")
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    config["gateways"]["openclaw"]["trustedProxies"] = ["10.0.0.0/33", "everyone"]
    replace_text(file, yaml.safe_dump(config))
    wait_until(lambda: watched.data("status")["reload"]["faults"]["total"] == 2, "the faults are told")
    told = watched.data("status")
    assert "10.0.0.0/33" in told["reload"]["faults"]["shown"][0]
    assert (told["reload"]["failed"], told["policy"]) == (1, before["policy"])
    config["gateways"]["openclaw"]["trustedProxies"] = ["10.0.0.8"]
    replace_text(file, yaml.safe_dump(config))
    wait_until(lambda: watched.data("status")["reload"]["faults"]["total"] == 0, "the faults are gone")
    told = watched.data("status")
    assert (told["reload"]["succeeded"], told["policy"] != before["policy"]) == (1, True)
    assert watched.data("gateways/openclaw")["trustedProxies"]["shown"] == ["10.0.0.8"]


def test_no_secret_is_in_anything_that_is_told(tmp_path: Path) -> None:
    token = "the-token-of-this-address-012345"
    write_token(tmp_path / "token", token)
    config = {"admin": {"tokenFile": "token"}, "gateways": {"openclaw": gateway()}}
    with watched_service(tmp_path, config) as found:
        secrets = [("cookie", SECRET), ("authorization", f"Bearer {SECRET}"), ("x-api-key", SECRET)]
        found.decide("openclaw", [*NAMED, *secrets], path=f"/page?key={SECRET}")
        found.decide("openclaw", secrets)
        key = [bearer(token)]
        wait_until(lambda: found.data("decisions", key)["last"] == 2, "both are shown")
        told = [found.get(API + name, key).body.decode() for name in _NAMES]
        told += [found.get("/metrics", key).body.decode(), found.service.program.log_text()]
        stamp_keys = json.loads(found.data("keys", key) and _only_key(tmp_path).read_text(encoding="utf-8"))
    for text in told:
        for secret in (SECRET, token, stamp_keys["d"]):
            assert secret not in text


_NAMES = ["status", "decisions", "counts", "reasons", "top", "gateways", "gateways/openclaw", "findings", "keys"]


def _only_key(folder: Path) -> Path:
    (found,) = (folder / "keys").iterdir()
    return found
