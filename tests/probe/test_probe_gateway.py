"""The Gateway's own port, asked around the proxy: a Gateway that verifies stamps, one that does not, and none."""

import sys
from pathlib import Path

from probe.cast import Cast, probe
from support.ports import free_port
from support.process import running
from support.reference_gateway import is_ready


def test_a_gateway_that_is_reachable_is_a_hole_though_it_takes_no_forged_identity(cast: Cast) -> None:
    with cast.behind("nginx") as hop:
        url = f"http://127.0.0.1:{hop.port}/"
        found = probe(url, "--gateway-address", f"127.0.0.1:{cast.gateway_port}", config=cast.config)
    assert (found.status, found.holes) == (1, {"gateway_port"})
    assert "gateway_forged" in found.ids("passed")
    assert found.seen("gateway_port") == "it answers: 401 stamp_missing"


def test_a_gateway_that_believes_headers_is_a_hole_of_its_own(cast: Cast, tmp_path: Path) -> None:
    port = free_port()
    argv = [sys.executable, "-m", "extauthz.cli", "gateway", "--listen", f"127.0.0.1:{port}"]
    argv += ["--trust-headers-unverified"]
    gateway = running(argv, log=tmp_path / "log", ready=lambda: is_ready(port))
    with gateway, cast.behind("nginx", gateway_port=port) as hop:
        found = probe(f"http://127.0.0.1:{hop.port}/", "--gateway-address", f"127.0.0.1:{port}", config=cast.config)
    assert (found.status, found.holes) == (1, {"gateway_port", "gateway_forged"})


def test_a_port_where_nothing_listens_is_as_it_should_be(cast: Cast) -> None:
    with cast.behind("nginx") as hop:
        url = f"http://127.0.0.1:{hop.port}/"
        found = probe(url, "--gateway-address", f"127.0.0.1:{free_port()}", config=cast.config)
    assert (found.status, found.holes) == (0, set())
    assert {"gateway_port", "gateway_forged"} <= found.ids("passed")


def test_without_a_sign_in_what_a_stranger_can_do_is_tested_and_the_rest_said_not_to_be(cast: Cast) -> None:
    with cast.behind("caddy") as hop:
        found = probe(f"http://127.0.0.1:{hop.port}/", config=cast.config, signed_in=False)
    assert (found.status, found.holes) == (0, set())
    assert found.ids("passed") == {"no_identity", "no_identity_websocket", "forged_sign_in", "refusal_status"}
    assert found.seen("forged_stamp") == "takes a sign-in: --header-file"
