# SPDX-License-Identifier: Apache-2.0
"""kill -9, again and again: a service at random times (nothing lost, nothing twice, open spans closed as told), and the
agent at random times (nothing lost; twice at most what was unanswered).

    python kill_loops.py BUILD service|agent [ROUNDS] [SEED]        77 = skipped: the sink's packages are not there

Prints one JSON line with what was counted. The seed is printed on failure."""
import json
import os
import pathlib
import random
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

    def __init__(self, build):
        self.build = pathlib.Path(build).resolve()
        self.temporary = tempfile.TemporaryDirectory(prefix="sonde-chaos-")
        self.dir = pathlib.Path(self.temporary.name)
        self.server = sink.serve()
        self.sink = self.server.sink
        self.store = self.sink.store = Deliveries()
        self.page = free_port()
        self.agent = None
        self.children = []

    def start_agent(self):
        path = self.dir / "sonded.yaml"
        path.write_text(CONFIG.format(page=self.page, dir=self.dir, sink=self.server.server_port))
        self.agent = Process("sonded", [self.build / "agent" / "sonded", "--config", path], self.dir)
        self.children.append(self.agent)
        wait_until(lambda: self.ready() or not self.agent.alive(), 30, "agent ready")
        if not self.agent.alive():
            raise RuntimeError(f"sonded ended\n{self.agent.log()}")

    def ready(self):
        try:
            return fetch(self.page, "/readyz") is not None
        except OSError:
            return False

    def start_producer(self, name, rate):
        progress = Progress(self.dir / f"{name}.progress")
        env = dict(os.environ, SONDE_AGENT_SOCKET=str(self.dir / "agent.sock"), OTEL_SERVICE_NAME=name)
        child = Process(name, [self.build / "tests" / "chaos" / "chaos-producer", progress.path, 0, rate, OPEN], self.dir, env)
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


def missing(seen, numbers):
    return [n for n in numbers if n not in seen]


def check_victim(name, said, seen):
    """Every number once; the open ones crashed; at most the last one may be either or absent. Returns (lost, twice, wrong)."""
    ended, started = said["ended"], said["started"]
    lost = len(missing(seen, range(ended)))
    twice = sum(len(d) - 1 for d in seen.values())
    wrong = []
    for number, deliveries in seen.items():
        one = deliveries[0]
        if one["end"] < one["start"]:
            wrong.append(f"{name}: span {number} ends before it starts")
        if number < OPEN and not (one["crashed"] and one["status"] == 2 and not one["unfinished"]):
            wrong.append(f"{name}: open span {number} was not closed as crashed: {one}")
        if OPEN <= number < ended and (one["crashed"] or one["status"] == 2):
            wrong.append(f"{name}: ended span {number} came as crashed")
        if number >= started:
            wrong.append(f"{name}: span {number} was never started")
        if one["crashed"] and one["signal"] not in (None, "SIGKILL"):
            wrong.append(f"{name}: signal {one['signal']}")
    return lost, twice, wrong


def service_loop(theatre, rounds):
    theatre.start_agent()
    said = {}
    for number in range(rounds):
        name = f"victim-{number}"
        child, progress = theatre.start_producer(name, 20000)
        wait_until(lambda: progress.read()["ended"] > OPEN, 20, f"{name} works")
        pause(random.uniform(0, 0.12))
        child.stop(signal.SIGKILL)
        said[name] = progress.read()

    def all_there():
        with theatre.sink.lock:
            return all(not missing(theatre.store.by_service.get(name, {}), range(one["ended"])) for name, one in said.items())
    try:
        wait_until(all_there, 30, "all delivered")
    except TimeoutError:
        pass  # the figures below say what is not
    totals = {"rounds": rounds, "ended": 0, "lost": 0, "twice": theatre.store.duplicates, "crashed": 0, "dropped": 0}
    wrong = []
    for name, one in said.items():
        seen = theatre.store.by_service.get(name, {})
        lost, twice, sentences = check_victim(name, one, seen)
        totals["ended"] += one["ended"]
        totals["lost"] += lost
        totals["twice"] += twice
        totals["dropped"] += one["dropped"]
        totals["crashed"] += sum(d[0]["crashed"] for d in seen.values())
        wrong += sentences
    if totals["dropped"]:
        wrong.append("the producer's ring was full: the test is too fast for this machine")
    if theatre.store.unnumbered > rounds:
        wrong.append(f"{theatre.store.unnumbered} spans without their number")
    return totals, wrong


def agent_loop(theatre, rounds):
    """Duplicates: a span may come again after a kill when its request was among the last CONCURRENCY before it, for only
    these can have been unanswered."""
    theatre.start_agent()
    child, progress = theatre.start_producer("survivor", 1000)
    kills, early = [], 0
    for _ in range(rounds):
        before = theatre.store.request
        wait_until(lambda: theatre.store.request > before + 2, 40, "the agent delivers")
        pause(random.uniform(0, 0.2))
        early += theatre.status()["ledger"]["early_released"]
        theatre.agent.stop(signal.SIGKILL)
        with theatre.sink.lock:
            kills.append(theatre.store.request)
        theatre.start_agent()
    status = child.stop(seconds=40)
    said = progress.read()
    seen = theatre.store.by_service.setdefault("survivor", {})
    wrong = [] if status == 0 and said["flushed"] else [f"the producer could not flush: {status}"]
    try:
        wait_until(lambda: not missing(seen, range(OPEN, said["ended"])), 30, "all delivered")
    except TimeoutError:
        pass
    # What arrives in the moment between the kill and the look at the counter belongs before the kill.
    window = CONCURRENCY + 2
    twice = 0
    for number, deliveries in seen.items():
        for first, again in zip(deliveries, deliveries[1:]):
            twice += 1
            if not any(first["request"] <= kill < again["request"] and first["request"] > kill - window for kill in kills):
                wrong.append(f"span {number} came in request {first['request']} and again in {again['request']}; kills at {kills}")
    totals = {"rounds": rounds, "ended": said["ended"], "lost": len(missing(seen, range(OPEN, said["ended"]))),
              "twice": twice, "early_released": early, "dropped": said["dropped"]}
    if totals["dropped"]:
        wrong.append("the producer's ring was full while no agent was there")
    return totals, wrong


def main():
    build, kind = sys.argv[1:3]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 50
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else random.randrange(1 << 32)
    random.seed(seed)
    theatre = Theatre(build)
    try:
        totals, wrong = {"service": service_loop, "agent": agent_loop}[kind](theatre, rounds)
        wrong += [f"sink: {sentence} ({count})" for sentence, count in theatre.store.errors.items()]
        if totals["lost"] and not totals.get("early_released"):
            wrong.append(f"{totals['lost']} lost")
        if kind == "service" and totals["twice"]:
            wrong.append(f"{totals['twice']} twice")
        print(json.dumps(totals))
        for sentence in wrong[:20]:
            print(sentence)
        if wrong:
            print(f"seed {seed}; the agent's log:\n{theatre.agent.log()}")
        return 1 if wrong else 0
    finally:
        theatre.close()


if __name__ == "__main__":
    sys.exit(main())
