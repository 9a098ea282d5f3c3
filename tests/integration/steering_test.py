# SPDX-License-Identifier: Apache-2.0
"""Remote sampling and log levels: `sonde sample` and `sonde log-level` against a service that runs on. Usage:
steering_test.py BUILD."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

import rig
from rig import BUILD, DEADLINE_S, QUIET, SONDE, Process, wait_until

SERVICE = BUILD / "tests" / "integration" / "steered_service"


class Agent(rig.Agent):
    def __init__(self, directory, config=""):
        super().__init__(directory, f'agent:\n  listen: "127.0.0.1:0"\n{config}')

    def sonde(self, *arguments, code=0):
        done = subprocess.run([SONDE, *arguments, "--socket", self.dir / "agent.sock"], capture_output=True, text=True,
                              env=QUIET, timeout=DEADLINE_S, check=False)
        assert done.returncode == code, (arguments, done)
        return done.stdout + done.stderr


class Service(Process):
    def __init__(self, directory, name="shop", **env):
        env = dict(QUIET, SONDE_AGENT_SOCKET=str(pathlib.Path(directory) / "agent.sock"), OTEL_SERVICE_NAME=name, **env)
        self.process = subprocess.Popen([SERVICE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def roots(self, count):
        """How many of so many root spans were recorded, and what the last one's tracestate was."""
        recorded, _, tracestate = self.ask(f"roots {count}").partition(" ")
        return int(recorded), tracestate


def spans_follow_the_command_at_once(directory):
    with Agent(directory) as agent, Service(directory) as shop, Service(directory, "other") as other:
        for service in (shop, other):
            assert service.roots(100) == (100, "")
            assert service.ask("flush") == "0"
        assert "nothing is set" in agent.sonde("sample")
        assert agent.sonde("sample", "shop", "0") == "shop: samples 0, 1 process\n"
        assert shop.roots(100) == (0, "")
        assert other.roots(100) == (100, "")
        assert agent.sonde("sample", "shop", "0.25") == "shop: samples 0.25, 1 process\n"
        recorded, tracestate = shop.roots(4000)
        assert 860 < recorded < 1140 and tracestate == "ot=th:c", (recorded, tracestate)  # five sigma
        assert "2 processes" in agent.sonde("sample", "*", "0")
        assert other.roots(100) == (0, "") and shop.roots(100)[0] > 0
        agent.sonde("sample", "shop", "1")
        assert shop.roots(100) == (100, "ot=th:0")
        assert "its own sampler again" in agent.sonde("sample", "shop", "off")
        assert shop.roots(100) == (0, "")  # the rule for all is left
        agent.sonde("sample", "*", "off")
        assert shop.roots(100) == (100, "") and other.roots(100) == (100, "")


def what_is_set_is_shown(directory):
    with Agent(directory, "  sampling: {from-file: 0.5}\n  service_log_levels: {from-file: warn}\n") as agent:
        assert "no process of that name" in agent.sonde("sample", "<i>nobody", "0.125")
        agent.sonde("log-level", "<i>nobody", "error")
        text = agent.sonde("sample")
        assert "from-file: sample 0.5 log-level warn (by the configuration)" in text, text
        assert "<i>nobody: sample 0.125 log-level error (by command, until the agent restarts)" in text, text
        rows = json.loads(agent.get("/api/status"))["steering"]
        assert {"service": "<i>nobody", "ratio": 0.125, "log_level": "error", "by": "command"} in rows, rows
        done = subprocess.run([SONDE, "status", "--address", agent.address()], capture_output=True, text=True, env=QUIET,
                              timeout=DEADLINE_S, check=False)
        assert "from-file: sample 0.5, log-level warn (by configuration)" in done.stdout, done
        page = agent.get("/")
        assert "Set for services" in page and "&lt;i&gt;nobody" in page and "<i>nobody" not in page
        assert "changed by command" in agent.log()


def nonsense_is_refused_with_a_sentence(directory):
    with Agent(directory) as agent:
        for ratio in ("1.5", "nan", "half", "0,5", ""):
            assert "is not a ratio from 0 to 1" in agent.sonde("sample", "shop", ratio, code=2)
        assert "usage: sonde sample" in agent.sonde("sample", "shop", code=2)
        assert "usage: sonde sample" in agent.sonde("sample", "shop", "-1", code=2)
        assert "1 to 127 bytes" in agent.sonde("sample", "x" * 128, "1", code=2)
        assert "not accepted" in agent.sonde("sample", "a\nb", "1", code=1)
        assert "is not trace" in agent.sonde("log-level", "shop", "loud", code=2)
        assert 'nothing is set for "shop"' in agent.sonde("sample", "shop", "off", code=1)
        assert agent.sonde("sample").startswith("nothing is set")
    gone = subprocess.run([SONDE, "sample", "--socket", pathlib.Path(directory) / "agent.sock"], capture_output=True, text=True,
                          env=QUIET, timeout=DEADLINE_S, check=False)
    assert gone.returncode == 1 and "no agent at" in gone.stderr
    (pathlib.Path(directory) / "bad.yaml").write_text("agent: {sampling: {shop: 2}}\n")
    check = subprocess.run([SONDE, "check", pathlib.Path(directory) / "bad.yaml"], capture_output=True, text=True, env=QUIET,
                           timeout=DEADLINE_S, check=False)
    assert check.returncode == 2 and 'agent.sampling: "shop"' in check.stderr, check


def another_user_is_not_heard(directory):
    """Only root can become another user; the agent here runs as root then, and the sender is somebody else."""
    if os.geteuid() != 0:
        print("skipped: not root")
        return
    with Agent(directory) as agent:
        os.chmod(directory, 0o755)
        code = ("import os, sys; os.setgid(65534); os.setuid(65534); "
                "os.execv(sys.argv[1], sys.argv[1:])")
        for arguments, result in ((("sample", "shop", "0"), 1), (("sample",), 0)):
            done = subprocess.run([sys.executable, "-c", code, SONDE, *arguments, "--socket", agent.dir / "agent.sock"],
                                  capture_output=True, text=True, env=QUIET, timeout=DEADLINE_S, check=False)
            if done.returncode == 126 or "Permission denied" in done.stderr:
                print("skipped: the build directory cannot be read by others")
                return
            assert done.returncode == result, done
        assert "nothing is set" in done.stdout
        assert "refused: not root" in agent.log()


def a_killed_agent_s_rates_stay_until_the_next_one(directory):
    with Service(directory) as shop:
        with Agent(directory) as agent:
            shop.roots(1)
            assert shop.ask("flush") == "0"
            agent.sonde("sample", "shop", "0")
            assert shop.roots(100) == (0, "")
            agent.end(signal.SIGKILL)
        assert shop.roots(100) == (0, "")
        with Agent(directory, "  sampling: {shop: 1}\n") as agent:  # what a command said is forgotten, a file is not
            wait_until(lambda: shop.roots(10) == (10, "ot=th:0"), "the new agent's rate")
            agent.sonde("sample", "shop", "0")
            assert shop.roots(100) == (0, "")


def log_levels_follow_the_command(directory):
    with Agent(directory) as agent, Service(directory) as shop:
        def logs():
            assert shop.ask("flush") == "0"
            found = re.search(r'sonde_agent_received_records_total\{[^}]*signal="logs"\} (\d+)', agent.get("/metrics"))
            return int(found.group(1))
        shop.ask("logs 5 9")
        assert logs() == 5
        agent.sonde("log-level", "shop", "warn")
        for severity, sum_then in ((9, 5), (12, 5), (13, 10), (17, 15), (0, 20)):  # 0: nobody said how severe
            shop.ask(f"logs 5 {severity}")
            assert logs() == sum_then, severity
        agent.sonde("log-level", "shop", "off")
        shop.ask("logs 5 1")
        assert logs() == 25


for case in (spans_follow_the_command_at_once, what_is_set_is_shown, nonsense_is_refused_with_a_sentence,
             another_user_is_not_heard, a_killed_agent_s_rates_stay_until_the_next_one, log_levels_follow_the_command):
    with tempfile.TemporaryDirectory(prefix="sonde-test-") as place:
        case(place)
    print("ok", case.__name__)
