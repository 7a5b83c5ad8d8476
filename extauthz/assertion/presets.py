"""What identity-aware proxies are known to send: data, a few lines for each.

In `issuer` and `jwks` a name in braces stands for what the gateway's own configuration says. `{kid}` stays: there the
key of each token is fetched.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """What is taken for granted of one proxy; whatever the configuration says itself comes first.

    Attributes:
        title: What the proxy is called.
        header: The header that carries the token.
        algorithms: What it is signed with.
        audience: What the operator has to write as the audience.
        issuer: `iss`; "" where the operator has to say.
        issuer_is: What the operator then has to write.
        jwks: Where its keys are; "" where the operator has to say.
        user_claim: The claim that names the user.
        max_age: How old a token may be.
        signer: The header names who signed it, and that has to be pinned: what to write; "" where it does not.
        claims_in_header: As in `Rules`.
        padded: As in `Rules`.
        sends: How the names of the headers begin by which the proxy is recognised.
    """

    title: str
    header: str
    algorithms: tuple[str, ...]
    audience: str
    issuer: str = ""
    issuer_is: str = "the identity provider's `issuer`, as its OpenID configuration has it"
    jwks: str = ""
    user_claim: str = "email"
    max_age: str = "24h"
    signer: str = ""
    claims_in_header: bool = False
    padded: bool = False
    sends: tuple[str, ...] = ()


PRESETS: Final = {
    "pomerium": Preset(
        title="Pomerium",
        header="x-pomerium-jwt-assertion",
        algorithms=("ES256",),
        audience="the host of the route's `from`, such as openclaw.example.com",
        issuer="{audience}",
        jwks="https://{audience}/.well-known/pomerium/jwks.json",
        max_age="10m",
        sends=("x-pomerium-",),
    ),
    "cloudflare-access": Preset(
        title="Cloudflare Access",
        header="cf-access-jwt-assertion",
        algorithms=("RS256",),
        audience="the application's Audience (AUD) tag",
        issuer_is="your team's address, such as https://TEAM.cloudflareaccess.com",
        jwks="{issuer}/cdn-cgi/access/certs",
        sends=("cf-access-",),
    ),
    "google-iap": Preset(
        title="Google Identity-Aware Proxy",
        header="x-goog-iap-jwt-assertion",
        algorithms=("ES256",),
        audience="the Signed Header JWT Audience, such as /projects/NUMBER/global/backendServices/ID",
        issuer="https://cloud.google.com/iap",
        jwks="https://www.gstatic.com/iap/verify/public_key-jwk",
        max_age="10m",
        sends=("x-goog-iap-", "x-goog-authenticated-user-"),
    ),
    "aws-alb": Preset(
        title="AWS Application Load Balancer",
        header="x-amzn-oidc-data",
        algorithms=("ES256",),
        audience="the client id with which the load balancer signs people in",
        jwks="https://public-keys.auth.elb.{region}.amazonaws.com/{kid}",
        max_age="1h",
        signer="the load balancer's ARN, arn:aws:elasticloadbalancing:REGION:ACCOUNT:loadbalancer/app/NAME/ID",
        claims_in_header=True,
        padded=True,
        sends=("x-amzn-oidc-",),
    ),
    "oauth2-proxy": Preset(
        title="oauth2-proxy",
        header="authorization",
        algorithms=("RS256",),
        audience="the client id with which oauth2-proxy signs people in",
    ),
}
