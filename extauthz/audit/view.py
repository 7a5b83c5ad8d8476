"""What the auditor sees of one Gateway, whichever file says it; and how extauthz.yaml does."""

from dataclasses import dataclass

from extauthz.audit.ranges import Entry
from extauthz.config.peer_names import is_name
from extauthz.config.schema import AssertionModel, GatewayModel
from extauthz.core.address import parse_entry
from extauthz.core.rulesets import RULESETS
from extauthz.core.text import trim


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """What OpenClaw's file has and nobody could act on.

    Attributes:
        types: Values of a type that OpenClaw does not take.
        proxies: Entries of `trustedProxies` that are no address or range in canonical form.
        origins: Entries of `allowedOrigins` that are no origin.
        references: Values that stand in the environment, so that the audit did not see them.
    """

    types: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenClawFacts:
    """What an openclaw.json says beside the rules.

    Attributes:
        auth_mode: `auth.mode`; None where it does not say.
        bind: Where the Gateway listens: loopback, lan, tailnet, auto, custom.
        ui: The Control UI is served.
        token: There is an `auth.token`, whatever it is.
        password: There is an `auth.password`.
        unreadable: What is wrong in the file.
    """

    auth_mode: str | None
    bind: str
    ui: bool
    token: bool
    password: bool
    unreadable: Unreadable = Unreadable()

    @property
    def beyond_loopback(self) -> bool:
        """Other hosts may reach the Gateway's port."""
        return self.bind != "loopback"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayView:
    """One Gateway's rules.

    Attributes:
        place: Where they stand in the file: gateways.openclaw, or gateway.
        delegated: A trusted proxy says who the user is.
        proxies: Who that is.
        proxies_missing: The file has no entry at all, of principals neither; not only none that can be read.
        names: The names among them, each with its place; what they stand for is not asked.
        searched: This host's search list completes such a name.
        principals: Whose certificates make a trusted proxy; as configured.
        require_all: An address and a principal are wanted, not one of both.
        user_header: Trimmed; "" where there is none.
        required_headers: As configured.
        allow_users: As configured.
        allow_comma_in_user: A user may have a comma in the name.
        allow_loopback: As configured; None where the file does not say.
        loopback_by_default: What then holds.
        real_ip_fallback: `allowRealIpFallback`.
        allowed_origins: Trimmed.
        host_origin_fallback: `controlUi.dangerouslyAllowHostHeaderOriginFallback`.
        shadow: This gateway's own mode is shadow.
        assertion: `auth.trustedProxy.assertion`; None where there is none.
        openclaw: What only an openclaw.json says; None for a gateway of ours.
    """

    place: str
    delegated: bool
    proxies: tuple[Entry, ...]
    proxies_missing: bool
    user_header: str
    required_headers: tuple[str, ...]
    allow_users: tuple[str, ...]
    allow_comma_in_user: bool
    allow_loopback: bool | None
    loopback_by_default: bool
    real_ip_fallback: bool
    allowed_origins: tuple[str, ...]
    host_origin_fallback: bool
    shadow: bool = False
    names: tuple[tuple[str, str], ...] = ()
    searched: bool = True
    principals: tuple[str, ...] = ()
    require_all: bool = False
    assertion: AssertionModel | None = None
    openclaw: OpenClawFacts | None = None

    @property
    def rules(self) -> str:
        """The place of the trusted-proxy rules."""
        return f"{self.place}.auth.trustedProxy"


def view_of(name: str, gateway: GatewayModel, *, searched: bool = True) -> GatewayView:
    """Return the view of a gateway of extauthz.yaml; `searched` says that a search list completes its names."""
    place = f"gateways.{name}"
    rules = gateway.auth.trusted_proxy if gateway.auth is not None else None
    return GatewayView(
        place=place,
        delegated=True,
        proxies=tuple(
            Entry(f"{place}.trustedProxies[{position}]", parse_entry(text))
            for position, text in enumerate(gateway.trusted_proxies)
            if not is_name(text)
        ),
        names=tuple(
            (f"{place}.trustedProxies[{position}]", trim(text))
            for position, text in enumerate(gateway.trusted_proxies)
            if is_name(text)
        ),
        searched=searched,
        proxies_missing=not (gateway.trusted_proxies or gateway.trusted_principals),
        user_header=trim(rules.user_header or "") if rules else "",
        required_headers=tuple(rules.required_headers) if rules else (),
        allow_users=tuple(rules.allow_users) if rules else (),
        allow_comma_in_user=rules.allow_comma_in_user if rules else False,
        allow_loopback=rules.allow_loopback if rules else None,
        loopback_by_default=RULESETS[gateway.ruleset].allow_loopback,
        real_ip_fallback=gateway.allow_real_ip_fallback,
        allowed_origins=tuple(map(trim, gateway.control_ui.allowed_origins)),
        host_origin_fallback=gateway.control_ui.dangerously_allow_host_header_origin_fallback,
        shadow=gateway.mode == "shadow",
        assertion=rules.assertion if rules else None,
        principals=tuple(gateway.trusted_principals),
        require_all=gateway.require == "all",
    )
