"""The console tells whom names stand for, and why nobody."""

from pathlib import Path

from admin.watching import watched_service
from cases.build import gateway
from peers.naming import NAME, OLD, dns_section
from support.browser import running_browser
from support.name_server import name_server


def test_names_are_shown_with_their_addresses_and_with_what_is_wrong(tmp_path: Path) -> None:
    with name_server({NAME: [OLD]}) as server, running_browser(tmp_path / "browser") as browser:
        gateways = {"openclaw": gateway(trustedProxies=[f"dns:{NAME}", "dns:gone.internal"])}
        config = {"dns": dns_section(server), "gateways": gateways}
        with watched_service(tmp_path / "console", config) as watched, browser.page() as page:
            page.open(f"{watched.url}#service")
            page.wait_text("Proxies by name")
            page.wait_text(OLD)
            page.wait_text("trusts nobody: there is no such name (NXDOMAIN)")
            page.open(f"{watched.url}#gateways?id=openclaw")
            page.wait_text(f"dns:{NAME} stands for {OLD}")
            page.wait_text("dns:gone.internal stands for nobody")
            assert page.dialogs == []
