"""What Airflow may answer to the demo: asked again where that is safe and of use, it never ends in a traceback."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from include.demo import airflow
from include.demo.airflow import AirflowApi
from include.demo.logs import report, what_matters
from include.demo.processes import DemoError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BROKEN = (0, "")


@contextmanager
def answering(*answers: tuple[int, str]) -> Iterator[tuple[AirflowApi, list[Any]]]:
    """Run a server that gives these answers, the last one for ever; gives an API and what was asked."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        left: ClassVar = list(answers)

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append((self.command, self.path.partition("?")[0], json.loads(body or "null")))
            status, text = self.left.pop(0) if len(self.left) > 1 else self.left[0]
            if (status, text) == BROKEN:
                self.connection.close()
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_PATCH = answer

        def log_message(self, *_arguments: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        api = AirflowApi(f"http://localhost:{server.server_port}", "secret")
        try:
            yield api, asked
        finally:
            api.close()
            server.shutdown()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airflow, "PATIENCE", 0.5)
    monkeypatch.setattr(airflow, "PAUSE", 0.02)


@pytest.mark.parametrize("first", [(500, "Internal Server Error"), (503, ""), BROKEN, (200, "<html>")])
@pytest.mark.parametrize("then", [(200, "{}"), (409, '{"detail": "exists"}')])
def test_a_run_is_asked_for_again_under_the_same_id(first: tuple[int, str], then: tuple[int, str]) -> None:
    with answering(first, first, then) as (api, asked):
        run_id = api.trigger("porting_scan")
        assert [body["dag_run_id"] for _, _, body in asked] == [run_id] * 3


def test_two_runs_have_two_ids() -> None:
    with answering((200, "{}")) as (api, _):
        assert api.trigger("porting_scan") != api.trigger("porting_scan")


def test_a_pool_that_is_there_is_made() -> None:
    with answering(BROKEN, (409, "")) as (api, asked):
        api.make_pool("telnyx_api", 4)
        assert len(asked) == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, "Internal Server Error"), "Airflow answered 500 Internal Server Error to GET /api/v2/dags"),
        ((404, '{"detail": "no"}'), 'Airflow answered 404 {"detail": "no"} to GET /api/v2/dags'),
        ((409, "busy"), "Airflow answered 409 busy to GET /api/v2/dags"),
        ((200, "<html>"), "Airflow answered 200 <html> to GET /api/v2/dags"),
        (BROKEN, "Airflow did not answer (RemoteProtocolError) to GET /api/v2/dags"),
    ],
)
def test_what_stays_wrong_is_one_sentence(answer: tuple[int, str], said: str) -> None:
    with answering(answer) as (api, _), pytest.raises(DemoError) as caught:
        api.get("/dags")
    assert (str(caught.value), caught.value.log) == (said, "airflow")


def test_a_refusal_is_not_asked_again() -> None:
    with answering((422, "")) as (api, asked):
        with pytest.raises(DemoError):
            api.trigger("porting_scan")
        assert len(asked) == 1


@pytest.mark.parametrize("body", ["[]", "null", "7", '{"metadatabase": 1}', "<html>", ""])
def test_health_may_be_any_nonsense(body: str) -> None:
    with answering((200, body)) as (api, _):
        assert api.healthy() is False


def test_the_lines_that_matter_are_shown_and_no_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["starting", "\x1b[31mValueError: bad\x1b[0m", *["api-server | GET /health 200"] * 50]
    lines += [
        json.dumps({"level": "error", "event": "Task failed", "error_detail": [{"exc_type": "X", "exc_value": "y"}]})
    ]
    (tmp_path / "airflow.log").write_text("\n".join(lines))
    report(DemoError("it broke", "airflow"), tmp_path)
    assert capsys.readouterr().err.splitlines() == [
        "demo: it broke",
        f"its log is {tmp_path}/airflow.log, what matters in it:",
        "    ValueError: bad",
        "    error Task failed X: y",
    ]


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"error_detail": [1]}', '{"error_detail": 1}', "\x00", "7"])
def test_a_log_may_hold_anything(tmp_path: Path, text: str) -> None:
    (tmp_path / "any.log").write_text(text)
    assert what_matters(tmp_path / "any.log") in ([], [text])
    assert what_matters(tmp_path / "none.log") == []
