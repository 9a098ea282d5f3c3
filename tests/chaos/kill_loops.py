# SPDX-License-Identifier: Apache-2.0
"""kill -9, again and again: a service at random times (nothing lost, nothing twice, open spans closed as told), and the
agent at random times (nothing lost; twice at most what was unanswered).

    python kill_loops.py BUILD service|agent [ROUNDS] [SEED]        77 = skipped: the sink's packages are not there

Prints one JSON line with what was counted. The seed is printed on failure."""
import json
import pathlib
import random
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from theatre import CONCURRENCY, OPEN, Theatre, pause, wait_until  # noqa: E402


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
        # What it had sent may lie unread for long on a busy machine: it belongs before the kill.
        wait_until(lambda: not theatre.sink.open, 40, "the sink has read all that the killed agent sent")
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
    # Requests under way at the kill, and those whose answers were.
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
