"""For every alert: what makes it fire, and what is near to that and does not. In promtool's notation of series."""

from dataclasses import dataclass, field

EXTAUTHZ = 'job="extauthz",instance="a"'


@dataclass(frozen=True)
class Case:
    """Series, as promtool has them, a value each minute, and the alerts that fire at the end of them.

    Attributes:
        alert: The alert that it is about.
        series: Values by series.
        minutes: When it is looked.
        fires: The labels of each that fires, without its severity; () if none does.
    """

    alert: str
    series: dict[str, str]
    minutes: int
    fires: tuple[dict[str, str], ...] = field(default=())


HERE = {"job": "extauthz", "instance": "a"}
A = {"instance": "a"}
G = {"gateway": "g"}


def _decisions(result: str, reason: str = "", gateway: str = "g") -> str:
    return f'extauthz_decisions_total{{{EXTAUTHZ},gateway="{gateway}",result="{result}",reason="{reason}"}}'


def _of(name: str, labels: str = "") -> str:
    return f"{name}{{{EXTAUTHZ}{',' if labels else ''}{labels}}}"


UP = _of("up")
UNTRUSTED = "trusted_proxy_untrusted_source"
FAST = _of("extauthz_door_duration_seconds_bucket", 'door="grpc",le="0.001"')
LATE = _of("extauthz_door_duration_seconds_bucket", 'door="grpc",le="0.05"')
ALL = _of("extauthz_door_duration_seconds_bucket", 'door="grpc",le="+Inf"')
COUNT = _of("extauthz_door_duration_seconds_count", 'door="grpc"')
READY = _of("extauthz_ready")
REFUSED = _of("extauthz_callers_refused_total", 'door="grpc"')
RELOADED = _of("extauthz_config_last_reload_successful")
PENDING = _of("extauthz_config_restart_pending")
INCOMPLETE = _of("extauthz_incomplete_gateways")
SHADOW = _of("extauthz_shadow_gateways")
NAMED = _of("extauthz_peer_name_addresses", 'name="traefik.internal"')
DISBELIEVED = _of("extauthz_peer_name_lookups_total", 'name="traefik.internal",result="refused"')
UNANSWERED = _of("extauthz_peer_name_lookups_total", 'name="traefik.internal",result="failed"')
ISSUER = "https://issuer.example.com/keys"
UNREAD = _of("extauthz_assertion_key_reads_total", f'source="{ISSUER}",result="failure"')
READABLE = _of("extauthz_stamp_keys_readable")
UNSEEN = _of("extauthz_decisions_unseen_total")
FAILED = _of("extauthz_decision_log_lines_total", 'result="failed"')
WRITTEN = _of("extauthz_decision_log_lines_total", 'result="written"')
ACTIVE = _of("extauthz_stamp_key_age_seconds", 'kid="k",state="active"')
PREVIOUS = _of("extauthz_stamp_key_age_seconds", 'kid="k",state="previous"')
THEIRS = 'up{job="another",instance="a"}'

CASES = (
    Case("ExtauthzDown", {UP: "1 0x5"}, 5, (HERE,)),
    Case("ExtauthzDown", {UP: "1x5", THEIRS: "0x5"}, 5),
    Case("ExtauthzDown", {UP: "1x3 0 1"}, 4),  # one scrape that failed
    Case("ExtauthzAbsent", {THEIRS: "1x10"}, 10, ({"job": "extauthz"},)),
    Case("ExtauthzAbsent", {UP: "0x10"}, 10),  # that is another alert's
    Case("ExtauthzNotReady", {READY: "1 0x9"}, 9, (HERE,)),
    Case("ExtauthzNotReady", {READY: "0 0 1x8"}, 9),  # as when it starts
    Case("ExtauthzInternalErrors", {_decisions("deny", "internal_error", ""): "0x5 1x2"}, 6, (A,)),
    Case("ExtauthzInternalErrors", {_decisions("deny", "internal_error", ""): "4x10"}, 8),  # long ago
    Case(
        "ExtauthzDenialsSpike",
        {_decisions("allow"): "0+20x40", _decisions("deny", UNTRUSTED): "0x10 0+60x30"},
        38,
        (G,),
    ),
    Case(
        "ExtauthzDenialsSpike", {_decisions("allow"): "0+20x40", _decisions("shadow", UNTRUSTED): "0+60x40"}, 38, (G,)
    ),
    Case("ExtauthzDenialsSpike", {_decisions("allow"): "0+60x40", _decisions("deny", UNTRUSTED): "0+20x40"}, 38),
    Case("ExtauthzDenialsSpike", {_decisions("allow"): "0x40", _decisions("deny", UNTRUSTED): "0+5x40"}, 38),  # a few
    Case("ExtauthzUntrustedSource", {_decisions("deny", UNTRUSTED): "0x5 1x5"}, 8, (G,)),
    Case("ExtauthzUntrustedSource", {_decisions("deny", "trusted_proxy_user_missing"): "0+9x10"}, 8),
    Case("ExtauthzCallersRefused", {REFUSED: "0x5 3x5"}, 8, ({"instance": "a", "door": "grpc"},)),
    Case("ExtauthzCallersRefused", {REFUSED: "3x30"}, 20),
    Case("ExtauthzIncompleteGateways", {INCOMPLETE: "2x20"}, 20, (HERE,)),
    Case("ExtauthzIncompleteGateways", {INCOMPLETE: "2x5 0x15"}, 20),
    Case("ExtauthzNameTrustsNobody", {NAMED: "1 0x5"}, 5, ({**HERE, "name": "traefik.internal"},)),
    Case("ExtauthzNameTrustsNobody", {NAMED: "0 1x5"}, 5),
    Case("ExtauthzNameAnswerRefused", {DISBELIEVED: "0x5 1x5"}, 8, ({**A, "name": "traefik.internal"},)),
    Case("ExtauthzAssertionKeysUnread", {UNREAD: "0x5 1 2x5"}, 8, ({**A, "source": ISSUER},)),
    Case("ExtauthzAssertionKeysUnread", {UNREAD: "0x5 1x8"}, 8),  # one that failed, and not the next
    Case("ExtauthzNameAnswerRefused", {UNANSWERED: "0+3x10"}, 8),  # that is another alert's, when it lapses
    Case("ExtauthzSlow", {FAST: "0x30", LATE: "0+60x30", ALL: "0+60x30", COUNT: "0+60x30"}, 25, (A,)),
    Case("ExtauthzSlow", {FAST: "0+60x30", LATE: "0+60x30", ALL: "0+60x30", COUNT: "0+60x30"}, 25),
    Case("ExtauthzSlow", {FAST: "0x30", LATE: "0+1x30", ALL: "0+1x30", COUNT: "0+1x30"}, 25),  # hardly asked
    Case("ExtauthzReloadFailed", {RELOADED: "1 0x9"}, 9, (HERE,)),
    Case("ExtauthzReloadFailed", {RELOADED: "1 0 0 1x7"}, 9),  # mended at once
    Case("ExtauthzRestartPending", {PENDING: "1x70"}, 65, (HERE,)),
    Case("ExtauthzRestartPending", {PENDING: "1x30 0x40"}, 65),
    Case(
        "ExtauthzPoliciesDiffer",
        {
            'extauthz_config_info{job="extauthz",instance="a",policy="one"}': "1x20",
            'extauthz_config_info{job="extauthz",instance="b",policy="two"}': "1x20",
        },
        20,
        ({"job": "extauthz"},),
    ),
    Case(
        "ExtauthzPoliciesDiffer",
        {
            'extauthz_config_info{job="extauthz",instance="a",policy="one"}': "1x20",
            'extauthz_config_info{job="extauthz",instance="b",policy="one"}': "1x20",
            'extauthz_config_info{job="of-another-team",instance="c",policy="two"}': "1x20",
        },
        20,
    ),
    Case("ExtauthzShadowModeLeftOn", {SHADOW: "1x1500"}, 1450, (HERE,)),
    Case("ExtauthzShadowModeLeftOn", {SHADOW: "1x700"}, 650),
    Case("ExtauthzKeyTooOld", {ACTIVE: "7776000+60x90"}, 80, ({"instance": "a", "kid": "k"},)),
    Case("ExtauthzKeyTooOld", {ACTIVE: "7000000+60x90", PREVIOUS: "9000000+60x90"}, 80),
    Case("ExtauthzKeysUnreadable", {READABLE: "1 0x9"}, 9, (HERE,)),
    Case("ExtauthzKeysUnreadable", {READABLE: "1 0 1x8"}, 9),
    Case("ExtauthzDecisionsNotLogged", {FAILED: "0x5 7x5", WRITTEN: "0+9x10"}, 8, (A,)),
    Case("ExtauthzDecisionsNotLogged", {UNSEEN: "0x5 7x5"}, 8, (A,)),
    Case("ExtauthzDecisionsNotLogged", {UNSEEN: "7x20", FAILED: "7x20", WRITTEN: "0+9x20"}, 18),
)
