# SPDX-License-Identifier: Apache-2.0
"""What /metrics shows, as others read it: promtool, and a real Prometheus that scrapes text, OpenMetrics and protobuf.
usage: exposition_test.py BUILD PATH-OF-exemplars_peer      (77 = skipped: no Prometheus)"""
import contextlib
import gzip
import http.client
import http.server
import json
import math
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
from rig import DEADLINE_S, QUIET, Agent, wait_until  # noqa: E402

PEER = sys.argv[2]
ROUNDS = 6
TEXT, OPENMETRICS = "text/plain; version=0.0.4; charset=utf-8", "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
CONFIG = """\
agent:
  listen: 127.0.0.1:0
  prometheus:
    translation_strategy: {strategy}
"""


class Exposing(Agent):
    def __init__(self, directory, strategy="UnderscoreEscapingWithSuffixes"):
        super().__init__(directory, CONFIG.format(strategy=strategy))

    def scrape(self, method="GET", **headers):
        connection = http.client.HTTPConnection(self.address(), timeout=DEADLINE_S)
        connection.request(method, "/metrics", headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer, body


class Peer:
    """A service that measures n, and 1000 + n outside of any sampled span, with every kind of instrument."""
    def __init__(self, agent):
        env = dict(QUIET, OTEL_SERVICE_NAME="measuring", SONDE_AGENT_SOCKET=str(agent.dir / "agent.sock"))
        self.child = subprocess.Popen([PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.rounds = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.wait(DEADLINE_S)

    def measure(self):
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        self.rounds += 1
        assert self.child.stdout.readline() == f"{self.rounds}\n"


def samples(text):
    """{(name, labels): value} of text; a bound is a number."""
    found = {}
    for line in text.splitlines():
        match = re.match(r'^([a-zA-Z_:][\w:]*)(?:\{(.*?)\})? (\S+)', line)
        if match:
            labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
            found[key_of(match[1], labels)] = float(match[3])
    return found


def key_of(name, labels):
    return name, tuple(sorted((k, float(v) if k == "le" else v) for k, v in labels.items() if k not in ("__name__", "scraped")))


def of_service(found):
    return {key: value for key, value in found.items() if ("job", "measuring") in key[1]}


def dialects_are_what_they_say(agent, peer):
    peer.measure()
    wait_until(lambda: b"peer_bound_total" in agent.scrape()[1], "the service's metrics")
    for accept, content_type in (("", TEXT), ("*/*", TEXT), (OPENMETRICS, OPENMETRICS), (PROTOBUF, PROTOBUF),
                                 (OPENMETRICS + ";escaping=allow-utf-8", OPENMETRICS + "; escaping=allow-utf-8"),
                                 (PROTOBUF + ";escaping=values;q=0.5", PROTOBUF + "; escaping=values")):
        answer, body = agent.scrape(Accept=accept)
        assert answer.status == 200 and answer.headers["Content-Type"] == content_type, (accept, answer.headers)
        assert answer.headers["Content-Encoding"] is None and b"peer_bound" in body
        squeezed, small = agent.scrape(Accept=accept, Accept_Encoding="deflate, gzip;q=0.5")
        assert squeezed.headers["Content-Encoding"] == "gzip" and b"peer_bound" in gzip.decompress(small)
        assert len(small) < len(body) / 2
        head, nothing = agent.scrape("HEAD", Accept=accept)
        assert head.headers["Content-Type"] == content_type and nothing == b""
    assert agent.scrape(Accept=OPENMETRICS)[1].endswith(b"\n# EOF\n")
    if shutil.which("promtool"):
        own = b"".join(line for line in agent.scrape()[1].splitlines(True) if b"peer_" not in line)  # whose names are ill-chosen
        done = subprocess.run(["promtool", "check", "metrics"], input=own, capture_output=True, check=False)
        assert done.returncode == 0 and not done.stderr, done.stderr.decode()


def old_clients_get_it_without_chunks(agent, _peer):
    host, port = agent.address().split(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        got = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = got.partition(b"\r\n\r\n")
    assert b"chunked" not in head and b"Connection: close" in head, head
    assert body.startswith(b"# HELP target_info") and body.endswith(b"\n") and b"peer_bound_total" in body


def scrapes_come_all_at_once(agent, _peer):
    bodies = []
    threads = [threading.Thread(target=lambda: bodies.append(agent.scrape(Accept=OPENMETRICS))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status for answer, _ in bodies] == [200] * 8
    assert len({frozenset(of_service(samples(body.decode())).items()) for _, body in bodies}) == 1
    # one who goes away in the middle harms nobody
    host, port = agent.address().split(":")
    for _ in range(20):
        with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    wait_until(lambda: agent.scrape()[0].status == 200, "a scrape after that")


def exemplars_are_of_the_last_period(agent, peer):
    """Nobody exports: a scrape that shows them begins the next period, in which any measurement is better than the last one's."""
    for _ in range(ROUNDS):
        peer.measure()
        text = wait_until(lambda: (lambda t: "peer_bound_total" in t and samples(t) and t)(
            agent.scrape(Accept=OPENMETRICS)[1].decode()), "OpenMetrics")
        shown = re.search(r'^peer_bound_total\{.*?\} \S+ # \{span_id="[0-9a-f]{16}",trace_id="[0-9a-f]{32}"\} (\S+) \d+\.\d{3}$', text, re.M)
        assert shown and float(shown[1]) == peer.rounds, (text, peer.rounds)
        assert re.search(r'^peer_explicit_bucket\{.*le="\+Inf"\} \d+ # \{span_id=".*",trace_id=".*",user="\d+"\} ', text, re.M) or peer.rounds <= 2
        assert "# EOF" in text and " # {" not in agent.scrape()[1].decode()


@contextlib.contextmanager
def as_text(agent):
    """A way to the agent on which everybody asks for text."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            try:
                _, body = agent.scrape(Accept=TEXT)
            except OSError:  # the agent has gone before the last one who asks
                self.send_error(502)
                return
            self.send_response(200)
            self.send_header("Content-Type", TEXT)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Prometheus:
    def __init__(self, directory, target, features):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        config = directory / "prometheus.yml"
        config.write_text("global: {scrape_interval: 300ms, scrape_timeout: 300ms}\nscrape_configs:\n"
                          f"- job_name: sonde\n  honor_labels: true\n  static_configs: [{{targets: ['{target}'], labels: {{scraped: yes}}}}]\n")
        with open(directory / "prometheus.log", "w", encoding="utf-8") as log:
            self.child = subprocess.Popen(
                ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}",
                 f"--web.listen-address=127.0.0.1:{self.port}", f"--enable-feature={features}"], stdout=log, stderr=log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait(DEADLINE_S)

    def ask(self, path, **parameters):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}",
                                        timeout=DEADLINE_S) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def query(self, query):
        answer = self.ask("query", query=query)
        return answer["result"] if answer else []

    def samples(self):
        return {key_of(one["metric"]["__name__"], one["metric"]): float(one["value"][1])
                for one in self.query('{job="measuring"}') if "value" in one}


def numbers_are_equal(agent, prometheus, but):
    """All of the service's series, but those the format has otherwise."""
    def look():
        told, shown = prometheus.samples(), of_service(samples(agent.scrape(Accept=TEXT)[1].decode()))
        shown = {key: value for key, value in shown.items() if not re.match(but, key[0])}
        return told and shown and all(key in told and (told[key] == value or (math.isnan(value) and math.isnan(told[key])))
                                      for key, value in shown.items()) and len(shown)
    return wait_until(look, "equal values")


def exemplars_of(prometheus, query):
    now = time.time()
    answer = prometheus.ask("query_exemplars", query=query, start=now - 300, end=now + 60) or []
    return [one for series in answer for one in series["exemplars"]]


def a_real_prometheus_reads_text(agent, _peer, prometheus):
    assert numbers_are_equal(agent, prometheus, "$") > 20
    assert not exemplars_of(prometheus, '{job="measuring"}')


def a_real_prometheus_reads_openmetrics(agent, peer, prometheus):
    assert numbers_are_equal(agent, prometheus, "$") > 20
    found = wait_until(lambda: exemplars_of(prometheus, "peer_counter_total"), "exemplars")
    assert {len(one["labels"]["trace_id"]) for one in found} == {32} and float(found[-1]["value"]) <= peer.rounds
    assert all(one["labels"]["user"] == one["value"] for one in found), found
    assert wait_until(lambda: exemplars_of(prometheus, "peer_explicit_bucket"), "exemplars of buckets")
    created = prometheus.query('peer_counter_created')
    assert created and time.time() - 600 < float(created[0]["value"][1]) <= time.time()
    metadata = prometheus.ask("metadata", metric="peer_counter")
    assert metadata["peer_counter"][0]["type"] == "counter", metadata


def a_real_prometheus_reads_protobuf(agent, peer, prometheus):
    assert numbers_are_equal(agent, prometheus, "peer_exponential") > 5
    values = [value for n in range(1, peer.rounds + 1) for value in (n, 1000 + n)]
    native = wait_until(lambda: prometheus.query('peer_exponential{job="measuring"}'), "a native histogram")[0]["histogram"][1]
    assert int(native["count"]) == len(values) and float(native["sum"]) == sum(values), native
    counted = 0
    for _, low, high, count in native["buckets"]:
        assert sum(float(low) < value <= float(high) for value in values) == int(count), (low, high, count)
        counted += int(count)
    assert counted == len(values)
    assert wait_until(lambda: exemplars_of(prometheus, "peer_exponential"), "exemplars of a native histogram")
    assert wait_until(lambda: exemplars_of(prometheus, "peer_counter_total"), "exemplars of a counter")


def what_ended_is_stale(agent, _peer, prometheus):
    """Series of a service that is gone stay for a while; those of the agent that goes are stale at once."""
    wait_until(lambda: prometheus.query("sonde_agent_uptime_seconds"), "the agent's own")
    agent.end()
    wait_until(lambda: not prometheus.query("sonde_agent_uptime_seconds"), "nothing of it")


def names_stay_as_they_are(directory):
    with Exposing(directory, "NoTranslation") as agent, Peer(agent) as peer:
        peer.measure()
        utf8 = "text/plain;version=1.0.0;escaping=allow-utf-8"
        body = wait_until(lambda: (lambda b: b"peer.bound" in b and b.decode())(agent.scrape(Accept=utf8)[1]), "UTF-8 names")
        assert re.search(r'^\{"peer\.bound",instance=', body, re.M), body
        assert re.search(r'^peer_dot_bound\{', agent.scrape(Accept="text/plain;escaping=dots")[1].decode(), re.M)
        assert re.search(r'^U__peer_2e_bound\{', agent.scrape(Accept="text/plain;escaping=values")[1].decode(), re.M)
        assert re.search(r'^peer_bound\{', agent.scrape()[1].decode(), re.M)


def run(case, *arguments):
    begin = time.monotonic()
    case(*arguments)
    print(f"ok {case.__name__} {time.monotonic() - begin:.1f} s", flush=True)


def against_real_ones(agent, peer, directory):
    """Three that scrape at the same time: each takes seconds until it begins."""
    with contextlib.ExitStack() as stack:
        def start(name, target, features):
            (directory / name).mkdir()
            return stack.enter_context(Prometheus(directory / name, target, features))
        text = start("text", stack.enter_context(as_text(agent)), "exemplar-storage")
        openmetrics = start("openmetrics", agent.address(), "exemplar-storage")
        protobuf = start("protobuf", agent.address(), "exemplar-storage,native-histograms")
        run(a_real_prometheus_reads_text, agent, peer, text)
        run(a_real_prometheus_reads_openmetrics, agent, peer, openmetrics)
        run(a_real_prometheus_reads_protobuf, agent, peer, protobuf)
        run(what_ended_is_stale, agent, peer, openmetrics)


def main():
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        (directory / "agent").mkdir()
        with Exposing(directory / "agent") as agent, Peer(agent) as peer:
            for case in (dialects_are_what_they_say, old_clients_get_it_without_chunks, scrapes_come_all_at_once,
                         exemplars_are_of_the_last_period):
                run(case, agent, peer)
            if shutil.which("prometheus"):
                against_real_ones(agent, peer, directory)
        (directory / "other").mkdir()
        run(names_stay_as_they_are, directory / "other")
    return 0 if shutil.which("prometheus") else 77


if __name__ == "__main__":
    sys.exit(main())
