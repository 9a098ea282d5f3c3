# SPDX-License-Identifier: Apache-2.0
"""A context through real brokers, by the adapters for their clients. A broker that is not installed is a skip, with its name.

    python brokers_test.py nats|mqtt PATH-OF-broker_round_trip
"""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SERVERS = {"nats": "nats-server", "mqtt": "mosquitto"}


def find(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def command(broker, server, port, directory):
    if broker == "nats":
        return [server, "-a", "127.0.0.1", "-p", str(port)]
    config = pathlib.Path(directory) / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    return [server, "-c", str(config)]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, process):
    deadline = time.monotonic() + 20
    while True:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, f"the broker ended with {process.returncode}"
        assert time.monotonic() < deadline, "the broker does not listen"
        time.sleep(0.05)


def main(broker, peer):
    server = find(SERVERS[broker])
    if not server:
        print(f"skipped: {SERVERS[broker]} is not installed")
        return 77
    with tempfile.TemporaryDirectory() as directory:
        port = free_port()
        process = subprocess.Popen(command(broker, server, port, directory), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, cwd=directory)
        try:
            wait_for(port, process)
            done = subprocess.run([peer, broker, str(port)], timeout=60, check=False)
            if done.returncode == 77:
                print(f"skipped: built without the client library of {broker}")
            return done.returncode
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
