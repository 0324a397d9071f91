"""An OpenAI-compatible provider on loopback that fails on demand and knows what it answered."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODELS = ("fake-ok", "fake-429", "fake-500", "fake-401", "fake-slow", "fake-malformed")
SLOW_S = 2.5


class Provider:
    """A context manager. `answers` has model, status and usage of every request."""

    def __init__(self):
        self.answers = []
        self.lock = threading.Lock()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                provider.answer(self, request)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def answer(self, handler, request):
        model = request["model"]
        with self.lock:
            usage = self._usage(len(self.answers))
            status = int(model.removeprefix("fake-")) if model[-3:].isdigit() else 200
            self.answers.append({"model": model, "status": status, "usage": usage})
        if model == "fake-slow":
            time.sleep(SLOW_S)
        if status != 200:
            body = {"error": {"message": f"{status} as asked for", "type": "fake"}}
            return _send(handler, status, "application/json", json.dumps(body).encode())
        if model == "fake-malformed":
            return _send(handler, 200, "text/event-stream", b"data: {this is not json\n\n")
        return _send(handler, 200, "text/event-stream", _stream(model, usage))

    @staticmethod
    def _usage(number):
        """Different for each request, so that one can be told from the other."""
        return {
            "prompt_tokens": 1000 + number,
            "completion_tokens": 50 + number,
            "total_tokens": 1050 + 2 * number,
            "prompt_tokens_details": {"cached_tokens": 200},
        }

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def _stream(model, usage):
    def chunk(**more):
        data = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model}
        return f"data: {json.dumps(data | more)}\n\n"

    def choice(delta, reason=None):
        return [{"index": 0, "delta": delta, "finish_reason": reason}]

    said = {"role": "assistant", "content": "SECRET-ANSWER of the fake model."}
    parts = [
        chunk(choices=choice(said)),
        chunk(choices=choice({}, "stop")),
        chunk(choices=[], usage=usage),
        "data: [DONE]\n\n",
    ]
    return "".join(parts).encode()


def _send(handler, status, media, body):
    handler.send_response(status)
    handler.send_header("Content-Type", media)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
