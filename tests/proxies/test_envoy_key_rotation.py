"""Keys turned over under traffic: two real extauthz that share the directory, real Envoy, a Gateway that verifies.

EdDSA here, ES256 in the other tests of the chain. A key is published until all who verify know it, and then signs: how
long that takes on this machine is waited for. A Gateway looks each second and not each minute.
"""

import base64
import contextlib
import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from extauthz.gateway import StampVerifier, Times
from extauthz.gateway.reference import application
from gateway.servers import uvicorn_running
from proxies.stamp_chain import CONFIG, routes_to, said, seen
from support.clients import Response, Session, http1
from support.files import replace_text
from support.front import Front, running_front
from support.process import wait_until
from support.service import Service, running_service
from support.world import IDENTITY, TRUSTED, USER

HOST = "openclaw.example.com"
ALLOWED = f"hello {USER}"
PUBLISHED_SECONDS = 86_400
"""How long a new key would only be published, were it not for `activate`."""
TIMES = Times(refresh=1.0)
_HEAD = f"GET / HTTP/1.1\r\nhost: {HOST}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in IDENTITY) + "\r\n"


def keys(command: str, directory: Path, *arguments: str) -> Any:
    """Run `extauthz keys`, and return what it says in JSON."""
    argv = [sys.executable, "-m", "extauthz.cli", "keys", command, "--keys", str(directory), *arguments]
    return json.loads(subprocess.run([*argv, "--format", "json"], check=True, capture_output=True).stdout)


def activate(directory: Path, kid: str) -> None:
    """Have a key sign from now on, as if the time that it was to be published for were over."""
    (file,) = (one for one in directory.glob("*.jwk") if json.loads(one.read_text(encoding="utf-8"))["kid"] == kid)
    changed = {**json.loads(file.read_text(encoding="utf-8")), "activates_at": int(time.time())}
    replace_text(file, json.dumps(changed), mode=0o600)  # the services look at the directory meanwhile


def knows(verifier: StampVerifier, kid: str) -> bool:
    """Whether a Gateway's verifier has a key."""
    return kid in (verifier._keys.current() or {})


def published(service: Service) -> set[str]:
    """The ids of the keys that a replica publishes now."""
    connection = http.client.HTTPConnection(service.http, timeout=10)
    try:
        connection.request("GET", "/.well-known/jwks.json")
        return {key["kid"] for key in json.loads(connection.getresponse().read())["keys"]}
    finally:
        connection.close()


def signer_of(answer: Response) -> str:
    """The id of the key by which the stamp of an allowed request was signed."""
    (stamp,) = seen(answer, "x-authz-stamp")
    header = stamp.partition(".")[0]
    found: str = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"]
    return found


class Traffic:
    """Requests one after the other until it is told to stop; every answer is kept, as what it comes to."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._said: dict[str, int] = {}
        self._signed: dict[str, int] = {}
        self._thread = threading.Thread(target=self._send, daemon=True)

    @property
    def said(self) -> dict[str, int]:
        """How often each answer came."""
        with self._lock:
            return dict(self._said)

    @property
    def signed(self) -> dict[str, int]:
        """How many stamps each key has signed, in the order of their first ones."""
        with self._lock:
            return dict(self._signed)

    @property
    def count(self) -> int:
        """How many answers there were."""
        return sum(self.said.values())

    def _send(self) -> None:
        with Session(self._port, TRUSTED) as session:
            while not self._end.wait(0.005):
                answer = session.send(_HEAD.encode())
                with self._lock:
                    told = said(answer)
                    self._said[told] = self._said.get(told, 0) + 1
                    if answer.status == 200:
                        kid = signer_of(answer)
                        self._signed[kid] = self._signed.get(kid, 0) + 1
                if answer.status == 0:
                    return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


@contextlib.contextmanager
def replicated(directory: Path) -> Iterator[tuple[Front, list[Service], int, StampVerifier]]:
    """Envoy, two replicas of extauthz that share their keys, and a Gateway that knows one: its port and verifier."""
    shared = directory / "keys"
    keys("generate", shared, "--algorithm", "EdDSA")
    stamp = {"keys": str(shared), "generateKeys": False, "algorithm": "EdDSA", "bind": ["method", "host", "path"]}
    # Each request is signed anew, so that every answer tells which key signs now.
    config = {**CONFIG, "stamp": {**stamp, "reuse": "0s"}}
    with contextlib.ExitStack() as stack:
        replicas = [stack.enter_context(running_service(directory / f"replica-{n}", config)) for n in range(2)]
        verifier = stack.enter_context(StampVerifier(replicas[0].jwks_url, audience="openclaw", times=TIMES))
        gateway = stack.enter_context(uvicorn_running(application(verifier)))
        routes = routes_to({"openclaw": gateway})
        addresses = [replica.address for replica in replicas]
        front = stack.enter_context(running_front(directory / "front", routes=routes, extauthz=addresses))
        yield front, replicas, gateway, verifier


def test_keys_are_turned_over_under_traffic_without_a_refusal(tmp_path: Path) -> None:
    with replicated(tmp_path) as (front, replicas, gateway, verifier):
        before = http1(front.port, IDENTITY, host=HOST, source=TRUSTED)
        assert said(before) == ALLOWED
        assert before.json()["identity"]["key_id"] == signer_of(before)
        with Traffic(front.port) as traffic:
            wait_until(lambda: traffic.count >= 20, "requests before the rotation")
            made = keys("rotate", tmp_path / "keys", "--activate-after", str(PUBLISHED_SECONDS))
            new, old = made["kid"], signer_of(before)
            assert made["algorithm"] == "EdDSA"
            wait_until(lambda: all(new in published(one) for one in replicas), "both replicas publishing the next key")
            wait_until(lambda: knows(verifier, new), "the Gateway knowing the next key")
            activate(tmp_path / "keys", new)
            wait_until(lambda: all(new in one.program.log_text() for one in replicas), "both replicas signing with it")
            after, signed_by_old = traffic.count, traffic.signed[old]
            wait_until(lambda: traffic.count >= after + 20, "requests after the rotation")
        assert set(traffic.said) == {ALLOWED}
        assert list(traffic.signed) == [old, new]
        # Envoy asks them in turn: from then on neither signs with the old one. One answer may have been on its way.
        assert traffic.signed[old] <= signed_by_old + 1
        # Both keys are known, on both replicas: a stamp signed just before it verifies just after it.
        assert [published(one) for one in replicas] == [{old, new}] * 2
        (stamp,) = seen(before, "x-authz-stamp")
        assert said(http1(gateway, [("x-authz-stamp", stamp)], host=HOST)) == ALLOWED
