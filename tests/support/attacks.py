"""The record of what became of each attack at each proxy: tests/proxies/attacks.json, shown in docs/security.md.

A test says what it saw with `note`, which compares it with the record; with RECORD_ATTACKS=1 in the environment it is
written into the record instead. `python -m support.attacks` (with PYTHONPATH=tests) then writes the page's table.

Whoever tests another proxy adds its name to `PROXIES`, and says what was seen with `note`.
"""

import fcntl
import json
import os
from pathlib import Path
from typing import Final

PROXIES: Final = ("Traefik", "Caddy", "nginx", "Envoy gRPC", "Envoy HTTP")
"""The columns. One in which nothing was noted is left out."""

RECORD: Final = Path(__file__).parents[1] / "proxies" / "attacks.json"
PAGE: Final = Path(__file__).parents[2] / "docs" / "security.md"

FAMILIES: Final = (
    "stamped header",
    "identity from a stranger",
    "second identity beside the front's",
    "identity where the proxy authenticates",
    "forged",
    "path",
    "host",
    "WebSocket upgrade",
    "door",
)
"""How the attacks of one table begin."""

NOT_TRIED: Final = "-"

BEGIN: Final = "<!-- the table of attacks: written by tests/support/attacks.py -->\n"
END: Final = "<!-- the end of the table -->\n"

Record = dict[str, dict[str, str]]


def recorded() -> Record:
    """Return what is on record: outcome by proxy, by attack, in the order of the table."""
    found: Record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    return found


def note(attack: str, proxy: str, outcome: str) -> None:
    """Compare what was seen with the record, or write it there.

    Raises:
        AssertionError: it is something else than what is on record.
        ValueError: there is no such proxy.
    """
    if proxy not in PROXIES:
        raise ValueError(f"{proxy!r} is none of {', '.join(PROXIES)}")
    if os.environ.get("RECORD_ATTACKS") == "1":
        _write(attack, proxy, outcome)
    before = recorded().get(attack, {}).get(proxy)
    if before != outcome:
        raise AssertionError(
            f"{attack} at {proxy}: {outcome!r}, on record is {before!r}; if that is right, RECORD_ATTACKS=1"
        )


def _write(attack: str, proxy: str, outcome: str) -> None:
    # Tests may run in several processes.
    with RECORD.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = recorded()
        found.setdefault(attack, {})[proxy] = outcome
        ordered = {name: found[name] for name in sorted(found)}
        RECORD.write_text(json.dumps(ordered, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    RECORD.with_suffix(".lock").unlink(missing_ok=True)


def table() -> str:
    """Return the record as the page's tables: one for each family of attacks, and one for all that are in none."""
    found = recorded()
    proxies = [name for name in PROXIES if any(name in row for row in found.values())]
    families: dict[str, list[str]] = {family: [] for family in (*FAMILIES, "")}
    for attack, row in found.items():
        family = next((one for one in FAMILIES if attack.startswith(one)), "")
        cells = [row.get(name, NOT_TRIED) for name in proxies]
        families[family].append(f"| {attack.removeprefix(family).lstrip(',: ')} | {' | '.join(cells)} |")
    head = f" | {' | '.join(proxies)} |\n{'|---' * (len(proxies) + 1)}|\n"
    parts = [f"| {family or 'else'}{head}" + "\n".join(rows) + "\n" for family, rows in families.items() if rows]
    return "\n".join(parts)


def on_page() -> str:
    """Return the table that the page has now."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.partition(END)[2], encoding="utf-8")
