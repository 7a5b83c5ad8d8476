"""The admin address: beyond this host it wants a token."""

import pytest

from extauthz.config.faults import ConfigError
from extauthz.config.load import loads

GATEWAY = "gateways: {g: {trustedProxies: [10.0.0.1], auth: {mode: trusted-proxy, trustedProxy: {userHeader: x-u}}}}\n"


@pytest.mark.parametrize("address", ["0.0.0.0:9193", "[::]:9193", "10.0.0.1:9193"])
def test_an_admin_address_that_others_can_reach_without_a_token_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"listen\.admin: .*set admin\.tokenFile"):
        loads(f"{GATEWAY}listen: {{admin: '{address}'}}\n")


@pytest.mark.parametrize("address", ["127.0.0.1:9193", "[::1]:9193", "unix:/run/extauthz/admin.sock"])
def test_an_admin_address_of_this_host_needs_none(address: str) -> None:
    assert loads(f"{GATEWAY}listen: {{admin: '{address}'}}\n")


def test_with_a_token_it_may_be_reached_from_elsewhere() -> None:
    assert loads(f"{GATEWAY}listen: {{admin: '0.0.0.0:9193'}}\nadmin: {{tokenFile: token}}\n")


@pytest.mark.parametrize("alias", ["X_Authz_User", "x.authz.user"])
def test_two_header_names_that_are_one_to_a_server_behind_are_refused(alias: str) -> None:
    with pytest.raises(ConfigError, match=r"headers\.gateway: .*alias"):
        loads(f"{GATEWAY}headers: {{gateway: {alias}}}\n")
    with pytest.raises(ConfigError, match=r"userHeader: .*alias"):
        loads(GATEWAY.replace("x-u", alias))
