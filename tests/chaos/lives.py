# SPDX-License-Identifier: Apache-2.0
"""Lives of a service that end in odd ways: exec, vfork, killed while a child holds its socket; under an agent as it is,
under one whose kernel gives no pidfd by the socket, and under one that is not root (with a service of the same user).

    python lives.py BUILD plain|no_peerpidfd|nobody        77 = skipped, with the reason"""
import json
import os
import pathlib
import subprocess
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from theatre import Process, Theatre, otlp_check, wait_until  # noqa: E402

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]


class ByName(otlp_check.Store):
    def __init__(self):
        super().__init__()
        self.by_name = {}

    def add_traces(self, span, resource, scope):
        pairs = otlp_check.attributes(span.attributes)
        self.by_name.setdefault(span.name, []).append(
            {"status": span.status.code, **{key: pairs[key] for key in pairs if key.startswith("sonde.")}})


class Lives:
    def __init__(self, theatre, prefix):
        self.theatre, self.prefix = theatre, prefix

    def start(self, how):
        env = dict(os.environ, SONDE_AGENT_SOCKET=str(self.theatre.dir / "agent.sock"), OTEL_SERVICE_NAME=how)
        child = Process(how, self.prefix + [self.theatre.build / "tests" / "chaos" / "chaos-lives", how], self.theatre.dir, env)
        self.theatre.children.append(child)
        child.line("ready")
        return child

    def spans(self, name):
        return wait_until(lambda: self.theatre.store.by_name.get(name), 20, f"span {name!r} delivered")

    def play(self):
        """Returns what went wrong."""
        self.start("exec")
        expected = {"before exec": {"status": 0, "sonde.unfinished": True}, "ended before exec": {"status": 0},
                    "after exec": {"status": 0}}
        self.start("vfork")
        expected |= {"around vfork": {"status": 0}, "after vfork": {"status": 0}}
        held = self.start("hold")
        held.child.send_signal(signal.SIGKILL)
        held.child.wait()
        expected["held open"] = {"status": 2, "sonde.crashed": True, "sonde.crash.signal": "SIGKILL"}
        wrong = []
        for name, said in expected.items():
            came = list(self.spans(name))
            if name == "held open" and len(came) == 1 and came[0].get("sonde.crash.signal") is None:
                came[0]["sonde.crash.signal"] = "SIGKILL"  # not every kernel tells
            if came != [said]:
                wrong.append(f"{name}: {came}, not {said}")
        status = self.theatre.status()
        if not status["ledger"]["balanced"]:
            wrong.append(status["ledger"]["text"])
        return wrong + [f"sink: {sentence}" for sentence in self.theatre.store.errors]


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


def main():
    build, how = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
    prefix = []
    if how == "nobody":
        if os.geteuid() != 0:
            skip("only root can start an agent as somebody else")
        if subprocess.run([*NOBODY, "test", "-r", build / "agent" / "sonded"], check=False).returncode:
            skip(f"nobody cannot read {build}")
        prefix = NOBODY
    elif how == "no_peerpidfd":
        prefix = ["env", f"LD_PRELOAD={build / 'tests' / 'chaos' / 'chaos-no-peerpidfd.so'}"]
        os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    theatre = Theatre(build, ByName())
    try:
        os.chmod(theatre.dir, 0o777 if how == "nobody" else 0o755)
        theatre.start_agent(prefix)
        wrong = Lives(theatre, NOBODY if how == "nobody" else []).play()
        print(json.dumps(theatre.store.by_name))
        for sentence in wrong:
            print(sentence)
        if wrong:
            print(f"the agent's log:\n{theatre.agent.log()}")
        return 1 if wrong else 0
    finally:
        theatre.close()


if __name__ == "__main__":
    sys.exit(main())
