"""A real browser on the same machine: whatever a foreign page tries, nothing is stored."""

import http.server
import shutil
import subprocess
import threading

import pytest

from tests.support.gunicorn import Gunicorn

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

PAGE = """<!doctype html><meta charset=utf-8><title>page</title><body><script>
const targets = TARGETS, event = JSON.stringify({name: "from a page", message: "m", error_type: "crash"});
const tried = [];
const attempt = (what, promise) => tried.push(Promise.resolve(promise).then(
  answer => what + "=" + (answer && answer.status), error => what + " failed"));
for (const target of targets) for (const path of ["/v1/events", "/v1/errors"]) {
  const url = target + path;
  for (const type of ["application/json", "application/x-ndjson", "text/plain", ""]) {
    for (const mode of ["cors", "no-cors"])
      attempt(mode, fetch(url, {method: "POST", mode, body: new Blob([event], {type})}));
    attempt("beacon", navigator.sendBeacon(url, new Blob([event], {type})));
  }
  attempt("json", fetch(url, {method: "POST", headers: {"Content-Type": "application/json"}, body: event}));
  for (const enctype of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]) {
    const frame = document.createElement("iframe"), form = document.createElement("form");
    frame.name = enctype + url;
    form.method = "POST"; form.action = url; form.enctype = enctype; form.target = frame.name;
    const input = document.createElement("input");
    input.name = '{"name":"from a form","x":"'; input.value = '"}';
    form.append(input); document.body.append(frame, form); form.submit();
  }
}
Promise.all(tried).then(results => setTimeout(() => {
  document.title = "done"; document.body.append("TRIED " + results.length);
}, 1500));
</script>"""


class Site:
    """Serves the page, as a site elsewhere would."""

    def __init__(self, page):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(page.encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,)).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_no_page_can_report_anything(tmp_path):
    """By its own address, by localhost, and by a name rebound to this machine."""
    with Gunicorn(tmp_path) as server:
        hosts = ["127.0.0.1", "localhost", "rebound.example"]
        targets = [f"http://{host}:{server.port}" for host in hosts]
        with Site(PAGE.replace("TARGETS", str(targets))) as site:
            page = subprocess.run(
                [
                    *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu"),
                    "--host-resolver-rules=MAP *.example 127.0.0.1, EXCLUDE localhost",
                    *("--disable-features=LocalNetworkAccessChecks", "--no-first-run"),
                    f"--user-data-dir={tmp_path / 'profile'}",
                    *("--virtual-time-budget=20000", "--dump-dom"),
                    f"http://site.example:{site.port}/",
                ],
                capture_output=True,
                text=True,
                timeout=90,
            )
        assert "TRIED 78" in page.stdout, page.stdout[-500:] + page.stderr[-500:]
        events = server.health()["events"]
        assert events["accepted"] == 0
        assert events["rejected"].get("forbidden", 0) > 50, events
        assert server.rows("SELECT * FROM custom_events") == []
        assert server.rows("SELECT * FROM error_events") == []
        status, _ = server.request("POST", "/v1/events", {"name": "ours"})
        assert status == 202
