"""Starting: where the service listens, and what it refuses to start with, each with a word that helps."""

import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from cases.build import GATEWAY, PAIRS, gateway
from cases.messages import check_request
from doors.door import Served, ask, command, refused, serving
from support.ports import free_port
from support.process import running, wait_until

CONFIG: dict[str, Any] = {"gateways": {"g": GATEWAY}}
MESSAGE = check_request(PAIRS)
ALLOWED = "allow:nick@example.com"


def test_second_server_on_the_same_port_does_not_start(tmp_path: Path) -> None:
    # With SO_REUSEPORT it would, and each would get a share of the calls: under two policies.
    with serving(tmp_path, CONFIG) as served:
        said = refused(tmp_path, CONFIG, [served.address])
        assert served.address in said
        assert "another server" in said
        assert ask(served.address, MESSAGE).told == ALLOWED


def test_second_server_on_the_same_unix_socket_does_not_take_it(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/grpc.sock"
    with serving(tmp_path, CONFIG, listen=[address]) as served:
        assert "another server is listening" in refused(tmp_path, CONFIG, [address])
        assert ask(served.address, MESSAGE).told == ALLOWED


def test_unix_socket_that_a_dead_server_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "grpc.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert path.is_socket()
    with serving(tmp_path, CONFIG, listen=[f"unix:{path}"]) as served:
        assert ask(served.address, MESSAGE).told == ALLOWED


def test_killed_server_leaves_a_socket_that_the_next_one_replaces(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/grpc.sock"
    with serving(tmp_path, CONFIG, listen=[address]) as served:
        served.program.kill()
        assert (tmp_path / "grpc.sock").is_socket()
        served.program.restart().wait_ready(served.is_serving)
        assert ask(served.address, MESSAGE).told == ALLOWED


def test_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data", encoding="utf-8")
    assert "no socket" in refused(tmp_path, CONFIG, [f"unix:{path}"])
    assert path.read_text(encoding="utf-8") == "data"
    link = tmp_path / "link"
    link.symlink_to(path)
    assert "no socket" in refused(tmp_path, CONFIG, [f"unix:{link}"])
    assert path.read_text(encoding="utf-8") == "data"


def test_unix_socket_is_open_to_its_group_and_to_nobody_else(tmp_path: Path) -> None:
    with serving(tmp_path, CONFIG, listen=[f"unix:{tmp_path}/grpc.sock"]):
        assert stat.S_IMODE((tmp_path / "grpc.sock").stat().st_mode) == 0o660


def test_folder_of_a_unix_socket_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path}/nowhere" in refused(tmp_path, CONFIG, [f"unix:{tmp_path}/nowhere/grpc.sock"])


def test_address_that_is_not_this_hosts_is_told(tmp_path: Path) -> None:
    config = {**CONFIG, "callers": {"addresses": ["127.0.0.1"]}}
    assert "192.0.2.1:9191" in refused(tmp_path, config, ["192.0.2.1:9191"])


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "10.0.0.5:9191"])
def test_service_does_not_listen_beyond_this_host_without_callers(tmp_path: Path, address: str) -> None:
    said = refused(tmp_path, CONFIG, [address])
    assert "listen.grpc" in said
    assert "callers" in said


@pytest.mark.only_grpcio  # the native engine has no TLS, and is refused beyond this host: tests/config
def test_beyond_this_host_with_callers_it_serves_them(tmp_path: Path) -> None:
    port = free_port()
    config = {**CONFIG, "callers": {"addresses": ["127.0.0.1"]}}
    argv = command(tmp_path, config, [f"0.0.0.0:{port}"])
    with running(argv, log=tmp_path / "log", cwd=tmp_path) as program:
        served = Served(program, (f"127.0.0.1:{port}",), None)
        program.wait_ready(served.is_serving)
        assert ask(served.address, MESSAGE).told == ALLOWED


def test_peer_caller_is_refused_with_a_unix_socket_given_on_the_command_line(tmp_path: Path) -> None:
    config = {"gateways": {"g": gateway(peer="caller")}}
    assert "gateways.g.peer" in refused(tmp_path, config, [f"unix:{tmp_path}/grpc.sock"])


def test_port_that_the_system_chose_stands_in_the_log(tmp_path: Path) -> None:
    argv = command(tmp_path, CONFIG, ["127.0.0.1:0"])
    with running(argv, log=tmp_path / "log", cwd=tmp_path) as program:

        def address() -> str:
            lines = Served(program, ("",), None).logged()
            return next((line["grpc"][0] for line in lines if line["event"] == "serving"), "")

        wait_until(lambda: bool(address()), "the service to say where it serves")
        assert not address().endswith(":0")
        assert ask(address(), MESSAGE).told == ALLOWED


def test_several_addresses_are_served_and_decide_alike(tmp_path: Path) -> None:
    listen = [f"127.0.0.1:{free_port()}", f"127.0.0.2:{free_port('127.0.0.2')}", f"unix:{tmp_path}/grpc.sock"]
    with serving(tmp_path, CONFIG, listen=listen) as served:
        assert [ask(address, MESSAGE).told for address in served.addresses] == [ALLOWED] * 3


def test_configuration_with_faults_is_not_served(tmp_path: Path) -> None:
    said = refused(tmp_path, {"gateways": {"g": gateway(trustedProxies=["nonsense"])}, "mode": "off"})
    assert "2 faults" in said
    assert "gateways.g.trustedProxies[0]" in said


def test_nothing_of_a_request_stands_in_the_log(tmp_path: Path) -> None:
    secret = [*PAIRS, ("cookie", "session=s3cret"), ("authorization", "Bearer s3cret")]
    with serving(tmp_path, {"gateways": {"g": gateway(), "shadow": gateway(mode="shadow")}}) as served:
        for name in ("g", "shadow", "unknown"):
            for pairs in (secret, secret[1:], [*secret, ("x_authz_user", "s3cret")]):
                ask(served.address, check_request(pairs, gateway=name))
        ask(served.address, b"\xffs3cret")
        assert "s3cret" not in served.program.log_text()
