# SPDX-License-Identifier: Apache-2.0
"""Circuit breakers from a service's memory to /metrics, a real Prometheus and OTLP. Usage: breakers_test.py BUILD.
An OPEN shorter than any scrape interval must be seen in the counters."""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request

from rig import BUILD, DEADLINE_S, QUIET, SONDED, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "interop"))
import sink  # noqa: E402

GUARDED = BUILD / "tests" / "integration" / "guarded"
STATES = ["closed", "open", "half_open", "forced_open", "disabled", "metrics_only"]
CLOSED, OPEN = 0, 1
FAMILY = "sonde_circuit_breaker_"


def get(url):
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
        return answer.read().decode()


class Stage:
    """An agent that sends to a checking OTLP backend, a service with breakers, and a Prometheus where there is one."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.running = []
        self.sink = sink.serve()
        port = self.sink.server_address[1]
        (self.dir / "sonded.yaml").write_text(
            'agent: {listen: "127.0.0.1:0", metrics_interval: 200ms}\n'
            f'exporters: {{otlp_http: {{endpoint: "http://127.0.0.1:{port}", batch.timeout: 10ms}}}}\n')
        log = open(self.dir / "log", "w", encoding="utf-8")
        self.start([SONDED, "--socket", self.dir / "agent.sock", "--config", self.dir / "sonded.yaml"], stderr=log)
        self.page = wait_until(lambda: re.search(r"page=http://([^/]+)/", self.log()), "page").group(1)
        self.service = self.start([GUARDED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                  env=dict(QUIET, SONDE_AGENT_SOCKET=str(self.dir / "agent.sock"), OTEL_SERVICE_NAME="orders"))
        assert self.service.stdout.readline().split() == ["0", str(self.service.pid)]

    def start(self, command, stdin=subprocess.DEVNULL, env=None, **options):
        process = subprocess.Popen(command, stdin=stdin, env=env or QUIET, **options)
        self.running.append(process)
        return process

    def log(self):
        return (self.dir / "log").read_text(encoding="utf-8")

    def tell(self, line):
        self.service.stdin.write(line + "\n")
        self.service.stdin.flush()
        return int(self.service.stdout.readline())

    def values(self, family, /, **wanted):
        """[(labels, value)] of a family on /metrics."""
        found = []
        for labels, value in re.findall(rf"^{FAMILY}{family}{{(.*)}} (\S+)$", get(f"http://{self.page}/metrics"), re.M):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            if wanted.items() <= labels.items():
                found.append((labels, float(value)))
        return found

    def by_state(self, name, breaker="payments"):
        return {labels["state"]: value for labels, value in self.values(name, name=breaker)}

    def prometheus(self):
        config = self.dir / "prometheus.yml"
        config.write_text("global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: sonde\n  honor_labels: true\n"
                          f"  static_configs: [{{targets: ['{self.page}']}}]\n")
        log = open(self.dir / "prometheus.log", "w", encoding="utf-8")
        self.start(["prometheus", "--config.file", config, "--storage.tsdb.path", self.dir / "tsdb",
                    "--web.listen-address", "127.0.0.1:0"], stderr=log)
        address = wait_until(lambda: re.search(r"Listening on\"? address=(\S+)", self.prometheus_log()), "Prometheus").group(1)

        def ready():
            try:
                return get(f"http://{address}/-/ready")
            except OSError:  # 503 until it is
                return None
        wait_until(ready, "Prometheus ready")

        def query(expression):
            url = f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
            return {tuple(sorted(r["metric"].items())): float(r["value"][1]) for r in json.loads(get(url))["data"]["result"]}
        return query

    def prometheus_log(self):
        return (self.dir / "prometheus.log").read_text(encoding="utf-8")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for process in reversed(self.running):
            if process.poll() is None:
                process.kill()
            process.wait()
        self.sink.shutdown()
        if error[0]:
            print(self.log(), file=sys.stderr)


def open_and_closed_between_scrapes(stage):
    assert stage.tell("trip") == OPEN
    wait_until(lambda: stage.tell("call") == CLOSED, "closed by a probe")


def a_short_open_is_seen_on_the_page(stage):
    assert stage.by_state("state") == {state: state == "closed" for state in STATES}
    assert set(stage.by_state("state_time_seconds_total")) == set(STATES)
    assert stage.by_state("state", "theirs") == {state: state == "half_open" for state in STATES}
    assert stage.values("failure_ratio", name="payments") == [] and stage.values("window_calls", name="theirs") == []
    assert stage.values("threshold", name="payments", reason="failure_rate")[0][1] == 0.5
    open_and_closed_between_scrapes(stage)
    assert stage.by_state("state") == {state: state == "closed" for state in STATES}
    times = stage.by_state("state_time_seconds_total")
    assert times["open"] >= 0.02 and times["closed"] > 0 and times["forced_open"] == 0, times
    told = {(labels["from"], labels["to"], labels["reason"]): value for labels, value in stage.values("transition_total", name="payments")}
    assert told == {("closed", "open", "failure_rate"): 1, ("open", "half_open", "wait_elapsed"): 1,
                    ("half_open", "closed", "probe_succeeded"): 1}, told


def a_prometheus_has_it_too(stage):
    if not shutil.which("prometheus"):
        print("no prometheus: not asked")
        return
    query = stage.prometheus()
    wait_until(lambda: query(f'{FAMILY}state{{name="payments",state="closed",job="orders"}} == 1'), "closed in Prometheus")
    before = query(f'{FAMILY}state_time_seconds_total{{name="payments",state="open"}}')
    open_and_closed_between_scrapes(stage)
    wait_until(lambda: sum(query(f'{FAMILY}state_time_seconds_total{{name="payments",state="open"}}').values())
               >= sum(before.values()) + 0.02, "the short open in Prometheus")
    assert list(query(f'sum({FAMILY}state{{name="payments"}})').values()) == [1]
    assert not re.search(r"level=(warn|error)", stage.prometheus_log()), stage.prometheus_log()


def otlp_has_the_dotted_names(stage):
    def there():
        text = json.dumps(stage.sink.sink.report({}))
        return "sonde.circuit_breaker.state.time" in text and text
    text = wait_until(there, "breakers at the backend")
    report = json.loads(text)
    assert not report["errors"], report["errors"]
    for name in ("state", "state.time", "transition", "call", "threshold", "window.calls", "probe.permits", "retry_after"):
        assert f"sonde.circuit_breaker.{name}" in text, name


def a_child_has_its_own(stage):
    open_and_closed_between_scrapes(stage)
    child = stage.tell("fork")
    assert child > 1

    def both():
        states = [labels["state"] for labels, value in stage.values("state", name="payments") if value == 1]
        return sorted(states) == ["closed", "forced_open"]
    wait_until(both, "the child's state beside its parent's")
    times = [value for labels, value in stage.values("state_time_seconds_total", name="payments", state="open")]
    assert sorted(value > 0 for value in times) == [False, True], times  # the child was never open itself


def the_dead_are_in_no_state(stage):
    final = stage.by_state("state_time_seconds_total")
    stage.service.stdin.close()
    stage.service.wait(DEADLINE_S)
    wait_until(lambda: stage.values("state", name="payments") == [], "no state")
    assert all(value >= final[state] for state, value in stage.by_state("state_time_seconds_total").items() if state == "closed")
    for name in ("payments", "theirs"):  # beside the agent's own, of its exporter
        assert stage.values("retry_after_seconds", name=name) == [] and stage.values("threshold", name=name) == []


with tempfile.TemporaryDirectory(prefix="sonde-breakers-") as scratch, Stage(scratch) as the_stage:
    for case in [a_short_open_is_seen_on_the_page, a_prometheus_has_it_too, otlp_has_the_dotted_names, a_child_has_its_own,
                 the_dead_are_in_no_state]:
        case(the_stage)
        print("ok", case.__name__)
