"""Private keys that others can use, or that have signed for long; and that the audit itself touches nothing."""

from pathlib import Path
from typing import Any

import pytest

from audit.finding_out import HARDENED, NOW, ids
from cases.build import text_of
from extauthz.audit import Finding, audit
from extauthz.config.load import load
from extauthz.stamp.keys import generate, rotate
from extauthz.stamp.keyset import Schedule
from support.certificates import Authority

AUTH = "gateway.trusted_proxy_auth"
TO_ALL = "service.key_readable_by_everyone"
TO_GROUP = "service.key_readable_by_group"
OLD = "service.key_old"
UNREAD = "service.keys_unread"
DAY = 86_400


def file_with(tmp_path: Path, **sections: Any) -> Path:
    path = tmp_path / "extauthz.yaml"
    path.write_text(text_of({**sections, "gateways": {"g": HARDENED}}), encoding="utf-8")
    return path


def beside(tmp_path: Path, **sections: Any) -> list[Finding]:
    """Audit a file whose keys lie beside it; what is said of delegation left out."""
    return [finding for finding in audit(load(file_with(tmp_path, **sections)), NOW) if finding.id != AUTH]


def made(tmp_path: Path, days: float = 0) -> Path:
    """Make the first key this long ago."""
    assert generate(tmp_path / "keys", "ES256", now=NOW - days * DAY) is not None
    (path,) = (tmp_path / "keys").iterdir()
    return path


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (0o600, []),
        (0o400, []),
        (0o640, [(TO_GROUP, "warn")]),
        (0o440, [(TO_GROUP, "warn")]),
        (0o620, [(TO_GROUP, "warn")]),
        (0o604, [(TO_ALL, "critical")]),
        (0o644, [(TO_ALL, "critical")]),
        (0o602, [(TO_ALL, "critical")]),
        (0o777, [(TO_ALL, "critical")]),
    ],
    ids=lambda value: f"{value:04o}" if isinstance(value, int) else "",
)
def test_key_that_others_can_use_is_told(tmp_path: Path, mode: int, expected: list[tuple[str, str]]) -> None:
    path = made(tmp_path)
    path.chmod(mode)
    findings = beside(tmp_path)
    assert [(finding.id, finding.severity.value) for finding in findings] == expected
    for finding in findings:
        assert f"stamp.keys: {path} has mode {mode:04o}" in finding.seen
        assert "chmod 600" in finding.do
        assert finding.gateway is None


def test_key_of_tls_that_others_can_use_is_told(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    authority = Authority(tmp_path / "tls", "ca")
    authority.issue("server", dns="extauthz.example")
    key = tmp_path / "tls" / "server.key"
    tls = {"certificate": "tls/server.pem", "privateKey": "tls/server.key"}
    key.chmod(0o600)
    assert beside(tmp_path, tls=tls) == []
    key.chmod(0o640)
    assert ids(beside(tmp_path, tls=tls)) == [TO_GROUP]
    key.chmod(0o644)
    (finding,) = beside(tmp_path, tls=tls)
    assert finding.id == TO_ALL
    assert f"tls.privateKey: {key}" in finding.seen


@pytest.mark.parametrize(("days", "expected"), [(0, []), (89.9, []), (90, []), (90.1, [OLD]), (400, [OLD]), (-1, [])])
def test_key_that_has_signed_for_long_is_told(tmp_path: Path, days: float, expected: list[str]) -> None:
    path = made(tmp_path, days)
    findings = beside(tmp_path)
    assert ids(findings) == expected
    for finding in findings:
        assert finding.severity == "warn"
        assert path.name in finding.seen
        assert f"{int(days)} days" in finding.seen
        assert "keys rotate" in finding.do


def test_old_key_that_signs_no_more_is_not_told(tmp_path: Path) -> None:
    made(tmp_path, 400)
    rotate(tmp_path / "keys", schedule=Schedule(), now=NOW - 10 * DAY)
    assert beside(tmp_path) == []


def test_old_key_is_told_while_its_successor_waits(tmp_path: Path) -> None:
    made(tmp_path, 400)
    rotate(tmp_path / "keys", schedule=Schedule(), now=NOW - 10)
    assert ids(beside(tmp_path)) == [OLD]


def test_keys_that_are_not_there_yet_are_nothing_to_tell(tmp_path: Path) -> None:
    assert beside(tmp_path) == []
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / ".key-000001.jwk.tmp").write_text("", encoding="utf-8")
    (tmp_path / "keys" / "README").write_text("no key", encoding="utf-8")
    assert beside(tmp_path) == []


def test_keys_are_left_alone_where_nothing_is_signed(tmp_path: Path) -> None:
    made(tmp_path).chmod(0o644)
    assert ids(beside(tmp_path, stamp={"enabled": False})) == ["service.stamp_disabled"]


def test_key_that_is_none_is_told_without_its_content(tmp_path: Path) -> None:
    path = made(tmp_path)
    path.write_text('{"d": "s3cret"', encoding="utf-8")
    (finding,) = beside(tmp_path)
    assert (finding.id, finding.severity) == (UNREAD, "info")
    assert str(path) in finding.seen
    assert "s3cret" not in finding.seen


def test_keys_that_cannot_be_looked_at_are_told(tmp_path: Path) -> None:
    (tmp_path / "keys").symlink_to("keys")  # leads nowhere, for root too
    (finding,) = beside(tmp_path)
    assert finding.id == UNREAD
    assert str(tmp_path / "keys") in finding.seen
    assert "user of the service" in finding.do


def test_key_file_that_cannot_be_looked_at_is_told(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "keys" / "other.jwk").symlink_to("other.jwk")
    (finding,) = beside(tmp_path)
    assert finding.id == UNREAD
    assert "other.jwk" in finding.seen


def test_directory_of_keys_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("", encoding="utf-8")
    assert ids(beside(tmp_path)) == [UNREAD]


def test_audit_writes_nothing(tmp_path: Path) -> None:
    beside(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["extauthz.yaml"]
