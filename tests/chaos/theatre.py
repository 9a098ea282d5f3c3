# SPDX-License-Identifier: Apache-2.0
"""What chaos tests play in: the sink in this process, the real agent and its services as children, all below one temporary
directory. Importing it exits with 77 (skipped) where the sink's packages are not there."""
import json
import os
import pathlib
import signal
import struct
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "examples" / "shop"), str(ROOT / "tests" / "interop")]
from stage import Process, fetch, free_port, wait_until  # noqa: E402

try:
    import otlp_check
    import sink
except ImportError as error:
    print(f"skipped: {error}; script/test makes the venv")
    sys.exit(77)

OPEN = 3  # spans that a producer leaves open
CONCURRENCY = 4
CONFIG = f"""\
agent:
  listen: 127.0.0.1:{{page}}
  socket: {{dir}}/agent.sock
exporters:
  otlp_http:
    endpoint: http://127.0.0.1:{{sink}}
    concurrency: {CONCURRENCY}
    batch.timeout: 50ms
"""


class Deliveries(otlp_check.Store):
    """Keeps of every span what the loops ask about, and in which request it came: {service: {seq: [delivery]}}."""

    def __init__(self):
        super().__init__()
        self.request, self.by_service, self.unnumbered = 0, {}, 0

    def add(self, signal_name, request, skip=0):
        self.request += 1
        super().add(signal_name, request, skip)

    def add_traces(self, span, resource, scope):
        pairs = otlp_check.attributes(span.attributes)
        if "seq" not in pairs:  # killed between the start of a span and its first attribute
            self.unnumbered += 1
            return
        self.by_service.setdefault(resource.get("service.name"), {}).setdefault(pairs["seq"], []).append({
            "request": self.request, "crashed": pairs.get("sonde.crashed", False), "signal": pairs.get("sonde.crash.signal"),
            "status": span.status.code, "start": span.start_time_unix_nano, "end": span.end_time_unix_nano,
            "unfinished": pairs.get("sonde.unfinished", False)})


class Progress:
    """What the producer says it did, read from its file even when it is dead."""

    def __init__(self, path):
        self.path = path

    def read(self):
        try:
            with open(self.path, "rb") as file:
                data = file.read(32)
        except FileNotFoundError:
            data = b""
        names = ("started", "ended", "dropped", "flushed")
        return dict(zip(names, struct.unpack("4Q", data if len(data) == 32 else bytes(32))))


class Theatre:
    """Sink in this process, agent and producers as children, all below one directory."""

    def __init__(self, build, store=None, more_config=""):
        self.more_config = more_config
        self.build = pathlib.Path(build).resolve()
        self.temporary = tempfile.TemporaryDirectory(prefix="sonde-chaos-")
        self.dir = pathlib.Path(self.temporary.name)
        self.server = sink.serve()
        self.sink = self.server.sink
        self.store = self.sink.store = store or Deliveries()
        self.page = free_port()
        self.agent = None
        self.children = []

    def start_agent(self, prefix=()):
        path = self.dir / "sonded.yaml"
        path.write_text(CONFIG.format(page=self.page, dir=self.dir, sink=self.server.server_port) + self.more_config)
        self.agent = Process("sonded", [*prefix, self.build / "agent" / "sonded", "--config", path], self.dir)
        self.children.append(self.agent)
        wait_until(lambda: self.ready() or not self.agent.alive(), 30, "agent ready")
        if not self.agent.alive():
            raise RuntimeError(f"sonded ended\n{self.agent.log()}")

    def ready(self):
        try:
            return fetch(self.page, "/readyz") is not None
        except OSError:
            return False

    def start_producer(self, name, rate, left_open=OPEN):
        progress = Progress(self.dir / f"{name}.progress")
        env = dict(os.environ, SONDE_AGENT_SOCKET=str(self.dir / "agent.sock"), OTEL_SERVICE_NAME=name)
        child = Process(name, [self.build / "tests" / "chaos" / "chaos-producer", progress.path, 0, rate, left_open],
                        self.dir, env)
        self.children.append(child)
        return child, progress

    def status(self):
        return json.loads(fetch(self.page, "/api/status"))

    def close(self):
        for child in self.children:
            child.stop(signal.SIGKILL)
        self.server.shutdown()
        self.server.server_close()
        self.temporary.cleanup()


def pause(seconds):
    """The moment of the kill is the input of these tests: a time, not a condition."""
    time.sleep(seconds)  # lint-allow: sleep random moment of a kill
