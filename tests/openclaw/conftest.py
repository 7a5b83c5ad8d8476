"""OpenClaw itself, behind everything: collected only by `make test-openclaw`, for it is large and slow to start.

The fixtures start it once for all tests, and extauthz and Envoy before it.
"""

import os
from collections.abc import Iterator

import pytest

if os.environ.get("EXTAUTHZ_TEST_OPENCLAW") != "1":
    collect_ignore_glob = ["test_*.py"]
else:
    from openclaw.chain import Chain, running_chain
    from openclaw.installing import Installed, install

    @pytest.fixture(scope="session")
    def installed() -> Installed:
        """OpenClaw and the Node that it wants."""
        return install()

    @pytest.fixture(scope="session")
    def chain(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
        """Envoy, extauthz and OpenClaw, all on this host."""
        with running_chain(tmp_path_factory.mktemp("chain"), installed) as found:
            yield found
