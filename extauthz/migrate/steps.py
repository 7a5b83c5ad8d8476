"""The six steps from OpenClaw's own authentication to extauthz, filled in for one installation, and the way back.

Shadow mode first, then enforce. Each step is texts with the commands that belong to them; commands run in the folder in
which everything was written.
"""

import json
import shlex
from dataclasses import dataclass
from typing import Final

from extauthz.migrate.found import Found
from extauthz.migrate.notes import Note

SERVE: Final = "extauthz serve --config extauthz.yaml"
_CHECK: Final = "extauthz check --config extauthz.yaml"
_REPLAY: Final = (
    "sed 's/^    mode: shadow$/    mode: enforce/' extauthz.yaml > enforce.yaml",
    "extauthz explain --config enforce.yaml --before extauthz.yaml --replay decisions.jsonl",
)
_BEFORE: Final = ".before-extauthz"
_ASKS_ITSELF: Final = frozenset({"token", "password"})


@dataclass(frozen=True, slots=True)
class Part:
    """Something to do: what and why, and the commands for it."""

    text: str
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One of the six steps, or the way back."""

    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the steps are filled in with. Every text is of a checked grammar, and none is a secret."""

    found: Found
    source: str
    """OpenClaw's file, as seen from the folder in which everything was written."""
    gateway: str
    proxy: str | None
    """envoy, traefik, caddy, nginx; None: its configuration is not written yet."""
    listen: str
    upstream: str | None
    """None: nobody said where OpenClaw listens."""
    peer: str
    """An address in trustedProxies, for examples."""
    proxy_addresses: tuple[str, ...]
    """From where the proxy calls OpenClaw."""
    user_header: str
    required_headers: tuple[str, ...]
    user: str
    host: str
    """The host that people use; "" if it is not known."""
    shadow: bool
    """Whether our file begins in shadow mode, or will once nothing is open."""
    open: tuple[Note, ...]
    again: str
    """The command that writes everything again, with what was left open."""
    included: tuple[str, ...]
    """Files that OpenClaw's file includes for its `gateway` block."""


_START: Final = {
    "envoy": ("envoy --mode validate -c envoy.yaml", "envoy -c envoy.yaml"),
    "traefik": ('traefik --configFile="$PWD/traefik.yaml"',),
    "caddy": (
        "caddy validate --adapter caddyfile --config Caddyfile",
        "caddy run --adapter caddyfile --config Caddyfile",
    ),
    "nginx": ('nginx -t -c "$PWD/nginx.conf"', 'nginx -c "$PWD/nginx.conf"'),
}


def six_steps(site: Site) -> tuple[Step, ...]:
    """Return the steps in their order."""
    return (
        Step("Configure the proxy", tuple(_configure(site))),
        Step("Test the proxy by itself", tuple(_test(site))),
        Step("Change OpenClaw's configuration", tuple(_change(site))),
        Step("Restart the Gateway", tuple(_restart(site))),
        Step("Test the WebSocket, then enforce", tuple(_enforce(site))),
        Step("Audit", tuple(_audit(site))),
    )


def _configure(site: Site) -> list[Part]:
    parts = []
    if site.open:
        missing = "\n".join(f"- `{note.path}`: {note.text}" for note in site.open)
        parts.append(
            Part(
                f"These places are open, and until they are filled in **everything is denied**:\n\n{missing}\n\n"
                "Say them as options and write everything again:",
                (site.again,),
            )
        )
    header = f"`{site.user_header}`" if site.user_header else "the header that you choose"
    parts += [
        Part(
            "The identity-aware proxy signs people in. It has to overwrite "
            f"{header} on every request, WebSocket upgrades too, so that no client's own copy passes."
        ),
        Part("Check our file and start extauthz:", (_CHECK, SERVE)),
    ]
    if site.proxy is None:
        target = site.upstream or "HOST:PORT"
        write = (
            f"extauthz proxy-config envoy --config extauthz.yaml --gateway {site.gateway} "
            f"--upstream {site.gateway}={target} --output envoy.yaml"
        )
        parts.append(
            Part(
                "Write the configuration of the proxy that asks extauthz, and start it. Traefik, Caddy and nginx are "
                "written by the same command (`extauthz proxy-config --help`):",
                (write, *_START["envoy"]),
            )
        )
    else:
        parts.append(
            Part(
                f"Start the proxy that asks extauthz, on {site.listen}, in front of OpenClaw on {site.upstream}. "
                "TLS and more endpoints: `extauthz proxy-config "
                f"{site.proxy} --help`, with the same names.",
                _START[site.proxy],
            )
        )
    return parts


def _explain(site: Site, user: str, peer: str) -> str:
    headers = [f"{site.user_header or 'x-forwarded-user'}: {user}", *(f"{name}: x" for name in site.required_headers)]
    headers.append("x-forwarded-for: 203.0.113.10")
    said = " ".join(f"-H {shlex.quote(header)}" for header in headers)
    return f"extauthz explain --config extauthz.yaml --gateway {site.gateway} --peer {peer} {said}"


def _test(site: Site) -> list[Part]:
    host = f"-H {shlex.quote(f'host: {site.host}')} " if site.host else ""
    stranger = Part(
        "Send a request as a stranger, past the identity-aware proxy, and look for it in the decision log:",
        (
            f"curl -sS -o /dev/null -w '%{{http_code}}\\n' {host}http://{site.listen}/",
            "tail -n 5 decisions.jsonl",
        ),
    )
    return [
        Part(
            "Ask what would be decided, without sending anything. The first is allowed; the second is not, for it "
            "comes from no trusted proxy:",
            (_explain(site, site.user, site.peer), _explain(site, site.user, "192.0.2.1")),
        ),
        *_before_opening(site),
        stranger,
        *_opening(site),
    ]


def _before_opening(site: Site) -> list[Part]:
    """Have an OpenClaw that goes on asking for its token take requests from the proxy."""
    if site.found.mode not in _ASKS_ITSELF:
        return []
    entries = json.dumps([*site.found.trusted_proxies, *site.proxy_addresses])
    text = (
        "OpenClaw refuses requests with an X-Forwarded-For unless it knows who wrote that. Keep what you have, and add "
        "the proxy. This alone lets nobody in"
    )
    if site.included:
        return [Part(f"{text}. In the file that has it: `gateway.trustedProxies: {entries}`.", (_backup(site),))]
    set_ = f"openclaw config set gateway.trustedProxies {shlex.quote(entries)} --strict-json"
    return [Part(f"{text}:", (_backup(site), set_))]


def _opening(site: Site) -> list[Part]:
    """Say who is sent through the proxy now, and what to look for."""
    if site.found.mode == "trusted-proxy":
        return [
            Part(
                "The identity-aware proxy still has OpenClaw itself as its upstream, and nothing changes for anybody. "
                "Requests of your own through the new proxy get 401 or 403 from OpenClaw until step 4."
            )
        ]
    if site.found.mode == "none":
        return [
            Part(
                "OpenClaw asks nobody who they are until step 4. So extauthz enforces from the start; keep the "
                "proxy on loopback until then."
            )
        ]
    return [
        Part(
            f"Have the identity-aware proxy send its requests to {site.listen}. In shadow mode everything reaches "
            f"OpenClaw as before, and its {site.found.mode} decides; extauthz only writes down what it would deny. "
            "Let that run until everybody was there once. What would enforcing change? Go on when only strangers would "
            "be denied:",
            _REPLAY,
        )
    ]


def _backup(site: Site) -> str:
    return f"cp -p {shlex.quote(site.source)} {shlex.quote(site.source + _BEFORE)}"


def _change(site: Site) -> list[Part]:
    parts = [] if site.found.mode in _ASKS_ITSELF else [Part("Keep what you have:", (_backup(site),))]
    if site.included:
        files = ", ".join(f"`{name}`" for name in site.included)
        parts.append(
            Part(
                f"The `gateway` block comes out of several files ({files}), which OpenClaw does not write to: change "
                "them by hand to what `openclaw.gateway.json5` says."
            )
        )
    else:
        parts.append(
            Part(
                "Let OpenClaw make the change; it touches nothing but what `openclaw.patch.json5` names:",
                (
                    "openclaw config patch --file openclaw.patch.json5 --dry-run",
                    "openclaw config patch --file openclaw.patch.json5",
                ),
            )
        )
        parts.append(
            Part(
                "Or by hand: `openclaw.gateway.json5` is the whole block. Its head says which lines of yours it leaves "
                "out, because a secret may be in them; keep those."
            )
        )
    return parts


def _restart(site: Site) -> list[Part]:
    names = " ".join(site.found.variables)
    parts = [
        Part(
            "Take the old token and password out of OpenClaw's environment: its service, `.env` beside its state, "
            "`env.vars` in its file, your shell. With a token there it does not start:",
            (f"unset {names}", "openclaw gateway restart"),
        )
    ]
    if site.found.mode == "trusted-proxy":
        parts.append(
            Part(f"Now have the identity-aware proxy send its requests to {site.listen}, and no longer to OpenClaw.")
        )
    if site.upstream:
        ask = f"curl -sS -o /dev/null -w '%{{http_code}}\\n' http://{site.upstream}/tools/invoke"
        body = """-H 'content-type: application/json' -d '{"tool": "sessions_list"}'"""
        parts.append(
            Part(
                "OpenClaw itself refuses who does not come through the proxy, with 401 and no reason:",
                (f"{ask} {body}",),
            )
        )
    return parts


def _enforce(site: Site) -> list[Part]:
    proxy = f" --proxy {site.proxy}" if site.proxy else ""
    url = f"https://{site.host or 'HOST'}/"
    parts = [
        Part(
            f"Open {url} in a browser, sign in, and say something to the Control UI: the WebSocket is one request with "
            "the same headers. When it closes with 1008 the text says why; docs/openclaw.md lists them."
        )
    ]
    if site.shadow:
        parts.append(
            Part(
                "Let that run until everybody was there once. What extauthz would deny, OpenClaw refuses meanwhile, "
                "for it gets no identity. What would enforcing change?",
                _REPLAY,
            )
        )
        parts.append(
            Part(
                "When only strangers would be denied, enforce. extauthz reads its file again by itself:",
                ("mv enforce.yaml extauthz.yaml", _CHECK),
            )
        )
    parts.append(
        Part(
            "Try to get past it, as everybody on the network can:",
            (f"extauthz probe {url} --config extauthz.yaml{proxy}",),
        )
    )
    return parts


def _audit(site: Site) -> list[Part]:
    return [
        Part(
            "Both say that authentication is delegated to a proxy: that is meant to be seen, and accepted by name "
            "under `accepted`. What else they find is to be mended:",
            (
                "extauthz audit --config extauthz.yaml",
                f"extauthz audit {shlex.quote(site.source)}",
                "openclaw security audit",
            ),
        )
    ]


def way_back(site: Site) -> Step:
    """Return how everything becomes as it was."""
    source = shlex.quote(site.source)
    parts = [
        Part(
            "Until step 3 OpenClaw decides as before: have people go to it as before, and stop the new proxy and "
            "extauthz."
        ),
        Part(
            "After it, put back the file, and into its environment what was taken out:",
            (f"cp -p {shlex.quote(site.source + _BEFORE)} {source}", "openclaw gateway restart"),
        ),
    ]
    if site.shadow:
        parts.append(
            Part(
                "Only extauthz in the way? `mode: shadow` in extauthz.yaml lets everything through to OpenClaw, "
                "without any identity."
            )
        )
    return Step("The way back", tuple(parts))
