"""One HTTP request to the remote: bytes in, an outcome out. Never raises, never hangs.

`requests` is guarded as contract section 6 and RFC 9110 demand: no redirects (a POST would become
a GET and its 200 would count), no netrc, no ambient proxies, a bounded answer that is not
decompressed, and a deadline around all of it, since no timeout of its own bounds name resolution
or an answer that trickles. Imported at the first request: it costs 6 MB.
"""

from __future__ import annotations

import gzip
import threading
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from tracer import __version__

if TYPE_CHECKING:
    import requests

MAX_ANSWER_BYTES: Final = 65536


class Outcome(StrEnum):
    """What an answer means for the rows of the batch."""

    CONFIRMED = "confirmed"
    KEPT = "kept"  # not delivered: the rows stay unpushed and go again


class Answer(NamedTuple):
    """`error` is a sentence without the URL, which may hold a secret."""

    outcome: Outcome
    http_status: int | None
    error: str | None


class Remote:
    """Where batches go. One request at a time, from one thread."""

    def __init__(
        self,
        endpoint: str,
        *,
        api_key: str = "",
        gzip_bodies: bool = False,
        proxy: str = "",
        ca_file: str = "",
    ) -> None:
        self._endpoint = endpoint
        self._api_key = api_key
        self._gzip_bodies = gzip_bodies
        self._proxy = proxy
        self._ca_file = ca_file
        self._session: requests.Session | None = None
        self._request: threading.Thread | None = None

    def send(self, body: bytes, batch_id: str, timeout_s: float) -> Answer:
        """Blocks for at most `timeout_s`, from name resolution to the last byte.

        A request that overruns is left to its thread; until that has ended no other is begun.
        """
        if self._request is not None and self._request.is_alive():
            return Answer(Outcome.KEPT, None, "the previous request still hangs")
        answers: list[Answer] = []
        self._request = threading.Thread(
            target=lambda: answers.append(self._send(body, batch_id, timeout_s)),
            name="push-request",
            daemon=True,
        )
        self._request.start()
        self._request.join(timeout_s)
        if answers:
            return answers[0]
        self.close()
        return Answer(Outcome.KEPT, None, f"no complete answer within {timeout_s:g} s")

    def close(self) -> None:
        """Drops idle connections; a pass that follows opens its own."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _send(self, body: bytes, batch_id: str, timeout_s: float) -> Answer:
        try:
            session = self._session = self._session or self._new_session()
            headers = {"Idempotency-Key": batch_id}
            if self._gzip_bodies:
                body, headers["Content-Encoding"] = gzip.compress(body, 6), "gzip"
            with session.post(
                self._endpoint,
                data=body,
                headers=headers,
                timeout=timeout_s,
                allow_redirects=False,
                stream=True,
            ) as response:
                response.raw.read(MAX_ANSWER_BYTES, decode_content=False)
                return _judge(response.status_code)
        except Exception as error:
            return Answer(Outcome.KEPT, None, _describe(error))

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """As an auth hook, since a user in the URL would replace a plain header."""
        request.headers["Authorization"] = f"Bearer {self._api_key}"
        return request

    def _new_session(self) -> requests.Session:
        import requests

        session = requests.Session()
        session.trust_env = False
        session.headers.update(
            {
                "User-Agent": f"openclaw-trace/{__version__}",
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
            }
        )
        if self._api_key:
            session.auth = self._authorize
        if self._proxy:
            session.proxies = {"http": self._proxy, "https": self._proxy}
        if self._ca_file:
            session.verify = self._ca_file
        return session


def _judge(status: int) -> Answer:
    """What a status means. The table of contract section 6 has its place here."""
    if 200 <= status < 300:
        return Answer(Outcome.CONFIRMED, status, None)
    return Answer(Outcome.KEPT, status, f"the remote answered {status}")


def _describe(error: BaseException) -> str:
    """The innermost cause, in words; the outer ones quote the URL."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    text = getattr(error, "strerror", None)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
