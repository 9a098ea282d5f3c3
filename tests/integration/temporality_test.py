# SPDX-License-Identifier: Apache-2.0
"""sonded sends deltas when its exporter asks for them: what the backend adds up is what the service counted, also when it
is killed, and when the backend is away for a while. Usage: temporality_test.py BUILD PEER"""
import contextlib
import http.client
import json
import pathlib
import subprocess
import sys
import tempfile

from rig import BUILD, DEADLINE_S, QUIET, wait_until

try:
    import google.protobuf  # noqa: F401  (the sink's)
    import opentelemetry.proto  # noqa: F401
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

PEER = pathlib.Path(sys.argv[2])
SINK = pathlib.Path(__file__).parent.parent / "interop" / "sink.py"


class Sink:
    def __enter__(self):
        self.process = subprocess.Popen([sys.executable, SINK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(DEADLINE_S)

    def request(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        connection.request(method, path, body and json.dumps(body))
        return json.loads(connection.getresponse().read())

    def metrics(self):
        report = self.request("GET", "/report")
        assert not report["errors"], report["errors"]
        return {name: (m["temporality"], m["points"][0]["value"]) for name, m in report["metrics"].items()
                if name.startswith("test.")}


class Service:
    def __init__(self, directory):
        env = dict(QUIET, SONDE_AGENT_SOCKET=str(directory / "agent.sock"), OTEL_SERVICE_NAME="counts")
        self.process = subprocess.Popen([PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def count(self, number):
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"
        return number

    def end(self, kill):
        if kill:
            self.process.kill()
        self.process.stdin.close()
        self.process.wait(DEADLINE_S)


@contextlib.contextmanager
def agent_of(directory, exporters, **env):
    (directory / "sonded.yaml").write_text(f"agent: {{listen: '', metrics_interval: 100ms}}\n{exporters}", encoding="utf-8")
    arguments = [BUILD / "agent" / "sonded", "--config", directory / "sonded.yaml", "--socket", directory / "agent.sock"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=dict(QUIET, **env)) as process:
        try:
            yield process
        finally:
            process.kill()  # of a case that failed


def has(sink, total, **temporalities):
    """The sums are those, and each metric came with its temporality (1 = delta, 2 = cumulative)."""
    found = sink.metrics()
    if set(found) != {"test.counter", "test.up_down", "test.exponential", "test.explicit"}:
        return False
    assert {name.split(".")[1]: t for name, (t, _) in found.items()} == temporalities, found
    counts = [found["test.counter"][1], found["test.exponential"][1]["count"], found["test.explicit"][1]["count"]]
    assert all(count <= total for count in counts), (found, total)
    return counts == [total] * 3


def run(directory, sink, exporters, wanted, **env):
    with agent_of(directory, exporters, **env) as agent:
        service, total = Service(directory), 0
        for number in (5, 0, 7, 300, 1):
            total += service.count(number)
            wait_until(lambda: has(sink, total, **wanted), f"{total}")
        sink.request("POST", "/control", {"answers": [{"status": 503}] * 3})  # nothing is lost, nothing comes twice
        total += service.count(40)
        wait_until(lambda: has(sink, total, **wanted), f"{total} after refusals")
        total += service.count(3)
        service.end(kill=True)  # what it counted last is sent all the same
        wait_until(lambda: has(sink, total, **wanted), f"{total} of a killed service")
        agent.terminate()
        _, log = agent.communicate(timeout=DEADLINE_S)
        assert agent.returncode == 0 and "does not balance" not in log, log


def otlp(port, name="", temporality=""):
    return f"  otlp_http{name}: {{endpoint: 'http://127.0.0.1:{port}', batch.timeout: 10ms{temporality}}}\n"


DELTA = {"counter": 1, "up_down": 2, "exponential": 1, "explicit": 1}


def delta_by_configuration(directory):
    with Sink() as sink:
        run(directory, sink, "exporters:\n" + otlp(sink.port, "", ", temporality: delta"), DELTA)


def low_memory_by_environment(directory):
    with Sink() as sink:
        run(directory, sink, "", DELTA, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{sink.port}",
            OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE="LOWMEMORY")


def a_restarted_agent_does_not_send_again(directory):
    exporters = "exporters:\n{}"
    with Sink() as sink:
        exporters = exporters.format(otlp(sink.port, "", ", temporality: delta"))
        with agent_of(directory, exporters) as agent:
            service = Service(directory)
            total = service.count(9)
            wait_until(lambda: has(sink, total, **DELTA), "9")
            agent.terminate()
            assert agent.wait(DEADLINE_S) == 0
        ready = directory / "agent.sock"
        with agent_of(directory, exporters) as agent:
            wait_until(ready.exists, "socket")
            # the new agent has read the service when a later addition arrives; 9 must not come once more
            wait_until(lambda: service.count(0) == 0 and sink.request("GET", "/report")["metrics"].get(
                "test.up_down", {"points": [{"value": 0}]})["points"][0]["value"] < -1, "the second agent")
            total += service.count(4)
            wait_until(lambda: has(sink, total, **DELTA), "13")
            service.end(kill=False)
            agent.terminate()
            assert agent.wait(DEADLINE_S) == 0
        assert has(sink, total, **DELTA)


def exporters_that_disagree_are_refused(directory):
    text = "exporters:\n" + otlp(1) + otlp(2, "/b", ", temporality: delta")
    with agent_of(directory, text) as agent:
        _, log = agent.communicate(timeout=DEADLINE_S)
        assert agent.returncode == 2, log
        assert ":4:3: exporter otlp_http/b: temporality is delta, but that of otlp_http is cumulative" in log, log


if __name__ == "__main__":
    for case in (delta_by_configuration, low_memory_by_environment, a_restarted_agent_does_not_send_again,
                 exporters_that_disagree_are_refused):
        with tempfile.TemporaryDirectory(prefix="sonde-") as name:
            case(pathlib.Path(name))
        print("ok", case.__name__)
