# SPDX-License-Identifier: Apache-2.0
"""A service with Resilience4j, scraped through Micrometer's Prometheus endpoint in both formats: its circuit breakers come
out as our own do, in every state. Needs Java and .cache/resilience4j (script/test --all makes it).

    python resilience4j_test.py BUILD                  drives the service, and looks at the agent's /metrics
    python resilience4j_test.py BUILD record DIRECTORY writes what the service exposes into the vectors that
                                                       tests/integration/scrape_test.py serves without Java"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(ROOT / "tests" / "integration"), str(ROOT / "tests" / "interop")]
import sink  # noqa: E402
from rig import DEADLINE_S, QUIET, Agent, wait_until  # noqa: E402

JARS = os.environ.get("SONDE_RESILIENCE4J", str(ROOT / ".cache" / "resilience4j"))
SKIP = 77
STATES = ["closed", "open", "half_open", "forced_open", "disabled", "metrics_only"]
TIMERS = ["summary", "histogram", "quantiles"]
ENDPOINTS = {"openmetrics": "/metrics", "text": "/plain"}
FAMILY = "sonde_circuit_breaker_"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Service:
    """The JVM; ends with the block."""

    def __init__(self, timers):
        self.process = subprocess.Popen(["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{JARS}/*",
                                         "Service", timers], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=QUIET)
        self.port = int(self.process.stdout.readline())

    def tell(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def calls(self, outcome, ms, count, breaker="payments", answer="admitted"):
        assert [self.tell("call", breaker, outcome, ms) for _ in range(count)] == [answer] * count

    def exposition(self, path):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers={"Accept": OPENMETRICS})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=DEADLINE_S) as answer:
            return answer.read().decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(DEADLINE_S)


class Page:
    """One job's series of a family on the agent's page."""

    def __init__(self, agent, job):
        self.agent, self.job = agent, job

    def values(self, metric, /, **wanted):
        found = []
        for labels, value in re.findall(rf"^{metric}{{(.*)}} (\S+)(?: #.*)?$", self.agent.get("/metrics"), re.M):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            if dict(wanted, job=self.job).items() <= labels.items():
                found.append((labels, float(value)))
        return found

    def breaker(self, family, name="payments", **wanted):
        return self.values(FAMILY + family, name=name, source="resilience4j", **wanted)

    def by(self, family, label, **wanted):
        found = self.breaker(family, **wanted)
        assert len({labels[label] for labels, _ in found}) == len(found), found
        return {labels[label]: value for labels, value in found}

    def is_in(self, state):
        """Exactly that one of six."""
        return self.by("state", "state") == {name: float(name == state) for name in STATES}

    def transitions(self):
        return {(labels["from"], labels["to"]): value for labels, value in self.breaker("transition_total", estimated="true")}


def warm(service):
    """Calls of every outcome; no threshold is reached. Those of payments come last: who sees them sees all."""
    service.calls("success", 100, 1, breaker="ledger")
    assert service.tell("retry", "failure") == "failed" and service.tell("timeout") == "done"
    service.calls("ignored", 10, 1)
    service.calls("success", 20, 4)
    service.calls("success", 1500, 1)  # slow
    service.calls("failure", 300, 3)


def durations(page, timers):
    """Of 8 calls that count and one of the ledger's; the ignored one is left out."""
    for name, count, total in (("payments", 8, 4 * 0.02 + 1.5 + 3 * 0.3), ("ledger", 1, 0.1)):
        duration = "call_duration_seconds_"
        assert page.breaker(duration + "count", name)[0][1] == count
        assert abs(page.breaker(duration + "sum", name)[0][1] - total) < 1e-6
        buckets = {labels["le"]: value for labels, value in page.breaker(duration + "bucket", name)}
        if timers == "histogram":
            wanted = {"payments": {"0.05": 4, "0.25": 4, "1": 7, "+Inf": 8}, "ledger": {"0.05": 0, "0.25": 1, "1": 1, "+Inf": 1}}
            assert buckets == wanted[name], buckets
        else:
            assert buckets == {"+Inf": count}, buckets
    if timers == "quantiles":
        found = page.values("resilience4j_circuitbreaker_calls_seconds", name="payments", kind="successful", quantile="0.5")
        assert 0 < found[0][1] < 0.1, found


def drive(service, pages, timers):
    def all_in(state, what):
        wait_until(lambda: all(page.is_in(state) for page in pages), f"{state}: {what}")

    def everywhere(family, label, wanted):
        wait_until(lambda: all(page.by(family, label) == wanted for page in pages), f"{family} {wanted}")

    all_in("closed", "at the beginning")
    for page in pages:
        assert page.breaker("failure_ratio") == [] and page.breaker("slow_call_ratio") == []  # -1 over there
        assert page.breaker("threshold") == [], "Resilience4j exports none"
    warm(service)
    everywhere("call_total", "outcome", {"success": 5, "failure": 3, "ignored": 1, "rejected": 0})
    everywhere("failure_ratio", "name", {"payments": 0.375})
    everywhere("slow_call_ratio", "name", {"payments": 0.125})
    for page in pages:
        durations(page, timers)
    service.calls("failure", 300, 2)
    all_in("open", "5 of 10 failed")
    service.calls("success", 1, 2, answer="rejected")
    everywhere("call_total", "outcome", {"success": 5, "failure": 5, "ignored": 1, "rejected": 2})
    service.tell("state", "payments", "half_open")
    all_in("half_open", "by hand")
    service.calls("success", 20, 2)
    all_in("closed", "two good probes")
    for state in ("forced_open", "disabled", "metrics_only", "closed"):
        service.tell("state", "payments", state)
        all_in(state, "by hand")
    for page in pages:
        inflight = page.values("sonde_resilience_bulkhead_inflight", sonde_resilience_name="payments")
        assert [value for _, value in inflight] == [0], inflight
        assert page.transitions() == {hop: 1 for hop in zip(HOPS, HOPS[1:])}, page.transitions()
        times = page.by("state_time_seconds_total", "state", estimated="true")
        assert set(times) == set(STATES) and all(value > 0 for value in times.values()), times
        assert page.values("sonde_resilience_retry_total", sonde_resilience_name="payments",
                           sonde_resilience_outcome="failure_with_retry")[0][1] == 1
        assert page.values("sonde_resilience_timeout_total", sonde_resilience_name="payments")[0][1] == 1
        assert page.values("sonde_resilience_bulkhead_limit", sonde_resilience_name="payments")[0][1] == 7
        # the originals stay
        assert page.values("resilience4j_circuitbreaker_not_permitted_calls_total", name="payments")[0][1] == 2


HOPS = ["closed", "open", "half_open", "closed", "forced_open", "disabled", "metrics_only", "closed"]


def check_events(backend):
    """One log record for each change, of the service that was scraped; by OTLP the durations are histograms, too."""
    bodies = [f"circuit breaker payments of resilience4j: {a} -> {b}" for a, b in zip(HOPS, HOPS[1:])]

    def all_there():
        logs = json.dumps(backend.sink.store.logs)
        return all(logs.count(json.dumps(body)) >= len(ENDPOINTS) for body in bodies) and logs
    assert "sonde.circuit_breaker.state_change" in wait_until(all_there, "log records of all changes")
    report = backend.sink.report({})
    assert "sonde.circuit_breaker.call.duration" in json.dumps(report) and not report["errors"], report["errors"]


def live():
    backend = sink.serve()
    port = backend.server_address[1]
    export = (f'exporters: {{otlp_http: {{endpoint: "http://127.0.0.1:{port}", batch.timeout: 10ms}}}}\n')
    for timers in TIMERS:
        with tempfile.TemporaryDirectory() as directory, Service(timers) as service:
            jobs = "".join(f'  prometheus_scrape/{name}: {{job: {name}, targets: ["http://127.0.0.1:{service.port}{path}"], '
                           "interval: 1s, timeout: 1s}\n" for name, path in ENDPOINTS.items())
            assert service.exposition("/metrics").endswith("# EOF\n") and "# EOF" not in service.exposition("/plain")
            with Agent(directory, f'agent: {{listen: "127.0.0.1:0", metrics_interval: 200ms}}\nreceivers:\n{jobs}{export}') as agent:
                try:
                    drive(service, [Page(agent, job) for job in ENDPOINTS], timers)
                    check_events(backend)
                except AssertionError:
                    print(agent.log(), agent.get("/metrics"), file=sys.stderr)
                    raise
                assert agent.end() == 0, agent.log()
        print("ok", timers)
    backend.shutdown()


def record(directory):
    head = "# What Resilience4j 2.3.0 shows by Micrometer 1.15.5, recorded by tests/interop/resilience4j_test.py.\n"
    for timers in TIMERS:
        with Service(timers) as service:
            warm(service)
            for state in ("closed", "open"):
                if state == "open":
                    service.calls("failure", 300, 2)
                    service.calls("success", 1, 2, answer="rejected")
                for suffix, path in (("om", "/metrics"), ("txt", "/plain")):
                    if timers == "summary" or (state, suffix) == ("open", "om"):
                        text = service.exposition(path)
                        # OpenMetrics knows no comments
                        (directory / f"{timers}-{state}.{suffix}").write_text(text if suffix == "om" else head + text)


if not shutil.which("java") or not os.path.exists(f"{JARS}/oracle.jar"):
    print(f"skipped: no java, or no {JARS}/oracle.jar")
    sys.exit(SKIP)
if sys.argv[2:3] == ["record"]:
    record(pathlib.Path(sys.argv[3]))
else:
    live()
