"""A proxy whose address changes, through real Envoy: who it is now is followed, who it was is trusted no longer."""

from pathlib import Path

from extauthz.proxies.envoy import Route
from peers.naming import NAME, NEW, OLD, dns_section
from support.clients import Response, http1, proxy_protocol
from support.echo_gateway import echo_gateway
from support.front import running_front
from support.name_server import name_server
from support.process import wait_until
from support.service import running_service
from support.world import IDENTITY, USER

BALANCER = "127.0.0.9"


def test_container_that_moves_is_followed_and_its_old_address_is_worth_nothing(tmp_path: Path) -> None:
    rules = {"userHeader": "x-forwarded-user", "requiredHeaders": ["x-forwarded-proto"], "allowUsers": [USER]}
    with name_server({NAME: [OLD]}) as names, echo_gateway() as gateway:
        config = {
            "dns": dns_section(names, minTtl="1s", maxTtl="1s"),
            "gateways": {
                "openclaw": {
                    "trustedProxies": [f"dns:{NAME}"],
                    "auth": {"mode": "trusted-proxy", "trustedProxy": rules},
                }
            },
        }
        route = Route(upstream=gateway.address, gateway="openclaw", user_headers=("x-forwarded-user",))
        with (
            running_service(tmp_path / "extauthz", config) as service,
            running_front(
                tmp_path / "front", routes=[route], extauthz=[service.address], proxy_protocol_from=(BALANCER,)
            ) as front,
        ):

            def send(peer: str) -> Response:
                return http1(front.port, IDENTITY, source=BALANCER, preface=proxy_protocol(peer))

            wait_until(lambda: send(OLD).status == 200, "the address is trusted")
            (arrived,) = gateway.arrived
            assert arrived.values("x-authz-user") == [USER]
            assert send(NEW).status == 403
            names.records[NAME] = [NEW]
            wait_until(lambda: send(NEW).status == 200, "the new address is trusted")
            gateway.clear()
            refused = send(OLD)
            assert (refused.status, refused.json()["error"]) == (403, "trusted_proxy_untrusted_source")
            assert gateway.arrived == []
