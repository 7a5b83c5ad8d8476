"""What somebody has accepted stays what it is, with who and why beside it; and only what was named is accepted."""

from typing import Any

import pytest

from audit.finding_out import HARDENED, found, hardened, the

AUTH = "gateway.trusted_proxy_auth"
SHADOW = "service.shadow_mode"


def accepting(id_: str, gateway: str | None = "g", **more: Any) -> dict[str, Any]:
    return {"id": id_, "by": "nick", "because": "we mean it", **({"gateway": gateway} if gateway else {}), **more}


def test_accepted_finding_stays_what_it_is_with_who_and_why_beside_it() -> None:
    before = found({"g": HARDENED})
    (after,) = found({"g": HARDENED}, accepted=[accepting(AUTH)])
    assert after.accepted is not None
    assert (after.accepted.by, after.accepted.because) == ("nick", "we mean it")
    assert {**after.as_json(), "accepted": None} == {**before[0].as_json(), "accepted": None}
    assert after.severity == "critical"


def test_acceptance_is_of_one_gateway_and_of_one_finding() -> None:
    findings = found({"g": hardened({"allowUsers": []}), "h": HARDENED}, accepted=[accepting(AUTH)])
    assert [finding.gateway for finding in findings if finding.accepted] == ["g"]
    assert [finding.id for finding in findings if finding.accepted] == [AUTH]


def test_finding_of_the_service_is_accepted_without_a_gateway() -> None:
    findings = found({"g": HARDENED}, mode="shadow", accepted=[accepting(SHADOW, None)])
    assert the(SHADOW, findings).accepted is not None


@pytest.mark.parametrize(
    "entry",
    [
        accepting(AUTH, None),
        accepting("gateway.trusted_proxy_oauth"),
        accepting(SHADOW),
        accepting("gateway.trusted_proxy_no_allowlist"),
    ],
    ids=str,
)
def test_acceptance_of_what_was_not_found_is_told(entry: dict[str, Any]) -> None:
    findings = found({"g": HARDENED}, mode="shadow", accepted=[accepting(AUTH), entry])
    finding = the("service.accepted_unmatched", findings)
    assert finding.severity == "info"
    assert "accepted[1]" in finding.seen
    assert entry["id"] in finding.seen
    assert the(SHADOW, findings).accepted is None
