"""What becomes of a file in a pod: what is different there is written anew and told, all else stays as it stood."""

import json
from typing import Any

import pytest
import yaml

from extauthz.config.faults import ConfigError
from extauthz.config.load import loads
from extauthz.proxies.from_config import GapError
from extauthz.proxies.in_pod import fit
from extauthz.proxies.kubernetes import Settings, render

GATEWAYS = """\
# Ours.
gateways:
  # The one and only.
  openclaw:
    trustedProxies: [10.0.0.7]   # the identity-aware proxy
    auth: {mode: trusted-proxy, trustedProxy: {userHeader: x-forwarded-user}}
"""
CALLER = ["10.244.0.0/16"]
IN_POD: dict[str, Any] = {
    "listen": {"grpc": "0.0.0.0:9191", "http": "0.0.0.0:9192", "admin": "0.0.0.0:9193"},
    "callers": {"addresses": CALLER},
    "admin": {"tokenFile": "/etc/extauthz/admin/token"},
    "stamp": {"keys": "/etc/extauthz/keys", "generateKeys": False},
}


def data(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_a_minimal_file_gets_what_a_pod_wants_and_keeps_its_comments() -> None:
    fitted = fit(GATEWAYS, callers=CALLER)
    assert data(fitted.text) == {**IN_POD, **data(GATEWAYS)}
    assert fitted.text.endswith(GATEWAYS)
    assert fitted.settings == loads(fitted.text).settings


def test_what_was_fitted_once_is_left_as_it_is() -> None:
    once = fit(GATEWAYS, callers=CALLER).text
    assert fit(once).text == once


LAYOUTS = {
    "sections before, between and after": (
        "# The file.\n\n# Where.\nlisten:\n  # here\n  grpc: unix:/run/e.sock\n\nmode: shadow\n"
        "# Signs.\nstamp:\n  lifetime: 30s\n  keys: k\n\n" + GATEWAYS + "\n# Callers.\ncallers: {addresses: [unix]}\n"
    ),
    "no line's end at the end": GATEWAYS.rstrip("\n") + "\ncallers:\n  addresses:\n  - unix",
    "empty sections": "listen: {}\nstamp: {}\n" + GATEWAYS,
    "a document's mark": "---\n" + GATEWAYS,
    "a document's end": GATEWAYS + "...\n",
    "all on one line": str(loads(GATEWAYS) and data(GATEWAYS)),
    "an anchor in a section that goes": "callers: {addresses: &us [10.9.0.1]}\n"
    + GATEWAYS
    + "    callers: {addresses: *us}\n",
    "an anchor between sections that stay": "accepted: &none []\n" + GATEWAYS,
    "quoted keys": GATEWAYS + '"listen": {"grpc": "127.0.0.1:1"}\n',
    "a long text": GATEWAYS + "stamp:\n  issuer: |\n    two\n    lines\n# A comment.\nmode: shadow\n",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_else_changes_however_the_file_is_laid_out(layout: str) -> None:
    text = LAYOUTS[layout]
    before = data(text)
    fitted = fit(text, callers=CALLER)
    stamp = {**(before.get("stamp") or {}), **IN_POD["stamp"]}
    assert data(fitted.text) == {**before, **IN_POD, "stamp": stamp}


def test_a_comment_goes_with_what_it_speaks_of() -> None:
    text = fit(LAYOUTS["sections before, between and after"], callers=CALLER).text
    for gone in ("# Where.", "# here", "# Signs.", "# Callers."):
        assert gone not in text
    for kept in ("# The file.", "# Ours.", "# The one and only.", "# the identity-aware proxy"):
        assert kept in text


@pytest.mark.parametrize(
    "text",
    [
        GATEWAYS,
        GATEWAYS.replace("\n", "\r\n"),
        "  \n\n" + GATEWAYS + "\n\n\n",
        GATEWAYS + "# a tab\t, an accent é, a sign 🙂 in a comment\n",
        GATEWAYS + "stamp:\n  issuer: '🙂\u2028of two lines'\n",
        json.dumps({**data(GATEWAYS), "stamp": {"issuer": "🙂\u2028\x85"}}),
        GATEWAYS.rstrip("\n"),
    ],
)
def test_the_pod_reads_the_file_that_was_written(text: str) -> None:
    fitted = fit(text, callers=CALLER)
    settings = Settings(config=fitted.text, image="extauthz:1", proxies=("envoy/app=envoy",))
    mounted = yaml.safe_load(render(settings)["configmap.yaml"])["data"]["extauthz.yaml"]
    assert loads(mounted).settings == fitted.settings


def test_certificates_come_from_the_secret() -> None:
    text = GATEWAYS + "tls: {certificate: /etc/ssl/c.pem, privateKey: k.pem}\n"
    assert data(fit(text, callers=CALLER).text)["tls"] == {
        "certificate": "/etc/extauthz/tls/tls.crt",
        "privateKey": "/etc/extauthz/tls/tls.key",
    }
    text = (
        text.replace("k.pem}", "k.pem, clientCa: ca.pem}") + "callers: {addresses: [10.9.0.1], principals: [envoy]}\n"
    )
    fitted = fit(text)
    assert data(fitted.text)["tls"]["clientCa"] == "/etc/extauthz/tls/ca.crt"
    assert data(fitted.text)["callers"] == {"addresses": ["10.9.0.1"], "principals": ["envoy"]}
    assert not [note for note in fitted.notes if "without client certificates" in note]
    # Who shows a certificate may come from anywhere.
    assert fit(text, callers=["0.0.0.0/0"]).settings.callers.addresses == ["0.0.0.0/0"]


def test_what_a_pod_cannot_write_goes_to_where_its_log_is_read() -> None:
    for output, in_pod in (("/var/log/e.jsonl", "stdout"), ("none", "none"), ("stdout", "stdout")):
        fitted = fit(GATEWAYS + f"decisionLog: {{output: {output}, allows: 0.5}}\n", callers=CALLER)
        assert data(fitted.text)["decisionLog"] == {"output": in_pod, "allows": 0.5}
        assert any(note.startswith("decisionLog") for note in fitted.notes) == (output != in_pod)


def test_what_else_is_said_of_the_admin_address_stays() -> None:
    fitted = fit(GATEWAYS + "admin: {tokenFile: /home/me/token, hosts: [metrics.example.com]}\n", callers=CALLER)
    assert data(fitted.text)["admin"] == {"tokenFile": "/etc/extauthz/admin/token", "hosts": ["metrics.example.com"]}


def test_without_stamps_there_are_no_keys() -> None:
    fitted = fit(GATEWAYS + "stamp: {enabled: false}\n", callers=CALLER)
    assert data(fitted.text)["stamp"] == {"enabled": False}
    assert any(note.startswith("stamp.enabled: ") for note in fitted.notes)


def test_addresses_that_other_hosts_have_stay_and_this_host_goes() -> None:
    text = GATEWAYS + "callers: {addresses: [127.0.0.0/8, '::1', unix, 10.9.0.1]}\n"
    assert fit(text).settings.callers.addresses == ["10.9.0.1"]
    assert fit(text, callers=CALLER).settings.callers.addresses == CALLER


@pytest.mark.parametrize(
    ("more", "callers", "said"),
    [
        ("", [], "callers.addresses: names only this host"),
        ("callers: {addresses: [unix, 127.0.0.1]}\n", [], "list them, or their range, there or with --caller"),
        ("callers: {addresses: [0.0.0.0/0]}\n", [], "0.0.0.0/0 is everybody"),
        ("", ["::/0"], "::/0 is everybody"),
        ("", ["0.0.0.0/1", "128.0.0.0/1"], "0.0.0.0/1 is everybody"),
        ("", ["10.9.0.1", "2000::/3"], "2000::/3 is everybody"),
        ("", ["10.244.0.0/33"], "callers.addresses: "),
        ("server: {engine: native}\n", CALLER, "`native` has no TLS"),
        (
            "    callers: {addresses: [127.0.0.1]}\n",
            CALLER,
            "gateways.openclaw.callers.addresses: names only this host",
        ),
        ("    localInterfaces: auto\n", CALLER, "gateways.openclaw.localInterfaces: `auto` would be"),
    ],
)
def test_what_cannot_be_in_a_pod_is_refused(more: str, callers: list[str], said: str) -> None:
    with pytest.raises(GapError) as refused:
        fit(GATEWAYS + more, callers=callers)
    assert said in str(refused.value)


def test_a_faulty_file_is_refused_with_its_faults() -> None:
    with pytest.raises(ConfigError, match="unknown key"):
        fit(GATEWAYS + "gateway: 1\n", callers=CALLER)
