"""The configurations of Traefik, Caddy and nginx as text: accepted by the real programs, and closed to injection."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from extauthz.cli import main
from extauthz.proxies import caddy, forward_auth, nginx, traefik
from support.http_proxies import NAMES, complaint, settings
from support.ports import free_port

every_proxy = pytest.mark.parametrize("dialect", NAMES)
RENDER: Final[dict[str, Callable[[Any], str]]] = {
    "traefik": traefik.render,
    "caddy": caddy.render,
    "nginx": nginx.render,
}
PLAIN: Final[dict[str, Any]] = {
    "gateway": "openclaw",
    "upstream": "127.0.0.1:18789",
    "user_header": "X-Forwarded-User",
}
STEP: Final = {"authenticate": "http://127.0.0.1:4180/oauth2/auth"}

VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "plain": {},
    "fronts": {"fronts": ("10.0.0.7", "10.0.1.0/28", "10.0.1.5/28", "2001:db8::/32", "::1")},
    "authenticates": STEP,
    "authenticates-with-more": {
        **STEP,
        "user_header": "x-auth-request-email",
        "authenticated_headers": ("X-Auth-Request-User", "x-auth-request-email"),
        "sign_in": "/oauth2/",
        "fronts": ("10.0.9.0/24",),
    },
    "identity-in-a-stamped-header": {"user_header": "x-authz-user"},
    "identity-in-a-stamped-header-authenticates": {"user_header": "x-authz-user", **STEP},
    "own-names": {"headers": ("X-Verified-User", "x-2fa", "stamp")},
    "ipv6": {"upstream": "[2001:db8::9]:80", "extauthz": ("[::1]:9192",)},
    "names": {"upstream": "localhost:80", "extauthz": ("localhost:9192",)},
    "limits": {"timeout": 0.1, "idle_timeout": 1},
    "limits-high": {"timeout": 10, "idle_timeout": 86_400},
}


def text(dialect: str, directory: Path, **changed: Any) -> str:
    """A configuration, with changes, for a free port."""
    told = {**PLAIN, "listen": f"127.0.0.1:{free_port()}", **changed}
    return RENDER[dialect](settings(dialect, directory, **told))


@every_proxy
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_real_program_accepts_every_variant(dialect: str, variant: str, tmp_path: Path) -> None:
    assert complaint(dialect, tmp_path, text(dialect, tmp_path, **VARIANTS[variant])) is None


@pytest.mark.parametrize("dialect", ["caddy", "nginx"])
def test_several_processes_of_extauthz_are_all_asked(dialect: str, tmp_path: Path) -> None:
    written = text(dialect, tmp_path, extauthz=("127.0.0.1:9192", "[::1]:9292", "127.0.0.1:9192"))
    assert complaint(dialect, tmp_path, written) is None
    assert "127.0.0.1:9192" in written
    assert "[::1]:9292" in written


def test_traefik_asks_at_one_address(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="asks at one address"):
        text("traefik", tmp_path, extauthz=("127.0.0.1:1", "127.0.0.1:2"))


def test_caddy_authenticates_with_directives_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "who.caddy"
    file.write_text(
        "basic_auth {\n\tnick $2a$04$vVCjXSzZwMOAfcMBUX5IMOJTHMiGsgqTBXEh8mkQXHTZE2zMvPjDm\n}\n", encoding="utf-8"
    )
    assert complaint("caddy", tmp_path, text("caddy", tmp_path, authentication_file=str(file))) is None


@every_proxy
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_overwrites_what_is_stamped_and_names_the_gateway(
    dialect: str, variant: str, tmp_path: Path
) -> None:
    changed = {**PLAIN, **VARIANTS[variant]}
    written = text(dialect, tmp_path, **VARIANTS[variant])
    assert f"/forward-auth/{dialect}/openclaw" in written
    for name in (*changed.get("headers", forward_auth.STAMPED_HEADERS), changed["user_header"]):
        assert answered(dialect, written, name.lower()), name


def answered(dialect: str, written: str, name: str) -> bool:
    """Whether a configuration gives the Gateway this header as extauthz answers it."""
    if dialect == "traefik":
        headers = yaml.safe_load(written)["http"]["middlewares"]["extauthz"]["forwardAuth"]["authResponseHeaders"]
        return name in headers
    low = written.lower()
    if dialect == "caddy":
        return f"request_header -{name}\n" in low and f"{name} {{http.reverse_proxy.header.{name}}}" in low
    return f"proxy_set_header {name} $answered_{name.replace('-', '_')};" in low


HOSTILE: Final = (
    'a"b',
    "a\nb: c",
    "a; b",
    "a # b",
    "a { b }",
    "{env.HOME}",
    "{{ 7 * 7 }}",
    "$remote_addr",
    "${x}",
    "a`b",
    "a'b",
    "a\\b",
    "*",
    "a\x00b",
    "a\u2028b",
    "a b",
    "..",
    "é",
    "",
)


@every_proxy
@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_with_syntax_in_it_is_refused(dialect: str, value: str) -> None:
    attempts: list[dict[str, Any]] = [
        {"gateway": value},
        {"upstream": f"{value}:80"},
        {"upstream": f"127.0.0.1:{value}"},
        {"listen": f"{value}:80"},
        {"extauthz": (f"{value}:80",)},
        {"user_header": value},
        {"user_header": f"x-{value or ' '}-user"},
        {"headers": (f"x{value}",)} if value else {"headers": ()},
        {"fronts": (value,)},
        {"authenticate": value},
        {"authenticate": f"http://{value}/x"},
        {"authenticate": f"http://127.0.0.1/{value or '//'}"},
        {**STEP, "authenticated_headers": (value,)},
        {**STEP, "sign_in": f"/{value}/"},
    ]
    own = {"traefik": ["file"], "caddy": ["authentication_file"]}
    for name in own.get(dialect, ["directory", "pid", "error_log", "access_log"]):
        attempts += [{name: value}, {name: f"/{value}"}]
    for changed in attempts:
        with pytest.raises(ValueError, match=f"^{list(changed)[-1]}"):
            plain(dialect, **changed)


def plain(dialect: str, **changed: Any) -> forward_auth.Settings:
    """Settings with changes, and every other as it is by default."""
    made: Any = {"traefik": traefik, "caddy": caddy, "nginx": nginx}[dialect].Settings
    found: forward_auth.Settings = made(**{**PLAIN, **changed})
    return found


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"user_header": "Host"}, "steers proxies"),
        ({"user_header": "x-forwarded-for"}, "user_header"),
        ({"user_header": "x_user"}, "letters, digits and -"),
        ({"headers": ("x.authz.user",)}, "letters, digits and -"),
        ({"headers": ("X-Original-URI",)}, "headers"),
        ({"headers": ()}, "at least one stamped header"),
        ({"extauthz": ()}, "at least one address"),
        ({"extauthz": ("unix:/run/extauthz/http.sock",)}, "host:port"),
        ({"fronts": ("0.0.0.0/0",)}, "this is everybody"),
        ({"fronts": ("10.0.0.7", "::/0")}, "this is everybody"),
        ({"authenticate": "https://127.0.0.1/x"}, "http://host:port/path"),
        ({"authenticate": "http://127.0.0.1/x?y"}, "a path such as"),
        ({"authenticated_headers": ("x-a",)}, "no step that authenticates"),
        ({**STEP, "passed": ("x-real-ip",)}, "nobody in front"),
        ({"fronts": ("fe80::1%eth0",)}, "fronts: .*without a zone"),
        ({"fronts": ("::ffff:0:0/96",)}, "this is everybody"),
        ({"user_header": "x-http-method-override"}, "user_header"),
        ({"sign_in": "/oauth2/"}, "no service that authenticates"),
        ({**STEP, "sign_in": "/"}, "a path such as /oauth2/"),
        ({**STEP, "sign_in": "/oauth2"}, "a path such as /oauth2/"),
        ({"timeout": 0}, "timeout: 0"),
        ({"timeout": float("nan")}, "timeout: nan"),
        ({"idle_timeout": 0.5}, "idle_timeout"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(changed: dict[str, Any], said: str) -> None:
    for dialect in NAMES:
        with pytest.raises(ValueError, match=said):
            plain(dialect, **changed)


@examples(deadline=None)
@given(st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x2FF), min_size=1, max_size=40))
def test_no_header_name_becomes_syntax(name: str) -> None:
    for dialect in NAMES:
        try:
            made = plain(dialect, headers=(name,))
        except ValueError:
            continue
        written = RENDER[dialect](made)
        assert answered(dialect, written, name.strip().lower())
        assert len(written.splitlines()) == len(RENDER[dialect](plain(dialect, headers=("x-a",))).splitlines())


def command(dialect: str, folder: Path, gateway: dict[str, Any], *options: str) -> Any:
    """What `proxy-config` says to a file with one gateway."""
    file = folder / "extauthz.yaml"
    rules = {"mode": "trusted-proxy", "trustedProxy": {"userHeader": "X-Forwarded-User"}}
    gateways = {"openclaw": {"trustedProxies": ["10.0.0.7"], "auth": rules, **gateway}}
    file.write_text(yaml.safe_dump({"headers": {"stamp": "x-signed"}, "gateways": gateways}), encoding="utf-8")
    return CliRunner().invoke(main, ["proxy-config", dialect, "--config", str(file), *options])


@every_proxy
def test_the_command_writes_what_follows_from_the_file(dialect: str, tmp_path: Path) -> None:
    own = settings(dialect, tmp_path, **PLAIN)
    options = ["--upstream=127.0.0.1:18789", f"--listen=127.0.0.1:{free_port()}"]
    if dialect == "traefik":
        options.append(f"--file={own.file}")
    if dialect == "nginx":
        options += [f"--directory={own.directory}", f"--pid={own.pid}", f"--error-log={own.error_log}"]
        options.append(f"--access-log={own.access_log}")
    written = command(dialect, tmp_path, {}, *options)
    assert written.exit_code == 0, written.output
    assert complaint(dialect, tmp_path, written.stdout) is None
    assert "10.0.0.7/32" in written.stdout
    assert "127.0.0.1:9192" in written.stdout
    assert answered(dialect, written.stdout, "x-signed")


def rules(*required: str) -> dict[str, Any]:
    """A gateway's auth that requires these headers."""
    proxy = {"userHeader": "X-Forwarded-User", "requiredHeaders": list(required)}
    return {"auth": {"mode": "trusted-proxy", "trustedProxy": proxy}}


@every_proxy
def test_a_required_header_that_a_client_could_send_is_the_steps_to_say(dialect: str, tmp_path: Path) -> None:
    gateway = {"peer": "caller", **rules("X-Proof", "X-Forwarded-Proto", "X-Signed")}
    options = ["--upstream=a:1", "--authenticate=http://127.0.0.1:4180/auth"]
    written = command(dialect, tmp_path, gateway, *options).stdout.lower()
    removed = {"traefik": 'x-proof"]', "caddy": "request_header -x-proof\n", "nginx": 'proxy_set_header x-proof "";'}
    assert removed[dialect] in written.replace('"x-proof": ""', 'x-proof: ""')


@every_proxy
@pytest.mark.parametrize("name", ["Cookie", "Host", "X-Real-IP", "X_Proof"])
def test_a_required_header_that_proves_nothing_is_refused_where_the_proxy_authenticates(
    dialect: str, name: str, tmp_path: Path
) -> None:
    options = ["--upstream=a:1", "--authenticate=http://127.0.0.1:4180/auth"]
    refused = command(dialect, tmp_path, {"peer": "caller", **rules(name)}, *options)
    assert refused.exit_code == 2
    assert f"requiredHeaders: '{name.lower()}' proves nothing" in " ".join(refused.output.split())


@every_proxy
def test_the_command_reads_the_proxies_in_front_as_the_file_does(dialect: str, tmp_path: Path) -> None:
    listed = ["::ffff:10.0.0.7", "::ffff:10.1.0.0/112", "[2001:db8::1]"]
    written = command(dialect, tmp_path, {"trustedProxies": listed}, "--upstream=a:1")
    assert written.exit_code == 0, written.output
    assert all(one in written.stdout for one in ("10.0.0.7/32", "10.1.0.0/16", "2001:db8::1/128"))


@every_proxy
def test_a_zone_of_a_proxy_in_front_is_refused_with_its_place(dialect: str, tmp_path: Path) -> None:
    refused = command(dialect, tmp_path, {"trustedProxies": ["10.0.0.7", "fe80::1%eth0"]}, "--upstream=a:1")
    assert refused.exit_code == 2
    assert "gateways.openclaw.trustedProxies[1]" in refused.output


@every_proxy
@pytest.mark.parametrize(
    ("gateway", "options", "said"),
    [
        ({}, ["--upstream=x"], "upstream: 'x' is refused"),
        ({}, ["--upstream=a:1", "--gateway=other"], "The file has openclaw"),
        ({}, ["--upstream=a:1", "--authenticate=http://a/x"], "set `peer: caller`"),
        ({"peer": "caller"}, ["--upstream=a:1"], "a client could name any user"),
        ({"auth": {"mode": "trusted-proxy"}}, ["--upstream=a:1"], "userHeader: is missing"),
    ],
)
def test_the_command_refuses_what_would_let_anyone_in(
    dialect: str, gateway: dict[str, Any], options: list[str], said: str, tmp_path: Path
) -> None:
    refused = command(dialect, tmp_path, gateway, *options)
    assert refused.exit_code == 2
    assert said in refused.output
