"""The compiled build: makes extension modules of the hot ones, where a build asks for it. Nothing else builds anything.

Asked for by HATCH_BUILD_HOOKS_ENABLE=1; docs/compiled.md says why one would. The package `hatch-mypyc` does the same
inside the source tree, where its extension modules would shadow the sources of an editable installation.
"""

import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# What the modules share is one extension module of this name, with this suffix, beside the package.
GROUP: Final = "extauthz"

_CURE: Final = (
    "extauthz cannot be compiled here: above is why. It takes a C compiler and the headers of this Python "
    "(Debian: apt-get install gcc libc6-dev python3-dev). Without HATCH_BUILD_HOOKS_ENABLE its sources are installed."
)


class CompiledBuildHook(BuildHookInterface[Any]):
    """Compiles the modules that pyproject.toml names under `modules`, out of the tree, and puts them into the wheel."""

    _made: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the extension modules to a wheel; never to an editable installation, whose sources are what runs."""
        if version == "editable":
            return
        self._made = tempfile.TemporaryDirectory(prefix="extauthz-build-")
        made = Path(self._made.name)
        root = Path(self.root)
        sources = [
            path.relative_to(root).as_posix()
            for pattern in self.config["modules"]
            for path in sorted(root.glob(pattern))
            if path.name != "__init__.py"
        ]
        try:
            library = _compiled(sources, made)
        except SystemExit as error:  # as mypyc ends where it has told what it cannot compile
            raise RuntimeError(_CURE) from error
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        modules = {str(path): path.relative_to(library).as_posix() for path in library.rglob("*.so")}
        if len(modules) <= len(sources):  # one for each, and what they share
            raise RuntimeError(_CURE)
        build_data["force_include"].update(modules)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove what was made, now that the wheel has it."""
        if self._made is not None:
            self._made.cleanup()


def _compiled(sources: list[str], made: Path) -> Path:
    """Compile modules, given from the root of the project, and return the directory of the extension modules."""
    # Only there in the environment of a build that compiles.
    from mypyc.build import mypycify  # noqa: PLC0415
    from setuptools import Distribution  # noqa: PLC0415
    from setuptools.command.build_ext import build_ext  # noqa: PLC0415
    from setuptools.errors import CCompilerError  # noqa: PLC0415

    extensions = mypycify(
        # What is compiled is checked in full, what it imports is only read.
        [*sources, f"--cache-dir={made / 'mypy'}", "--follow-imports=silent", "--no-warn-unused-ignores"],
        opt_level="3",
        debug_level="0",
        group_name=GROUP,
        target_dir=str(made / "c"),
    )
    build = build_ext(Distribution({"name": GROUP, "ext_modules": extensions}))
    build.build_lib = str(made / "lib")
    build.build_temp = str(made / "objects")
    build.ensure_finalized()
    try:
        build.run()
    except CCompilerError as error:
        raise RuntimeError(_CURE) from error
    return Path(build.build_lib)
