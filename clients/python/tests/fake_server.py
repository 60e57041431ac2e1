"""A server with the responses of a test, over real connections."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from world import ROOT

from tara_export import methods

#: The names and responses of the tests of all clients.
HOSTILE = json.loads((ROOT / "clients/hostile-server.json").read_text())
Respond = Callable[[str, Any], list[Any]]


@contextmanager
def fake_server(respond: Respond) -> Iterator[str]:
    """`respond` returns the messages of the response to a method and request."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    services: dict[str, dict[str, Any]] = {}
    for name in methods.DESCRIPTORS:
        services.setdefault(methods.method(name).service, {})[name] = _handler(name, respond)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service, handlers) for service, handlers in services.items()]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def _handler(name: str, respond: Respond) -> Any:
    descriptor = methods.DESCRIPTORS[name]
    request_class = methods.message_factory.GetMessageClass(descriptor.input_type)

    def unary(request: Any, _: Any) -> Any:
        return respond(name, request)[0]

    def stream(request: Any, _: Any) -> Iterator[Any]:
        yield from respond(name, request)

    def client_stream(requests: Iterator[Any], _: Any) -> Any:
        return respond(name, list(requests))[0]

    serializers = {
        "request_deserializer": request_class.FromString,
        "response_serializer": lambda message: message.SerializeToString(),
    }
    if descriptor.server_streaming:
        return grpc.unary_stream_rpc_method_handler(stream, **serializers)
    if descriptor.client_streaming:
        return grpc.stream_unary_rpc_method_handler(client_stream, **serializers)
    return grpc.unary_unary_rpc_method_handler(unary, **serializers)
