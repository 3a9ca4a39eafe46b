"""Free questions, against a real HTTP server that checks what it is sent."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from motionseek.cli import main
from motionseek.errors import ModelError, QueryError, UsageError
from motionseek.search.ask import ask
from motionseek.search.llm import Endpoint
from motionseek.search.segments import Segment

DAY = (Segment(0, 10, "walking", 0.5), Segment(10, 14, "running", 0.5))
NAMES = ("walking", "running")
GOOD = {"choices": [{"message": {"role": "assistant", "content": " Mostly walking (0-10 s). "}}]}


class Stub:
    """An endpoint that keeps what it was sent and says what it is told to."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict, dict]] = []
        self.status, self.body, self.headers, self.wait_s = 200, json.dumps(GOOD), {}, 0.0
        self.pauses = 0
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stub.seen.append((self.path, dict(self.headers), sent))
                time.sleep(stub.wait_s)
                self.send_response(stub.status)
                for name, value in stub.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                for _ in range(stub.pauses):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                    time.sleep(0.05)
                self.wfile.write(stub.body.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.delenv("MOTIONSEEK_LLM_KEY", raising=False)
    made = Stub()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_the_log_and_the_question_are_all_that_is_sent(stub, monkeypatch):
    monkeypatch.setenv("MOTIONSEEK_LLM_KEY", "secret")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    answer = ask(DAY, NAMES, "was it a lazy day?", llm=Endpoint(stub.url, "tiny"))
    assert (answer.kind, answer.text, answer.value, answer.evidence) == ("free", "Mostly walking (0-10 s).", None, ())
    ((path, headers, sent),) = stub.seen
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret"
    assert headers["Content-Type"] == "application/json"
    assert sorted(sent) == ["messages", "model", "temperature"]
    assert (sent["model"], sent["temperature"]) == ("tiny", 0)
    system, user = sent["messages"]
    assert user == {"role": "user", "content": "was it a lazy day?"}
    assert system["role"] == "system"
    assert system["content"].endswith("\n\n0.0-10.0  walking\n10.0-14.0  running")


def test_what_is_understood_is_counted_not_asked(stub):
    answer = ask(DAY, NAMES, "how long did I walk?", llm=Endpoint(stub.url, "tiny"))
    assert (answer.kind, answer.value) == ("how long", 10.0)
    assert not stub.seen
    with pytest.raises(QueryError, match="not understood"):
        ask(DAY, NAMES, "was it a lazy day?")


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (401, '{"error": {"message": "no such key"}}', "401 .*no such key"),
        (404, "", "404 .*no reason given"),
        (500, "<html>", "500 .*html"),
        (200, "hello", "did not answer as an OpenAI-compatible endpoint does"),
        (200, '{"choices": []}', "did not answer as an OpenAI-compatible endpoint does"),
        (200, '{"choices": [{"message": {"content": " "}}]}', "without words"),
        (200, "x" * (2**20 + 10), "more than"),
    ],
)
def test_bad_answers_are_said_with_their_address(stub, status, body, says):
    stub.status, stub.body = status, body
    with pytest.raises(ModelError, match=says) as error:
        ask(DAY, NAMES, "was it a lazy day?", llm=Endpoint(stub.url, "tiny"))
    assert stub.url in str(error.value)
    assert "Authorization" not in stub.seen[0][1]


def test_redirects_are_not_followed(stub, monkeypatch):
    monkeypatch.setenv("MOTIONSEEK_LLM_KEY", "secret")
    elsewhere = Stub()
    stub.status, stub.headers = 302, {"Location": elsewhere.url + "/chat/completions"}
    with pytest.raises(ModelError, match="302"):
        ask(DAY, NAMES, "was it a lazy day?", llm=Endpoint(stub.url, "tiny"))
    assert not elsewhere.seen
    elsewhere.server.shutdown()
    elsewhere.server.server_close()


def test_no_answer(stub):
    stub.wait_s = 1.0
    with pytest.raises(ModelError, match=r"within 0\.1 s"):
        ask(DAY, NAMES, "was it a lazy day?", llm=Endpoint(stub.url, "tiny", timeout_s=0.1))
    stub.wait_s, stub.pauses = 0.0, 20
    assert ask(DAY, NAMES, "was it a lazy day?", llm=Endpoint(stub.url, "tiny", timeout_s=5)).kind == "free"
    with pytest.raises(ModelError, match=r"within 0\.2 s"):
        ask(DAY, NAMES, "was it a lazy day?", llm=Endpoint(stub.url, "tiny", timeout_s=0.2))
    with pytest.raises(ModelError, match="cannot be reached"):
        ask(DAY, NAMES, "was it a lazy day?", llm=Endpoint("http://127.0.0.1:9/v1", "tiny"))


def test_addresses():
    assert Endpoint("https://a.example/v1/", "m").completions == "https://a.example/v1/chat/completions"
    assert Endpoint("http://[::1]:3/v1/chat/completions", "m").completions.endswith("3/v1/chat/completions")
    assert Endpoint("http://10.0.0.2/v1", "m", plain_http=True).model == "m"
    for url, says in (
        ("http://10.0.0.2/v1", "not encrypted"),
        ("http://localhost.evil.example/v1", "not encrypted"),
        ("ftp://a/v1", "no address"),
        ("a.example/v1", "no address"),
        ("https://me:key@a.example/v1", "must not hold a key"),
        ("http://[::1/v1", "no address"),
        ("http://127.0.0.1:99999/v1", "no address"),
        ("http://127.0.0.1:9/vé", "no address"),
    ):
        with pytest.raises(UsageError, match=says):
            Endpoint(url, "m")
    with pytest.raises(UsageError, match="name the model"):
        Endpoint("https://a.example/v1", " ")
    for timeout_s in (0, float("nan"), float("inf"), 1e12):
        with pytest.raises(UsageError, match="timeout_s"):
            Endpoint("https://a.example/v1", "m", timeout_s=timeout_s)


def test_a_key_with_a_line_end_is_sent_without_and_one_that_cannot_be_is_told(stub, monkeypatch):
    monkeypatch.setenv("MOTIONSEEK_LLM_KEY", "secret\n")
    assert ask(DAY, NAMES, "was it a lazy day?", llm=Endpoint(stub.url, "tiny")).kind == "free"
    assert stub.seen[0][1]["Authorization"] == "Bearer secret"
    for key in ("se\ncret", "secr…"):
        monkeypatch.setenv("MOTIONSEEK_LLM_KEY", key)
        with pytest.raises(UsageError, match="MOTIONSEEK_LLM_KEY holds") as error:
            ask(DAY, NAMES, "was it a lazy day?", llm=Endpoint(stub.url, "tiny"))
        assert key not in str(error.value)


def test_the_command(stub, archive_dir, model, takes, monkeypatch, capsys):
    monkeypatch.setattr("motionseek.search.loaded.load", lambda name: model)
    args = ["ask", takes[3].recording_id[:10], "was it a lazy day?", "--archive", str(archive_dir), "--json"]

    def run(*more):
        with pytest.raises(SystemExit) as exit_:
            main([*args, *more])
        return exit_.value.code or 0, json.loads(capsys.readouterr().out)

    code, said = run("--llm", stub.url, "--model", "tiny")
    assert (code, said["kind"], said["text"]) == (0, "free", "Mostly walking (0-10 s).")
    sent = json.dumps(stub.seen)
    assert takes[3].uri not in sent
    assert takes[3].recording_id not in sent
    assert run("--llm", stub.url)[0] == 2
    assert run()[0] == 2
