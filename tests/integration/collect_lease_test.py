# SPDX-License-Identifier: Apache-2.0
"""Many agents, one broker: whoever has the lease polls. Usage: collect_lease_test.py BUILD.
Two real agents and a redis-server; the one that polls is killed. Exit 77 (skipped) when there is no redis-server."""
import contextlib
import pathlib
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
import brokers  # noqa: E402
from collect_rig import Watch, check_refused, wait_until  # noqa: E402


def redis(port, *words):
    return subprocess.run([brokers.find("redis-cli"), "-p", str(port), *words], check=True, capture_output=True, text=True).stdout


def polls(watch):
    """This agent has the lease, and sets series."""
    return watch.value("poll_leader") == 1 and watch.values("consumer_lag") == [3]


def only_says_that_it_does_not(watch):
    return {n for n, _, _ in watch.series() if n.startswith("sonde_messaging_")} == {"sonde_messaging_poll_leader"} \
        and watch.value("poll_leader") == 0


def main():
    with brokers.redis() as broker, tempfile.TemporaryDirectory(prefix="sonde-") as home, contextlib.ExitStack() as stack:
        lease = pathlib.Path(home) / "lease"
        collector = f'  redis: {{address: "{broker.address}", interval: 200ms, timeout: 5s, lease: "file:{lease}"}}\n'
        for _ in range(3):
            redis(broker.port, "XADD", "orders", "*", "n", "1")
        redis(broker.port, "XGROUP", "CREATE", "orders", "g", "0")

        def start():
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="sonde-"))
            return stack.enter_context(Watch(directory, collector))
        first = start()
        first.until(lambda: polls(first), "the first polls")
        second = start()
        second.until(lambda: only_says_that_it_does_not(second), "the second does not")
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        second.until(lambda: polls(second), "the second takes over")
        third = start()
        third.until(lambda: only_says_that_it_does_not(third), "the third does not")
        lease.unlink()  # what the second holds is worth nothing now; one of them makes a new one
        wait_until(lambda: sorted([polls(second), polls(third)]) == [False, True], "one of them polls")
        second, third = (second, third) if polls(second) else (third, second)
        assert second.end() == 0, second.log()
        third.until(lambda: polls(third), "handed over at a stop")
        assert third.end() == 0, third.log()
        lost = stack.enter_context(tempfile.TemporaryDirectory(prefix="sonde-"))
        with Watch(lost, collector.replace(str(lease), "/nonexistent/lease")) as watch:
            watch.until(lambda: (watch.value("poll_errors_total", error_type="lease") or 0) > 0, "it is told")
            assert watch.value("poll_leader") == 0 and watch.values("consumer_lag") == []
    check_refused("redis: {lease: everyone}", "lease", "everyone", "file:/PATH")
    check_refused("redis: {leas: x}", "unknown key", "lease")


if __name__ == "__main__":
    try:
        main()
    except brokers.Missing as missing:
        print(f"skipped: {missing}")
        sys.exit(77)
