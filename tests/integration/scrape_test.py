# SPDX-License-Identifier: Apache-2.0
"""sonded scrapes: targets of every kind, bad ones beside good ones, and a real Prometheus. Usage: scrape_test.py BUILD."""
import base64
import contextlib
import http.client
import http.server
import math
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from rig import BUILD, DEADLINE_S, QUIET, SONDED, wait_until
from scrape_rig import series_of, value_of

TEXT, OPENMETRICS = "text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Agent:
    def __init__(self, directory, receivers, more=""):
        self.dir = pathlib.Path(directory)
        self.log_path = self.dir / "log"
        (self.dir / "sonded.yaml").write_text(f'agent: {{listen: "127.0.0.1:0"}}\nreceivers:\n{receivers}{more}', encoding="utf-8")
        with open(self.log_path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([SONDED, "--socket", self.dir / "agent.sock", "--config", self.dir / "sonded.yaml"],
                                            stderr=log, stdin=subprocess.DEVNULL, env=QUIET)

    def log(self):
        return self.log_path.read_text(encoding="utf-8")

    def metrics(self):
        found = wait_until(lambda: self.process.poll() is not None or re.search(r"page=http://([^/]+)/", self.log()), "page")
        assert found is not True, self.log()
        connection = http.client.HTTPConnection(found.group(1), timeout=DEADLINE_S)
        connection.request("GET", "/metrics")
        return series_of(connection.getresponse().read().decode())

    def until(self, wanted, what):
        """Waits until wanted(series) is true, and returns the series."""
        def look():
            assert self.process.poll() is None, self.log()
            series = self.metrics()
            return series if wanted(series) else None
        return wait_until(look, what)

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        if problem[0]:
            print(self.log(), file=sys.stderr)
        assert code == 0, (code, self.log())


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.server.answers[self.path](self)

    def answer(self, text, content_type=TEXT, status=200):
        body = text.encode() if isinstance(text, str) else text
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def server(answers, context=None):
    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_):
            pass
    found = Server(("127.0.0.1", 0), Handler)
    found.answers = answers
    if context:
        found.socket = context.wrap_socket(found.socket, server_side=True)
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found.server_address[1]
    finally:
        found.shutdown()
        thread.join()
        found.server_close()


CLASSIC = r'''# HELP http_requests_total Requests, "all" of \\ them.
# TYPE http_requests_total counter
http_requests_total{method="post",path="C:\\d\n\"x\""} 1027 1395066363000
http_requests_total{method="get",path="/",empty="",} 3.5

# a comment
# TYPE temperature gauge
temperature -1.5e2
  spaced  {  a = "b" }   7
never NaN
up_high +Inf
# TYPE wait_seconds histogram
wait_seconds_bucket{le="0.5"} 3
wait_seconds_bucket{le="+Inf"} 4
wait_seconds_sum 2.25
wait_seconds_count 4
# TYPE rpc_seconds summary
rpc_seconds{quantile="0.5"} 0.25
rpc_seconds_sum 17
rpc_seconds_count 9
'''
OPEN = '''# TYPE jobs counter
# UNIT wait_seconds seconds
# HELP jobs Jobs.
jobs_total{kind="a"} 12 # {trace_id="abc"} 1.0 1520879607.789
jobs_created{kind="a"} 1700000000.5
# TYPE build info
build_info{version="3"} 1
# TYPE mode stateset
mode{mode="on"} 1
mode{mode="off"} 0
# EOF
'''


def reads_both_formats(directory):
    answers = {"/metrics": lambda r: r.answer(CLASSIC), "/open": lambda r: r.answer(OPEN, OPENMETRICS)}
    with server(answers) as port:
        receivers = (f'  prometheus_scrape: {{job: shop, targets: ["127.0.0.1:{port}"], interval: 200ms, timeout: 200ms, '
                     'labels: {region: eu, method: put}}\n'
                     f'  prometheus_scrape/open: {{job: open, targets: ["http://127.0.0.1:{port}/open"], interval: 200ms, '
                     'timeout: 200ms}\n')
        with Agent(directory, receivers) as agent:
            series = agent.until(lambda s: value_of(s, "up", job="shop") == 1 and value_of(s, "up", job="open") == 1, "both up")
    instance = f"127.0.0.1:{port}"
    at = {"job": "shop", "instance": instance, "region": "eu"}
    assert value_of(series, "http_requests_total", path='C:\\d\n"x"', exported_method="post", method="put", **at) == 1027
    found = [l for n, l, v in series if n == "http_requests_total" and v == 3.5]
    assert len(found) == 1 and "empty" not in found[0], found
    for name, labels, value in (("temperature", {}, -150), ("spaced", {"a": "b"}, 7), ("up_high", {}, math.inf),
                                ("wait_seconds_bucket", {"le": "0.5"}, 3), ("wait_seconds_bucket", {"le": "+Inf"}, 4),
                                ("wait_seconds_sum", {}, 2.25), ("wait_seconds_count", {}, 4),
                                ("rpc_seconds", {"quantile": "0.5"}, 0.25), ("rpc_seconds_sum", {}, 17),
                                ("rpc_seconds_count", {}, 9), ("scrape_samples_scraped", {"job": "shop"}, 13)):
        assert value_of(series, name, **labels, **({} if "job" in labels else at)) == value, (name, series)
    assert math.isnan(value_of(series, "never", **at))
    at = {"job": "open", "instance": instance}
    assert value_of(series, "jobs_total", kind="a", **at) == 12
    assert value_of(series, "build_info", version="3", **at) == 1
    assert value_of(series, "mode", mode="on", **at) == 1 and value_of(series, "mode", mode="off", **at) == 0
    assert not [s for s in series if "created" in s[0]]
    assert value_of(series, "target_info", url_scheme="http", server_address="127.0.0.1", server_port=str(port), **at) == 1


def bad_targets_harm_only_themselves(directory):
    ended = threading.Event()

    def endless(request):
        request.send_response(200)
        request.send_header("Content-Type", TEXT)
        request.end_headers()
        while not ended.is_set():
            request.wfile.write(b"endless_total{a=\"b\"} 1\n" * 100)

    def slow(request):
        request.send_response(200)
        request.end_headers()
        ended.wait(DEADLINE_S)

    def cut(request):
        request.send_response(200)
        request.send_header("Content-Type", TEXT)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        request.wfile.write(b"cut_total 1\n")
        request.close_connection = True

    answers = {
        "/good": lambda r: r.answer("# TYPE good counter\ngood 1\n"),
        "/endless": endless,
        "/slow": slow,
        "/cut": cut,
        "/garbage": lambda r: r.answer(bytes(range(256)) * 40),
        "/half": lambda r: r.answer("half_good 1\nhalf_bad{ 2\n"),
        "/noeof": lambda r: r.answer("# TYPE a gauge\na 1\n", OPENMETRICS),
        "/html": lambda r: r.answer("<html>", "text/html"),
        "/missing": lambda r: r.answer("no", TEXT, 404),
        "/many": lambda r: r.answer("".join(f"many{{n=\"{i}\"}} 1\n" for i in range(101))),
        "/longline": lambda r: r.answer("x{" + ",".join(f"l{i}=\"1\"" for i in range(70)) + "} 1\n"),
        "/redirect": lambda r: (r.send_response(302), r.send_header("Location", "/good"), r.send_header("Content-Length", "0"),
                                r.end_headers()),
    }
    with socket.socket() as closed, server(answers) as port:
        closed.bind(("127.0.0.1", 0))
        wanted = {"endless": "body_size_limit", "slow": "timeout", "cut": "connection_reset", "garbage": "malformed",
                  "half": "malformed", "noeof": "malformed", "html": "content_type", "missing": "http_status",
                  "many": "sample_limit", "longline": "sample_limit", "redirect": "http_status"}
        receivers = "".join(
            f'  prometheus_scrape/{name}: {{job: {name}, targets: ["http://127.0.0.1:{port}/{name}"], interval: 500ms, '
            'timeout: 400ms, body_size_limit: 64KiB, sample_limit: 100}\n' for name in [*wanted, "good"])
        receivers += (f'  prometheus_scrape/refused: {{job: refused, targets: ["127.0.0.1:{closed.getsockname()[1]}"], '
                      'interval: 500ms, timeout: 400ms}\n')
        wanted["refused"] = "connection_refused"
        with Agent(directory, receivers) as agent:
            def all_told(series):
                return value_of(series, "up", job="good") == 1 and all(
                    value_of(series, "up", job=n) == 0 and value_of(series, "sonde_scrape_errors_total", job=n, error_type=e)
                    for n, e in wanted.items())
            series = agent.until(all_told, "every target's fault")
            assert value_of(series, "good_total", job="good") == 1
            allowed = {"up", "scrape_duration_seconds", "scrape_samples_scraped", "sonde_scrape_errors_total", "target_info"}
            assert {n for n, l, _ in series if l["job"] in wanted} <= allowed, series
            log = agent.log()
            assert log.count("cannot scrape") >= len(wanted), log
            ended.set()


def series_that_vanish_are_swept_and_a_target_comes_back(directory):
    texts = ["# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 2\n# TYPE c counter\nc_total 5\n"]
    with server({"/metrics": lambda r: r.answer(texts[0], status=200 if texts[0] else 503)}) as port:
        receivers = f'  prometheus_scrape: {{targets: ["127.0.0.1:{port}"], interval: 100ms, timeout: 100ms}}\n'
        with Agent(directory, receivers) as agent:
            agent.until(lambda s: value_of(s, "a", x="2") == 2, "both series")
            texts[0] = "# TYPE a counter\na{x=\"1\"} 3\n"  # another type by now
            series = agent.until(lambda s: value_of(s, "a_total", x="1") == 3, "the new one")
            assert value_of(series, "a", x="2") is None and value_of(series, "c_total") is None
            texts[0] = ""
            series = agent.until(lambda s: value_of(s, "up") == 0, "down")
            assert value_of(series, "a_total", x="1") is None
            texts[0] = "b 1\n"
            agent.until(lambda s: value_of(s, "b") == 1 and value_of(s, "up") == 1, "back")
            assert "target answers again" in agent.log()


def sends_what_the_configuration_says(directory):
    seen = {}

    def note(request):
        seen[request.path] = dict(request.headers)
        request.answer("a 1\n")
    (directory / "token").write_text("s3cret\n", encoding="utf-8")
    with server({"/token": note, "/basic": note}) as port:
        receivers = (f'  prometheus_scrape/t: {{targets: ["http://127.0.0.1:{port}/token"], job: t, interval: 200ms, timeout: 200ms, '
                     f'bearer_token: "${{file:{directory}/token}}", headers: {{X-Tenant: "7"}}}}\n'
                     f'  prometheus_scrape/b: {{targets: ["http://127.0.0.1:{port}/basic"], job: b, interval: 200ms, timeout: 200ms, '
                     'basic_auth: {username: me, password: "pa:ss"}}\n')
        with Agent(directory, receivers) as agent:
            agent.until(lambda s: value_of(s, "up", job="t") == 1 and value_of(s, "up", job="b") == 1, "both")
            assert "s3cret" not in agent.log() and "pa:ss" not in agent.log()
    assert seen["/token"]["Authorization"] == "Bearer s3cret" and seen["/token"]["X-Tenant"] == "7", seen
    assert seen["/basic"]["Authorization"] == "Basic " + base64.b64encode(b"me:pa:ss").decode(), seen
    assert seen["/basic"]["X-Prometheus-Scrape-Timeout-Seconds"] == "0.2"
    assert "openmetrics-text" in seen["/basic"]["Accept"]


def checks_certificates(directory):
    key, cert = directory / "key.pem", directory / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
                    "-out", cert, "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
                   check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with server({"/metrics": lambda r: r.answer("a 1\n")}, context) as port:
        common = f'targets: ["127.0.0.1:{port}"], scheme: https, interval: 500ms, timeout: 500ms'
        receivers = (f'  prometheus_scrape/known: {{job: known, {common}, tls: {{ca_file: {cert}}}}}\n'
                     f'  prometheus_scrape/unknown: {{job: unknown, {common}}}\n'
                     f'  prometheus_scrape/blind: {{job: blind, {common}, tls: {{insecure_skip_verify: true}}}}\n')
        with Agent(directory, receivers) as agent:
            agent.until(lambda s: [value_of(s, "up", job=j) for j in ("known", "unknown", "blind")] == [1, 0, 1] and
                        value_of(s, "sonde_scrape_errors_total", job="unknown", error_type="protocol_error"), "as configured")


def refuses_what_cannot_be_meant(directory):
    for text, problem in (('targets: ["user:pw@host:1"]', "targets"), ('targets: ["ftp://a"]', "targets"),
                          ('targets: ["a:1"], timeout: 20s', "timeout"), ('targets: ["a:1"], scheme: gopher', "scheme"),
                          ('targets: ["a:1"], bearer_token: x, basic_auth: {username: y}', "bearer_token"),
                          ('targets: ["a:1"], headers: {Host: x}', "headers"), ("{}", "targets")):
        (directory / "bad.yaml").write_text(f'agent: {{listen: ""}}\nreceivers:\n  prometheus_scrape: {{{text}}}\n'
                                            if text != "{}" else "receivers:\n  prometheus_scrape: {}\n", encoding="utf-8")
        done = subprocess.run([SONDED, "--socket", directory / "s", "--config", directory / "bad.yaml"], env=QUIET,
                              capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        assert done.returncode != 0 and problem in done.stderr, (text, done.stderr)


def recorded(timers, state, suffix):
    """What a real Resilience4j showed (tests/interop/resilience4j_test.py)."""
    path = pathlib.Path(__file__).resolve().parents[1] / "vectors" / "resilience4j" / f"{timers}-{state}.{suffix}"
    return path.read_text(encoding="utf-8"), OPENMETRICS if suffix == "om" else TEXT


def breakers_of_others_are_shown_as_ours(directory):
    now = [recorded("summary", "closed", "txt")]
    answers = {"/r4j": lambda r: r.answer(*now[0]), "/numbers": lambda r: r.answer('go_state{cb="db"} 2\n', TEXT)}
    with server(answers) as port:
        receivers = "".join(f'  prometheus_scrape/{n}: {{job: {n}, targets: ["http://127.0.0.1:{port}/{n}"], interval: 500ms, '
                            "timeout: 500ms}\n" for n in ("r4j", "numbers"))
        more = ('processors:\n  breakers: {}\n  breakers/go: {metric: go_state, name_attribute: cb, '
                'state_map: {"0": closed, "1": open, "2": half_open}}\n')
        with Agent(directory, receivers, more) as agent:
            at = {"job": "r4j", "instance": f"127.0.0.1:{port}", "name": "payments", "source": "resilience4j"}
            series = agent.until(lambda s: value_of(s, "sonde_circuit_breaker_state", state="closed", **at) == 1, "closed")
            for outcome, value in (("success", 5), ("failure", 3), ("ignored", 1), ("rejected", 0)):
                assert value_of(series, "sonde_circuit_breaker_call_total", outcome=outcome, **at) == value, (outcome, series)
            assert value_of(series, "sonde_circuit_breaker_failure_ratio", **at) == 0.375
            assert value_of(series, "sonde_circuit_breaker_failure_ratio", **dict(at, name="ledger")) is None
            now[0] = recorded("summary", "open", "om")
            series = agent.until(lambda s: value_of(s, "sonde_circuit_breaker_state", state="open", **at) == 1, "open")
            assert value_of(series, "sonde_circuit_breaker_state", state="closed", **at) == 0
            assert value_of(series, "sonde_circuit_breaker_state", state="closed", **dict(at, name="ledger")) == 1
            assert value_of(series, "sonde_circuit_breaker_call_total", outcome="rejected", **at) == 2
            assert value_of(series, "sonde_circuit_breaker_failure_ratio", **at) == 0.5
            assert value_of(series, "sonde_circuit_breaker_transition_total", **{"from": "closed"}, to="open", estimated="true",
                            **at) == 1
            assert value_of(series, "sonde_circuit_breaker_state_time_seconds_total", state="closed", estimated="true", **at) > 0
            assert value_of(series, "resilience4j_circuitbreaker_state", job="r4j", name="payments", state="open") == 1
            assert value_of(series, "sonde_circuit_breaker_call_duration_seconds_count", **at) == 10
            now[0] = recorded("histogram", "open", "om")
            agent.until(lambda s: value_of(s, "sonde_circuit_breaker_call_duration_seconds_bucket", le="0.05", **at) == 4 and
                        value_of(s, "sonde_circuit_breaker_call_duration_seconds_bucket", le="1", **at) == 9, "durations")
            now[0] = recorded("quantiles", "open", "om")
            agent.until(lambda s: value_of(s, "resilience4j_circuitbreaker_calls_seconds", quantile="0.5", kind="failed", job="r4j",
                                           name="payments"), "quantiles")
            agent.until(lambda s: value_of(s, "sonde_circuit_breaker_state", state="half_open", job="numbers", name="db",
                                           source="state_map") == 1, "by number")


def comes_through_equal_from_a_real_prometheus(directory):
    """Its own /metrics: hundreds of series of all types. Values that move are compared between two readings."""
    if not shutil.which("prometheus"):
        print("prometheus is not installed: left out")
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (directory / "p.yml").write_text("global: {}\n", encoding="utf-8")
    with open(directory / "p.log", "w", encoding="utf-8") as log:
        prometheus = subprocess.Popen(["prometheus", f"--config.file={directory}/p.yml", f"--storage.tsdb.path={directory}/tsdb",
                                       f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)

    def own(accept=TEXT):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
        try:
            connection.request("GET", "/metrics", headers={"Accept": accept})
            return series_of(connection.getresponse().read().decode())
        except OSError:
            return None
    try:
        wait_until(own, "prometheus")
        receivers = f'  prometheus_scrape: {{job: prom, targets: ["127.0.0.1:{port}"], interval: 300ms, timeout: 300ms}}\n'
        with Agent(directory, receivers) as agent:
            agent.until(lambda s: value_of(s, "up", job="prom") == 1, "up")

            def key_of(name, labels):
                """A bound is a number: 1e+06 is 1000000."""
                return name, tuple(sorted((k, float(v) if k == "le" else v) for k, v in labels.items() if k not in ("job", "instance")))

            def round_trip():
                before = own()
                seen = {key_of(n, l): v for n, l, v in agent.metrics() if l.get("job") == "prom"}
                after = {key_of(n, l): v for n, l, v in own()}
                missing, moved, equal = [], [], 0
                for name, labels, value in before:
                    key = key_of(name, labels)
                    if key not in after:
                        continue
                    if key not in seen:
                        missing.append(key)
                    elif after[key] == value or (math.isnan(value) and math.isnan(after[key])):
                        same = seen[key] == value or (math.isnan(value) and math.isnan(seen[key]))
                        equal += same
                        moved += [] if same else [(key, value, seen[key])]
                return None if missing or moved else (equal, len(before))
            equal, total = wait_until(round_trip, "equal values")
            print(f"prometheus: {total} series, {equal} with equal values, none missing")
            assert total > 200 and equal > total / 2
    finally:
        prometheus.terminate()
        prometheus.wait(DEADLINE_S)


def main():
    for case in (reads_both_formats, bad_targets_harm_only_themselves, series_that_vanish_are_swept_and_a_target_comes_back,
                 sends_what_the_configuration_says, checks_certificates, refuses_what_cannot_be_meant,
                 breakers_of_others_are_shown_as_ours, comes_through_equal_from_a_real_prometheus):
        with tempfile.TemporaryDirectory() as directory:
            begin = time.monotonic()
            case(pathlib.Path(directory))
            print(f"ok {case.__name__} {time.monotonic() - begin:.1f} s", flush=True)


main()
