# SPDX-License-Identifier: Apache-2.0
"""What tests of collectors share: an agent that polls, its /metrics, what leaves it by OTLP, and servers that are none."""
import contextlib
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
import rig  # noqa: E402
import sink  # noqa: E402
from rig import wait_until  # noqa: E402

LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
SERIES = re.compile(r"([^{ ]+)(?:\{(.*)\})? ([^ {}]+)(?: # .*)?")


def series_of(text):
    """A list of (name, labels, value)."""
    rows = [SERIES.fullmatch(line).groups() for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, {k: v.replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\") for k, v in LABEL.findall(labels or "")},
             float(value)) for name, labels, value in rows]


class Watch(rig.Agent):
    """An agent with collectors, as YAML of the section. OTLP goes to `self.sink`, every 100 ms."""

    def __init__(self, directory, collectors, more=""):
        self.server = sink.serve()
        super().__init__(directory, 'agent: {listen: "127.0.0.1:0", metrics_interval: 100ms}\n'
                         f"exporters:\n  otlp_http: {{endpoint: 'http://127.0.0.1:{self.server.server_port}', batch.timeout: 10ms}}\n"
                         f"collectors:\n{collectors}{more}")

    def series(self):
        return series_of(self.get("/metrics"))

    def values(self, metric, /, **labels):
        """Values of sonde_messaging_METRIC with these labels."""
        return [v for n, l, v in self.series() if n == f"sonde_messaging_{metric}" and all(l.get(k) == w for k, w in labels.items())]

    def value(self, metric, /, **labels):
        found = self.values(metric, **labels)
        assert len(found) < 2, (metric, labels, found)
        return found[0] if found else None

    def until(self, wanted, what):
        """Waits until wanted() is true, while the agent runs; a value that is 0 counts."""
        def look():
            assert self.process.poll() is None, self.log()
            value = wanted()
            return (value,) if value is not None and value is not False else None
        try:
            return wait_until(look, what)[0]
        except AssertionError:
            print(self.log(), *(s for s in self.series() if "messaging" in s[0]), sep="\n", file=sys.stderr)
            raise

    def until_value(self, expected, metric, /, **labels):
        return self.until(lambda: self.value(metric, **labels) == expected, f"{metric} {labels} {expected}")

    def until_down(self, error_type, **labels):
        """The poll says so: up is 0, and why."""
        self.until_value(0, "poll_up", **labels)
        self.until(lambda: (self.value("poll_errors_total", error_type=error_type, **labels) or 0) > 0, f"error {error_type}")

    def exported(self, metric, /, **labels):
        """Last values of sonde.messaging.METRIC with these attributes, dots as underscores, as the backend got them."""
        with self.server.sink.lock:
            points = list(self.server.sink.store.metrics.get(f"sonde.messaging.{metric}", {"points": {}})["points"].values())
        return [value for pairs, value in points
                if {k.replace(".", "_"): str(v) for k, v in pairs.items()}.items() >= labels.items()]

    def problems(self):
        with self.server.sink.lock:
            return dict(self.server.sink.store.errors)

    def __exit__(self, *problem):
        if problem[0]:
            print(self.log(), file=sys.stderr)
        super().__exit__(*problem)
        self.server.shutdown()
        self.server.server_close()


@contextlib.contextmanager
def watching(collectors, more=""):
    with tempfile.TemporaryDirectory(prefix="sonde-") as directory, Watch(directory, collectors, more) as watch:
        yield watch
        assert watch.problems() == {}, watch.problems()
        assert watch.end() == 0, watch.log()


def check_refused(collector, *words):
    """A configuration that sonded does not start with; what it says holds the words."""
    with tempfile.TemporaryDirectory(prefix="sonde-") as directory:
        config = pathlib.Path(directory) / "sonded.yaml"
        config.write_text(f'agent: {{listen: "127.0.0.1:0"}}\ncollectors:\n  {collector}\n', encoding="utf-8")
        done = subprocess.run([rig.SONDED, "--socket", f"{directory}/s", "--config", config], env=rig.QUIET, text=True,
                              capture_output=True, timeout=rig.DEADLINE_S, check=False)
    assert done.returncode not in (0, -6, -11) and all(word in done.stderr for word in words), (words, done)


@contextlib.contextmanager
def liar(says=b""):
    """A server that accepts, says this, and nothing more: half-dead, or garbage. Gives its port."""
    listener, kept, stopped = socket.create_server(("127.0.0.1", 0)), [], threading.Event()

    def accept():
        while not stopped.is_set():
            with contextlib.suppress(OSError):
                client, _ = listener.accept()
                kept.append(client)
                client.sendall(says)
    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for client in [listener, *kept]:
            client.close()
