# SPDX-License-Identifier: Apache-2.0
"""sonded and sonde as a user meets them: start, refusals, status, service manager, the end. Usage: daemon_test.py BUILD."""
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile

from rig import BUILD, DEADLINE_S, QUIET, SONDE, SONDED, wait_until


class Agent:
    def __init__(self, directory, config=None, **env):
        self.dir = pathlib.Path(directory)
        self.log_path = self.dir / f"log{len(list(self.dir.iterdir()))}"
        arguments = [SONDED, "--socket", self.dir / "agent.sock"]
        if config is not None:
            (self.dir / "sonded.yaml").write_text(config)
            arguments += ["--config", self.dir / "sonded.yaml"]
        with open(self.log_path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(arguments, stderr=log, stdin=subprocess.DEVNULL, env=dict(QUIET, **env))

    def log(self):
        return self.log_path.read_text(encoding="utf-8")

    def address(self):
        found = wait_until(lambda: self.process.poll() is not None or re.search(r"page=http://([^/]+)/", self.log()), "page")
        assert found is not True, self.log()
        wait_until(lambda: "msg=\"running\"" in self.log(), "running")
        return found.group(1)

    def get(self, path, **headers):
        connection = http.client.HTTPConnection(self.address(), timeout=DEADLINE_S)
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response, response.read().decode()

    def end(self, *signals):
        for number in signals:
            self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def command(*arguments):
    done = subprocess.run([SONDE, *arguments], capture_output=True, text=True, env=QUIET, timeout=DEADLINE_S, check=False)
    return done.returncode, done.stdout + done.stderr


PAGE = 'agent: {listen: "127.0.0.1:0"}\n'


def starts_and_stops_without_exporters(directory):
    with Agent(directory, PAGE) as agent:
        response, page = agent.get("/")
        assert response.status == 200 and "No exporter is configured" in page
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "<script" not in page and 'src="http' not in page
        for path, text in (("/livez", "ok"), ("/readyz", "ok"), ("/healthz", "ok"), ("/style.css", "font")):
            response, body = agent.get(path)
            assert response.status == 200 and text in body, path
        response, body = agent.get("/metrics")
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert re.search(r"^sonde_agent_ledger_balanced\{[^}]*\} 1$", body, re.M)
        assert agent.get("/metrics", Host="evil.example")[0].status == 421
        status = json.loads(agent.get("/api/status")[1])
        assert status["healthy"] and status["ledger"]["balanced"] and status["exporters"] == []
        assert command("status", "--address", agent.address())[0] == 0
        limits = pathlib.Path(f"/proc/{agent.process.pid}/limits").read_text(encoding="utf-8")
        soft, hard = re.search(r"Max open files\s+(\d+)\s+(\d+)", limits).groups()
        assert soft == hard
        ignored = pathlib.Path(f"/proc/{agent.process.pid}/status").read_text(encoding="utf-8")
        assert int(re.search(r"SigIgn:\s*(\w+)", ignored).group(1), 16) & 1 << signal.SIGPIPE - 1  # hiredis needs it
        assert "no exporter is configured" in agent.log()
        assert agent.end(signal.SIGTERM) == 0
        assert not (agent.dir / "agent.sock").exists()


def starts_with_no_configuration_at_all(directory):
    """The default port may be another agent's on this machine: then that is what it must say."""
    with Agent(directory) as agent:
        wait_until(lambda: agent.process.poll() is not None or "msg=\"running\"" in agent.log(), "running")
        if agent.process.poll() is None:
            assert "http://127.0.0.1:4320/" in agent.log()
            assert agent.end(signal.SIGINT) == 0
        else:
            assert agent.process.returncode == 1 and "Address already in use" in agent.log()


def a_dead_backend_is_told_and_the_end_is_bounded(directory):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    config = (f"agent: {{listen: \"127.0.0.1:0\", metrics_interval: 100ms, shutdown_timeout: 300ms}}\n"
              f"exporters: {{otlp_http: {{endpoint: \"http://127.0.0.1:{port}\", batch.timeout: 10ms}}}}\n")
    with Agent(directory, config) as agent:
        address = agent.address()

        def failing():
            status = json.loads(agent.get("/api/status")[1])
            return status["exporters"][0]["failing"] and status
        status = wait_until(failing, "failing exporter")
        assert not status["healthy"] and status["ledger"]["balanced"]
        account = status["ledger"]["exporters"][0]["signals"]["metrics"]
        assert account["appended"] == account["queued"] + account["in_flight"] > 0
        assert agent.get("/healthz")[0].status == 503 and agent.get("/livez")[0].status == 200
        code, text = command("status", "--address", address)
        assert code == 1 and "FAILING" in text
        assert agent.end(signal.SIGTERM) == 0
        assert re.search(r"dropping records.*records=[1-9]\d* reason=shutdown", agent.log())
        assert "does not balance" not in agent.log()
        assert command("status", "--address", address)[0] == 1


def a_second_signal_ends_at_once(directory):
    config = ('agent: {listen: "127.0.0.1:0", metrics_interval: 100ms, shutdown_timeout: 1m}\n'
              'exporters: {otlp_http: {endpoint: "http://127.0.0.1:1", batch.timeout: 10ms}}\n')
    with Agent(directory, config) as agent:
        agent.address()
        wait_until(lambda: "retrying" in agent.log(), "a failed request")
        agent.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in agent.log(), "stopping")
        assert agent.end(signal.SIGTERM) == 0
        assert "second signal" in agent.log()


def proxies_are_not_for_this_machine(directory):
    """http_proxy leads to a port where nothing listens; the page and a backend on loopback are reached all the same."""
    proxies = {name: "http://127.0.0.1:1" for name in ("http_proxy", "https_proxy", "ALL_PROXY")}
    with socket.create_server(("127.0.0.1", 0)) as backend:
        backend.settimeout(DEADLINE_S)
        config = (f"agent: {{listen: \"127.0.0.1:0\", metrics_interval: 100ms, shutdown_timeout: 100ms}}\n"
                  f"exporters: {{otlp_http: {{endpoint: \"http://127.0.0.1:{backend.getsockname()[1]}\", "
                  f"batch.timeout: 10ms}}}}\n")
        with Agent(directory, config, **proxies) as agent:
            address = agent.address()
            with backend.accept()[0] as request:
                assert request.recv(100).startswith(b"POST /v1/metrics HTTP/1.1")
                done = subprocess.run([SONDE, "status", "--address", address], capture_output=True, text=True,
                                      env=dict(QUIET, **proxies), timeout=DEADLINE_S, check=False)
                assert "sonded " in done.stdout, done.stderr
            assert agent.end(signal.SIGTERM) == 0


def a_dead_broker_is_told(directory):
    config = ('agent: {listen: "127.0.0.1:0"}\ncollectors: {redis: {address: "127.0.0.1:1", interval: 100ms}}\n')
    with Agent(directory, config) as agent:
        row = wait_until(lambda: [c for c in json.loads(agent.get("/api/status")[1])["collectors"] if c["failing"]], "failing")[0]
        assert row["address"] == "127.0.0.1:1" and row["trouble"] and row["last_success_unix_ns"] == 0, row
        assert "badtext" in agent.get("/")[1]
        code, text = command("status", "--address", agent.address())
        assert code == 0 and "redis: FAILING, 127.0.0.1:1" in text, text
        assert agent.end(signal.SIGTERM) == 0


def one_agent_has_the_socket(directory):
    with Agent(directory, PAGE) as first:
        first.address()
        with Agent(directory, PAGE) as second:
            assert second.process.wait(DEADLINE_S) == 1
            assert "another agent" in second.log()
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
    with Agent(directory, PAGE) as third:  # nothing of a killed one is in the way
        third.address()
        assert third.end(signal.SIGTERM) == 0


def bad_configurations_end_with_2(directory):
    rows = (("agent:\n  lisen: x\n", ":2:3: unknown key \"lisen\""),
            ("agent: {listen: \"0.0.0.0:0\"}\n", "insecure: true"),
            ("agent: {listen: \"127.0.0.1:4999\"}\nexporters:\n  otlp_http: {endpoint: \"http://localhost:4999/v1\"}\n",
             ":3:3: exporter otlp_http: endpoint is this agent's own listener"),
            ("exporters:\n  otlp_http: {endpoint: \"ftp://x\"}\n", ":2:3: exporter otlp_http: endpoint"))
    for config, text in rows:
        with Agent(directory, config) as agent:
            assert agent.process.wait(DEADLINE_S) == 2, agent.log()
            assert text in agent.log(), agent.log()
            if "insecure" not in text:  # an address is looked at when it is bound
                code, told = command("check", agent.dir / "sonded.yaml")
                assert code == 2 and text in told, told
    (pathlib.Path(directory) / "sonded.yaml").write_text('"\\e[31mred\\n": 1\n')
    code, told = command("check", pathlib.Path(directory) / "sonded.yaml")
    assert code == 2 and 'unknown key "?[31mred?"' in told, told
    os.mkfifo(pathlib.Path(directory) / "silent")  # nobody ever writes to it
    code, told = command("check", pathlib.Path(directory) / "silent")
    assert code == 2 and "cannot be read" in told, told
    assert command("check", "/nowhere")[0] == 2
    assert command("nonsense")[0] == 2
    assert command("config", "schema")[0] == 0 and json.loads(command("config", "schema")[1])
    assert command("config", "docs")[0] == 0


def the_service_manager_is_told(directory):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(pathlib.Path(directory) / "notify"))
        manager.settimeout(DEADLINE_S)
        with Agent(directory, PAGE, NOTIFY_SOCKET=str(pathlib.Path(directory) / "notify"), WATCHDOG_USEC="200000") as agent:
            assert manager.recv(1000) == b"READY=1"
            for _ in range(3):
                assert manager.recv(1000).startswith(b"WATCHDOG=1\nSTATUS=Running, 0 KiB queued")
            agent.process.send_signal(signal.SIGTERM)
            while b"STOPPING=1" not in manager.recv(1000):
                pass
            assert agent.process.wait(DEADLINE_S) == 0


def programs_of_a_moment_lose_nothing(directory):
    """A program that ends in the millisecond in which it began: its memory must be handed over all the same."""
    with Agent(directory, PAGE) as agent:
        agent.address()
        env = dict(QUIET, SONDE_AGENT_SOCKET=str(agent.dir / "agent.sock"), OTEL_SERVICE_NAME="moment")
        for _ in range(50):
            subprocess.run([BUILD / "tests" / "lint" / "readme-example"], env=env, check=True, timeout=DEADLINE_S)
        for name in ("traces", "logs"):
            row = rf'sonde_agent_received_records_total{{[^}}]*signal="{name}"}} 50\n'
            wait_until(lambda: re.search(row, agent.get("/metrics")[1]), row)


for case in (starts_and_stops_without_exporters, starts_with_no_configuration_at_all,
             a_dead_backend_is_told_and_the_end_is_bounded, a_second_signal_ends_at_once,
             proxies_are_not_for_this_machine, a_dead_broker_is_told, one_agent_has_the_socket,
             bad_configurations_end_with_2, programs_of_a_moment_lose_nothing, the_service_manager_is_told):
    with tempfile.TemporaryDirectory(prefix="sonde-test-") as place:
        case(place)
    print("ok", case.__name__)
