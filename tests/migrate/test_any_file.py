"""Whatever stands in OpenClaw's `gateway` block, migrate writes a file that loads or says what is wrong. Never else."""

from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from extauthz.config.load import loads
from extauthz.migrate.notes import MigrateError
from extauthz.migrate.ours import Choices
from extauthz.migrate.plan import Around, Migration, plan
from extauthz.openclaw import OpenClawFile
from migrate.migrating import RULES, TRUSTED_PROXY, patched

# The keys that are looked at, so that values of any kind come to stand under them.
_NAMES = """
    auth mode token password trustedProxy userHeader requiredHeaders allowUsers allowLoopback trustedProxies bind port
    controlUi allowedOrigins enabled dangerouslyAllowHostHeaderOriginFallback tailscale tls portals ingress remote url
    publicOrigin allowRealIpFallback allowTailscale source id provider env vars identityScopes rateLimit x
"""
_KEYS = _NAMES.split()
_TEXT = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["trusted-proxy", "token", "none", "10.0.0.7", "10.0.1.0/28", "localhost", "${NAME}", "x-user"]),
    st.sampled_from(["https://a.example.com", "lan", "custom", "serve", "env", "*", "wss://u:p@h", "local", " "]),
)
_LEAF = st.none() | st.booleans() | st.integers(-1, 70_000) | _TEXT
_VALUE = st.recursive(
    _LEAF,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
_BLOCK = st.dictionaries(st.sampled_from(_KEYS), _VALUE, max_size=6)
# Near what OpenClaw takes: else nearly all of them are refused for their types.
_NEAR = st.builds(
    lambda rules, changed: {
        **TRUSTED_PROXY,
        "auth": {"mode": "trusted-proxy", "trustedProxy": {**RULES, **rules}},
        **changed,
    },
    st.fixed_dictionaries(
        {}, optional={"userHeader": _TEXT, "allowUsers": st.lists(_TEXT), "requiredHeaders": st.lists(_TEXT)}
    ),
    st.fixed_dictionaries(
        {}, optional={"trustedProxies": st.lists(_TEXT), "publicOrigin": _TEXT, "bind": _TEXT, "x": _VALUE}
    ),
)


@hypothesis.settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(gateway=_BLOCK | _NEAR, complete=st.booleans())
def test_whatever_stands_there(gateway: dict[str, Any], complete: bool) -> None:
    choices = Choices(
        trusted_proxies=("10.0.0.7",) if complete else (),
        user_header="x-user" if complete else None,
        allow_users=("nick@example.com",) if complete else (),
    )
    around = Around(folder=Path("out"), proxy=None, listen="127.0.0.1:8080", upstream=None)
    file = OpenClawFile(Path("openclaw.json"), {"gateway": gateway}, gateway)
    try:
        found = plan(file, choices, around)
    except MigrateError as error:
        told = str(error)
    else:
        told = ""
        holds_its_promises(found, gateway)
    assert all(line.isprintable() for line in told.split("\n"))


def holds_its_promises(found: Migration, gateway: dict[str, Any]) -> None:
    """What has to be true of whatever is written."""
    written = found.texts()
    loaded = loads(written["extauthz.yaml"])
    assert len(loaded.incomplete) <= len(found.ours.open)
    assert found.ours.gateway["mode"] == "enforce" or not found.ours.open
    if not found.block.left_out:
        without_null = patched(gateway, {})
        assert patched(without_null, found.block.patch) == found.block.gateway
