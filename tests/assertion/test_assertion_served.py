"""A service with assertions over time: started while the keys are gone, reloaded, measured, and looked at."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from admin.watching import watched_service
from assertion.cases import HEADER, assertion, gateways
from assertion.issuer import USER, Issuer
from assertion.judge import jwks_file
from cases.build import LOOPBACK, PEER, text_of
from cases.messages import check_request, read
from extauthz.cli import main
from gateway.servers import JwksServer, until
from support.process import READY_SECONDS
from support.service import running_service
from telemetry.scrape import built, configuration, reconfigure, value


class Run:
    """A service put together, its doors closed, with the keys of a source."""

    def __init__(self, folder: Path, source: JwksServer) -> None:
        self.folder, self.source, self.issuer = folder, source, Issuer()
        source.serve(self.issuer.jwks)
        self.service = built(folder, self.config())
        self.service.assertions.start(READY_SECONDS)

    def config(self, url: str | None = None, **keys: Any) -> dict[str, Any]:
        """The file, with other keys in its assertions."""
        found = configuration(gateways(url or self.source.url, PEER, **keys))
        return {**found, "stamp": {"enabled": False}}

    def ask(self, token: str, gateway: str = "claims") -> str:
        """Ask over gRPC, the door left out."""
        message = check_request([(HEADER, token)], gateway=gateway, peer=PEER)
        return read(self.service.authorizer.check(message, LOOPBACK)).told


@pytest.fixture
def run(tmp_path: Path, source: JwksServer) -> Iterator[Run]:
    found = Run(tmp_path, source)
    yield found
    found.service.assertions.close()


def test_a_reload_keeps_keys_and_verified_tokens(run: Run) -> None:
    token = run.issuer.token()
    assert run.ask(token) == f"allow:{USER}"
    run.source.serve(b"gone")
    changed = run.config()
    changed["gateways"]["claims"]["auth"]["trustedProxy"]["allowUsers"] = [USER, "eve@example.com"]
    assert reconfigure(run.service, run.folder, changed)
    assert run.ask(token) == f"allow:{USER}"
    assert run.service.assertions.signatures.total == 1
    assert run.source.requests == 1


def test_a_reload_with_another_assertion_verifies_by_that(run: Run) -> None:
    token = run.issuer.token()
    assert run.ask(token) == f"allow:{USER}"
    assert reconfigure(
        run.service, run.folder, run.config(audience="another.example.com", issuer="openclaw.example.com")
    )
    assert run.ask(token) == "deny:trusted_proxy_assertion_audience"


def test_a_reload_to_another_source_finds_its_keys_there_and_ends_the_old_one(run: Run, tmp_path: Path) -> None:
    other = Issuer(kid="key-2")
    assert reconfigure(run.service, run.folder, run.config(str(jwks_file(tmp_path, other))))
    assert run.ask(other.token()) == f"allow:{USER}"  # the first request after the reload
    assert run.ask(run.issuer.token()) == "deny:trusted_proxy_assertion_invalid"
    (status,) = run.service.assertions.statuses()
    assert status.name.endswith("jwks.json")


@pytest.mark.parametrize(
    "lose",
    [
        lambda rules: rules.pop("assertion"),
        lambda rules: rules["assertion"].pop("maxAge"),
        lambda rules: rules["assertion"].pop("algorithms"),
    ],
    ids=["assertion", "maxAge", "algorithms"],
)
def test_a_reload_that_lost_an_assertion_is_refused(run: Run, lose: Any) -> None:
    strict: dict[str, Any] = {"maxAge": "5m", "algorithms": ["ES384"]}
    assert reconfigure(run.service, run.folder, run.config(**strict))
    changed = run.config(**strict)
    lose(changed["gateways"]["openclaw"]["auth"]["trustedProxy"])
    assert not reconfigure(run.service, run.folder, changed)
    (fault,) = run.service.reloader.status.faults
    assert "is not there any more, and would let in more than before" in fault
    assert len(run.service.assertions.statuses()) == 1


def test_a_configuration_that_is_refused_leaves_no_source_behind(run: Run) -> None:
    changed = run.config("http://127.0.0.1:9/jwks.json")
    changed["decisionLog"] = {"output": "no-such-folder/log"}
    assert not reconfigure(run.service, run.folder, changed)
    (status,) = run.service.assertions.statuses()
    assert status.name == run.source.url


def test_an_assertion_that_is_written_as_null_may_go(run: Run) -> None:
    changed = run.config()
    changed["gateways"]["openclaw"]["auth"]["trustedProxy"]["assertion"] = None
    assert reconfigure(run.service, run.folder, changed)


def test_the_keys_are_measured(run: Run) -> None:
    name = {"source": run.source.url}
    assert value(run.service, "extauthz_assertion_keys", **name) == 1
    assert value(run.service, "extauthz_assertion_key_reads_total", result="success", **name) == 1
    assert value(run.service, "extauthz_assertion_key_reads_total", result="failure", **name) == 0
    age = value(run.service, "extauthz_assertion_keys_age_seconds", **name)
    assert age is not None
    assert 0 <= age < 60
    assert value(run.service, "extauthz_incomplete_gateways") == 0
    run.ask(run.issuer.token())
    assert value(run.service, "extauthz_assertion_signatures_total") == 1


def test_a_service_without_assertions_reads_nothing(tmp_path: Path) -> None:
    service = built(tmp_path, {**configuration(), "stamp": {"enabled": False}})
    assert not service.assertions.statuses()
    assert value(service, "extauthz_assertion_signatures_total") == 0


def test_a_start_while_the_keys_are_gone_serves_denies_and_recovers(tmp_path: Path, source: JwksServer) -> None:
    issuer = Issuer()
    source.serve(b"", status=503)
    config = {"gateways": gateways(source.url, PEER)}
    with watched_service(tmp_path, config) as watched:
        watched.decide("claims", [(HEADER, issuer.token())])
        (line,) = watched.seen(1)
        assert line["reason"] == "trusted_proxy_assertion_invalid"
        (status,) = watched.data("status")["assertionKeys"]
        assert "answered 503" in status.pop("fault")
        assert status == {"source": source.url, "keys": 0, "usable": False, "read": False, "age": None}
        source.serve(issuer.jwks)
        until(lambda: watched.data("status")["assertionKeys"][0]["usable"])
        watched.decide("claims", [(HEADER, issuer.token())])
        assert watched.seen(2)[0]["result"] == "allow"
        told = watched.data("gateways/claims")
        assert told["assertion"] == {
            "header": HEADER,
            "preset": "pomerium",
            "issuer": "openclaw.example.com",
            "audiences": {"shown": ["openclaw.example.com"], "total": 1},
            "userClaim": "email",
            "source": source.url,
        }
        assert not told["incomplete"]
        assert watched.data("gateways/openclaw")["userHeader"] == "x-forwarded-user"


def test_the_service_log_says_why_the_keys_cannot_be_read_and_when_they_can_again(
    tmp_path: Path, source: JwksServer
) -> None:
    source.serve(b"<html>")
    with running_service(tmp_path, {"gateways": gateways(source.url, PEER)}) as service:
        until(lambda: "the keys for assertions cannot be read" in service.program.log_text())
        assert "the JWKS is not JSON" in service.program.log_text()
        source.serve(Issuer().jwks)
        until(lambda: "the keys for assertions can be read again" in service.program.log_text())


def _explain(folder: Path, token: str, jwks: str) -> Any:
    file = folder / "extauthz.yaml"
    rules = {"assertion": assertion(jwks), "allowUsers": [USER]}
    auth = {"mode": "trusted-proxy", "trustedProxy": rules}
    file.write_text(text_of({"gateways": {"g": {"trustedProxies": [PEER], "auth": auth}}}), encoding="utf-8")
    argv = ["explain", "--config", str(file), "--gateway", "g", "--peer", PEER, "-H", f"{HEADER}: {token}"]
    result = CliRunner().invoke(main, [*argv, "--format", "json"])
    assert token not in result.output
    return json.loads(result.stdout)


def test_explain_fetches_the_keys_and_tells_what_was_verified(tmp_path: Path, source: JwksServer) -> None:
    issuer = Issuer()
    source.serve(issuer.jwks)
    found = _explain(tmp_path, issuer.token(), source.url)
    assert found["allowed"]
    (step,) = [one for one in found["steps"] if one["step"] == "assertion"]
    assert step["detail"].startswith(
        "signed with key key-1 of openclaw.example.com for openclaw.example.com, expires in "
    )
    found = _explain(tmp_path, Issuer(kid="unknown").token(), source.url)
    assert "key unknown is none of the 1 that are known" in found["hint"]


def test_explain_tells_that_the_keys_cannot_be_fetched(tmp_path: Path, source: JwksServer) -> None:
    source.close()
    found = _explain(tmp_path, Issuer().token(), source.url)
    assert found["reason"] == "trusted_proxy_assertion_invalid"
    assert "there are no keys to verify it with: http://127.0.0.1: the fetch failed" in found["hint"]
