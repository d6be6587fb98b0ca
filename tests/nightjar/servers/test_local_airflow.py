import os

import pytest

from lake.settings import Settings
from nightjar.servers import local_airflow, programs
from nightjar.servers.local_airflow import COMPONENTS


@pytest.fixture
def parts(monkeypatch):
    """What started and what answered, in order; each part is a process that answers when asked twice."""
    events, unanswered = [], set()
    spawn = local_airflow.background.spawn

    def start(name, *arguments):
        events.append(f"{name} starts")
        unanswered.add(name)
        return spawn(name, *arguments)

    def health(url):
        answering = {event.split()[0] for event in events} - unanswered
        events.extend(f"{name} answers" for name in sorted(answering) if f"{name} answers" not in events)
        unanswered.clear()
        return answering

    idle = programs.Program(["sleep", "60"], dict(os.environ))
    monkeypatch.setattr(local_airflow.programs, "program", lambda *_, **__: idle)
    monkeypatch.setattr(local_airflow.background, "spawn", start)
    monkeypatch.setattr(local_airflow.rest, "health", health)
    for name in ("migrate", "make_pools"):
        monkeypatch.setattr(local_airflow, name, lambda _: None)
    monkeypatch.setattr(local_airflow.Airflow, "client", lambda self: None)
    return events


def test_the_scheduler_starts_once_the_api_server_answers(parts, tmp_path):
    """Its workers found no server, and tasks used up their tries before they began."""
    settings = Settings(home=tmp_path)
    try:
        local_airflow.start(settings, local_airflow.free_port())
    finally:
        local_airflow.stop(settings)
    assert parts[:3] == ["api-server starts", "api-server answers", "scheduler starts"]
    assert sorted(parts) == sorted(f"{name} {what}" for name in COMPONENTS for what in ("starts", "answers"))
