"""One HTTP request to the remote: bytes in, an answer out. Never raises, never hangs.

`requests` is guarded as contract section 6 and RFC 9110 demand: no redirects (a POST would become
a GET and its 200 would count), no netrc, no ambient proxies, no cookies, a bounded answer that is
not decompressed, and a deadline around all of it, since no timeout of its own bounds name
resolution or an answer that trickles. Imported at the first request: it costs 6 MB.
"""

from __future__ import annotations

import gzip
import math
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit, urlunsplit

from tracer import __version__, endpoint
from tracer.answer import Answer, Outcome, judge

if TYPE_CHECKING:
    import requests

    from tracer.encoders.batch import Batch
    from tracer.transport import BoundedAdapter

MAX_ANSWER_BYTES: Final = 65536
CONNECT_SHARE: Final = 1 / 3
"""Of the time-out, for one address: a host may have one that does not answer and one that does."""
CUT_S: Final = 0.05
"""For a request that was cut to notice."""
LOOK_S: Final = 0.1
"""How soon a request notices `end_by`."""

_TUNNEL_REFUSAL: Final = re.compile(r"Tunnel connection failed: (\d{3})\b", re.ASCII)


class Remote:
    """Where batches go. One request at a time, from one thread."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str = "",
        gzip_bodies: bool = False,
        proxy: str = "",
        ca_file: str = "",
    ) -> None:
        self.objection = endpoint.objection(url) or endpoint.key_objection(api_key)
        """Why nothing can ever be sent, in words, or None."""
        self._url = url
        self._api_key = api_key
        self._gzip_bodies = gzip_bodies
        self._proxy = proxy
        self._ca_file = ca_file
        self._opened: tuple[requests.Session, BoundedAdapter] | None = None
        self._request: threading.Thread | None = None
        self._end_by = math.inf

    def send(self, batch: Batch, timeout_s: float) -> Answer:
        """Blocks for at most `timeout_s`, from name resolution to the last byte.

        A request that overruns loses its socket and so ends; only one that hangs in name resolution
        goes on, and until it has ended no other is begun.
        """
        by = time.monotonic() + timeout_s - CUT_S
        if self.objection is not None:
            return Answer(Outcome.MISCONFIGURED, None, self.objection)
        if self._request is not None and self._request.is_alive():
            return Answer(Outcome.KEPT, None, "name resolution for the last request still hangs")
        try:
            session, adapter = self._connection()
        except OSError as error:
            why = f"TRACE_PUSH_CA_FILE cannot be read: {error.strerror}"
            return Answer(Outcome.MISCONFIGURED, None, why)
        answers: list[Answer] = []
        self._request = threading.Thread(
            target=lambda: answers.append(self._send(session, batch, timeout_s)),
            name="push-request",
            daemon=True,
        )
        self._request.start()
        while self._request.is_alive() and (left_s := min(by, self._end_by) - time.monotonic()) > 0:
            self._request.join(min(left_s, LOOK_S))
        if answers:
            return answers[0]
        adapter.cut()
        self._opened = None
        self._request.join(CUT_S)
        if time.monotonic() < by:
            return Answer(Outcome.KEPT, None, "cut short by the stop, before a complete answer")
        return Answer(Outcome.KEPT, None, f"no complete answer within {timeout_s:.3g} s")

    def end_by(self, by: float) -> None:
        """No request goes on after `by` (monotonic). Any thread."""
        self._end_by = by

    def close(self) -> None:
        """Drops idle connections; a pass that follows opens its own."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened[0].close()

    def _send(self, session: requests.Session, batch: Batch, timeout_s: float) -> Answer:
        try:
            body = batch.body
            headers = {"Idempotency-Key": batch.batch_id, "Content-Type": batch.content_type}
            if self._gzip_bodies:
                body, headers["Content-Encoding"] = gzip.compress(body, 6, mtime=0), "gzip"
            with session.post(
                self._url_of(batch.path),
                data=cast("bytes", body),  # any buffer is sent as it is
                headers=headers,
                timeout=(timeout_s * CONNECT_SHARE, timeout_s + CUT_S),  # ours comes first
                allow_redirects=False,
                stream=True,
            ) as response:
                start = response.raw.read(MAX_ANSWER_BYTES, decode_content=False)
                if len(start) < MAX_ANSWER_BYTES:
                    response.raw.read(1)  # raises when the body was cut short
                return judge(response.status_code, response.headers, start)
        except Exception as error:
            return Answer(Outcome.KEPT, None, _describe(error))

    def _url_of(self, path: str) -> str:
        parts = urlsplit(self._url)
        return urlunsplit(parts._replace(path=parts.path.rstrip("/") + path)) if path else self._url

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """As an auth hook, since a user in the URL would replace a plain header."""
        request.headers["Authorization"] = f"Bearer {self._api_key}"
        return request

    def _connection(self) -> tuple[requests.Session, BoundedAdapter]:
        """The one of this pass. Raises OSError when the private authority cannot be read."""
        if self._opened is not None:
            return self._opened
        from tracer.transport import BoundedAdapter, PlainSession

        session, adapter = PlainSession(), BoundedAdapter()
        for scheme in ("http://", "https://"):
            session.mount(scheme, adapter)
        session.headers.update(
            {
                "User-Agent": f"openclaw-trace/{__version__}",
                "Accept-Encoding": "identity",
            }
        )
        if self._api_key:
            session.auth = self._authorize
        if self._proxy:
            session.proxies = {"http": self._proxy, "https": self._proxy}
        if self._ca_file:
            with Path(self._ca_file).open("rb"):
                session.verify = self._ca_file
        self._opened = session, adapter
        return self._opened


def _describe(error: BaseException) -> str:
    """The innermost cause, in words; the outer ones quote the URL."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    if refusal := _TUNNEL_REFUSAL.match(str(error)):
        return f"the proxy answered {refusal[1]}: check TRACE_PUSH_PROXY"
    text = getattr(error, "strerror", None)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
