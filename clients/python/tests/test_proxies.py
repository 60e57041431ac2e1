"""Large documents behind proxies that limit requests to 1 MiB."""

from __future__ import annotations

import hashlib
import random
import ssl
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Optional

import pytest
import world
from authority import Authority
from proxies import LIMIT_BYTES, Nginx, http1_proxy, nginx
from world import MODES, client_at

from tara.export.v1 import review_pb2, service_pb2, upload_pb2
from tara_export import CallError, Client, Policy, causes
from tara_export.proxy_limit import ProxyLimit
from tara_export.upload import FileUpload

MIB = 1024 * 1024


def content(size_bytes: int) -> bytes:
    """Other bytes at each call: the server keeps uploads."""
    return random.randbytes(size_bytes)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with world.started() as started:
        yield started.addresses["server"]


@pytest.fixture
def proxy(server: str, tmp_path: Path) -> Iterator[Nginx]:
    with nginx(tmp_path, server) as started:
        yield started


def request(*documents: bytes, review: Optional[review_pb2.Review] = None) -> service_pb2.StartExportRequest:
    made = service_pb2.StartExportRequest(review=review)
    made.review.document_name = "report.docx"
    for number, document in enumerate(documents):
        kind = review_pb2.Document.Kind.Name(1 + number)
        made.documents.add(kind=kind, file_name=f"{number}.docx", content=document)
    return made


@pytest.mark.parametrize("mode", MODES)
def test_documents_of_any_size_pass_nginx(mode: str, proxy: Nginx, tmp_path: Path) -> None:
    path = tmp_path / "document"
    with client_at(mode, proxy.address(mode)) as client:
        refused = 0
        for size_bytes in (9 * MIB + 1, 3 * MIB, 512 * 1024, 0):
            path.write_bytes(content(size_bytes))
            uploaded = client.upload_file(path)
            assert uploaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
            refused = refused or proxy.refused
    # grpc.aio may need a second refusal to find the status.
    assert proxy.refused == refused <= (2 if mode == "asyncio" else 1), "the connection remembers the limit"


@pytest.mark.parametrize("transport", ["grpc", "grpc-web"])
def test_concurrent_uploads_of_one_connection_pass_nginx(
    transport: str, proxy: Nginx, tmp_path: Path
) -> None:
    paths = [tmp_path / str(number) for number in range(4)]
    for path in paths:
        path.write_bytes(content(3 * MIB))
    with client_at(transport, proxy.address(transport)) as client, futures.ThreadPoolExecutor(4) as pool:
        # Several of them are refused before the first one has found the limit.
        for path, uploaded in zip(paths, pool.map(client.upload_file, paths)):
            assert uploaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("sizes", [[700_000] * 3, [3 * MIB, 0, 10], [9 * MIB]], ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_export_with_large_documents_passes_nginx(mode: str, sizes: list[int], proxy: Nginx) -> None:
    exported = request(*map(content, sizes))
    before = exported.SerializeToString()
    with client_at(mode, proxy.address(mode)) as client:
        *_, last = client.export(exported)
        digests = {artifact.sha256 for artifact in client.get_export(last.completed.export.name).artifacts}
        assert {hashlib.sha256(document.content).hexdigest() for document in exported.documents} <= digests
        refused = proxy.refused
        # The request and, without the size of its chunks, an upload.
        assert refused <= (3 if mode == "asyncio" else 2)
        *_, last = client.export(request(*map(content, sizes)))
        assert last.WhichOneof("event") == "completed"
    assert proxy.refused == refused, "the connection remembers the limit"
    assert exported.SerializeToString() == before, "the caller's request is unchanged"


@pytest.mark.parametrize("mode", MODES)
def test_documents_that_are_too_large_with_the_review_pass_nginx(mode: str, proxy: Nginx) -> None:
    item = review_pb2.FeedbackItem(id="1", description="x" * 1000)
    sections = [review_pb2.FeedbackSection(name=f"Section {number}", items=[item]) for number in range(500)]
    # None of the documents is large.
    documents = [content(200_000) for _ in range(3)]
    with client_at(mode, proxy.address(mode)) as client:
        *_, last = client.export(request(*documents, review=review_pb2.Review(suggestions=sections)))
    assert last.WhichOneof("event") == "completed"
    assert proxy.refused == 1


@pytest.mark.parametrize("documents", [0, 2])
@pytest.mark.parametrize("mode", MODES)
def test_review_beyond_the_limit_names_the_setting(mode: str, documents: int, proxy: Nginx) -> None:
    item = review_pb2.FeedbackItem(id="1", description="x" * 1000)
    sections = [review_pb2.FeedbackSection(name=f"Section {number}", items=[item]) for number in range(1500)]
    too_large = request(*[content(10)] * documents, review=review_pb2.Review(suggestions=sections))
    with client_at(mode, proxy.address(mode)) as client, pytest.raises(CallError) as raised:
        list(client.export(too_large))
    assert raised.value.reason == "HTTP_ERROR"
    assert "413" in str(raised.value) and "client_max_body_size" in str(raised.value)
    # grpc.aio finds the status with another request.
    assert 1 <= proxy.refused <= (4 if mode == "asyncio" else 2)


def test_large_documents_are_not_sent_first_over_grpc_web(server: str) -> None:
    with http1_proxy(server) as proxy, Client(proxy.address, transport="grpc-web") as client:
        *_, last = client.export(request(content(300_000), content(300_000)))
        assert [method for method, _ in proxy.passed] == ["StartExport"], "it fits into the limit"
        *_, last = client.export(request(content(250_000), content(900_000)))
        assert last.completed.export.artifact_count
        assert proxy.refused == []
        assert [method for method, _ in proxy.passed[1:]] == ["CreateUpload", "UploadChunk", "StartExport"]
        assert proxy.passed[-1][1] > 250_000, "only the large document is uploaded"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_documents_pass_a_proxy_that_closes_the_connection(
    scheme: str, server: str, tmp_path: Path, authority: Authority
) -> None:
    path = tmp_path / "document"
    path.write_bytes(content(9 * MIB))
    # With TLS, the client cannot read the response any more.
    tls, ca_file = None, None
    if scheme == "https":
        files = authority.server_settings()
        tls, ca_file = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), authority.ca_file
        tls.load_cert_chain(files["TLS_CERT_FILE"], files["TLS_KEY_FILE"])
    with (
        http1_proxy(server, tls=tls) as proxy,
        Client(f"{scheme}://{proxy.address}", transport="grpc-web", tls_ca_file=ca_file) as client,
    ):
        assert client.upload_file(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [method for method, _ in proxy.refused] == ["UploadChunk"]
    chunks = [size_bytes for method, size_bytes in proxy.passed if method == "UploadChunk"]
    assert len(chunks) == 18 and max(chunks) < LIMIT_BYTES


def as_earlier_release(method: str, body: bytes) -> bytes:
    """A server of an earlier release announces one size of chunks."""
    if method not in ("CreateUpload", "GetUpload"):
        return body
    end = 5 + int.from_bytes(body[1:5], "big")
    response = upload_pb2.CreateUploadResponse.FromString(body[5:end])
    assert response.upload.min_chunk_size_bytes == 512 * 1024
    response.upload.min_chunk_size_bytes = 0
    message = response.SerializeToString()
    return bytes(1) + len(message).to_bytes(4, "big") + message + body[end:]


def test_server_of_an_earlier_release_is_sent_no_small_chunks(server: str, tmp_path: Path) -> None:
    path = tmp_path / "document"
    path.write_bytes(content(3 * MIB))
    with (
        http1_proxy(server, as_earlier_release) as proxy,
        Client(proxy.address, transport="grpc-web") as client,
        pytest.raises(CallError) as raised,
    ):
        client.upload_file(path)
    assert raised.value.reason == "HTTP_ERROR" and "client_max_body_size" in str(raised.value)
    assert len(proxy.refused) == 1
    assert [method for method, _ in proxy.passed] == ["CreateUpload"]


@pytest.mark.parametrize("min_bytes", [0, -1, 9 * MIB, 8 * MIB])
@pytest.mark.parametrize("method", ["chunk", "pieces"])
def test_upload_without_smaller_chunks_reports_the_refusal(
    min_bytes: int, method: str, tmp_path: Path
) -> None:
    path = tmp_path / "document"
    path.write_bytes(bytes(8 * MIB))
    upload = FileUpload(path, Policy(), ProxyLimit(is_likely=True), lambda _: None)
    upload.update(
        upload_pb2.Upload(name="uploads/a", chunk_size_bytes=8 * MIB, min_chunk_size_bytes=min_bytes)
    )
    if method == "chunk":
        assert len(upload.chunk().data) == 8 * MIB
    else:
        assert len(list(upload.pieces())) == 8
    with pytest.raises(CallError, match="413"):
        upload.next_delay_seconds(causes.http_error(413))
    assert not upload.sends_chunks


def test_small_chunk_that_is_refused_is_not_sent_again(tmp_path: Path) -> None:
    path = tmp_path / "document"
    path.write_bytes(bytes(2 * MIB))
    upload = FileUpload(path, Policy(), ProxyLimit(is_likely=True), lambda _: None)
    upload.update(
        upload_pb2.Upload(name="uploads/a", chunk_size_bytes=8 * MIB, min_chunk_size_bytes=MIB // 2)
    )
    assert len(upload.chunk().data) == 2 * MIB
    assert upload.next_delay_seconds(causes.http_error(413)) == 0
    assert len(upload.chunk().data) == MIB // 2
    with pytest.raises(CallError, match="413"):
        upload.next_delay_seconds(causes.http_error(413))
