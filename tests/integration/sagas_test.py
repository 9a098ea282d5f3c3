# SPDX-License-Identifier: Apache-2.0
"""Sagas assembled across services by a real sonded: /metrics, `sonde status`, OTLP. Usage: sagas_test.py BUILD."""
import http.server
import json
import pathlib
import re
import subprocess
import tempfile
import threading

import rig
from rig import BUILD, DEADLINE_S, QUIET, SONDE, Process, wait_until

SERVICE = BUILD / "tests" / "integration" / "saga_service"


class Agent(rig.Agent):
    def __init__(self, directory, config):
        super().__init__(directory, f'agent:\n  listen: "127.0.0.1:0"\n  metrics_interval: 500ms\n{config}')

    def series(self, name, **labels):
        """The value of the agent's only series of that name and labels; None without one."""
        rows = [row for row in self.get("/metrics").split("\n") if re.match(name + r"[{ ]", row)
                and all(f'{key}="{value}"' in row for key, value in labels.items())]
        assert len(rows) <= 1, rows
        return float(rows[0].rsplit(" ", 1)[1]) if rows else None

    def figures(self):
        processors = json.loads(self.get("/api/status"))["processors"]
        return next(one["figures"] for one in processors if one["name"] == "sagas")


class Service(Process):
    def __init__(self, directory, name, **env):
        env = dict(QUIET, SONDE_AGENT_SOCKET=str(pathlib.Path(directory) / "agent.sock"), OTEL_SERVICE_NAME=name, **env)
        self.process = subprocess.Popen([SERVICE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def ask(self, *lines):
        for line in (*lines, "flush"):
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            assert self.process.stdout.readline() == "0\n", line


class Sink:
    """An OTLP backend that keeps the bytes."""
    def __enter__(self):
        bodies = self.bodies = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                bodies.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def has(self, path, *texts):
        return any(where == path and all(text in body for text in texts) for where, body in self.bodies)


def a_saga_goes_through_two_services(directory):
    with Agent(directory, "") as agent, Service(directory, "orders") as orders, Service(directory, "payments") as payments:
        orders.ask("plain 100", "step s1 order reserve 1 forward", "step s2 order reserve 1 forward")
        assert agent.series("sonde_saga_active", type="order") == 2
        assert agent.series("sonde_saga_oldest_age_seconds", type="order") >= 0
        payments.ask("step s1 order charge 2 forward", "step s2 order charge 2 forward", "step s2 order reserve 1 compensate")
        assert agent.figures()["active"] == 2, "one each, wherever they are seen"
        payments.ask("mark s1 order completed")
        orders.ask("mark s2 order compensated", "mark s3 refund failed", "step s1 order late 3 forward")
        for outcome, kind, number in (("completed", "order", 1), ("compensated", "order", 1), ("failed", "order", 0),
                                      ("failed", "refund", 1)):
            assert agent.series("sonde_saga_assembled_total", outcome=outcome, type=kind) == number
        assert agent.series("sonde_saga_active", type="order") == 0
        assert agent.series("sonde_saga_oldest_age_seconds", type="order") is None
        steps = {"type": "order", "action": "forward"}
        assert agent.series("sonde_saga_assembled_steps_total", step="charge", **steps) == 2
        assert agent.series("sonde_saga_assembled_steps_total", step="reserve", action="compensate") == 1
        assert agent.series("sonde_saga_assembled_step_time_seconds_total", step="charge", **steps) > 0
        text = agent.get("/metrics")
        assert '"s1"' not in text and "sonde_saga_id" not in text
        status = subprocess.run([SONDE, "status", "--address", agent.address()], capture_output=True, text=True, env=QUIET,
                                timeout=DEADLINE_S, check=False).stdout
        assert "sagas: 0 active, 0 stuck, 1 completed, 1 compensated, 1 failed, 0 lost" in status, status
        assert json.loads(agent.get("/api/status"))["ledger"]["balanced"]


def the_library_s_sagas_count_once_sampled_or_not(directory):
    with Agent(directory, "") as agent:
        for sampler in ("always_on", "always_off"):
            with Service(directory, "orders", OTEL_TRACES_SAMPLER=sampler) as orders:
                orders.ask(f"lead {sampler}-1 order completed", f"lead {sampler}-2 order compensated")
        figures = agent.figures()
        assert (figures["completed"], figures["compensated"], figures["active"]) == (2, 2, 0), figures
        steps = {"type": "order", "step": "reserve"}
        assert agent.series("sonde_saga_assembled_steps_total", action="forward", **steps) == 4
        assert agent.series("sonde_saga_assembled_steps_total", action="compensate", **steps) == 2


def a_quiet_saga_gets_stuck_and_is_told(directory):
    with Sink() as sink:
        config = (f"processors:\n  sagas:\n    timeout: 700ms\nexporters:\n  otlp_http:\n    compression: none\n"
                  f"    endpoint: http://127.0.0.1:{sink.server.server_port}\n")
        with Agent(directory, config) as agent, Service(directory, "orders") as orders:
            orders.ask("step quiet-one order reserve 1 forward")
            wait_until(lambda: agent.series("sonde_saga_stuck", type="order") == 1, "stuck")
            wait_until(lambda: sink.has("/v1/logs", b"sonde.saga.stuck", b"quiet-one", b"reserve"), "the log record")
            wait_until(lambda: sink.has("/v1/metrics", b"sonde.saga.stuck", b"sonde.saga.oldest.age"), "the series by OTLP")
            orders.ask("mark quiet-one order completed")
            assert agent.series("sonde_saga_stuck", type="order") == 0
            assert agent.figures()["completed"] == 1
            assert not sink.has("/v1/metrics", b"quiet-one")
            assert json.loads(agent.get("/api/status"))["ledger"]["balanced"]


def spans_of_a_service_that_was_killed_count(directory):
    with Agent(directory, "") as agent:
        with Service(directory, "orders") as orders:
            orders.ask("open s1 order")
            assert agent.series("sonde_saga_active", type="order") is None
            orders.process.kill()
        wait_until(lambda: agent.series("sonde_saga_active", type="order") == 1, "the recovered span")


def the_table_is_bounded_and_may_be_turned_off(directory):
    with Agent(directory, "processors:\n  sagas:\n    sagas_max: 100\n") as agent, Service(directory, "orders") as orders:
        orders.ask("many 300 0")
        assert agent.series("sonde_saga_active", type="order") == 100
        assert agent.series("sonde_saga_lost_total", reason="full") == 200
    with Agent(directory, "processors: {}\n") as agent, Service(directory, "orders") as orders:
        orders.ask("step s1 order reserve 1 forward")
        assert json.loads(agent.get("/api/status"))["processors"] == []
        assert "sonde_saga_active" not in agent.get("/metrics")


def main():
    for case in (a_saga_goes_through_two_services, the_library_s_sagas_count_once_sampled_or_not,
                 a_quiet_saga_gets_stuck_and_is_told, spans_of_a_service_that_was_killed_count,
                 the_table_is_bounded_and_may_be_turned_off):
        with tempfile.TemporaryDirectory(prefix="sonde-sagas-") as directory:
            case(directory)
        print("ok", case.__name__)


main()
