"""What is asked in the measurements: a request of about 900 bytes with 16 headers, as a browser sends it."""

from typing import Final

from extauthz.config.load import loads
from extauthz.wire.pb import check_pb2 as pb

HEADERS: Final = {
    ":authority": "gateway.example.com",
    ":method": "GET",
    ":path": "/chat?session=main",
    ":scheme": "https",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-encoding": "gzip, deflate, br",
    "accept-language": "en-US,en;q=0.9",
    "cookie": "session=0123456789abcdef0123456789abcdef; theme=dark",
    "referer": "https://gateway.example.com/",
    "sec-fetch-site": "same-origin",
    "x-request-id": "b1946ac9-2f0e-4f2c-8a54-1f1c1d3bfa9a",
    "x-forwarded-for": "203.0.113.10",
    "x-forwarded-host": "gateway.example.com",
    "x-forwarded-proto": "https",
    "x-forwarded-user": "nick@example.com",
}
USER: Final = "nick@example.com"
PEER: Final = "10.0.0.7"

CONFIGURATION: Final = """
stamp: {{enabled: {stamp}, reuse: {reuse}}}
gateways:
  openclaw:
    ruleset: {ruleset}
    trustedProxies: [10.0.0.7]
    auth:
      mode: trusted-proxy
      trustedProxy:
        userHeader: x-forwarded-user
        requiredHeaders: [x-forwarded-proto, x-forwarded-host]
        allowUsers: [nick@example.com]
"""


def configuration(*, ruleset: str = "standard", stamp: bool = False, reuse: str = "5s") -> str:
    """Return a configuration that allows the message below."""
    text = CONFIGURATION.format(ruleset=ruleset, stamp=str(stamp).lower(), reuse=reuse)
    loads(text)
    return text


def message(*, raw: bool, gateway: str = "openclaw", user: str = USER, peer: str = PEER, extra: int = 0) -> bytes:
    """Return a CheckRequest in one of the two header encodings, with `extra` headers more."""
    check = pb.CheckRequest()
    check.attributes.context_extensions["gateway"] = gateway
    check.attributes.source.address.socket_address.address = peer.encode()
    http = check.attributes.request.http
    http.id, http.method, http.path = "1234567890", "GET", HEADERS[":path"]
    http.host, http.scheme, http.protocol = HEADERS[":authority"], "https", "HTTP/1.1"
    headers = HEADERS | {"x-forwarded-user": user} | {f"x-extra-{number}": "value" for number in range(extra)}
    for name, value in headers.items():
        if raw:
            http.header_map.headers.add(key=name, raw_value=value.encode())
        else:
            http.headers[name] = value.encode()
    return check.SerializeToString()
