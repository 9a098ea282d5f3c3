# SPDX-License-Identifier: Apache-2.0
"""Observable instruments, from the callback in a service to /metrics and OTLP. Usage: observe_test.py BUILD."""
import http.client
import http.server
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading

from rig import BUILD, DEADLINE_S, QUIET, SONDED, wait_until

OBSERVED = BUILD / "tests" / "integration" / "observed"
CALLS, LATE, PULLS = "observed_calls_total", "sonde_agent_late_pulls_total", "sonde_agent_pulls_total"


def fields(message):
    """(number, value) of a protobuf message; numbers as bytes."""
    def varint(at):
        value = shift = 0
        while True:
            value |= (message[at] & 0x7F) << shift
            shift += 7
            at += 1
            if message[at - 1] < 0x80:
                return value, at
    at = 0
    while at < len(message):
        tag, at = varint(at)
        size = {1: 8, 5: 4}.get(tag & 7)
        if tag & 7 == 0:
            end = varint(at)[1]
        elif size is None:
            size, at = varint(at)
            end = at + size
        else:
            end = at + size
        yield tag >> 3, message[at:end]
        at = end


def descend(message, *path):
    """All values at a path of field numbers."""
    return [message] if not path else [v for number, part in fields(message) if number == path[0] for v in descend(part, *path[1:])]


class Backend:
    """Takes OTLP over HTTP and keeps the bodies."""

    def __init__(self):
        bodies = self.bodies = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                bodies.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def calls(self):
        """Values of observed.calls that arrived."""
        return [int.from_bytes(value, "little", signed=True) for path, body in list(self.bodies) if path == "/v1/metrics"
                for metric in descend(body, 1, 2, 2) if b"observed.calls" in descend(metric, 1)  # ...resource, scope, metric
                for value in descend(metric, 7, 1, 6)]  # sum, data point, as_int


class Stage:
    def __init__(self, directory, exporter="", interval="100ms"):
        self.dir = pathlib.Path(directory)
        self.running = []
        (self.dir / "sonded.yaml").write_text('agent: {listen: "127.0.0.1:0", metrics_interval: ' + interval + '}\n' + exporter)
        with open(self.dir / "log", "w", encoding="utf-8") as log:
            self.agent = subprocess.Popen([SONDED, "--socket", self.dir / "agent.sock", "--config", self.dir / "sonded.yaml"],
                                          stderr=log, stdin=subprocess.DEVNULL, env=QUIET)
        self.running.append(self.agent)
        self.address = wait_until(lambda: re.search(r"page=http://([^/]+)/", self.log()), "page").group(1)

    def log(self):
        return (self.dir / "log").read_text(encoding="utf-8")

    def service(self):
        process = subprocess.Popen([OBSERVED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                   env=dict(QUIET, SONDE_AGENT_SOCKET=str(self.dir / "agent.sock")))
        self.running.append(process)
        flushed, pid = process.stdout.readline().split()
        assert flushed == "0" and int(pid) == process.pid
        return process

    def metrics(self):
        connection = http.client.HTTPConnection(self.address, timeout=DEADLINE_S)
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        assert response.status == 200
        return response.read().decode()

    def values(self, name, text=None):
        return [int(float(v)) for v in re.findall(rf"^{name}\{{[^}}]*\}} (\S+)$", self.metrics() if text is None else text, re.M)]

    def settled(self):
        """A scrape whose pull was in time; the machine may be busy."""
        def look():
            before, text = self.values(LATE), self.metrics()
            return self.values(CALLS, text) and self.values(LATE, text) == before and text
        return wait_until(look, "a scrape in time")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for process in reversed(self.running):
            if process.poll() is None:
                process.kill()
            process.wait()
        if error[0]:
            print(self.log(), file=sys.stderr)


def tell(service, line):
    service.stdin.write(line + "\n")
    service.stdin.flush()
    return int(service.stdout.readline())


def a_scrape_has_the_value_of_its_moment(directory):
    with Stage(directory) as stage:
        service = stage.service()

        def in_step():
            text = stage.settled()
            first, late = stage.values(CALLS, text)[0], stage.values(LATE, text)
            texts = [stage.metrics() for _ in range(5)]
            if stage.values(LATE, texts[-1]) != late:
                return None  # a loaded machine: once more
            assert [stage.values(CALLS, t) for t in texts] == [[first + i] for i in range(1, 6)]
            return texts[-1]
        thread, = stage.values("observed_thread", wait_until(in_step, "five scrapes in time"))
        assert thread != service.pid
        assert pathlib.Path(f"/proc/{service.pid}/task/{thread}/comm").read_text(encoding="utf-8") == "sonde-callbacks\n"


def a_slow_callback_delays_no_scrape_for_long_and_is_counted(directory):
    with Stage(directory) as stage:
        service = stage.service()
        text = stage.settled()
        before = {name: stage.values(name, text)[0] for name in (CALLS, LATE, PULLS)}
        assert tell(service, "slow") == 0  # until we say "fast": longer than any deadline
        for late in range(1, 4):
            text = stage.metrics()
            assert stage.values(CALLS, text) == [before[CALLS]]
            assert stage.values(LATE, text) == [before[LATE] + late]
            assert stage.values(PULLS, text) == [before[PULLS] + 1]  # asked once, and not again until it answers
        texts = []
        scrapes = [threading.Thread(target=lambda: texts.append(stage.metrics())) for _ in range(8)]
        for scrape in scrapes:
            scrape.start()
        for scrape in scrapes:
            scrape.join(DEADLINE_S)
        assert len(texts) == 8 and all(stage.values(CALLS, t) == [before[CALLS]] for t in texts)
        assert tell(service, "fast") == 0
        wait_until(lambda: stage.values(CALLS, stage.settled())[0] > before[CALLS] + 1, "fresh values again")


def scrapes_at_the_same_time_share_a_pull(directory):
    with Stage(directory) as stage:
        service = stage.service()

        def shared():
            text = stage.settled()
            pulls = stage.values(PULLS, text)[0]
            assert tell(service, "slow") == 0
            texts = []
            scrapes = [threading.Thread(target=lambda: texts.append(stage.metrics())) for _ in range(8)]
            for scrape in scrapes:
                scrape.start()
            assert tell(service, "fast") == 0
            for scrape in scrapes:
                scrape.join(DEADLINE_S)
            return stage.values(PULLS)[0] - pulls < 8 + 1
        wait_until(shared, "fewer pulls than scrapes")


def unregistered_series_end(directory):
    with Stage(directory) as stage:
        service = stage.service()
        pulls = stage.values(PULLS, stage.settled())
        assert tell(service, "unregister") == 0
        text = stage.metrics()
        assert stage.values(CALLS, text) == [] and stage.values(PULLS, text) == pulls


def a_forked_child_reports_for_itself(directory):
    with Stage(directory) as stage:
        service = stage.service()
        stage.settled()
        child = tell(service, "fork")
        assert child > 0
        wait_until(lambda: len(stage.values(CALLS)) == 2, "the child's series")
        threads = stage.values("observed_thread")
        assert sorted(os.path.exists(f"/proc/{child}/task/{thread}") for thread in threads) == [False, True]


def last_values_are_there_after_shutdown_and_death(directory):
    def in_time():
        with tempfile.TemporaryDirectory(dir=directory) as own, Stage(own) as stage:
            service = stage.service()
            before = stage.values(CALLS, stage.settled())
            assert tell(service, "shutdown") == 0
            after = stage.values(CALLS)
            service.stdin.close()
            assert service.wait(DEADLINE_S) == 0
            assert stage.values(CALLS) == after  # nobody asks any more
            return after[0] == before[0] + 1
    wait_until(in_time, "the value that only shutdown can have asked for")


def a_stopped_service_does_not_stop_scrapes(directory):
    with Stage(directory) as stage:
        service = stage.service()
        value = stage.values(CALLS, stage.settled())
        service.send_signal(signal.SIGSTOP)
        wait_until(lambda: all(stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T" for stat in
                               pathlib.Path(f"/proc/{service.pid}/task").glob("*/stat")), "all of its threads stopped")
        assert [stage.values(CALLS) for _ in range(3)] == [value] * 3
        service.send_signal(signal.SIGCONT)
        wait_until(lambda: stage.values(CALLS)[0] > value[0] + 1, "fresh values again")
        service.kill()
        service.wait()
        stage.metrics()


EXPORTER = 'exporters: {{otlp_http: {{endpoint: "{}", compression: none, batch.timeout: 10ms}}}}\n'


def otlp_intervals_pull(directory):
    backend = Backend()
    with Stage(directory, EXPORTER.format(backend.url)) as stage:
        service = stage.service()
        wait_until(lambda: len(set(backend.calls())) >= 3, "three intervals")
        seen = backend.calls()
        assert seen == sorted(seen) and seen[0] >= 1
        assert tell(service, "slow") == 0
        stage.agent.send_signal(signal.SIGTERM)  # the end waits for no callback
        assert stage.agent.wait(DEADLINE_S) == 0
        assert tell(service, "fast") == 0
        assert "does not balance" not in stage.log()


def the_end_asks_a_last_time(directory):
    def in_time():
        backend = Backend()
        with tempfile.TemporaryDirectory(dir=directory) as own, \
                Stage(own, EXPORTER.format(backend.url), interval="1h") as stage:
            stage.service()
            stage.agent.send_signal(signal.SIGTERM)
            assert stage.agent.wait(DEADLINE_S) == 0
            return backend.calls() == [1]
    wait_until(in_time, "the value that only the end can have asked for")


CASES = [a_scrape_has_the_value_of_its_moment, a_slow_callback_delays_no_scrape_for_long_and_is_counted,
         scrapes_at_the_same_time_share_a_pull, unregistered_series_end, a_forked_child_reports_for_itself,
         last_values_are_there_after_shutdown_and_death, a_stopped_service_does_not_stop_scrapes, otlp_intervals_pull,
         the_end_asks_a_last_time]

for case in CASES:
    with tempfile.TemporaryDirectory(prefix="sonde-observe-") as scratch:
        case(scratch)
    print("ok", case.__name__)
