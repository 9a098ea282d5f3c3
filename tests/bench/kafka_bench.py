# SPDX-License-Identifier: Apache-2.0
"""Figures of the Kafka collector, on a fake cluster that speaks the protocol: CPU with 10,000 groups of 10 partitions polled
every 30 s, and how far its seconds of lag are from the truth.
    python kafka_bench.py --build DIR [--list | NAME...]"""
import argparse
import json
import pathlib
import random
import re
import statistics
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
import agent_bench  # noqa: E402
import kafka_fake  # noqa: E402
from agent_bench import fetch, line, wait_until  # noqa: E402

FIGURES = ["kafka_10k_cpu", "lag_seconds_error"]
GROUPS, TOPICS, PARTITIONS, INTERVAL_S, POLLS = 10000, 1000, 10, 30, 4
SAMPLES, POLL_S = 40, 1.0


def metric(agent, name):
    """(labels, value) of a metric's series, as /metrics has them."""
    page = fetch(agent.page, "/metrics")
    page = page if isinstance(page, str) else page.decode()
    return [(labels, float(value)) for labels, value in re.findall(rf"(?m)^{name}(?:\{{(.*)\}})? (\S+)$", page)]


def last_poll(agent):
    found = metric(agent, "sonde_messaging_poll_last_success_timestamp_seconds")
    return found[0][1] if found else 0


def kafka_10k_cpu(build):
    """Of the whole agent, from poll to poll; what each group committed, and where each partition ends, moves."""
    with kafka_fake.Cluster() as cluster:
        for i in range(TOPICS):
            cluster.topic(f"orders.eu-west.shop-{i:04}", [1000000] * PARTITIONS)
        for i in range(GROUPS):
            topic = f"orders.eu-west.shop-{i % TOPICS:04}"
            cluster.group(f"team-{i % 50}.service-{i:05}", {(topic, p): 999000 + i % 1000 for p in range(PARTITIONS)},
                          members=[{topic: list(range(PARTITIONS))}])
        agent = agent_bench.Agent(build, f"collectors:\n  kafka: {{brokers: ['{cluster.address}'], interval: {INTERVAL_S}s, timeout: 25s}}\n",
                                  metrics_interval="1h")
        try:
            wait_until(lambda: last_poll(agent), 120, "a first poll")
            runs, seconds = [], []
            for _ in range(POLLS):
                before, cpu, start = last_poll(agent), agent.cpu_ns(), time.monotonic()
                for topic in cluster.topics.values():
                    topic["ends"] = [end + 500 for end in topic["ends"]]
                time.sleep(INTERVAL_S - 4)
                wait_until(lambda b=before: last_poll(agent) > b, 120, "a poll")
                runs.append(100 * (agent.cpu_ns() - cpu) / 1e9 / (time.monotonic() - start))
                seconds.append(metric(agent, "sonde_messaging_poll_duration_seconds")[0][1])
            known = sum("estimate" in labels for labels, _ in metric(agent, "sonde_messaging_consumer_lag_time_seconds"))
            if known != GROUPS or metric(agent, "sonde_messaging_poll_up")[0][1] != 1:
                raise RuntimeError(f"seconds of {known} groups, not of {GROUPS}")
            line("kafka_10k_cpu", statistics.median(runs), "percent of a core", 0, POLLS)
            print(json.dumps({"poll_s": seconds, "rss_mib": round(agent.memory_mib("VmRSS"), 1)}), file=sys.stderr)
        finally:
            agent.close()


def lag_seconds_error(build):
    """The worst of many polls, in poll intervals: records are written at random times, and read some while after."""
    with kafka_fake.Cluster() as cluster:
        cluster.topic("orders", [0])
        cluster.group("billing", {("orders", 0): 0})
        written, stop = [], threading.Event()

        def write():
            while not stop.wait(random.expovariate(1 / 0.3)):
                written.append(time.time())
                cluster.topics["orders"]["ends"][0] = len(written)
                behind = [i for i, when in enumerate(written) if when < time.time() - 8]
                cluster.commit("billing", {("orders", 0): len(behind)})
        writer = threading.Thread(target=write, daemon=True)
        agent = agent_bench.Agent(build, f"collectors:\n  kafka: {{brokers: ['{cluster.address}'], interval: {int(POLL_S * 1000)}ms, timeout: 10s, "
                                         "consumer_offsets: true}\n", metrics_interval="1h")
        try:
            wait_until(lambda: last_poll(agent), 60, "a first poll")
            writer.start()
            errors, last = [], 0
            while len(errors) < SAMPLES:
                wait_until(lambda b=last: last_poll(agent) > b, 60, "a poll")
                # one scrape, so that its parts belong together
                page = fetch(agent.page, "/metrics")
                page = page if isinstance(page, str) else page.decode()
                last = float(re.search(r"(?m)^sonde_messaging_poll_last_success_timestamp_seconds\{.*\} (\S+)$", page).group(1))
                lag = re.search(r'(?m)^sonde_messaging_consumer_lag_time_seconds\{.*estimate="interpolated".*\} (\S+)$', page)
                offset = re.search(r"(?m)^sonde_messaging_consumer_offset\{.*\} (\S+)$", page)
                if lag and offset and float(lag.group(1)) > 2 * POLL_S:
                    errors.append(abs(last - float(lag.group(1)) - written[int(float(offset.group(1)))]) / POLL_S)
            line("lag_seconds_error", max(errors), "poll intervals", 0, SAMPLES)
            print(json.dumps({"median": round(statistics.median(errors), 3)}), file=sys.stderr)
        finally:
            stop.set()
            agent.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("names", nargs="*", default=[])
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(FIGURES))
        return 0
    for name in arguments.names or FIGURES:
        {"kafka_10k_cpu": kafka_10k_cpu, "lag_seconds_error": lag_seconds_error}[name](arguments.build)
    return 0


if __name__ == "__main__":
    sys.exit(main())
