"""docs/operations.md: a section for every alert and no other, links that lead somewhere, commands that run."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cases.build import gateway, text_of
from extauthz.config.schema import Settings
from extauthz.reload import WANT_RESTART

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
ALERTS = yaml.safe_load((ROOT / "config" / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))["groups"][0][
    "rules"
]
COMMANDS = re.findall(r"^ *\$ (extauthz .*)$", PAGE, re.MULTILINE)


def test_every_alert_has_its_section_and_every_section_its_alert() -> None:
    sections = re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)
    assert sections == [rule["alert"] for rule in ALERTS]


def test_every_alert_points_to_its_section() -> None:
    for rule in ALERTS:
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"


def test_what_wants_a_restart_is_told() -> None:
    sentence = PAGE.partition("These take effect only when the process is started again")[2].partition("\n\n")[0]
    told = set(re.findall(r"`([\w.]+)`", sentence))
    aliases = {name: str(field.alias) for name, field in Settings.model_fields.items()}
    wanted = {aliases[head] if not rest else f"{aliases[head]}.messageBytes" for head, *rest in WANT_RESTART}
    assert told == wanted


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_run(command: str, tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text(text_of({"gateways": {"g": gateway()}}), encoding="utf-8")
    line = {"id": "1", "gateway": "g", "peer": "10.0.0.7", "result": "allow", "headers": {}, "method": "GET"}
    (tmp_path / "decisions.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    generate = [sys.executable, "-m", "extauthz.cli", "keys", "generate", "--keys", "./keys"]
    subprocess.run(generate, check=True, cwd=tmp_path, capture_output=True)
    argv = [sys.executable, "-m", "extauthz.cli", *shlex.split(command)[1:]]
    done = subprocess.run(argv, check=False, cwd=tmp_path, capture_output=True, text=True)
    # 1 is an answer too: findings, or something that would change.
    assert done.returncode in {0, 1}, done.stderr
    assert not done.stderr or "rror" not in done.stderr
