"""The servers that the tests stand on: started by `nightjar serve`, behind a login, gone after a stop."""

import httpx
import psycopg2
import pytest
from botocore.exceptions import ClientError

from nightjar.servers import background

pytestmark = pytest.mark.services


def test_s3_keeps_what_it_has_over_a_stop(s3_server):
    bucket = s3_server.make_bucket("kept").removeprefix("s3://")
    s3_server.client().put_object(Bucket=bucket, Key="a/b", Body=b"x", IfNoneMatch="*")
    before = s3_server.component
    s3_server.stop()
    assert background.members([before]) == []
    s3_server.start()
    assert s3_server.client().get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"x"
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3_server.client().put_object(Bucket=bucket, Key="a/b", Body=b"y", IfNoneMatch="*")


def test_s3_asks_for_its_keys(s3_server):
    assert httpx.get(f"{s3_server.url}/?list-type=2", trust_env=False).status_code == 403


def test_postgres_asks_for_its_password(postgres):
    told = postgres.url("asked").replace("+psycopg2", "").replace(postgres.password, "wrong")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(told)


@pytest.mark.parametrize("path", ["/", "/api/2.0/mlflow/registered-models/search", "/graphql"])
@pytest.mark.parametrize("login", [None, ("nightjar", "wrong"), ("nightjar", "")])
def test_mlflow_asks_for_its_login(mlflow_server, path, login):
    answer = httpx.get(f"{mlflow_server.url}{path}", auth=login, trust_env=False)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


def test_mlflow_keeps_runs_in_postgres_and_artefacts_on_s3(mlflow_server, postgres, s3_server):
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_server.url)
    run = client.create_run("0").info.run_id
    client.log_text(run, "hello", "note.txt")
    with psycopg2.connect(postgres.url("mlflow").replace("+psycopg2", "")) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT count(*) FROM runs WHERE run_uuid = %s", (run,))
        assert cursor.fetchone() == (1,)
    found = s3_server.client().list_objects_v2(Bucket="mlflow")["Contents"]
    assert [entry["Key"].rpartition("/")[2] for entry in found] == ["note.txt"]
