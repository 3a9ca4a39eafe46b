"""Free questions on a log, put to a language model behind an OpenAI-compatible endpoint.

The log is all that the model is given: no name of a file, no picture, no signal leaves the machine. A log says what
somebody did when, all the same: plain http is therefore only spoken to this machine itself, redirects are not followed,
and the key is read from the environment.
"""

from __future__ import annotations

import ipaddress
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from motionseek.errors import ModelError, UsageError
from motionseek.search.segments import Segment

KEY = "MOTIONSEEK_LLM_KEY"
TIMEOUT_S = 60.0
LONGEST_S = 1e9
"""More seconds than this a socket cannot wait."""
MOST_BYTES = 2**20
INSTRUCTION = (
    "You answer questions about what one person did. All that is known is the log below, made from body sensors: one "
    "line a stretch, with its start and end in seconds from the start of the recording and the activity. Answer from "
    "the log alone, in one or two sentences, and name the times that your answer rests on. If the log does not say, "
    "answer that it does not say."
)


@dataclass(frozen=True)
class Endpoint:
    """Where a language model answers. url: up to /v1, or whole.   model: its name there.   timeout_s: until it has
    answered.   plain_http: allow http to another machine, which everyone on the way can read."""

    url: str
    model: str
    timeout_s: float = TIMEOUT_S
    plain_http: bool = False

    def __post_init__(self) -> None:
        wrong = UsageError(f"{self.url!r} is no address of an endpoint: give one like http://127.0.0.1:11434/v1")
        try:
            at = urlsplit(self.url)
            sound = at.port != 0 and f"{at.path}{at.query}".isascii()
        except ValueError as error:
            raise wrong from error
        if at.scheme not in ("http", "https") or not at.hostname or not sound:
            raise wrong
        if at.username or at.password:
            raise UsageError(f"the address of the endpoint must not hold a key: put it into ${KEY}")
        if at.scheme == "http" and not self.plain_http and not _is_here(at.hostname):
            raise UsageError(f"{self.url} is not encrypted and another machine: use https, or allow plain http")
        if not self.model.strip():
            raise UsageError("name the model that the endpoint shall answer with")
        if not 0 < self.timeout_s < LONGEST_S:
            raise UsageError(f"timeout_s must be positive, and less than {LONGEST_S:g}, not {self.timeout_s}")

    @property
    def completions(self) -> str:
        base = self.url.rstrip("/")
        return base if base.endswith("/chat/completions") else f"{base}/chat/completions"


def log_lines(segments: Sequence[Segment]) -> str:
    return "\n".join(f"{s.start_s:.1f}-{s.end_s:.1f}  {s.label}" for s in segments)


def answer_freely(endpoint: Endpoint, segments: Sequence[Segment], question: str) -> str:
    """What the model says. Raises ModelError, saying what went wrong and where, for an endpoint that does not answer,
    refuses, or answers with something else; UsageError for a key that cannot be sent."""
    asked = {
        "model": endpoint.model,
        "temperature": 0,
        "messages": [
            {"role": "system", "content": f"{INSTRUCTION}\n\n{log_lines(segments)}"},
            {"role": "user", "content": question},
        ],
    }
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if key := os.environ.get(KEY, "").strip():
        if not (key.isascii() and key.isprintable()):
            raise UsageError(f"${KEY} holds characters that no key has: set it anew")
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(endpoint.completions, json.dumps(asked).encode(), headers, method="POST")
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if _is_here(urlsplit(endpoint.url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    where, until = endpoint.completions, time.monotonic() + endpoint.timeout_s
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=endpoint.timeout_s) as response:
            said = _read(response, until)
    except urllib.error.HTTPError as error:
        with error:
            raise ModelError(f"{where} answered {error.code} {error.reason}: {_reason(error.read(4096))}") from error
    except TimeoutError as error:
        raise ModelError(f"{where} did not answer within {endpoint.timeout_s:g} s") from error
    except (urllib.error.URLError, OSError, HTTPException) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, TimeoutError):
            raise ModelError(f"{where} did not answer within {endpoint.timeout_s:g} s") from error
        raise ModelError(f"{where} cannot be reached: {cause}") from error
    if len(said) > MOST_BYTES:
        raise ModelError(f"{where} answered with more than {MOST_BYTES} bytes")
    return _content(said, where)


def _read(response: HTTPResponse, until: float) -> bytes:
    """What it says, as far as MOST_BYTES and one more. Each wait has its own limit, and a trickle would outlast it."""
    said = b""
    while len(said) <= MOST_BYTES and (some := response.read1(MOST_BYTES + 1 - len(said))):
        said += some
        if time.monotonic() > until:
            raise TimeoutError
    return said


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The key and the log go to the address that was given, and to no other."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _content(said: bytes, where: str) -> str:
    try:
        text = json.loads(said)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ModelError(f"{where} did not answer as an OpenAI-compatible endpoint does: {said[:200]!r}") from error
    if not isinstance(text, str) or not text.strip():
        raise ModelError(f"{where} answered without words")
    return text.strip()


def _reason(said: bytes) -> str:
    try:
        error = json.loads(said)["error"]
        return str(error["message"] if isinstance(error, dict) else error)[:300]
    except (ValueError, KeyError, TypeError):
        return said[:200].decode("utf-8", "replace") or "no reason given"
