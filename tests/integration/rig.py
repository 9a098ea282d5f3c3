# SPDX-License-Identifier: Apache-2.0
"""What the integration tests share: a clean environment, waiting with a deadline, and a sonded with its page."""
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import urllib.request

BUILD = pathlib.Path(sys.argv[1])
SONDED, SONDE = BUILD / "agent" / "sonded", BUILD / "agent" / "sonde"
QUIET = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "SONDE_", "NOTIFY_", "WATCHDOG_"))}
DEADLINE_S = 60


def wait_until(condition, what):
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"never came: {what}")


class Process:
    """Killed at the end of the block when it still runs."""
    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Agent(Process):
    """A sonded that runs, on a configuration file and a free port."""
    def __init__(self, directory, config):
        self.dir = pathlib.Path(directory)
        self.log_path = self.dir / f"log{len(list(self.dir.iterdir()))}"
        (self.dir / "sonded.yaml").write_text(config, encoding="utf-8")
        with open(self.log_path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([SONDED, "--socket", self.dir / "agent.sock", "--config", self.dir / "sonded.yaml"],
                                            stderr=log, stdin=subprocess.DEVNULL, env=QUIET)
        wait_until(lambda: 'msg="running"' in self.log() or self.process.poll() is not None, "running")
        assert self.process.poll() is None, self.log()

    def log(self):
        return self.log_path.read_text(encoding="utf-8")

    def address(self):
        return re.search(r"page=http://([^/]+)/", self.log()).group(1)

    def get(self, path):
        with urllib.request.urlopen(f"http://{self.address()}{path}", timeout=DEADLINE_S) as answer:
            return answer.read().decode()

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)
