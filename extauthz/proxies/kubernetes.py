"""Kubernetes' manifests from settings: everything that runs extauthz in a cluster, with its reasons beside each line.

Only the settings and their checks live here; the texts are in manifests/. What becomes of a configuration file in a pod
is in_pod.py's to say. No key and no token ever comes here.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import yaml

from extauthz.proxies import forward_auth, values

FILES: Final = (
    "configmap.yaml",
    "secret.yaml",
    "networkpolicy.yaml",
    "service.yaml",
    "deployment.yaml",
    "horizontalpodautoscaler.yaml",
    "poddisruptionbudget.yaml",
)
"""The files that are written, in the order in which they are applied."""

PRE_STOP_SECONDS: Final = 5
"""How long a pod that is to end goes on as before: proxies look names up anew every few seconds."""

MARGIN_SECONDS: Final = 10
"""How much later than the end of its drain a pod is killed."""

LARGEST_CONFIG_BYTES: Final = 1_000_000
"""A ConfigMap holds 1 MiB, with its names."""

_SPREAD: Final = ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
_LONGEST_NAME: Final = 50  # a Service's name has 63, and some are longer than this one by a suffix
_NAME: Final = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LABEL_NAME: Final = re.compile(
    r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
)
_LABEL_VALUE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LINE_ENDS: Final = "\x85\u2028\u2029"  # to YAML 1.1, beside those that JSON escapes
_IMAGE: Final = re.compile(
    r"(?P<name>([a-z0-9.-]+(:[0-9]{1,5})?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*)"
    r"(:(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that the manifests are written from.

    Raises:
        ValueError: a value is not what its setting takes; the message names the setting and the value.
    """

    config: str
    """The configuration file, fit for a pod: see `in_pod.fit`."""
    image: str
    """The image, with a tag that is not `latest`, or a digest."""
    proxies: tuple[str, ...]
    """The pods that may ask, as `namespace/label=value`, several labels with commas between."""
    monitoring: tuple[str, ...] = ()
    """The pods that may read the metrics, likewise."""
    name: str = "extauthz"
    """What everything is called; at most 50 characters."""
    namespace: str = "extauthz"
    """The namespace, which is there already."""
    replicas: int = 2
    """The fewest processes; 1 to 1000."""
    most_replicas: int = 6
    """The most processes."""
    drain_seconds: int = 10
    """The file's `server.drainSeconds`."""
    stamped: bool = True
    """Whether the file has stamps, for which there are keys."""
    algorithm: Literal["ES256", "EdDSA"] = "ES256"
    """The file's `stamp.algorithm`."""
    tls: bool = False
    """Whether the file has TLS at the gRPC door."""
    client_ca: bool = False
    """Whether it also asks for client certificates."""
    name_servers: tuple[tuple[str, int], ...] | None = None
    """Who is asked for the names in `trustedProxies`; () is the cluster's DNS, None that there are no names."""

    def __post_init__(self) -> None:
        """Check every value; see the class."""
        _view(self)


class _Text(str):
    """A checked value that is written as it is."""

    __slots__ = ()


def render(settings: Settings) -> dict[str, str]:
    """Return the manifests, by the names in `FILES`, in that order."""
    view = _view(settings)
    return {name: forward_auth.template(f"manifests/{name}.j2", _written).render(view) for name in FILES}


def join(manifests: Iterable[str]) -> str:
    """Return the manifests as one stream, as `kubectl apply --filename=-` takes it."""
    return "---\n".join(manifests)


def _view(settings: Settings) -> dict[str, object]:
    name = _checked(_NAME, settings.name, "name", "a-z, 0-9 and -, at most 50, a letter first", _LONGEST_NAME)
    namespace = _checked(_NAMESPACE, settings.namespace, "namespace", "a DNS label")
    fewest = int(values.within(settings.replicas, 1, 1000, "replicas"))
    drain = int(values.within(settings.drain_seconds, 0, 3600, "drain_seconds"))
    if not settings.proxies:
        raise ValueError("proxies: at least one is wanted, or nobody could ask")
    size = len(settings.config.encode())
    if size > LARGEST_CONFIG_BYTES:
        raise ValueError(
            f"config: has {size} bytes, and a ConfigMap holds {LARGEST_CONFIG_BYTES}: deliver the file by a volume"
        )
    algorithm = values.one_of(settings.algorithm, {"ES256": "ES256", "EdDSA": "EdDSA"}, "algorithm")
    selector = {"app.kubernetes.io/name": "extauthz", "app.kubernetes.io/instance": name}
    names = {kind: f"{name}-{kind}" for kind in ("keys", "admin", "tls")}
    return {
        "name": name,
        "namespace": namespace,
        "labels": {**selector, "app.kubernetes.io/part-of": "extauthz"},
        "selector": selector,
        "headless": f"{name}-pods",
        "config_name": f"{name}-config",
        "config": _Text(_block(settings.config)),
        "image": _image(settings.image),
        "keys": names["keys"],
        "admin": names["admin"],
        "plain": {
            kind: _Text(text) for kind, text in {**names, "namespace": namespace, "algorithm": algorithm}.items()
        },
        "stamped": settings.stamped,
        "tls": names["tls"] if settings.tls else None,
        "ca_wanted": _Text("" if settings.client_ca else ", if you have one,"),
        "proxies": [_pods(text, "proxies") for text in settings.proxies],
        "monitoring": [_pods(text, "monitoring") for text in settings.monitoring],
        "name_servers": None if settings.name_servers is None else [_server(*one) for one in settings.name_servers],
        "replicas": fewest,
        "most_replicas": int(values.within(settings.most_replicas, fewest, 10_000, "most_replicas")),
        "pre_stop": PRE_STOP_SECONDS,
        "drain": drain,
        "grace": PRE_STOP_SECONDS + drain + MARGIN_SECONDS,
        "spread": _SPREAD,
    }


def _server(host: str, port: int) -> dict[str, object]:
    return {"range": forward_auth.front(host), "port": int(values.within(port, 1, 65_535, "name_servers"))}


def _written(value: object) -> str:
    # JSON is YAML too. As every other value passes here, none can end a string and begin syntax.
    return str(value) if isinstance(value, _Text) else json.dumps(value)


def _block(text: str) -> str:
    """Return a text as the value of a key that is indented by two: as lines where YAML gives the same text back."""
    lines = "".join(f"    {line}" if line.strip("\n") else line for line in text.splitlines(keepends=True))
    # The digit: how far the text is indented, so that its first line may begin with spaces of its own.
    block = f"|2\n{lines}"
    try:
        same = yaml.safe_load(f"data:\n  key: {block}") == {"data": {"key": text}}
    except yaml.YAMLError:
        same = False
    return block.removesuffix("\n") if same else _quoted(text)


def _quoted(text: str) -> str:
    # JSON writes what is beyond 16 bits as two escapes, which YAML reads as two characters: so nothing is escaped but
    # what YAML would take for a line's end.
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(f"\\u{ord(one):04x}" if one in _LINE_ENDS else one for one in quoted)


def _image(text: str) -> str:
    found = _IMAGE.fullmatch(text)
    if found is None or (found["digest"] is None and found["tag"] in {None, "latest"}):
        raise ValueError(
            f"image: {text!r} is refused, wanted a name with a digest, or a tag that is not latest: every pod is to "
            "run the same"
        )
    return text


def _pods(text: str, setting: str) -> dict[str, object]:
    namespace, slash, rest = text.partition("/")
    labels = dict(part.partition("=")[::2] for part in rest.split(","))
    if not slash or not _NAMESPACE.fullmatch(namespace):
        raise ValueError(f"{setting}: {text!r} is refused, wanted namespace/label=value")
    for label, value in labels.items():
        if not _LABEL_NAME.fullmatch(label) or not _LABEL_VALUE.fullmatch(value):
            raise ValueError(
                f"{setting}: {text!r} is refused, wanted namespace/label=value; without a label every pod of the "
                "namespace could ask"
            )
    return {"namespace": namespace, "labels": labels}


def _checked(pattern: re.Pattern[str], value: str, setting: str, wanted: str, longest: int = 63) -> str:
    if not pattern.fullmatch(value) or len(value) > longest:
        raise ValueError(f"{setting}: {value!r} is refused, wanted {wanted}")
    return value
