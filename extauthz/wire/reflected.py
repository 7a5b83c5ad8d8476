"""The service as reflection shows it: our messages under Envoy's names, in a descriptor pool of their own."""

from typing import TYPE_CHECKING, Final

from extauthz.wire.pb import check_pb2

if TYPE_CHECKING:
    from google.protobuf import descriptor_pb2
    from google.protobuf.descriptor_pool import DescriptorPool

PACKAGE: Final = "envoy.service.auth.v3"
SERVICE: Final = f"{PACKAGE}.Authorization"
REFLECTION: Final = "grpc.reflection.v1alpha.ServerReflection"

_OURS: Final = f".{check_pb2.DESCRIPTOR.package}."
# Text to Envoy, bytes to us: a client that reads the schema is better served with text.
_TEXT: Final = {("HeadersEntry", "value"), ("HeaderValue", "value"), ("SocketAddress", "address")}


def descriptor_pool() -> "DescriptorPool":
    """Return a pool with Authorization/Check as Envoy names it, health and reflection."""
    # Only here: an engine without reflection has no use for any of it.
    from google.protobuf import descriptor_pb2, struct_pb2, wrappers_pb2  # noqa: PLC0415
    from google.protobuf.descriptor_pool import DescriptorPool  # noqa: PLC0415
    from grpc_health.v1 import health_pb2  # noqa: PLC0415
    from grpc_reflection.v1alpha import reflection_pb2  # noqa: PLC0415

    file = descriptor_pb2.FileDescriptorProto()
    check_pb2.DESCRIPTOR.CopyToProto(file)
    file.name = "envoy/service/auth/v3/external_auth.proto"
    file.package = PACKAGE
    for message in file.message_type:
        _rename(message)
    service = file.service.add(name="Authorization")
    service.method.add(name="Check", input_type=f".{PACKAGE}.CheckRequest", output_type=f".{PACKAGE}.CheckResponse")
    pool = DescriptorPool()
    for module in (struct_pb2, wrappers_pb2, health_pb2, reflection_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _rename(message: "descriptor_pb2.DescriptorProto") -> None:
    for nested in message.nested_type:
        _rename(nested)
    for field in message.field:
        if field.type_name.startswith(_OURS):
            field.type_name = f".{PACKAGE}.{field.type_name.removeprefix(_OURS)}"
        if (message.name, field.name) in _TEXT:
            field.type = field.TYPE_STRING
