"""MLflow's app behind one login, for `mlflow server --app-name nightjar`.

MLflow by itself lets everybody in. The user and password are those by which its clients log in
(`MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`).
"""

import base64
import os
import secrets

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

OPEN = ("/health", "/version")
ASK = {"WWW-Authenticate": 'Basic realm="MLflow", charset="UTF-8"'}


class Login:
    """An app that answers only those who send the user and password, by HTTP basic authentication.

    `/health` and `/version` answer everybody.
    """

    def __init__(self, app: ASGIApp, user: str, password: str) -> None:
        self._app = app
        self._expected = b"Basic " + base64.b64encode(f"{user}:{password}".encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or run the app's start and end."""
        if scope["type"] == "lifespan" or scope["path"] in OPEN or self._is_known(scope):
            await self._app(scope, receive, send)
        else:
            refusal = PlainTextResponse("MLflow asks for a user and a password\n", 401, headers=ASK)
            await refusal(scope, receive, send)

    def _is_known(self, scope: Scope) -> bool:
        sent: bytes = dict(scope["headers"]).get(b"authorization", b"")
        return secrets.compare_digest(sent, self._expected)


def app() -> Login:
    """MLflow's own app behind the login."""
    from mlflow.server.fastapi_app import app as mlflow

    return Login(mlflow, os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"])
