"""The metrics say what happened: exactly, across reloads, and by labels that no client can add to."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from cases.build import GATEWAY, LOOPBACK, PAIRS, FailingStamper, gateway
from cases.messages import check_request
from extauthz.core.address import parse_address
from extauthz.core.reasons import REASONS
from extauthz.core.request import Caller
from extauthz.metrics import DOORS
from extauthz.service import Service
from extauthz.stamp import keys
from extauthz.stamp.keyfile import SUFFIX
from extauthz.wire.forward_auth import HttpMessage
from telemetry.scrape import ask, built, configuration, families, reconfigure, samples, value

ALLOWED = check_request(PAIRS)
UNTRUSTED = check_request(PAIRS, peer="10.0.0.8")
STRANGER = Caller(parse_address("192.0.2.1"))


@pytest.fixture
def service(tmp_path: Path) -> Service:
    # Reused for as long as can be: a slow machine signs no more often.
    return built(tmp_path, configuration(stamp={"reuse": "59s"}))


def decisions(service: Service, **labels: str) -> float | None:
    return value(service, "extauthz_decisions_total", **labels)


def test_decisions_are_counted_by_gateway_result_and_reason(tmp_path: Path) -> None:
    service = built(tmp_path, configuration({"g": GATEWAY, "shadowed": gateway(mode="shadow")}))
    ask(service, ALLOWED, ALLOWED, UNTRUSTED, check_request(PAIRS, gateway="nobody"), b"no message")
    ask(service, check_request(PAIRS, gateway="shadowed", peer="10.0.0.8"))
    denied = {"result": "deny"}
    assert decisions(service, gateway="g", result="allow") == 2
    assert decisions(service, **denied, gateway="g", reason="trusted_proxy_untrusted_source") == 1
    assert decisions(service, **denied, reason="gateway_unknown") == 1
    assert decisions(service, **denied, reason="request_malformed") == 1
    assert decisions(service, gateway="shadowed", result="shadow", reason="trusted_proxy_untrusted_source") == 1


def test_what_alerts_look_for_is_there_before_it_happens(tmp_path: Path) -> None:
    service = built(tmp_path, configuration({"g": GATEWAY, "shadowed": gateway(mode="shadow")}))
    untrusted = "trusted_proxy_untrusted_source"
    assert decisions(service, gateway="g", result="allow") == 0
    assert decisions(service, gateway="g", result="deny", reason=untrusted) == 0
    assert decisions(service, gateway="shadowed", result="shadow", reason=untrusted) == 0
    assert decisions(service, result="deny", reason="internal_error") == 0
    for door in DOORS:
        assert value(service, "extauthz_callers_refused_total", door=door) == 0
    for result in ("success", "failure"):
        assert value(service, "extauthz_reloads_total", result=result) == 0
    for result in ("written", "failed"):
        assert value(service, "extauthz_decision_log_lines_total", result=result) == 0
    assert value(service, "extauthz_decisions_unseen_total") == 0


def test_no_client_can_make_a_series(service: Service) -> None:
    """Cardinality attack: whatever a client or a caller sends, the labels are the configuration's."""
    ask(service, ALLOWED, UNTRUSTED, check_request(PAIRS, gateway="nobody"), check_request(()))
    ask(service, check_request([*PAIRS, ("X_Authz_User", "x")]), check_request([("x-forwarded-proto", "https")]))
    ask(service, ALLOWED, caller=STRANGER)
    forward = HttpMessage.of("GET", b"/forward-auth/traefik/nobody", [])
    service.authorizer.forward(forward, LOOPBACK)
    service.authorizer.forward(forward._replace(target=b"/forward-auth/nothing"), LOOPBACK)
    service.authorizer.forward(forward, STRANGER)
    before = set(samples(service))
    for number in range(200):
        junk = f'x{number}"\\é'
        pairs = [
            ("x-forwarded-user", junk),
            ("x-forwarded-proto", "https"),
            (f"x-{number}", junk),
            ("x_authz_user", ""),
        ]
        ask(
            service,
            check_request(
                pairs[: 1 + number % 4], gateway=("g", junk)[number % 2], peer=("10.0.0.7", junk)[number % 3 // 2]
            ),
            check_request(pairs[:2], method=f"M{number}", host=f"{number}.example.com", path=f"/{junk}"),
        )
        for dialect in (f"d{number}", "traefik"):
            target = f"/forward-auth/{dialect}/g{number}?{number}".encode()
            service.authorizer.forward(HttpMessage.of(f"M{number}", target, [(b"host", b"%d" % number)]), LOOPBACK)
    made = [dict(labels) for name, labels in set(samples(service)) - before if name == "extauthz_decisions_total"]
    # Nothing is new but reasons of the one gateway that there is, and no other metric has anything new at all.
    assert {labels["gateway"] for labels in made} == {"g"}
    assert all(labels["reason"].rstrip("_") in str(list(REASONS)) for labels in made)
    assert len(made) < len(REASONS)
    assert {name for name, _ in set(samples(service)) - before} == {"extauthz_decisions_total"}


def test_users_are_in_no_label(service: Service) -> None:
    ask(service, ALLOWED, check_request([("x-forwarded-user", "mallory@example.com"), ("x-forwarded-proto", "https")]))
    text = service.metrics.render("")[1].decode()
    assert "nick" not in text
    assert "mallory" not in text


def test_times_are_counted_by_door(service: Service) -> None:
    ask(service, *[ALLOWED] * 5)
    service.authorizer.forward(HttpMessage.of("GET", b"/forward-auth/nginx/g", []), LOOPBACK)
    found = samples(service)
    for name in ("extauthz_decision_duration_seconds", "extauthz_door_duration_seconds"):
        for door, count in (("grpc", 5), ("nginx", 1)):
            assert found[f"{name}_count", frozenset({("door", door)})] == count
            assert found[f"{name}_bucket", frozenset({("door", door), ("le", "+Inf")})] == count
            assert 0 < found[f"{name}_sum", frozenset({("door", door)})] < 60


def test_refused_callers_are_counted_by_door(service: Service) -> None:
    ask(service, ALLOWED, ALLOWED, caller=STRANGER)
    service.authorizer.forward(HttpMessage.of("GET", b"/forward-auth/caddy/g", []), STRANGER)
    assert value(service, "extauthz_callers_refused_total", door="grpc") == 2
    assert value(service, "extauthz_callers_refused_total", door="caddy") == 1


def test_counters_survive_a_reload_and_a_gateway_that_is_gone(service: Service, tmp_path: Path) -> None:
    ask(service, ALLOWED, ALLOWED)
    signed = value(service, "extauthz_stamps_signed_total")
    assert reconfigure(service, tmp_path, configuration({"other": GATEWAY}))
    assert decisions(service, gateway="g", result="allow") == 2
    assert decisions(service, gateway="other", result="allow") == 0
    assert value(service, "extauthz_stamps_signed_total") == signed == 1


def test_a_gateway_that_came_with_a_reload_is_counted(service: Service, tmp_path: Path) -> None:
    assert reconfigure(service, tmp_path, configuration({"g": GATEWAY, "new": GATEWAY}))
    ask(service, check_request(PAIRS, gateway="new"))
    assert decisions(service, gateway="new", result="allow") == 1
    assert value(service, "extauthz_gateways") == 2


def test_reloads_are_told(service: Service, tmp_path: Path) -> None:
    first = dict(samples(service))
    assert not reconfigure(service, tmp_path, "gateways: nonsense")
    assert value(service, "extauthz_reloads_total", result="failure") == 1
    assert value(service, "extauthz_config_last_reload_successful") == 0
    since = ("extauthz_config_last_reload_success_timestamp_seconds", frozenset[tuple[str, str]]())
    assert samples(service)[since] == first[since]
    changed = configuration({"g": gateway(mode="shadow"), "empty": {}}, server={"drainSeconds": 3})
    assert reconfigure(service, tmp_path, changed)
    assert value(service, "extauthz_reloads_total", result="success") == 1
    assert value(service, "extauthz_config_last_reload_successful") == 1
    assert value(service, "extauthz_config_restart_pending") == 1
    assert value(service, "extauthz_shadow_gateways") == 1
    assert value(service, "extauthz_incomplete_gateways") == 1
    assert samples(service)[since] > first[since]


def test_the_policy_in_force_is_named_as_in_the_decision_log(service: Service, tmp_path: Path) -> None:
    def policies() -> list[str]:
        return [dict(labels)["policy"] for name, labels in samples(service) if name == "extauthz_config_info"]

    assert policies() == [service.authorizer.snapshot.version]
    first = policies()
    reconfigure(service, tmp_path, configuration({"g": gateway(trustedProxies=["10.0.0.9"])}))
    assert policies() == [service.authorizer.snapshot.version] != first


def test_signed_stamps_are_counted_and_reused_ones_are_not(service: Service) -> None:
    ask(service, *[ALLOWED] * 10)
    assert value(service, "extauthz_stamps_signed_total") == 1
    ask(service, check_request(PAIRS, method="POST"))
    assert value(service, "extauthz_stamps_signed_total") == 2


def test_signatures_of_many_threads_are_all_counted(tmp_path: Path) -> None:
    service = built(tmp_path, configuration(stamp={"reuse": "0s"}))
    threads = [threading.Thread(target=ask, args=(service, *[ALLOWED] * 100)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(service, "extauthz_stamps_signed_total") == 400
    assert decisions(service, gateway="g", result="allow") == 400


def test_answers_found_written_are_told_apart_from_those_that_were_not(service: Service) -> None:
    def found(wire: str, result: str) -> float:
        return value(service, "extauthz_answer_cache_lookups_total", wire=wire, result=result) or 0.0

    # The caches are the process': others may have used them.
    hits, misses, http = found("grpc", "hit"), found("grpc", "miss"), found("http", "miss")
    ask(service, *[UNTRUSTED] * 4)
    assert found("grpc", "miss") == misses + 1
    assert found("grpc", "hit") == hits + 3
    service.authorizer.forward(HttpMessage.of("GET", b"/forward-auth/caddy/g", []), LOOPBACK)
    assert found("http", "miss") == http + 1


def test_keys_are_told_by_state_and_age(service: Service, tmp_path: Path) -> None:
    def states() -> dict[str, float]:
        return {
            dict(labels)["state"]: found
            for (name, labels), found in samples(service).items()
            if name == "extauthz_stamp_key_age_seconds"
        }

    assert states().keys() == {"active"}
    following = keys.rotate(tmp_path / "keys")
    assert service.keys is not None
    assert service.keys.refresh()
    assert states().keys() == {"active", "next"}
    assert all(0 <= age < 600 for age in states().values())
    signs = value(service, "extauthz_stamp_key_activation_timestamp_seconds", kid=following.kid, state="next")
    assert signs == following.activates_at


def test_a_directory_of_keys_that_cannot_be_read_is_told(service: Service, tmp_path: Path) -> None:
    assert value(service, "extauthz_stamp_keys_readable") == 1
    (tmp_path / "keys" / f"key-000002{SUFFIX}").write_text("no key", encoding="utf-8")
    assert service.keys is not None
    service.keys.refresh()
    assert value(service, "extauthz_stamp_keys_readable") == 0
    # What signs is still told.
    assert any(name == "extauthz_stamp_key_age_seconds" for name, _ in samples(service))


def test_without_stamps_there_are_no_keys_to_alert_on(tmp_path: Path) -> None:
    service = built(tmp_path, configuration(stamp={"enabled": False}))
    ask(service, ALLOWED)
    told = {name for name, _ in samples(service)}
    assert not told & {"extauthz_stamp_key_age_seconds", "extauthz_stamp_keys_readable"}
    assert value(service, "extauthz_stamps_signed_total") == 0


def test_a_fault_of_ours_is_counted_as_one(tmp_path: Path) -> None:
    service = built(tmp_path, configuration())
    whole = service.authorizer.snapshot
    service.authorizer.snapshot = replace(whole, stamper=FailingStamper(RuntimeError("no key")))
    ask(service, ALLOWED)
    assert decisions(service, result="deny", reason="internal_error") == 1


def test_what_nobody_saw_is_counted(service: Service) -> None:
    service.telemetry.dropped += 3
    assert value(service, "extauthz_decisions_unseen_total") == 3


def test_a_service_that_does_not_serve_is_not_ready(service: Service) -> None:
    assert value(service, "extauthz_ready") == 0
    service.ready = True
    assert value(service, "extauthz_ready") == 1


def test_the_process_is_measured_too(service: Service) -> None:
    named = {family.name for family in families(service)}
    assert {"process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds", "python_info"} <= named
