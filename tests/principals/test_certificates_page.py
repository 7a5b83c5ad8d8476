"""docs/peers.md on certificates: its file and its command work as they stand, through real Envoy; its output too."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from extauthz.audit.table import CHECKS
from extauthz.cli import main
from extauthz.config.load import loads
from extauthz.core.principals import LONGEST_PRINCIPAL_CHARACTERS
from extauthz.core.reasons import REASONS
from principals.mtls import IDENTITY, USER, ask, told
from support.certificates import Authority
from support.echo_gateway import echo_gateway
from support.envoy import running_envoy
from support.ports import free_port
from support.service import running_service

PAGE = (Path(__file__).parents[2] / "docs" / "peers.md").read_text(encoding="utf-8")
SECTION = re.split(r"^## ", PAGE.partition("\n## By certificate\n")[2], flags=re.MULTILINE)[0]
(CONFIG,) = re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)
WRITE, EXPLAIN = re.findall(r"^\$ extauthz (.*)$", SECTION, re.MULTILINE)


def test_the_file_is_complete_and_its_only_notice_is_about_http() -> None:
    loaded = loads(CONFIG)
    assert not loaded.incomplete
    assert [notice.path for notice in loaded.notices] == ["gateways.openclaw.trustedPrincipals"]


def test_what_is_explained_is_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("extauthz.yaml").write_text(CONFIG, encoding="utf-8")
    (shown,) = re.findall(r"```console\n\$ extauthz explain [^\n]*\n(.*?)```", SECTION, re.DOTALL)
    result = CliRunner().invoke(main, shlex.split(EXPLAIN))
    assert (result.exit_code, result.stdout) == (1, shown)


def test_envoy_as_written_believes_the_certificates_of_the_page_and_no_others(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "another authority")
    server = authority.issue("server", dns="localhost")
    listed: list[str] = yaml.safe_load(CONFIG)["gateways"]["openclaw"]["trustedPrincipals"]
    exact, below = listed
    port, admin = free_port(), free_port()
    config: dict[str, Any] = yaml.safe_load(CONFIG)
    files = {
        "/etc/envoy/tls/server.pem": str(server.certificate),
        "/etc/envoy/tls/server.key": str(server.private_key),
        "/etc/envoy/tls/clients-ca.pem": str(authority.certificate),
        "extauthz.yaml": str(tmp_path / "service" / "extauthz.yaml"),
        "envoy.yaml": str(tmp_path / "envoy.yaml"),
    }
    with echo_gateway() as gateway, running_service(tmp_path / "service", config) as service:
        files["openclaw=127.0.0.1:18789"] = f"openclaw={gateway.address}"
        argv = [files.get(word, word) for word in shlex.split(WRITE)]
        own = ["--extauthz", service.address, "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"]
        written = CliRunner().invoke(main, [*argv, *own, "--timeout", "5"])
        assert written.exit_code == 0, written.output
        text = (tmp_path / "envoy.yaml").read_text(encoding="utf-8")
        identity = [("x-pomerium-claim-email", USER), *IDENTITY[1:]]
        with running_envoy(text, admin_port=admin, directory=tmp_path):

            def outcome(uri: str, of: Authority = authority) -> str:
                number = len(list(tmp_path.glob("*.key")))
                shown = of.issue(f"client-{number}", uri=uri)
                return told(ask(authority, port, shown, host="gateway.example.com", headers=identity))

            assert outcome(exact) == "allowed"
            assert outcome(below.replace("*", "sa/envoy")) == "allowed"
            assert outcome(exact + "2") == "403 trusted_proxy_untrusted_principal"
            assert outcome(exact, stranger) == "0 by Envoy"
        (one, two) = gateway.arrived
        assert one.values("x-authz-user") == two.values("x-authz-user") == [USER]


def test_every_reason_finding_and_number_of_the_page_is_one() -> None:
    assert set(re.findall(r"`(trusted_proxy_[a-z_]+)`", SECTION)) <= REASONS.keys()
    assert set(re.findall(r"`(gateway\.[a-z_]+)`", SECTION)) <= {check.id for check in CHECKS}
    assert f"more than {LONGEST_PRINCIPAL_CHARACTERS} characters" in SECTION


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (Path(__file__).parents[2] / "docs" / target).exists(), target


@pytest.mark.parametrize(
    ("options", "told_of"),
    [
        ([], "--tls-client-ca says whose it verifies"),
        (["--http"], "leave out --http"),
        (["--tls-certificate", "/c.pem", "--tls-key", "/k.pem"], "--tls-client-ca says whose it verifies"),
        (["--tls-certificate", "/c.pem", "--tls-key", "/k.pem", "--tls-client-ca", "/a.pem"], ""),
    ],
)
def test_written_configuration_that_tells_of_no_principal_says_so(
    tmp_path: Path, options: list[str], told_of: str
) -> None:
    file = tmp_path / "extauthz.yaml"
    file.write_text(CONFIG, encoding="utf-8")
    argv = ["proxy-config", "envoy", "--config", str(file), "--upstream", "openclaw=127.0.0.1:1", *options]
    result = CliRunner().invoke(main, argv)
    assert result.exit_code == 0
    notes = [line for line in result.stderr.splitlines() if "Envoy" in line or "leave out" in line]
    assert len(notes) == bool(told_of)
    assert all(told_of in line and "gateways.openclaw.trustedPrincipals" in line for line in notes)
