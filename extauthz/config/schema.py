"""The schema of the configuration file (docs/configuration.md), as pydantic models. camelCase, unknown keys refused.

What one value may be is said in values.py; what concerns several values together in checks.py. Defaults live
here and nowhere else.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from extauthz.config.values import (
    AddressOrUnix,
    AssertionText,
    DnsServer,
    Duration,
    ExactAddress,
    FileName,
    GatewayId,
    HeaderName,
    Host,
    HostName,
    JwksLocation,
    ListenAddress,
    OriginEntry,
    Principal,
    ProxyEntry,
    RateText,
    RequiredHeader,
    TrustedPrincipal,
    UserHeader,
)

Mode = Literal["enforce", "shadow"]
AssertionAlgorithm = Literal["ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"]
Rate = Annotated[float, Field(ge=0, le=1)]
Listeners = Annotated[
    list[ListenAddress],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value, json_schema_input_type=str | list[str]),
    Field(min_length=1),
]


class Model(BaseModel):
    """What all parts of the schema share."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
        extra="forbid",
        strict=True,
        frozen=True,
    )

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return itself, which nobody changes: a default is the same in 10,000 gateways."""
        return self


class Listen(Model):
    """Where the service listens: host:port, [v6]:port or unix:/path; one or a list."""

    grpc: Listeners = Field(["127.0.0.1:9191"], description="Envoy's ext_authz over gRPC.")
    http: Listeners = Field(["127.0.0.1:9192"], description="The forward-auth doors and the JWKS.")
    admin: Listeners = Field(["127.0.0.1:9193"], description="Health, metrics, console.")


class CallersModel(Model):
    """Who may ask: an address here and, where principals are given, a client certificate with one of them."""

    addresses: list[AddressOrUnix] = Field(
        ["127.0.0.0/8", "::1", "unix"],
        min_length=1,
        description="Addresses, ranges, or `unix` for callers on a unix socket. The default is this host.",
    )
    principals: list[Principal] = Field([], description="SANs of client certificates; needs tls.clientCa.")


class GatewayCallers(Model):
    """Who may ask about one gateway: narrower than the service's callers."""

    addresses: list[AddressOrUnix] | None = Field(None, min_length=1, description="Not given: as the service's.")
    principals: list[Principal] = Field([], description="Needs tls.clientCa.")


class Tls(Model):
    """TLS at the gRPC door. The files are re-read when they change."""

    certificate: FileName = Field(description="PEM file: the server's certificate chain.")
    private_key: FileName = Field(description="PEM file: its private key.")
    client_ca: FileName | None = Field(None, description="PEM file: callers must show a certificate of this CA.")


class Server(Model):
    """How the doors are served."""

    engine: Literal["grpcio", "native"] = Field(
        "grpcio", description="The gRPC server; `native` is faster and has no TLS: docs/engines.md."
    )
    http_loop: Literal["asyncio", "uvloop"] = Field(
        "asyncio",
        description="What runs the HTTP doors; `uvloop` is faster and takes memory: docs/forward-auth.md.",
    )
    drain_seconds: int = Field(10, ge=0, le=3600, description="Time for what is under way after SIGTERM, in seconds.")
    max_concurrent: int = Field(1000, ge=1, le=100_000, description="Calls at once; more are refused.")


class Refusals(Model):
    """How many denials tell their reason; the others say that there were too many. An allow is not looked at."""

    per_peer: RateText | None = Field("100/minute", description="Of one address, or one IPv6 /64; null: any number.")
    per_user: RateText | None = Field(
        "20/minute", description="Of one user, as one trusted proxy names him; null: any number."
    )
    tracked: int = Field(
        10_000, ge=100, le=1_000_000, description="Addresses that are remembered, and as many users: 150 bytes each."
    )


class Limits(Model):
    """The size of what is read, and how much is refused in so many words."""

    message_bytes: int = Field(1_048_576, ge=1024, le=67_108_864, description="One CheckRequest, in bytes.")
    headers: int = Field(200, ge=1, le=10_000, description="Distinct header names in one request.")
    header_bytes: int = Field(16_384, ge=64, le=1_048_576, description="One header's name, or its value, in bytes.")
    refusals: Refusals | None = Field(
        None, description="Answers too many denials by 429: docs/refusal-limit.md. {} takes the defaults."
    )


class Stamp(Model):
    """The signed stamp."""

    enabled: bool = Field(True, description="Sign what is allowed.")
    issuer: str = Field("extauthz", min_length=1, max_length=256, description="The `iss` of every stamp.")
    algorithm: Literal["ES256", "EdDSA"] = Field("ES256", description="Of new keys.")
    keys: FileName = Field("./keys", description="Directory of private keys; re-read when it changes.")
    generate_keys: bool = Field(True, description="Make the first key if there is none; false for replicas.")
    lifetime: Duration = Field("60s", description="From `iat` to `exp`; whole seconds.")
    bind: list[Literal["method", "host", "path"]] = Field(
        ["method", "host"], min_length=1, description="What of the request a stamp holds for."
    )
    reuse: Duration = Field("5s", description="How long one stamp serves equal requests; 0s signs each.")


class HeaderNames(Model):
    """The names of the headers that the Gateway gets."""

    user: HeaderName = Field("x-authz-user", description="Carries the verified user.")
    gateway: HeaderName = Field("x-authz-gateway", description="Carries the gateway's id.")
    decision: HeaderName = Field("x-authz-decision", description="Carries the decision's id, as in the log.")
    stamp: HeaderName = Field("x-authz-stamp", description="Carries the signed stamp.")


class Denial(Model):
    """What a client who is denied gets to see."""

    body: Literal["json", "html", "empty"] = Field("json", description="html: a page for browsers, by Accept.")
    reason: bool = Field(True, description="false hides the reason from clients.")


class DecisionLog(Model):
    """One line per decision."""

    output: FileName = Field("stdout", description="stdout, none or a path.")
    allows: Rate = Field(1.0, description="The share of allows that is written; denials always are.")
    redact: list[str] = Field(["cookie", "authorization"], description="Headers whose values never appear.")
    rotate_bytes: int = Field(
        104_857_600, ge=0, le=1_099_511_627_776, description="Size at which a file is moved away; 0: never."
    )
    keep: int = Field(5, ge=1, le=1000, description="How many of the files moved away are kept.")


class Admin(Model):
    """The admin address."""

    token_file: FileName | None = Field(None, description="Bearer token; wanted beyond loopback.")
    hosts: list[HostName] = Field(
        [], description="Names under which the address is reached, beside `localhost` and every IP address."
    )


class Dns(Model):
    """How the names under `trustedProxies` are resolved (docs/peers.md); nothing is, where there are none."""

    servers: list[DnsServer] = Field(
        [], max_length=3, description="IP addresses of name servers, with `:port`; [] asks those of this host."
    )
    min_ttl: Duration = Field("5s", description="A name is asked about again after this at the soonest.")
    max_ttl: Duration = Field("30s", description="And after this at the latest, whatever its TTL is.")
    timeout: Duration = Field("2s", description="For one question, with all its tries and servers.")
    keep: Duration = Field("5m", description="How long the last good answer counts after its TTL, if none comes.")


class Accepted(Model):
    """An audit finding that someone saw and accepted."""

    id: str = Field(min_length=1, description="The finding's id.")
    gateway: str | None = Field(None, description="The gateway it is about; not given: the service.")
    by: str = Field(min_length=1, description="Who accepted it.")
    because: str = Field(min_length=1, description="Why.")


class AssertionModel(Model):
    """The signed token that the proxy sends beside its headers. What is not given is the preset's."""

    preset: Literal["pomerium", "cloudflare-access", "google-iap", "aws-alb", "oauth2-proxy"] | None = Field(
        None, description="The proxy, of which the other keys are taken: docs/assertions.md."
    )
    header: HeaderName | None = Field(None, description="The header that carries the token.")
    jwks: JwksLocation | None = Field(
        None,
        description="The issuer's keys: an https URL, an http URL of this host, or a file; `{kid}` for the key's id.",
    )
    jwks_ca: FileName | None = Field(None, description="PEM file: the authority of that URL. Default: this host's.")
    issuer: AssertionText | None = Field(None, description="The token's `iss`.")
    audience: Annotated[
        list[AssertionText] | None,
        BeforeValidator(
            lambda value: [value] if isinstance(value, str) else value, json_schema_input_type=str | list[str] | None
        ),
    ] = Field(None, min_length=1, max_length=16, description="The token's `aud`; one, or a list. Always wanted.")
    user_claim: AssertionText | None = Field(None, description="The claim that names the user. Default: `email`.")
    algorithms: list[AssertionAlgorithm] | None = Field(None, min_length=1, description="Accepted, and no other.")
    type: AssertionText = Field("JWT", description="The token's `typ`, where it has one.")
    max_age: Duration | None = Field(None, description="Since `iat`, whatever `exp` says. Default: `24h`.")
    leeway: Duration = Field("30s", description="By how much the clocks may differ.")
    keys_kept: Duration = Field("24h", description="How long the last good keys count while none can be fetched.")
    signer: AssertionText | None = Field(None, description="The token's `signer` (aws-alb: the load balancer's ARN).")


class TrustedProxy(Model):
    """The trusted-proxy rules of one gateway."""

    user_header: UserHeader | None = Field(None, description="The header in which the proxy names the user.")
    assertion: AssertionModel | None = Field(
        None, description="The proxy's signed token: it must name the same user, or names the user: docs/assertions.md."
    )
    required_headers: list[RequiredHeader] = Field([], description="Headers that must be there, in this order.")
    allow_users: list[str] = Field([], description="Exactly these users; [] allows everyone the proxy names.")
    allow_loopback: bool | None = Field(None, description="May the peer be loopback? Default: by the ruleset.")
    allow_comma_in_user: bool = Field(
        False, description="Users may have commas in their names, where the wire form proves a single header."
    )


class Auth(Model):
    """How the gateway authenticates: by its trusted proxy, nothing else."""

    mode: Literal["trusted-proxy"] = Field(description="`trusted-proxy`, the only one.")
    trusted_proxy: TrustedProxy | None = Field(None, description="The rules; without them all is denied.")


class ControlUi(Model):
    """The browser's origin."""

    allowed_origins: list[OriginEntry] = Field([], description="scheme://host[:port], or * for any.")
    dangerously_allow_host_header_origin_fallback: bool = Field(
        False, description="Allow an Origin that equals the request's Host, whatever that is."
    )


class GatewayModel(Model):
    """One Gateway and its rules. OpenClaw's own `gateway` object fits here as far as it concerns us."""

    hosts: list[Host] = Field([], description="Selects this gateway where the proxy names none.")
    callers: GatewayCallers | None = Field(None, description="Not given: as the service's.")
    peer: Literal["source", "caller"] = Field(
        "source", description="Whose word is taken: the connection that the proxy received, or the proxy that asks."
    )
    ruleset: Literal["standard", "openclaw-2026.2", "openclaw-2026.9"] = Field(
        "standard", description="Which steps are asked (docs/reasons.md)."
    )
    mode: Mode | None = Field(None, description="Default: as the service's.")
    trusted_proxies: list[ProxyEntry] = Field(
        [], description="Addresses and ranges of the identity-aware proxy, or `dns:NAME`: docs/peers.md."
    )
    trusted_principals: list[TrustedPrincipal] = Field(
        [], description="Principals of its client certificate, exact or with one * at the end: docs/peers.md."
    )
    require: Literal["any", "all"] = Field(
        "any", description="Where both are listed: a trusted address or a trusted principal, or both of them."
    )
    allow_real_ip_fallback: bool = Field(
        False, description="Take the client from X-Real-IP where X-Forwarded-For names none (openclaw-2026.9)."
    )
    local_interfaces: list[ExactAddress] | Literal["auto"] = Field(
        [], description="The Gateway host's own addresses, which are no proxy's; auto: this host's (openclaw-2026.9)."
    )
    auth: Auth | None = Field(None, description="How the gateway authenticates.")
    control_ui: ControlUi = Field(ControlUi(), description="The browser's Origin.")


class Settings(Model):
    """The whole file. A minimal one is `gateways` alone."""

    listen: Listen = Listen()
    callers: CallersModel = CallersModel()
    tls: Tls | None = None
    server: Server = Server()
    limits: Limits = Limits()
    stamp: Stamp = Stamp()
    headers: HeaderNames = HeaderNames()
    denial: Denial = Denial()
    decision_log: DecisionLog = DecisionLog()
    admin: Admin = Admin()
    dns: Dns = Dns()
    mode: Mode = Field("enforce", description="shadow: denials are told and not enforced, and no identity passes.")
    accepted: list[Accepted] = Field([], description="Audit findings that someone saw and accepted.")
    gateways: dict[GatewayId, GatewayModel] = Field(
        min_length=1, description="By id: a DNS label, which the proxy's configuration names."
    )
