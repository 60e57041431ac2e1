"""Tokens: which are valid, where they are sent, and that they are not shown."""

from __future__ import annotations

import asyncio
import gc
import threading
import traceback
import warnings
from pathlib import Path
from typing import Any

import pytest
from fake_server import HOSTILE
from http_server import http_server
from world import MODES, client_at

from tara_export import CallError, Client, TaraExportError, TokenFile, aio, tokens

SECRET = "8d7f-secret-of-the-test"
OK = {"status": 200, "is_grpc": True, "body_base64": "AAAAAAA=", "trailers": {"grpc-status": "0"}}
REFUSED = {"status": 200, "is_grpc": True, "trailers": {"grpc-status": "16", "grpc-message": "expired"}}


def protocol(mode: str) -> str:
    return "grpc-web" if mode == "grpc-web" else "grpc"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "token",
    [f"{SECRET} ", f"{SECRET}\n", f"a {SECRET}", f"{SECRET}ü", SECRET * 1000, "", f"{SECRET}\0"],
    ids=["space at the end", "line end", "space", "umlaut", "long", "empty", "NUL"],
)
@pytest.mark.parametrize("is_function", [False, True])
def test_invalid_token_is_not_shown(mode: str, token: str, is_function: bool) -> None:
    with pytest.raises(ValueError) as raised:
        given: Any = (lambda: token) if is_function else token
        with client_at(mode, "127.0.0.1:1", token=given) as client:
            list(client.list_exports())
    shown = "".join(traceback.format_exception(type(raised.value), raised.value, raised.tb))
    assert SECRET not in str(raised.value) and SECRET not in repr(raised.value)
    # The source lines of this file are in the traceback, its values are not.
    assert SECRET not in shown.replace("test_tokens.py", "")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("token", [3, b"abc", None, ["a"]])
def test_function_must_return_a_text(mode: str, token: Any) -> None:
    with (
        client_at(mode, "127.0.0.1:1", token=lambda: token) as client,
        pytest.raises(TypeError, match="a token must be a str"),
    ):
        client.get_export(HOSTILE["export"])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "server, is_refused",
    [
        ("http://192.0.2.7:8080", True),
        ("192.0.2.7:8080", True),
        ("http://export.example.com", True),
        ("export.example.com:80", True),
        ("http://localhost.example.com", True),
        ("http://127.0.0.1.example.com", True),
        ("http://[2001:db8::7]:8080", True),
        ("dns:///export.example.com:80", True),
        ("ipv4:192.0.2.7:80", True),
        ("ipv4:127.0.0.1:80,192.0.2.7:80", True),
        ("https://export.example.com", False),
        ("http://localhost:1", False),
        ("http://LOCALHOST.:1", False),
        ("http://export.localhost:1", False),
        ("http://127.8.9.10:1", False),
        ("[::1]:1", False),
        ("http://[::1]:1", False),
        ("dns:///localhost:1", False),
        ("ipv4:127.0.0.1:1", False),
        ("unix:/nowhere/socket", False),
        ("unix:///nowhere/socket", False),
    ],
)
def test_token_is_not_sent_in_clear(mode: str, server: str, is_refused: bool) -> None:
    if not is_refused:
        with client_at(mode, server, token=SECRET):
            return
    with pytest.raises(ValueError, match="everyone on the network can read") as raised:
        client_at(mode, server, token=SECRET).__enter__()
    assert "https://" in str(raised.value) and SECRET not in str(raised.value)
    with client_at(mode, server, token=SECRET, allow_insecure_token=True), client_at(mode, server):
        pass


@pytest.mark.parametrize("mode", MODES)
def test_function_is_called_for_each_call(mode: str) -> None:
    given = iter(["one", "two", "three"])
    with http_server(OK, protocol(mode)) as server:
        with client_at(mode, server.address, token=lambda: next(given)) as client:
            for _ in range(3):
                list(client.list_exports())
        assert [request["authorization"] for request in server.requests] == [
            "Bearer one",
            "Bearer two",
            "Bearer three",
        ]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "given, sent",
    [(["old", "new"], ["old", "new"]), (["old", "old"], ["old"]), (["a", "b", "c"], ["a", "b"])],
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_token_is_refreshed_once(mode: str, given: list[str], sent: list[str], is_stream: bool) -> None:
    remaining = list(given)
    with http_server(REFUSED, protocol(mode)) as server:
        with client_at(mode, server.address, token=lambda: remaining.pop(0)) as client:
            with pytest.raises(CallError) as raised:
                list(client.watch(HOSTILE["export"])) if is_stream else list(client.list_exports())
            assert raised.value.code.name == "UNAUTHENTICATED"
        assert [request["authorization"] for request in server.requests] == [f"Bearer {one}" for one in sent]


@pytest.mark.parametrize("mode", MODES)
def test_text_is_not_sent_again(mode: str) -> None:
    with http_server(REFUSED, protocol(mode)) as server:
        with client_at(mode, server.address, token="old") as client, pytest.raises(CallError):
            client.get_export(HOSTILE["export"])
        assert len(server.requests) == 1


@pytest.mark.parametrize("mode", MODES)
def test_error_of_the_function_is_not_retried_whatever_it_is(mode: str) -> None:
    import grpc

    lost = CallError(grpc.StatusCode.UNAVAILABLE, "the identity provider does not respond")
    for error in (lost, ConnectionResetError("reset"), TimeoutError("late"), asyncio.TimeoutError("late")):
        calls = 0

        def fail(error: Exception = error) -> str:
            nonlocal calls
            calls += 1
            raise error

        with client_at(mode, "127.0.0.1:1", token=fail) as client:
            with pytest.raises(type(error)) as raised:
                list(client.watch(HOSTILE["export"]))
            assert raised.value.args == error.args and calls == 1
            with pytest.raises(type(error)):
                client.get_export(HOSTILE["export"])
            assert calls == 2


def test_function_of_asyncio_can_be_a_coroutine_or_wait() -> None:
    main = threading.get_ident()
    threads = []

    def waiting() -> str:
        threads.append(threading.get_ident())
        return "of a thread"

    async def coroutine() -> str:
        await asyncio.sleep(0)
        threads.append(threading.get_ident())
        return "of-a-coroutine"

    class Source:
        async def __call__(self) -> str:
            return "of-an-object"

    async def call(server: str, token: Any) -> None:
        async with aio.Client(server, token=token) as client:
            async for _ in client.list_exports():
                pass

    with http_server(OK, "grpc") as server:
        asyncio.run(call(server.address, coroutine))
        asyncio.run(call(server.address, Source()))
        with pytest.raises(ValueError, match="without whitespace"):
            asyncio.run(call(server.address, waiting))
        sent = [request["authorization"] for request in server.requests]
    assert sent == ["Bearer of-a-coroutine", "Bearer of-an-object"]
    assert threads[0] == main and threads[1] != main


def test_coroutine_that_does_not_return_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_TIMEOUT_SECONDS", 0.05)

    async def never() -> str:
        await asyncio.Event().wait()
        return ""

    with (
        client_at("asyncio", "127.0.0.1:1", token=never) as client,
        pytest.raises(TaraExportError, match="token's function did not return within"),
    ):
        list(client.watch(HOSTILE["export"]))


@pytest.mark.parametrize("mode", ["grpc", "grpc-web"])
def test_coroutine_needs_asyncio(mode: str) -> None:
    async def coroutine() -> str:
        return "abc"

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with (
            client_at(mode, "127.0.0.1:1", token=coroutine) as client,
            pytest.raises(TypeError, match=r"aio\.Client"),
        ):
            client.get_export(HOSTILE["export"])
        gc.collect()


@pytest.mark.parametrize("mode", MODES)
def test_file_is_read_for_each_call(mode: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    with http_server(OK, protocol(mode)) as server:
        with client_at(mode, server.address, token=TokenFile(file)) as client:
            list(client.list_exports())
            file.write_text("second\n")
            list(client.list_exports())
            file.write_text(f"{SECRET} {SECRET}")
            with pytest.raises(ValueError, match="has no valid token") as raised:
                list(client.list_exports())
            assert SECRET not in str(raised.value) and str(file) in str(raised.value)
            file.unlink()
            with pytest.raises(FileNotFoundError):
                list(client.list_exports())
        assert [request["authorization"] for request in server.requests] == ["Bearer first", "Bearer second"]


def test_client_does_not_show_its_token() -> None:
    for transport in ("grpc", "grpc-web"):
        with Client("127.0.0.1:1", transport=transport, token=SECRET) as client:  # type: ignore[arg-type]
            inner = vars(client)["_transport"]
            assert SECRET not in repr((client, vars(client), vars(inner)))
