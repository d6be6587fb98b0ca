"""The login before MLflow's app, with another app in its place."""

import asyncio
import base64

import pytest

from nightjar.servers.mlflow_app import Login


async def _inside(scope, receive, send):
    await send({"type": "inside"})


def _answers(path="/", kind="http", authorization=None):
    """What a request is answered, message by message."""
    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"authorization", authorization)] if authorization is not None else []
    scope = {"type": kind, "path": path, "headers": headers}
    asyncio.run(Login(_inside, "nightjar", "pass:word")(scope, None, send))
    return sent


def _basic(text):
    return b"Basic " + base64.b64encode(text.encode())


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_who_knows_user_and_password_is_let_in(kind):
    assert _answers(kind=kind, authorization=_basic("nightjar:pass:word")) == [{"type": "inside"}]


@pytest.mark.parametrize("path", ["/", "/health/more", "/health?x", ""])
@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        b"",
        b"Basic",
        b"Bearer pass:word",
        _basic("nightjar:pass"),
        _basic("nightjar"),
        _basic(":pass:word"),
        _basic("other:pass:word"),
    ],
)
def test_nobody_else_is(path, kind, authorization):
    answer = _answers(path, kind, authorization)[0]
    assert answer["type"] == {"http": "", "websocket": "websocket."}[kind] + "http.response.start"
    assert answer["status"] == 401
    assert dict(answer["headers"])[b"www-authenticate"].startswith(b"Basic ")


@pytest.mark.parametrize("path", ["/health", "/version"])
def test_health_and_version_answer_everybody(path):
    assert _answers(path) == [{"type": "inside"}]


def test_the_app_starts_and_ends():
    assert _answers(kind="lifespan") == [{"type": "inside"}]
