"""Run `extauthz migrate` on an openclaw.json given as text or data, and look at what it wrote. No asserts."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import json5
import yaml
from click.testing import CliRunner, Result

from extauthz.cli import main

COMPLETE = (
    *("--trusted-proxy", "10.0.0.7", "--user-header", "x-forwarded-user", "--allow-user", "nick@example.com"),
    *("--host", "gateway.example.com"),
)
"""What OpenClaw's file cannot say, said."""

RULES: dict[str, Any] = {
    "userHeader": "X-Forwarded-User",
    "requiredHeaders": ["x-forwarded-proto"],
    "allowUsers": ["nick@example.com"],
}
TRUSTED_PROXY: dict[str, Any] = {
    "bind": "lan",
    "port": 18789,
    "trustedProxies": ["10.0.0.7", "10.0.1.0/28"],
    "auth": {"mode": "trusted-proxy", "trustedProxy": RULES},
    "controlUi": {"allowedOrigins": ["https://gateway.example.com"]},
}
"""An OpenClaw that is in trusted-proxy mode already, with all that is wanted."""


@dataclass(frozen=True)
class Migrated:
    """What came of it."""

    folder: Path
    result: Result

    @property
    def said(self) -> str:
        """Everything that was written anywhere."""
        files = "".join(path.read_text(encoding="utf-8") for path in self.files)
        return self.result.stdout + self.result.stderr + files

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.rglob("*")) if self.folder.exists() else []

    @property
    def ours(self) -> dict[str, Any]:
        """The gateway in our file."""
        (found,) = yaml.safe_load((self.folder / "extauthz.yaml").read_text())["gateways"].values()
        assert isinstance(found, dict)
        return found

    @property
    def block(self) -> dict[str, Any]:
        """OpenClaw's changed block."""
        found: dict[str, Any] = json5.loads((self.folder / "openclaw.gateway.json5").read_text())
        return dict(found["gateway"])

    @property
    def patch(self) -> dict[str, Any]:
        """The same as a patch."""
        found: dict[str, Any] = json5.loads((self.folder / "openclaw.patch.json5").read_text())
        return dict(found["gateway"])

    @property
    def guide(self) -> str:
        return (self.folder / "MIGRATION.md").read_text(encoding="utf-8")

    def run(self, *arguments: str) -> Result:
        """Run a command of extauthz on our file."""
        return CliRunner().invoke(main, [*arguments, "--config", str(self.folder / "extauthz.yaml")])

    def explained(self, peer: str, headers: dict[str, Any], **request: Any) -> dict[str, Any]:
        """What our file decides about a request."""
        line = json.dumps({"gateway": "openclaw", "peer": peer, "headers": headers, **request})
        file = self.folder / "request.jsonl"
        file.write_text(line, encoding="utf-8")
        found: dict[str, Any] = json.loads(self.run("explain", "--requests", str(file), "--format", "json").stdout)
        file.unlink()
        return found


def migrate(folder: Path, config: str | dict[str, Any], *options: str) -> Migrated:
    """Migrate a whole openclaw.json, given as text or as data."""
    file = folder / "openclaw.json"
    file.write_text(config if isinstance(config, str) else json.dumps(config), encoding="utf-8")
    output = folder / "out"
    argv = ["migrate", str(file), "--output", str(output), *options]
    return Migrated(output, CliRunner().invoke(main, argv))


def patched(old: Any, patch: Any) -> Any:
    """Lay a patch over a value as `openclaw config patch` does: objects key by key, null takes a key out."""
    if not isinstance(patch, dict):
        return patch
    base = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            base.pop(key, None)
        else:
            base[key] = patched(base.get(key), value)
    return base
