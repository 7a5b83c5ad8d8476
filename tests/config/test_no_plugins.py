"""Code of others does not get to see the configuration, and what would look for it is not loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODEL = "from pydantic import BaseModel\nclass Model(BaseModel): value: int\n"
OURS = "from extauthz.config.schema import Settings\n"


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """Return a directory with an installed package that is a plugin of pydantic, and says so when it is loaded."""
    (tmp_path / "spying.py").write_text("print('I am loaded')\nplugin = object()\n", encoding="utf-8")
    told = tmp_path / "spying-1.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: spying\nVersion: 1\n", encoding="utf-8")
    (told / "entry_points.txt").write_text("[pydantic]\nspying = spying\n", encoding="utf-8")
    return tmp_path


def ran(code: str, folder: Path | None = None) -> str:
    """Return what an interpreter of its own prints; with packages of this folder, if one is given."""
    path = f"import sys\nsys.path.append({str(folder)!r})\n" if folder else ""
    # This process may have said already that there are to be none.
    environment = {name: value for name, value in os.environ.items() if name != "PYDANTIC_DISABLE_PLUGINS"}
    argv = [sys.executable, "-c", path + code]
    # What a plugin that does nothing makes pydantic do later is not what is looked at.
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    return done.stdout


def test_plugin_of_pydantic_is_not_loaded_with_the_configuration(plugin: Path) -> None:
    assert "I am loaded" in ran(MODEL, plugin)
    assert ran(OURS + "print(Settings.__name__)", plugin) == "Settings\n"


def test_plugin_is_not_loaded_where_pydantic_already_looks_for_plugins(plugin: Path) -> None:
    before = "import pydantic.plugin._loader\n"
    assert ran(before + OURS + "print(Settings.__name__)", plugin) == "Settings\n"


def test_rest_of_the_module_is_the_librarys_own() -> None:
    code = "from pydantic.plugin._loader import PYDANTIC_ENTRY_POINT_GROUP as name, get_plugins\n"
    assert ran(OURS + code + "print(name, list(get_plugins()))") == "pydantic []\n"
