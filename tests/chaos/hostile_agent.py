# SPDX-License-Identifier: Apache-2.0
"""Every attack there is (attack.h) on the real agent, three at a time, beside a healthy service.

    python hostile_agent.py BUILD [SECONDS] [SEED]        77 = skipped: the sink's packages are not there

Holds when the agent lives and answers, what it sends decodes, the healthy service lost nothing and had each span arrive
once, those who broke the memory rules were evicted and the spammer was not, no descriptor was kept of those who are gone,
the agent's memory stayed within its queue and a little, and the ledger balances. Prints one JSON line."""
import collections
import json
import pathlib
import random
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from theatre import Theatre, otlp_check, wait_until  # noqa: E402

AT_ONCE = 3
ATTACK_MS = 2000
EVICTED, IGNORED = 42, 43
MUST_BE_EVICTED = ("positions", "records", "files")
QUEUE_MIB = 8
GROWTH_MAX_MIB = 64  # queue, requests on their way, and what an allocator keeps


class HealthyOnly(otlp_check.Store):
    """Numbers of the healthy service's spans, and how often each came; the others' are decoded and forgotten."""

    def __init__(self):
        super().__init__()
        self.seen, self.others = collections.Counter(), 0

    def decode(self, signal_name, body):
        try:
            return otlp_check.SHAPES[signal_name][0].FromString(body)
        except otlp_check.DecodeError as error:
            self.errors[f"{signal_name}: does not decode: {error}"] += 1
            return None

    def add(self, signal_name, request, skip=0):
        if signal_name != "traces":
            return
        for resource in request.resource_spans:
            service = otlp_check.attributes(resource.resource.attributes).get("service.name")
            for scope in resource.scope_spans:
                if service != "healthy":
                    self.others += len(scope.spans)
                    continue
                self.seen.update(otlp_check.attributes(span.attributes).get("seq") for span in scope.spans)


class Crowd:
    """Attackers: as one ends the next attack begins."""

    def __init__(self, theatre):
        self.program = theatre.build / "tests" / "chaos" / "chaos-attacker"
        self.socket = theatre.dir / "agent.sock"
        self.names = subprocess.run([self.program, "--list"], capture_output=True, text=True, check=True).stdout.split()
        self.running, self.ended, self.started = [], collections.Counter(), 0

    def start(self):
        name = self.names[self.started % len(self.names)]
        self.started += 1
        child = subprocess.Popen([str(self.program), str(self.socket), name, str(ATTACK_MS), str(random.randrange(1 << 60))],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.running.append((name, child))

    def look(self, replace):
        for name, child in list(self.running):
            if child.poll() is None:
                continue
            self.running.remove((name, child))
            self.ended[name, child.returncode] += 1
        while replace and len(self.running) < AT_ONCE:
            self.start()
        return not self.running

    def close(self):
        for _, child in self.running:
            child.kill()
            child.wait()


def descriptors(pid):
    return len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))


def memory_mib(pid, field):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().split("\n")
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) / 1024


def is_sanitized(pid):
    return "libasan" in pathlib.Path(f"/proc/{pid}/maps").read_text()


def play(theatre, seconds):
    """The attacks. Returns what went wrong, and figures."""
    wrong = []
    theatre.start_agent()
    pid = theatre.agent.child.pid
    healthy, progress = theatre.start_producer("healthy", 500, 0)
    wait_until(lambda: theatre.store.seen, 30, "the healthy service delivers")
    descriptors_before, memory_before = descriptors(pid), memory_mib(pid, "VmRSS")
    crowd = Crowd(theatre)
    try:
        end = time.monotonic() + seconds
        wait_until(lambda: (crowd.look(True), time.monotonic() > end or not theatre.agent.alive())[1], seconds + 30,
                   "the time is over")
        wait_until(lambda: crowd.look(False), 30, "the attackers are gone")
    finally:
        crowd.close()
    if not theatre.agent.alive():
        return ["the agent died"], {}
    growth = memory_mib(pid, "VmHWM") - memory_before
    if growth > GROWTH_MAX_MIB and not is_sanitized(pid):  # its quarantine alone holds more
        wrong.append(f"the agent grew by {growth:.0f} MiB")
    status = healthy.stop(seconds=40)
    said = progress.read()
    if status != 0 or said["dropped"] or not said["flushed"]:
        wrong.append(f"the healthy service was harmed: status {status}, {said}")
    try:
        wait_until(lambda: len(theatre.store.seen) >= said["ended"], 60, "all delivered")
        wait_until(lambda: descriptors(pid) <= descriptors_before, 20, "descriptors given back")
    except TimeoutError as error:
        wrong.append(f"{error}; {descriptors(pid)} descriptors, {descriptors_before} before")
    ledger = theatre.status()["ledger"]
    lost = sum(number not in theatre.store.seen for number in range(said["ended"]))
    twice = sum(count - 1 for count in theatre.store.seen.values())
    if lost or twice:
        wrong.append(f"healthy spans: {lost} lost, {twice} twice")
    for name in crowd.names:
        evicted, ignored = crowd.ended[name, EVICTED], crowd.ended[name, IGNORED]
        if name in MUST_BE_EVICTED and ignored and not evicted:
            wrong.append(f"nobody was evicted for {name}")
    if crowd.ended["spam", EVICTED]:
        wrong.append("evicted for keeping the rules")
    if not ledger["evictions"] or not ledger["balanced"]:
        wrong.append(f"ledger: {ledger['evictions']} evictions; {ledger['text']}")
    wrong += [f"sink: {sentence} ({count})" for sentence, count in theatre.store.errors.items()]
    return wrong, {"seconds": seconds, "attacks": crowd.started, "evictions": ledger["evictions"], "healthy": said["ended"],
                   "lost": lost, "twice": twice, "others": theatre.store.others, "growth_mib": round(growth, 1),
                   "ended": {f"{name} {code}": count for (name, code), count in sorted(crowd.ended.items())}}


def main():
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 30
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 32)
    random.seed(seed)
    theatre = Theatre(sys.argv[1], HealthyOnly(), f"queue:\n  size: {QUEUE_MIB}MiB\n")
    try:
        wrong, totals = play(theatre, seconds)
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
