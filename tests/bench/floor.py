"""The floor of the gRPC door: grpcio's threaded server as the door sets it up, parse and answer a constant."""

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from extauthz.doors.grpc_shared import METHOD
from extauthz.wire.pb import check_pb2 as pb
from extauthz.wire.reflected import SERVICE

CALLS = 1000
_ANSWER = pb.CheckResponse(ok_response=pb.OkHttpResponse()).SerializeToString()


def _handle(message: bytes, _context: grpc.ServicerContext) -> bytes:
    pb.CheckRequest.FromString(message)
    return _ANSWER


def main() -> None:
    """Serve on the port given, until killed."""
    server = grpc.server(ThreadPoolExecutor(CALLS), maximum_concurrent_rpcs=CALLS)
    handler: Any = grpc.unary_unary_rpc_method_handler(_handle)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    server.wait_for_termination()


main()
