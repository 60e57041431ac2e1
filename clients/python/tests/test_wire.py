"""What the server sends, as grpcio with its default limits and settings reads it."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from world import started

from tara.export.v1 import export_pb2, review_pb2, service_pb2

# grpcio loses some of the errors between its soft limit of 8 KiB and its limit of 16 KiB, at random.
CALLS = 30
SERVICE = "/tara.export.v1.ExportService"


def start_export(channel: grpc.Channel) -> Any:
    return channel.unary_stream(
        f"{SERVICE}/StartExport",
        request_serializer=service_pb2.StartExportRequest.SerializeToString,
        response_deserializer=export_pb2.ExportEvent.FromString,
    )


def get_report(channel: grpc.Channel) -> Any:
    return channel.unary_unary(
        f"{SERVICE}/GetReport",
        request_serializer=service_pb2.GetReportRequest.SerializeToString,
        response_deserializer=service_pb2.GetReportResponse.FromString,
    )


def sections(name: str) -> list[review_pb2.FeedbackSection]:
    items = [review_pb2.FeedbackItem(id="1")]
    return [review_pb2.FeedbackSection(name=f"{name}{number // 2}", items=items) for number in range(600)]


def not_finite(*names: str) -> list[review_pb2.FeedbackSection]:
    item = review_pb2.FeedbackItem(id="1")
    for name in names:
        item.additional_fields.fields[name].number_value = float("nan")
    return [review_pb2.FeedbackSection(name="S", items=[item])]


def error_of(call: grpc.RpcError) -> tuple[error_details_pb2.ErrorInfo, error_details_pb2.BadRequest]:
    status = rpc_status.from_call(call)
    assert status is not None, call
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(request)
    return info, request


@pytest.mark.parametrize(
    ("suggestions", "total"),
    [
        (sections("Section "), 300),
        (sections("Überschrift " * 8), 300),
        (not_finite(*(f"{'Kürzel für Prüfer ' * 3}{number}" for number in range(60))), 60),
        (not_finite("ü" * 500, "ä" * 500), 2),
        (not_finite("字" * 9000, "語" * 9000, " " * 9000), 3),
    ],
    ids=["names", "umlauts", "free fields", "long names", "very long names"],
)
def test_no_error_is_lost(suggestions: list[review_pb2.FeedbackSection], total: int) -> None:
    review = review_pb2.Review(document_name="a.docx", suggestions=suggestions)
    request = service_pb2.StartExportRequest(review=review)
    with started() as world, grpc.insecure_channel(world.addresses["grpc"]) as channel:
        start = start_export(channel)
        for _ in range(CALLS):
            with pytest.raises(grpc.RpcError) as raised:
                list(start(request))
            assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT, raised.value
            info, invalid = error_of(raised.value)
            assert (info.reason, info.domain) == ("INVALID_REQUEST", "tara.export.v1")
            shown = [violation for violation in invalid.field_violations if violation.field]
            assert shown
            assert len(shown) + int(info.metadata.get("omitted_violations", "0")) == total


def test_reflection_database_resolves_every_service() -> None:
    with started() as world, grpc.insecure_channel(world.addresses["grpc"]) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(database)
        services = database.get_services()
        assert "tara.export.v1.ExportService" in services
        for service in services:
            for method in pool.FindServiceByName(service).methods:
                assert method.input_type.full_name
                assert method.output_type.full_name
        assert pool.FindMessageTypeByName("google.rpc.BadRequest").fields_by_name["field_violations"]
        with pytest.raises(KeyError):
            pool.FindMessageTypeByName("tara.export.v1.NoSuch")
        # The database continues after the error.
        assert pool.FindMessageTypeByName("tara.export.v1.StartExportRequest")


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_calls_succeed(compression: grpc.Compression) -> None:
    review = review_pb2.Review(document_name="a.docx", suggestions=sections("Section ")[::2])
    request = service_pb2.StartExportRequest(review=review)
    with started() as world, grpc.insecure_channel(world.addresses["grpc"]) as channel:
        events = list(start_export(channel)(request, compression=compression))
        name = events[-1].completed.export.name
        report = service_pb2.GetReportRequest(name=name, view=service_pb2.GetReportRequest.VIEW_JSON)
        # grpcio accepts compressed responses without a setting, and decompresses them itself.
        response = get_report(channel)(report, compression=compression)
        assert len(json.loads(response.json)["section_analysis"]) == 300
