"""A client that costs little itself: prebuilt requests on kept-alive sockets."""

import json
import socket
import threading
import time

CALL = {
    "provider": "anthropic",
    "model": "claude-sonnet-4-5",
    "input_text": "What is the weather in Lisbon today, and what should I pack? " * 8,
    "output_text": "It is mild and partly cloudy. A light jacket will do. " * 8,
    "prompt_tokens": 1234,
    "completion_tokens": 56,
    "cache_read_tokens": 200,
    "latency_ms": 2372.5,
    "ttft_ms": 150,
    "status": "success",
    "session_id": "c2e38dad-163d-4253-8c6c-280eaeb8a92c",
    "run_id": "72abe6b7-124e-4b3f-a0f2-48f597c4ce5a",
    "metadata": {"channel": "telegram", "tags": ["bench", "call"]},
}


def request_bytes(body, content_type):
    head = (
        "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


SINGLE = request_bytes(json.dumps(CALL).encode(), "application/json")
NDJSON_50 = request_bytes(
    "\n".join([json.dumps(CALL)] * 50).encode(), "application/x-ndjson\r\nPrefer: wait"
)

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def run(port, request, *, total, connections=4, per_s=None):
    """Sends `total` requests, all at once or at a steady rate, until each had a 2xx.

    Returns the seconds it took and the sorted latencies in ms of the successful ones.
    """
    latencies = []
    remaining = [total]
    lock = threading.Lock()
    started = time.perf_counter()

    def client():
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                with lock:
                    if not remaining[0]:
                        return
                    remaining[0] -= 1
                    number = total - remaining[0]
                if per_s:
                    time.sleep(max(0.0, started + number / per_s - time.perf_counter()))
                while True:
                    sent = time.perf_counter()
                    connection.sendall(request)
                    if answer_status(connection) // 100 == 2:
                        latencies.append((time.perf_counter() - sent) * 1000)
                        break
                    time.sleep(0.002)  # 429: the queue is full

    threads = [threading.Thread(target=client) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started, sorted(latencies)


def answer_status(connection):
    """Reads one whole answer; its status."""
    answer = connection.recv(65536)
    while (end := answer.find(b"\r\n\r\n")) < 0:
        answer += connection.recv(65536)
    length = int(answer[:end].lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    missing = end + 4 + length - len(answer)
    while missing > 0:
        missing -= len(connection.recv(65536))
    return int(answer[9:12])


def percentile(sorted_values, share):
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))]
