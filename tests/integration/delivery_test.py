# SPDX-License-Identifier: Apache-2.0
"""Delivery to a backend that is dead, flapping, and back: through a circuit breaker whose series are those of the
services' breakers. Usage: delivery_test.py BUILD."""
import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile

from rig import BUILD, QUIET, SONDE, Agent, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "interop"))
import sink  # noqa: E402

STATES = ["closed", "open", "half_open", "forced_open", "disabled", "metrics_only"]
NAME = "exporter/otlp_http"
SERIES = re.compile(r"^(sonde_(?:circuit_breaker|resilience)_\w+)\{(.*)\} (\S+)$", re.M)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Scene:
    """An agent whose backend is not there."""

    def __init__(self, agent, port):
        self.agent, self.port = agent, port

    def exporter(self):
        return json.loads(self.agent.get("/api/status"))["exporters"][0]

    def breaker(self):
        return self.exporter()["breaker"]

    def series(self, family, **wanted):
        """[(labels, value)] of the agent's own breaker or retry on /metrics."""
        found = []
        for name, labels, value in SERIES.findall(self.agent.get("/metrics")):
            labels = {key.removeprefix("sonde_resilience_"): value for key, value in re.findall(r'(\w+)="([^"]*)"', labels)}
            if name == f"sonde_{family}" and (wanted | {"name": NAME}).items() <= labels.items():
                assert labels["job"] == "sonded", labels
                found.append((labels, float(value)))
        return found

    def by(self, label, family):
        return {labels[label]: value for labels, value in self.series(family)}

    def total(self, family, **wanted):
        return sum(value for _, value in self.series(family, **wanted))


def opens_when_nobody_is_there(scene):
    wait_until(lambda: scene.breaker() == "open", "open")
    wait_until(lambda: scene.total("circuit_breaker_transition_total", to="half_open") >= 2, "probes while it is open")
    wait_until(lambda: scene.total("resilience_retry_suppressed_total", reason="budget") >= 1, "a spent budget")
    states = scene.by("state", "circuit_breaker_state")
    assert sorted(states) == sorted(STATES) and sum(states.values()) == 1, states
    times = scene.by("state", "circuit_breaker_state_time_seconds_total")
    assert sorted(times) == sorted(STATES) and times["open"] > 0.1 and times["forced_open"] == 0, times
    assert scene.total("circuit_breaker_transition_total", **{"from": "closed", "to": "open", "reason": "consecutive_failures"}) == 1
    assert scene.total("circuit_breaker_transition_total", **{"from": "half_open", "to": "open", "reason": "probe_failed"}) >= 1
    calls = scene.by("outcome", "circuit_breaker_call_total")
    assert calls["failure"] >= 5 and calls["rejected"] >= 2 and calls["success"] == 0, calls
    assert scene.total("circuit_breaker_threshold", reason="consecutive_failures") == 3
    assert scene.total("circuit_breaker_call_duration_seconds_count") >= calls["failure"]
    account = scene.exporter()["signals"]["metrics"]
    assert account["appended"] == account["queued"] + account["in_flight"] > 0, account
    assert "failing, breaker " in scene.agent.get("/")
    status = subprocess.run([SONDE, "status", "--address", scene.agent.address()], capture_output=True, text=True,
                            env=QUIET, check=False)
    assert status.returncode == 1 and re.search(r"FAILING, .*circuit breaker (open|half_open)", status.stdout), status.stdout


def closes_when_it_is_back(scene, backend):
    wait_until(lambda: scene.breaker() == "closed", "closed by a probe")
    assert scene.total("circuit_breaker_transition_total", to="closed", reason="probe_succeeded") == 1
    wait_until(lambda: everything_delivered(scene), "all that waited delivered")
    assert not backend.sink.report({})["errors"]


def everything_delivered(scene):
    status = json.loads(scene.agent.get("/api/status"))
    assert status["ledger"]["balanced"], status["ledger"]
    account = status["exporters"][0]["signals"]["metrics"]
    assert account["refused"] == 0 and not any(account["dropped"].values()), account
    return account["delivered"] == account["appended"] > 0


def a_flapping_backend_gets_everything(scene, backend):
    opened = scene.total("circuit_breaker_transition_total", to="open")
    for status in (503, 429, 502):
        before = scene.total("circuit_breaker_transition_total", to="open")
        backend.sink.control({"answers": [{"status": status}] * 6})
        wait_until(lambda: scene.total("circuit_breaker_transition_total", to="open") > before, f"open by {status}")
        wait_until(lambda: scene.breaker() == "closed", "closed again")
    assert scene.total("circuit_breaker_transition_total", to="open") >= opened + 3
    backend.sink.control({"answers": [{"status": 503}]})
    wait_until(lambda: scene.total("resilience_retry_total", outcome="success_with_retry") >= 1, "a retry that helped")
    wait_until(lambda: everything_delivered(scene), "all delivered")


def the_backend_has_the_dotted_names(scene, backend):
    def there():
        text = json.dumps(backend.sink.report({}))
        return "sonde.resilience.retry" in text and "sonde.circuit_breaker.transition" in text and text
    text = wait_until(there, "the agent's breaker at the backend")
    for name in ("state", "state.time", "transition", "call", "threshold", "window.calls", "probe.permits", "retry_after"):
        assert f"sonde.circuit_breaker.{name}" in text, name
    assert NAME in text
    assert scene.exporter()["signals"]["traces"]["appended"] == 0  # no spans of its own
    assert scene.exporter()["signals"]["logs"]["appended"] == 0
    assert json.loads(scene.agent.get("/api/status"))["peers"] == []  # and it is no service of its own


with tempfile.TemporaryDirectory(prefix="sonde-delivery-") as scratch:
    the_port = free_port()
    config = ('agent: {listen: "127.0.0.1:0", metrics_interval: 100ms}\n'
              f'exporters: {{otlp_http: {{endpoint: "http://127.0.0.1:{the_port}", batch.timeout: 10ms, '
              'retry.initial_interval: 50ms, retry.max_interval: 400ms}}\n')
    with Agent(scratch, config) as the_agent:
        the_scene = Scene(the_agent, the_port)
        opens_when_nobody_is_there(the_scene)
        print("ok opens_when_nobody_is_there")
        the_backend = sink.serve(the_port)
        try:
            for case in (closes_when_it_is_back, a_flapping_backend_gets_everything, the_backend_has_the_dotted_names):
                case(the_scene, the_backend)
                print("ok", case.__name__)
            assert the_agent.end() == 0
            assert "dropped" not in the_agent.log(), the_agent.log()
        except AssertionError:
            print(the_agent.log(), file=sys.stderr)
            raise
        finally:
            the_backend.shutdown()
