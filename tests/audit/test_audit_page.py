"""docs/audit.md is the code's table: a row for every finding there can be; and its examples are what happens."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from audit.finding_out import ids
from extauthz.audit import audit
from extauthz.audit.gateway_checks import ALWAYS_THERE
from extauthz.audit.table import CHECKS, GATEWAY_CHECKS
from extauthz.cli import main
from extauthz.config.load import loads

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
CONFIG, ACCEPTED = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def rows() -> list[str]:
    """Return the rows of the page's table of findings, as the code has them."""
    found = []
    for check in CHECKS:
        severity = f"{check.severity}, or warn" if check.lesser is not None else str(check.severity)
        of = "openclaw.json" if check.openclaw else "both" if check in GATEWAY_CHECKS else "extauthz.yaml"
        found.append(f"| `{check.id}` | {severity} | {check.title} | {check.do} | {of} |")
    return found


def test_every_finding_has_its_row_and_no_other_has_one() -> None:
    assert [line for line in PAGE.splitlines() if re.match(r"\| `(gateway|service)\.", line)] == rows()


def test_ids_are_distinct_and_of_one_style() -> None:
    found = [check.id for check in CHECKS]
    assert len(set(found)) == len(found)
    for id_ in found:
        assert re.fullmatch(r"(gateway|service)(\.control_ui)?\.[a-z]+(_[a-z]+)*", id_), id_


def test_what_is_printed_is_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("extauthz.yaml").write_text(CONFIG, encoding="utf-8")
    (shown,) = re.findall(r"```console\n\$ extauthz (.*?)\n(.*?)```", PAGE, re.DOTALL)
    result = CliRunner().invoke(main, shlex.split(shown[0]))
    assert (result.exit_code, result.stdout) == (1, shown[1])


def test_what_the_page_accepts_is_accepted() -> None:
    findings = audit(loads(CONFIG + ACCEPTED), 0.0)
    assert ids(findings) == ["gateway.trusted_proxy_auth"]
    assert findings[0].accepted is not None
    assert findings[0].accepted.by == "nick"


def test_headers_that_are_always_there_are_all_told() -> None:
    (told,) = re.findall(r"\*\*Headers that are always there\*\*: (.*?)\. ", PAGE, re.DOTALL)
    names = set(re.findall(r"`([A-Za-z-]+)`", told)) - {"X-Forwarded-"}
    forwarded = {"For", "Host", "Method", "Port", "Proto", "Server", "Uri"}
    whole = (names - forwarded) | {f"X-Forwarded-{name}" for name in names & forwarded} | {"Host"}
    assert {name.lower() for name in whole} == set(ALWAYS_THERE)


def test_every_file_it_points_at_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
