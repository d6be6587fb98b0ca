"""The client against a made-up Airflow."""

import datetime as dt
import http.server
import json
import threading

import httpx
import pytest

from nightjar.servers import rest
from nightjar.servers.waiting import Still


class Server:
    """Answers from a table, and keeps what was asked."""

    def __init__(self):
        self.answers = {("POST", "/auth/token"): [(201, {"access_token": "abc"})]}
        self.asked = []

    def __call__(self, request):
        body = json.loads(request.content) if request.content else None
        self.asked.append((request.method, request.url.path, body, request.headers.get("authorization")))
        answers = self.answers[request.method, request.url.path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        status, content = answer
        return httpx.Response(status, json=content)


class Healthy(http.server.BaseHTTPRequestHandler):
    """An Airflow whose scheduler is healthy."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"scheduler": {"status": "healthy"}}')


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def client(server, monkeypatch):
    real = httpx.Client
    monkeypatch.setattr(rest.Client._try.retry, "sleep", lambda seconds: None)
    monkeypatch.setattr(
        rest.httpx, "Client", lambda **kwargs: real(**kwargs, transport=httpx.MockTransport(server))
    )
    return rest.Client("http://airflow", "admin", "secret")


def test_it_logs_in_and_shows_its_token(server, client):
    server.answers["GET", "/api/v2/pools"] = [(200, {"pools": [{"name": "spark", "slots": 1}]})]
    assert client.pools() == {"spark": 1}
    assert server.asked == [
        ("POST", "/auth/token", {"username": "admin", "password": "secret"}, None),
        ("GET", "/api/v2/pools", None, "Bearer abc"),
    ]


def test_it_tries_again_while_the_service_is_unavailable(server, client):
    server.answers["GET", "/api/v2/pools"] = [(503, {}), (503, {}), (200, {"pools": []})]
    assert client.pools() == {}
    assert len(server.asked) == 4


def test_it_asks_again_where_the_server_failed(server, client):
    """As Airflow does for a moment while its SQLite is locked."""
    server.answers["GET", "/api/v2/pools"] = [(500, {}), (200, {"pools": []})]
    assert client.pools() == {}
    server.answers["POST", "/api/v2/pools"] = [(500, {}), (201, {})]
    client.put_pool("spark", 1, "Spark jobs")
    server.answers["PATCH", "/api/v2/dags/nightly"] = [(500, {}), (200, {})]
    client.unpause("nightly")
    server.answers["POST", "/api/v2/dags/nightly/dagRuns"] = [(500, {}), (200, {"dag_run_id": "r1"})]
    with pytest.raises(rest.RestError, match="dagRuns: 500"):
        client.trigger("nightly")


def test_it_asks_again_where_no_answer_came(server, client):
    server.answers["GET", "/api/v2/pools"] = [httpx.ReadError("reset"), (200, {"pools": []})]
    assert client.pools() == {}


def test_it_gives_up_with_a_clear_message(server, client):
    server.answers["GET", "/api/v2/pools"] = [httpx.ReadTimeout("timed out")]
    with pytest.raises(
        rest.RestError, match="GET .*pools: no answer from http://airflow.*ReadTimeout: timed out"
    ):
        client.pools()
    assert len(server.asked) == 1 + rest.TRIES


def test_a_change_is_sent_again_only_if_it_cannot_have_arrived(server, client):
    path = "POST", "/api/v2/dags/nightly/dagRuns"
    server.answers[path] = [httpx.ConnectError("refused"), (200, {"dag_run_id": "r1"})]
    assert client.trigger("nightly", "2017-09-30") == "r1"
    server.answers[path] = [httpx.ReadError("reset"), (200, {"dag_run_id": "r2"})]
    with pytest.raises(rest.RestError, match="ReadError: reset"):
        client.trigger("nightly", "2017-09-30")


def test_no_proxy_stands_between(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with http.server.HTTPServer(("127.0.0.1", 0), Healthy) as served:
        threading.Thread(target=served.handle_request).start()
        assert rest.health(f"http://127.0.0.1:{served.server_port}") == {"api-server", "scheduler"}


def test_an_error_is_raised_with_what_the_server_said(server, client):
    server.answers["PATCH", "/api/v2/dags/nightly"] = [(404, {"detail": "no such dag"})]
    with pytest.raises(rest.RestError, match="dags/nightly: 404 .*no such dag"):
        client.unpause("nightly")


def test_a_pool_that_is_there_is_left_alone(server, client):
    server.answers["POST", "/api/v2/pools"] = [
        (201, {}),
        (409, {"detail": "exists"}),
        (403, {"detail": "no"}),
    ]
    client.put_pool("spark", 1, "Spark jobs")
    client.put_pool("spark", 1, "Spark jobs")
    with pytest.raises(rest.RestError, match="pool spark: 403"):
        client.put_pool("spark", 1, "Spark jobs")


def test_a_run_is_started_by_its_partition(server, client):
    server.answers["POST", "/api/v2/dags/nightly/dagRuns"] = [(200, {"dag_run_id": "r1"})]
    assert client.trigger("nightly", "2017-09-30") == "r1"
    assert server.asked[-1][2] == {"logical_date": None, "partition_key": "2017-09-30", "conf": {}}


def test_a_backfill_is_cancelled_whatever_becomes_of_the_first_answer(server, client):
    """A locked SQLite answered 500, and the backfill went on."""
    path = "PUT", "/api/v2/backfills/7/cancel"
    server.answers[path] = [(500, {}), (200, {})]
    client.cancel_backfill(7)
    assert [method for method, *_ in server.asked] == ["POST", "PUT", "PUT"]
    server.answers[path] = [httpx.ReadError("reset"), (409, {"detail": "already completed"})]
    client.cancel_backfill(7)
    server.answers[path] = [(404, {"detail": "no such backfill"})]
    with pytest.raises(rest.RestError, match="backfill 7: 404"):
        client.cancel_backfill(7)


def test_a_backfill_is_asked_for_as_the_ui_does(server, client):
    server.answers["POST", "/api/v2/backfills"] = [(200, {"id": 7})]
    assert client.backfill("nightly", dt.date(2017, 9, 1), dt.date(2017, 9, 3), reprocess="failed") == 7
    assert server.asked[-1][2] == {
        "dag_id": "nightly",
        "dag_run_conf": {},
        "from_date": "2017-09-01T00:00:00.000Z",
        "to_date": "2017-09-03T00:00:00.000Z",
        "max_active_runs": 10,
        "reprocess_behavior": "failed",
        "run_backwards": False,
        "run_on_latest_version": True,
    }


def test_a_dag_file_that_cannot_be_read_ends_the_wait(server, client):
    server.answers["GET", "/api/v2/dags"] = [(200, {"dags": []})]
    errors = [{"filename": "nightly.py", "stack_trace": "SyntaxError"}]
    server.answers["GET", "/api/v2/importErrors"] = [(200, {"import_errors": errors})]
    with pytest.raises(rest.RestError, match=r"nightly\.py.*SyntaxError"):
        client.wait_for_dag("nightly")


def _running(server):
    """Two runs that go on, the second without tasks."""
    runs = [
        {"dag_run_id": name, "partition_key": "2017-09-30", "run_type": "manual", "state": "running"}
        for name in ("r1", "r2")
    ]
    task = {"task_id": "ingest", "id": "t1", "state": "running", "try_number": 1, "duration": None}
    tasks = [task | {"start_date": None, "end_date": None}]
    server.answers["GET", "/api/v2/dags/nightly/dagRuns"] = [(200, {"dag_runs": runs})]
    server.answers["GET", "/api/v2/dags/nightly/dagRuns/r1"] = [(200, runs[0])]
    server.answers["GET", "/api/v2/dags/nightly/dagRuns/r1/taskInstances"] = [
        (200, {"task_instances": tasks})
    ]
    server.answers["GET", "/api/v2/dags/nightly/dagRuns/r2/taskInstances"] = [(200, {"task_instances": []})]
    return runs


def test_waiting_ends_when_nothing_moves_and_names_the_tasks(server, client):
    _running(server)
    with pytest.raises(
        Still, match=r"nightly r1 to end; .*\{'r1': \{'ingest': \('running', 1\)\}, 'r2': \{\}\}"
    ):
        client.wait_for_run("nightly", "r1", still=0)


def test_progress_shows_tasks_of_runs_that_go_on_and_no_more_of_those_that_have_ended(server, client):
    runs = _running(server)
    runs[1]["state"] = "failed"
    assert client.progress("nightly") == {"r1": {"ingest": ("running", 1)}, "r2": "failed"}


def test_a_log_shows_events_and_the_error(server, client):
    path = "/api/v2/dags/nightly/dagRuns/r1/taskInstances/ingest.extract/logs/1"
    error = {"exc_type": "AirflowFailException", "exc_value": "FileFault: cut in half"}
    lines = [{"event": "hello"}, {"event": "Task failed", "error_detail": [error, {"exc_type": "FileFault"}]}]
    server.answers["GET", path] = [(200, {"content": lines})]
    text = client.logs("nightly", "r1", "ingest.extract")
    assert text == "hello\nTask failed AirflowFailException FileFault: cut in half"


def test_health_names_what_is_healthy(monkeypatch):
    parts = {
        "metadatabase": {"status": "healthy"},
        "scheduler": {"status": "healthy"},
        "dag_processor": {"status": "unhealthy"},
        "triggerer": {"status": None},
    }
    monkeypatch.setattr(rest.httpx, "get", lambda url, **_: httpx.Response(200, json=parts))
    assert rest.health("http://airflow") == {"api-server", "scheduler"}


def test_nothing_is_healthy_where_nobody_answers():
    assert rest.health("http://127.0.0.1:1") == set()
