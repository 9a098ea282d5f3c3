# SPDX-License-Identifier: Apache-2.0
"""Starts and stops what the shop needs: Redis, the agent, the sink that plays the OTLP backend, and the shop itself.
Everything listens on 127.0.0.1, on ports that the system gives, below one temporary directory, and is ended by its pid.
The demo and the integration tests use this."""
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]

CONFIG = """\
agent:
  listen: 127.0.0.1:{page}
  metrics_interval: 1s
  socket: {dir}/agent.sock
exporters:
  otlp_http:
    endpoint: http://127.0.0.1:{sink}
collectors:
  redis:
    address: 127.0.0.1:{redis}
    interval: 1s
"""


def wait_until(condition, seconds, what):
    """Polls until the condition gives something true, and gives it back; TimeoutError at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds} s still not: {what}")
        time.sleep(0.05)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Process:
    """A child with its output kept: stdout line by line, stderr in a file."""

    def __init__(self, name, command, directory, env=None):
        self.name = name
        self.stderr_path = pathlib.Path(directory) / f"{name}.log"
        with open(self.stderr_path, "ab") as stderr:
            self.child = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=stderr,
                                          stdin=subprocess.DEVNULL, text=True, env=env, cwd=directory)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.child.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def line(self, text, seconds=30):
        """The next line of stdout that holds the text."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"{self.name} did not print {text!r}\n{self.log()}") from None
            if line is None:
                raise RuntimeError(f"{self.name} ended with {self.child.wait()}\n{self.log()}")
            if text in line:
                return line

    def log(self):
        return self.stderr_path.read_text(errors="replace")[-4000:]

    def alive(self):
        return self.child.poll() is None

    def stop(self, how=signal.SIGTERM, seconds=15):
        """Sends the signal and gives the exit status; SIGKILL when that takes too long."""
        if self.alive():
            self.child.send_signal(how)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            return "did not end by itself"


def fetch(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.read().decode()


class Sink:
    """What has arrived at the backend (tests/interop/sink.py)."""

    def __init__(self, port):
        self.port = port

    def spans(self):
        """Each span once; see traces.py for the fields."""
        spans = json.loads(fetch(self.port, "/spans"))
        for span in spans:
            span["links"] = [tuple(link) for link in span["links"]]
        return spans

    def report(self):
        return json.loads(fetch(self.port, "/report"))

    def transitions(self, breaker):
        """What the breaker's log records tell, in their order: from, to, reason."""
        prefix = "sonde.circuit_breaker."
        records = [log["attributes"] for log in json.loads(fetch(self.port, "/logs"))
                   if log["event_name"] == prefix + "state_change"]
        return [{key.removeprefix(prefix): value for key, value in record.items()} for record in records
                if record[prefix + "name"] == breaker]


class Ledger:
    """The agent's accounts, from /api/status."""

    def __init__(self, status):
        self.signals, self.state = status["signals"], status["ledger"]
        self.exporters = [e["signals"] for e in status["exporters"]]

    def appended(self, signal):
        return self.signals[signal]["appended"]

    def lost(self):
        """Records that were dropped or refused, at intake or by an exporter."""
        intake = sum(sum(s["dropped"].values()) for s in self.signals.values())
        return intake + sum(a["refused"] + sum(a["dropped"].values()) for e in self.exporters for a in e.values())

    def settled(self):
        """No span and no log is on its way."""
        return all(e[s]["queued"] == e[s]["in_flight"] == 0 for e in self.exporters for s in ("traces", "logs") if s in e)

    def balances(self):
        return self.state["balanced"]

    def text(self):
        return json.dumps({"state": self.state, "signals": self.signals, "exporters": self.exporters})


class Stage:
    """with Stage("build") as stage: stage.start_all(); ..."""

    def __init__(self, build):
        self.build = pathlib.Path(build).resolve()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="sonde-stage-"))
        self.page, self.redis_port = free_port(), free_port()
        self.page_is_known = False
        self.running = {}
        self.sink = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def start(self, name, command, **env):
        self.running[name] = Process(name, command, self.dir, dict(os.environ, **{k: str(v) for k, v in env.items()}))
        return self.running[name]

    def stop(self, name, how=signal.SIGTERM):
        return self.running.pop(name).stop(how)

    def close(self):
        for name in reversed(list(self.running)):
            self.running.pop(name).stop(seconds=8)
        shutil.rmtree(self.dir, ignore_errors=True)

    # --- one by one ---
    def start_redis(self):
        self.start("redis", ["redis-server", "--bind", "127.0.0.1", "--port", self.redis_port, "--save", "", "--appendonly",
                             "no", "--dir", self.dir]).line("Ready to accept connections")

    def start_sink(self):
        process = self.start("sink", [sys.executable, ROOT / "tests" / "interop" / "sink.py"])
        self.sink = Sink(int(process.line("listening ").split()[1]))

    def start_agent(self, config=CONFIG):
        path = self.dir / "sonded.yaml"
        for attempt in range(3):
            path.write_text(config.format(page=self.page, dir=self.dir, sink=self.sink.port, redis=self.redis_port))
            agent = self.start("sonded", [self.build / "agent" / "sonded", "--config", path])
            wait_until(lambda: self.ready() or not agent.alive(), 30, "agent ready")
            if agent.alive():
                self.page_is_known = True
                return
            if self.page_is_known or "Address already in use" not in agent.log():
                break
            self.page = free_port()  # another program took it before the agent had it
        raise RuntimeError(f"sonded ended\n{agent.log()}")

    def start_shop(self, **env):
        common = dict(SONDE_AGENT_SOCKET=self.dir / "agent.sock", REDIS_PORT=self.redis_port, **env)
        shop = self.build / "examples"
        payments = self.start("payments", [shop / "shop-payments"], **common)
        common["PAYMENTS_URL"] = "http://" + payments.line("listening on").split()[-1]
        orders = self.start("orders", [shop / "shop-orders"], **common)
        self.orders_url = "http://" + orders.line("listening on").split()[-1] + "/orders"
        self.start("shipping", [shop / "shop-shipping"], **common).line("consumes")

    def start_all(self, **env):
        self.start_redis()
        self.start_sink()
        self.start_agent()
        self.start_shop(**env)

    def stop_shop(self):
        """SIGTERM to the services, orders first; all must end cleanly."""
        for name in ("orders", "payments", "shipping"):
            log = self.running[name]
            status = self.stop(name)
            if status != 0:
                raise RuntimeError(f"{name}: exit status {status} after SIGTERM\n{log.log()}")

    def load(self, rate, seconds):
        """Sends orders; the ids of those that were accepted, and the counts."""
        ids = self.dir / "accepted"
        load = self.start_load(rate, seconds, ids)
        words = load.line("accepted ", seconds + 30).split()
        self.stop("load")
        return ids.read_text().split(), dict(zip(words[::2], map(int, words[1::2])))

    def start_load(self, rate, seconds=0, ids=None):
        """seconds 0: until it is stopped."""
        command = [self.build / "examples" / "shop-load", self.orders_url, rate, seconds]
        return self.start("load", command + ([ids] if ids else []))

    # --- looking ---
    def get(self, path):
        return fetch(self.page, path)

    def sagas(self):
        """How sagas ended, as the agent put them together: {type: {outcome: number}}."""
        ended = {}
        for labels, value in re.findall(r"^sonde_saga_assembled_total{(.*)} (\S+)$", self.get("/metrics"), re.M):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            ended.setdefault(labels["sonde_saga_type"], {})[labels["sonde_saga_outcome"]] = int(float(value))
        return ended

    def repeated(self, deduplicator):
        """How many requests a deduplicator knew again."""
        return sum(int(float(value)) for labels, value in
                   re.findall(r"^sonde_idempotency_request_total{(.*)} (\S+)$", self.get("/metrics"), re.M)
                   if 'sonde_idempotency_result="replay"' in labels and f'sonde_resilience_name="{deduplicator}"' in labels)

    def ledger(self):
        return Ledger(json.loads(self.get("/api/status")))

    def ready(self):
        try:
            self.get("/readyz")
            return True
        except OSError:
            return False

    def shipped(self):
        """Nothing left in the streams that their groups have not acknowledged: what could not be shipped is undone, too."""
        return self.consumed("orders") and self.consumed("orders.unshipped") is not False

    def consumed(self, stream):
        """None when there is no such stream."""
        out = subprocess.run(["redis-cli", "-p", str(self.redis_port), "--json", "XINFO", "GROUPS", stream],
                             capture_output=True, text=True, check=False).stdout
        groups = json.loads(out) if out.startswith("[") else []
        return all(g["pending"] == 0 and g["lag"] == 0 for g in groups) if groups else None
