"""The generated code is what protos/ says: made again here, and compared with what is committed."""

import re
from pathlib import Path

import grpc_tools  # type: ignore[import-untyped]
import pytest
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

from extauthz.wire import pb
from extauthz.wire.pb import check_pb2

PROTOS = Path(__file__).parents[2] / "protos"
COMMITTED = Path(pb.__file__).parent


def _generated(folder: Path) -> Path:
    include = Path(grpc_tools.__file__).parent / "_proto"
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={PROTOS}",
            f"--proto_path={include}",
            f"--python_out={folder}",
            f"--pyi_out={folder}",
            "extauthz/wire/pb/check.proto",
        ]
    )
    assert status == 0
    return folder / "extauthz" / "wire" / "pb"


def _without_versions(text: str) -> str:
    """Leave out what only says which release of the compiler wrote the file."""
    text = re.sub(r"# Protobuf Python Version: .*\n", "", text)
    return re.sub(r"ValidateProtobufRuntimeVersion\([^)]*\)", "", text)


@pytest.mark.parametrize("name", ["check_pb2.py", "check_pb2.pyi"])
def test_committed_code_is_what_the_compiler_makes(tmp_path: Path, name: str) -> None:
    made = (_generated(tmp_path) / name).read_text(encoding="utf-8")
    committed = (COMMITTED / name).read_text(encoding="utf-8")
    assert _without_versions(committed) == _without_versions(made), "run the compiler again, as in docs/development.md"


def test_every_proto_file_has_its_code() -> None:
    protos = {path.relative_to(PROTOS).with_suffix("").as_posix() + "_pb2.py" for path in PROTOS.rglob("*.proto")}
    root = COMMITTED.parents[2]
    assert protos == {path.relative_to(root).as_posix() for path in COMMITTED.rglob("*_pb2.py")}


def test_messages_have_a_package_of_their_own() -> None:
    # A second envoy.* or google.rpc.Status in one process collides with other packages that register theirs.
    file = descriptor_pb2.FileDescriptorProto()
    check_pb2.DESCRIPTOR.CopyToProto(file)
    assert file.package.startswith("extauthz.")
    assert not [name for name in file.dependency if not name.startswith("google/protobuf/")]


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ("CheckRequest", {"attributes": 1}),
        ("AttributeContext", {"source": 1, "destination": 2, "request": 4, "context_extensions": 10}),
        ("AttributeContext.Peer", {"address": 1, "principal": 4}),
        ("AttributeContext.Request", {"http": 2}),
        (
            "AttributeContext.HttpRequest",
            {"id": 1, "method": 2, "headers": 3, "path": 4, "host": 5, "scheme": 6, "protocol": 10, "header_map": 13},
        ),
        ("Address", {"socket_address": 1, "pipe": 2}),
        ("SocketAddress", {"address": 2, "port_value": 3}),
        ("HeaderValue", {"key": 1, "value": 2, "raw_value": 3}),
        ("HeaderValueOption", {"header": 1, "append": 2, "append_action": 3}),
        ("CheckResponse", {"status": 1, "denied_response": 2, "ok_response": 3, "dynamic_metadata": 4}),
        ("Status", {"code": 1, "message": 2}),
        ("HttpStatus", {"code": 1}),
        ("DeniedHttpResponse", {"status": 1, "headers": 2, "body": 3}),
        ("OkHttpResponse", {"headers": 2, "headers_to_remove": 5}),
    ],
)
def test_field_numbers_are_envoys(message: str, fields: dict[str, int]) -> None:
    found = check_pb2.DESCRIPTOR.message_types_by_name[message.split(".", maxsplit=1)[0]]
    for part in message.split(".")[1:]:
        found = found.nested_types_by_name[part]
    assert {field.name: field.number for field in found.fields} == fields
