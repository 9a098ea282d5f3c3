# SPDX-License-Identifier: Apache-2.0
"""Scrapes in all formats, under all strategies and escaping schemes, as the packages of Prometheus 3 read them.
usage: prometheus3_test.py BUILD PATH-OF-exemplars_peer      (77 = skipped: no Go that can build them, or no module proxy)"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
from exposition_test import Exposing, Peer  # noqa: E402
from rig import wait_until  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tests" / "interop" / "peers" / "prometheus3"
STRATEGIES = ("UnderscoreEscapingWithSuffixes", "UnderscoreEscapingWithoutSuffixes", "NoUTF8EscapingWithSuffixes", "NoTranslation")
ESCAPINGS = ("underscores", "allow-utf-8", "dots", "values")
FORMATS = {"text": "text/plain;version=1.0.0", "openmetrics": "application/openmetrics-text;version=1.0.0",
           "protobuf": "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"}
INSTRUMENTS = {"peer.bound": "counter", "peer.counter": "counter", "peer.gauge": "gauge", "peer.explicit": "histogram",
               "peer.exponential": "histogram"}
ROUNDS = 3
VALUES = [value for n in range(1, ROUNDS + 1) for value in (n, 1000 + n)]


def build(directory):
    """Where the program is; None when it cannot be built here."""
    fetched = ROOT / ".cache" / "go"  # by script/test --all, where the installed one is too old
    go = str(fetched / "bin" / "go") if (fetched / "version").exists() else shutil.which("go")
    if not go:
        return None
    environment = dict(os.environ, GOTOOLCHAIN="local", GOFLAGS="-mod=readonly")
    environment.pop("GOROOT", None)
    done = subprocess.run([go, "build", "-o", directory / "prometheus3", "."], cwd=PROGRAM, env=environment, capture_output=True,
                          text=True, timeout=900, check=False)
    if done.returncode == 0:
        return directory / "prometheus3"
    if re.search(r"go.mod requires go|invalid go version|dial tcp|no such host|i/o timeout|cannot find module|connection refused|proxy", done.stderr):
        print(done.stderr)
        return None
    raise AssertionError(done.stderr)


def ask(program, questions):
    text = "".join(json.dumps(question) + "\n" for question in questions)
    done = subprocess.run([program], input=text, capture_output=True, text=True, timeout=120, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(questions), done.stderr
    return answers


def of_service(answer, is_native=False):
    return {json.dumps(one["Labels"], sort_keys=True): one for one in answer["Series"]
            if one["Labels"].get("job") == "measuring" and ("Buckets" in one) == is_native}


def check_native(answer):
    """Of the exponential histogram: each value is in its bucket."""
    (native,) = of_service(answer, True).values()
    assert native["Count"] == len(VALUES) and float(native["Value"]) == sum(VALUES), native
    counts, low = sorted((float(upper), count) for upper, count in native["Buckets"].items()), 0.0
    assert sum(count for _, count in counts) == len(VALUES)
    for upper, count in counts:
        assert sum(low < value <= 2 ** upper * (1 + 1e-12) for value in VALUES) == count, (native, upper)
        low = 2 ** upper * (1 + 1e-12)
    assert native["Exemplars"] and all(one["ts"] == "true" for one in native["Exemplars"]), native


def check_scheme(files, answers, strategy, names):
    """One strategy and one escaping scheme, in all formats."""
    for file, answer in zip(files, answers):
        assert not answer.get("Error"), (file, answer["Error"])
    text, openmetrics, protobuf = answers
    numbers = [{key: float(one["Value"]) for key, one in of_service(answer).items()} for answer in answers]
    assert len(numbers[0]) > 20
    assert numbers[1] == numbers[2], set(numbers[1].items()) ^ set(numbers[2].items())
    assert numbers[0] == numbers[1], set(numbers[0].items()) ^ set(numbers[1].items())
    shown = {one["Labels"]["__name__"] for one in of_service(text).values()}
    for name in names:
        assert name in shown or name + "_count" in shown, (strategy, name, sorted(shown))
    types = len(re.findall(rb"^# TYPE ", files[0].read_bytes(), re.M))
    assert text["Families"] == protobuf["Families"] == types and openmetrics["Families"] == -1
    assert not any(one.get("Exemplars") for one in text["Series"])
    for answer in (openmetrics, protobuf):
        found = [e for one in of_service(answer).values() for e in one.get("Exemplars") or ()]
        assert found and all(len(e["trace_id"]) == 32 and e["ts"] == "true" for e in found), found
    assert all(one.get("Start", 0) > 10 ** 12 for one in of_service(protobuf).values()
               if one["Labels"]["__name__"] in names[:2]), protobuf
    check_native(protobuf)


def main():
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        program = build(directory)
        if not program:
            print("skipped: no Go, none that is new enough, or nowhere to get modules from")
            return 77
        for strategy in STRATEGIES:
            place = directory / strategy
            place.mkdir()
            with Exposing(place, strategy) as agent, Peer(agent) as peer:
                for _ in range(ROUNDS):
                    peer.measure()
                wait_until(lambda: re.search(r"^peer_bound.* 3009$|^peer_bound.* 3012$", agent.scrape()[1].decode(), re.M), "the service")
                for escaping in ESCAPINGS:
                    files, questions = [], []
                    for format_name, accept in FORMATS.items():
                        answer, body = agent.scrape(Accept=f"{accept};escaping={escaping}")
                        files.append(place / f"{format_name}-{escaping}")
                        files[-1].write_bytes(body)
                        questions.append({"file": str(files[-1]), "type": answer.headers["Content-Type"]})
                    names = [{"name": one, "unit": "", "kind": kind, "strategy": strategy} for one, kind in INSTRUMENTS.items()]
                    answers = ask(program, questions + names)
                    check_scheme(files, answers[:3], strategy, [one["Names"][escaping] for one in answers[3:]])
                print(f"ok {strategy}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
