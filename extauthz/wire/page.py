"""The page that a person in a browser gets to see when denied: small, plain, and nothing in it runs.

Who gets it is said by Accept; what stands in it was written by us or is escaped by the template.
"""

import base64
import hashlib
from pathlib import Path
from typing import Final

# More than a browser sends; longer ones are taken as no wish for a page.
LONGEST_ACCEPT_BYTES: Final = 1024

_HTML: Final = "text/html"
_JSON: Final = "application/json"


def wants_page(accept: bytes | None) -> bool:
    """Tell whether Accept (RFC 9110, section 12.5.1) names HTML, and JSON no more than that.

    A wildcard names nothing: programs send */*, browsers name text/html.
    """
    if accept is None or len(accept) > LONGEST_ACCEPT_BYTES:
        return False
    weights = {_HTML: 0.0, _JSON: 0.0}
    for entry in accept.decode("latin-1").lower().split(","):
        kind, *parameters = (part.strip(" \t") for part in entry.split(";"))
        if kind in weights:
            weights[kind] = max(weights[kind], _weight(parameters))
    return weights[_HTML] > 0 and weights[_HTML] >= weights[_JSON]


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0
            return weight if 0 <= weight <= 1 else 0.0
    return 1.0


class DenialPage:
    """The page, ready to be filled.

    Attributes:
        headers: The headers that go with it. No script, no frame, nothing loaded from anywhere.
    """

    __slots__ = ("_style", "_template", "headers")

    def __init__(self) -> None:
        from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - only where pages are wanted
        from markupsafe import Markup  # noqa: PLC0415

        folder = Path(__file__).parent
        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        self._template: Final = environment.from_string((folder / "page.html.j2").read_text(encoding="utf-8"))
        style = (folder / "page.css").read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self._style: Final = Markup(style)  # noqa: S704 - our own file, of which the policy below allows just this
        self.headers: Final = (
            ("content-type", "text/html; charset=utf-8"),
            (
                "content-security-policy",
                (
                    f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
                    "frame-ancestors 'none'"
                ),
            ),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
        )

    def render(self, *, status: int, gateway: str, decision: str, reason: str | None) -> str:
        """Return the page.

        Args:
            status: 401, 403 or 429.
            gateway: The gateway's id; "" where the request reached none.
            decision: The decision's id, by which the operator finds it in the log.
            reason: Why; None where clients are not told.
        """
        return self._template.render(
            style=self._style, status=status, gateway=gateway, decision=decision, reason=reason
        )
