# SPDX-License-Identifier: Apache-2.0
"""Sonde's circuit breakers against Resilience4j's: the same inputs give the same states.

    python breaker_oracle_test.py TWIN replay VECTORS     recorded runs; needs no Java
    python breaker_oracle_test.py TWIN live [COUNT SEED]  new scripts, of a new seed unless one is given; says which
    python breaker_oracle_test.py TWIN record VECTORS     writes the recorded runs anew (script/test --all made
                                                          .cache/resilience4j, or: . script/lib.sh; resilience4j)

A script is a line: settings, a tab, operations. Times are milliseconds, rates per cent, factor tenths.
    a       asks for a call                     t500    lets time pass
    s1:20   of the calls under way the second (modulo their number) was a success, and took 20;
    e1:20   failed;  i1:20  ended with an error that is ignored;  x1  was not made
    C D F M CLOSED, DISABLED, FORCED_OPEN, METRICS_ONLY by hand;  O500  OPEN for 500, O0 as configured
An answer is a line, too, with a word for each operation:
    +C0/5/2/1/400/200!  admitted (-: rejected; only of "a"), state, rejected/calls/failed/slow in the window, failure and
    slow-call rate in tenths of per cent when they are evaluated, ! when METRICS_ONLY told that a threshold was reached.
Where Sonde differs on purpose, Oracle.java and breaker_twin.c say what is done to compare all the same.
In the vectors an operation is followed by = and its answer unless that is the last one's."""
import os
import pathlib
import random
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
JARS = os.environ.get("SONDE_RESILIENCE4J", str(ROOT / ".cache" / "resilience4j"))
SKIP = 77
TWIN_MAX = 256  # SONDE_BREAKERS_MAX
RECORDED_SEED, RECORDED_COUNT, LIVE_COUNT = 20260, 240, 20000
QUIET = dict(os.environ, OTEL_SDK_DISABLED="true")


def settings(rng):
    """A configuration, small enough that its corners are met."""
    automatic = rng.random() < 0.15
    wait = 64 * rng.randint(1, 40)
    factor, times = rng.choice([(10, 1), (10, 1), (15, 6), (20, 8), (30, 9)])
    return {
        "start": rng.randint(1, 10**7),
        **rng.choice([{"calls": rng.randint(1, 12)}, {"calls": rng.randint(13, 40)}, {"seconds": rng.randint(1, 8)}]),
        "minimum": rng.choice([1, 2, 3, 5, 8, 20]),
        "failures": rng.choice([1, 10, 25, 29, 33, 50, 50, 57, 75, 90, 100]),
        "slow": rng.choice([10, 25, 50, 75, 100, 100, 100]),
        "slow_ms": rng.choice([10, 200, 60000]),
        "probes": rng.choice([1, 1, 2, 3, 5, 10]),
        "wait": wait, "factor": factor, "wait_max": wait * times,
        "half_open": 0 if automatic or rng.random() < 0.3 else rng.choice([1, 50, wait, 3000]),
        "automatic": int(automatic),
    }


def operations(rng, config, length):
    """Mostly calls, many of which overlap, and times just before, with and just after those that matter."""
    edges = [config["wait"], config["wait"] * config["factor"] // 10, config["wait_max"], config["half_open"], 1000,
             config.get("seconds", 1) * 1000]
    failing, slow = rng.choice([0.1, 0.3, 0.5, 0.9]), rng.choice([0, 0.1, 0.6])
    by_hand = rng.choice([0, 0.02, 0.1])
    found = []

    def result(which):
        kind = rng.random()
        if kind < 0.08:
            return f"x{which}"
        took = config["slow_ms"] + (rng.choice([1, 500]) if rng.random() < slow else -rng.randint(0, config["slow_ms"]))
        return f"{'i' if kind < 0.16 else 'e' if rng.random() < failing else 's'}{which}:{took}"
    while len(found) < length:
        kind = rng.random()
        if kind < by_hand:
            found.append(rng.choice(["C", "C", "F", "D", "M", "M", "O0", f"O{rng.choice(edges + [77]) or 1}"]))
        elif kind < 0.5:
            found += ["a", result(rng.choice([0, 0, 7]))]
        elif kind < 0.7:
            found.append("a")
        elif kind < 0.8:
            found.append(result(rng.randint(0, 5)))
        elif kind < 0.9:
            found.append(f"t{max(0, rng.choice(edges) + rng.choice([-1, 0, 0, 1, 1]))}")
        else:
            found.append(f"t{rng.choice([1, 10, 333, 1000])}")
        if rng.random() < 0.05:
            failing = rng.choice([0, 0.1, 0.5, 1])
    return found


def scripts(seed, count):
    rng = random.Random(seed)
    for _ in range(count):
        config = settings(rng)
        yield " ".join(f"{name}={value}" for name, value in config.items()) + "\t" + \
            " ".join(operations(rng, config, rng.choice([20, 40, 40, 120])))


def answers(command, lines):
    text = subprocess.run(command, input="\n".join(lines) + "\n", env=QUIET, stdout=subprocess.PIPE, check=True, text=True,
                          timeout=600).stdout.splitlines()
    assert len(text) == len(lines), f"{len(text)} answers to {len(lines)} scripts"
    return text


def twins(twin, lines):
    found = []
    for first in range(0, len(lines), TWIN_MAX):
        found += answers([twin], lines[first:first + TWIN_MAX])
    return found


def oracles(lines):
    if not shutil.which("java") or not os.path.exists(f"{JARS}/oracle.jar"):
        print(f"skipped: no java, or no {JARS}/oracle.jar")
        sys.exit(SKIP)
    return answers(["java", "-Xmx256m", "-XX:+UseSerialGC", "-cp", f"{JARS}/*", "Oracle"], lines)


def compare(lines, ours, theirs):
    """Every step of every script; the first difference of each is told, of some of them."""
    wrong = 0
    for line, our, their in zip(lines, ours, theirs):
        if our == their:
            continue
        wrong += 1
        config, ops = line.split("\t")
        ops, our, their = ops.split(), our.split(), their.split()
        at = next(i for i in range(len(ops)) if our[i:i + 1] != their[i:i + 1])
        if wrong <= 5:
            print(f"{config}\n  step {at}: {ops[at]} gives {our[at]}, in Resilience4j {their[at]}; before it:")
            print("  " + " ".join(f"{op}={answer}" for op, answer in list(zip(ops, our))[:at]))
    assert not wrong, f"{wrong} of {len(lines)} scripts differ"


def met(theirs):
    """What has been met in the scripts: a comparison of nothing must not pass."""
    words = [word for line in theirs for word in line.split()]
    states = {state: sum(word.lstrip("+-")[0] == state for word in words) for state in "COHFDM"}
    rejected = sum(word[0] == "-" for word in words)
    assert min(states.values()) > len(words) / 500 and rejected > len(words) / 50, (states, rejected)
    assert any(word.endswith("!") for word in words)
    return f"{len(theirs)} scripts, {len(words)} steps, of them {states}"


def pack(line, answer):
    config, ops = line.split("\t")
    packed, last = [], None
    for op, word in zip(ops.split(), answer.split()):
        packed.append(op if word == last else f"{op}={word}")
        last = word
    return f"{config}\t{' '.join(packed)}"


def unpack(line):
    config, packed = line.split("\t")
    ops, words = [], []
    for item in packed.split():
        op, _, word = item.partition("=")
        ops.append(op)
        words.append(word or words[-1])
    return f"{config}\t{' '.join(ops)}", " ".join(words)


def main(twin, mode, *more):
    if mode == "replay":
        text = pathlib.Path(more[0]).read_text(encoding="ascii").splitlines()
        lines, theirs = zip(*[unpack(line) for line in text if not line.startswith("#")])
    elif mode == "live":
        count, seed = int(more[0]) if more else LIVE_COUNT, int(more[1]) if more[1:] else random.SystemRandom().randrange(2**32)
        print(f"seed {seed}")
        lines = list(scripts(seed, count))
        theirs = oracles(lines)
    elif mode == "record":
        lines = list(scripts(RECORDED_SEED, RECORDED_COUNT))
        theirs = oracles(lines)
        head = ("# SPDX-License-Identifier: Apache-2.0\n# What Resilience4j 2.3.0 did; format, and how it was made: "
                "tests/interop/breaker_oracle_test.py.\n")
        pathlib.Path(more[0]).write_text(head + "".join(pack(*pair) + "\n" for pair in zip(lines, theirs)), encoding="ascii")
    else:
        sys.exit(__doc__)
    compare(lines, twins(twin, list(lines)), theirs)
    print(met(theirs))


if len(sys.argv) < 3:
    sys.exit(__doc__)
main(*sys.argv[1:])
