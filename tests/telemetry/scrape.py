"""A service to be measured, and what a scrape of it says. Nothing here judges what it says."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition, parser
from prometheus_client.parser import text_string_to_metric_families

from cases.build import GATEWAY, LOOPBACK, text_of
from extauthz.config.load import load
from extauthz.core.request import Caller
from extauthz.service import Service

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def configuration(gateways: Mapping[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
    """Return a configuration that writes no decision log."""
    return {"decisionLog": {"output": "none"}, **sections, "gateways": dict(gateways or {"g": GATEWAY})}


def built(directory: Path, config: Mapping[str, Any]) -> Service:
    """Put a service together whose doors stay closed; `reconfigure` gives it another configuration."""
    file = directory / "extauthz.yaml"
    file.write_text(text_of(dict(config)), encoding="utf-8")
    return Service(file, load(file), lambda: load(file))


def reconfigure(service: Service, directory: Path, config: Mapping[str, Any] | str) -> bool:
    """Have a service read another configuration; returns whether it took effect."""
    text = config if isinstance(config, str) else text_of(dict(config))
    (directory / "extauthz.yaml").write_text(text, encoding="utf-8")
    return service.reloader.reload()


def ask(service: Service, *messages: bytes, caller: Caller = LOOPBACK) -> None:
    """Ask a service over gRPC, its door left out."""
    for message in messages:
        service.authorizer.check(message, caller)


def families(service: Service) -> list[Metric]:
    """Scrape a service in OpenMetrics, and read it with the parser that refuses what is not quite that."""
    return read_open_metrics(service.metrics.render(OPEN_METRICS)[1].decode())


def samples(service: Service) -> Samples:
    """Scrape a service, and return each sample by its name and labels."""
    return samples_of(families(service))


def samples_of(found: Iterable[Metric]) -> Samples:
    """Return each sample by its name and labels; an empty label is none, as to Prometheus."""
    return {
        (sample.name, frozenset((name, value) for name, value in sample.labels.items() if value)): sample.value
        for family in found
        for sample in family.samples
    }


def value(service: Service, name: str, **labels: str) -> float | None:
    """Scrape a service, and return one sample; None where there is none."""
    return samples(service).get((name, frozenset(labels.items())))


def scrape(address: str, path: str = "/metrics", accept: str = "") -> str:
    """Scrape a running service at its admin address."""
    headers = {"accept": accept} if accept else {}
    return httpx.get(f"http://{address}{path}", headers=headers, timeout=30).raise_for_status().text


def read_text(text: str) -> list[Metric]:
    """Read the text format."""
    return list(text_string_to_metric_families(text))


def read_open_metrics(text: str) -> list[Metric]:
    """Read OpenMetrics."""
    read: Any = parser.text_string_to_metric_families  # the library's types end here
    return list(read(text))


def write_open_metrics(registry: CollectorRegistry) -> str:
    """Write OpenMetrics as the library does."""
    write: Any = exposition.generate_latest
    text: str = write(registry).decode()
    return text
