# SPDX-License-Identifier: Apache-2.0
"""The dashboards against a real Prometheus that scrapes the agent while the shop runs.  usage: dashboard_test.py BUILD
Every panel's query must give data; the scrape and promtool must have nothing to say; the lag Prometheus shows must be
what this test did to a stream. Exit 77 (skipped) when Prometheus is not installed."""
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples" / "shop"))
sys.path.insert(0, str(ROOT / "tests" / "lint"))
from dashboards import dashboards, panels_of, selectors  # noqa: E402
from prometheus_rig import PROGRAMS, Prometheus  # noqa: E402
from stage import Stage, free_port, wait_until  # noqa: E402

RANGES = {"$__rate_interval": "10s", "$__range": "5m"}
TROUBLE = {"PAYMENTS_OUTAGE_AFTER": 3, "PAYMENTS_OUTAGE_FOR": 3, "PAYMENTS_OUTAGE_EVERY": 10, "ORDERS_BY_STREAM": 0.5,
           "SHIPPING_FAIL_RATE": 0.1}
# Not there all the time, and the panel says what it shows then.
SELDOM = {"sonde_saga_oldest_age_seconds"}
STREAM, GROUP = "dashboard-test", "readers"


def substitute(expression):
    """All variables at All."""
    for name, value in RANGES.items():
        expression = expression.replace(name, value)
    return re.sub(r"\$\w+", ".*", expression)


def check_names(stage, every):
    """Parts of a query that give nothing would not be missed by its result."""
    served = set(re.findall(r"^# TYPE (\w+) ", stage.get("/metrics"), re.M)) | SELDOM
    for name, dashboard in every.items():
        for panel in panels_of(dashboard):
            for target in panel["targets"]:
                for metric, _ in selectors(target["expr"]):
                    assert re.sub("_(bucket|count|sum)$", "", metric) in served or metric in served, \
                        f"{name}, {panel['title']}: {metric} is not on /metrics"


def check_queries(prometheus, dashboard):
    for panel in panels_of(dashboard):
        for target in panel["targets"]:
            expression = substitute(target["expr"])
            wait_until(lambda: prometheus.values(expression), 30, f"data for {panel['title']!r}: {expression}")
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()
            found = prometheus.api(f"label/{label}/values", **{"match[]": substitute(series)})
            assert found, f"variable {variable['name']} is empty"


def check_scrape(stage, prometheus):
    targets = prometheus.targets()
    assert len(targets) == 1, targets
    assert targets[0]["health"] == "up" and targets[0]["lastError"] == "", targets[0]
    assert prometheus.values("min_over_time(up[1m])") == [1], "a scrape failed"
    done = subprocess.run(["promtool", "check", "metrics"], input=stage.get("/metrics"), capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0 and done.stdout + done.stderr == "", done.stdout + done.stderr
    assert not re.search(r"level=(warn|error)", prometheus.log()), prometheus.log()


def redis(stage, *words):
    done = subprocess.run(["redis-cli", "-e", "-p", str(stage.redis_port), *words], capture_output=True, text=True,
                          check=True)
    return done.stdout


def check_lag(stage, prometheus):
    """Seven of ten are left; two of them are deleted, one more is read and acknowledged; then the group goes."""
    lag = f'sonde_messaging_consumer_lag{{messaging_destination_name="{STREAM}",messaging_consumer_group_name="{GROUP}"}}'
    messages = f'sonde_messaging_queue_message{{messaging_destination_name="{STREAM}",state="%s"}}'

    def read(count):
        redis(stage, "XREADGROUP", "GROUP", GROUP, "one", "COUNT", str(count), "STREAMS", STREAM, ">")

    def expect(expression, value):
        wait_until(lambda: prometheus.values(expression) == value, 20, f"{expression} = {value}")

    for number in range(1, 11):
        redis(stage, "XADD", STREAM, f"{number}-1", "n", str(number))
    redis(stage, "XGROUP", "CREATE", STREAM, GROUP, "0")
    read(3)
    expect(lag, [7])
    expect(messages % "unacked", [3])
    expect(messages % "retained", [10])
    redis(stage, "XDEL", STREAM, "6-1", "9-1")
    expect(lag, [5])
    read(1)
    redis(stage, "XACK", STREAM, GROUP, "1-1", "4-1")
    expect(lag, [4])
    expect(messages % "unacked", [2])
    redis(stage, "XGROUP", "DESTROY", STREAM, GROUP)
    expect(lag, [])


def check_breaker(prometheus, dashboard):
    """The state panel's one query shows the breaker of `payments` open and closed, as the codes it maps to these words.
    Half-open it is too shortly for a scrape to see; the time in it is counted all the same."""
    panel = next(panel for panel in panels_of(dashboard) if panel["type"] == "state-timeline")
    expression = substitute(panel["targets"][0]["expr"]).replace('name=~".*"', 'name="payments"')
    texts = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    for state in ("open", "closed"):
        code = next(float(code) for code, mapped in texts.items() if mapped["text"] == state)
        wait_until(lambda: prometheus.values(f"count_over_time(({expression} == {code:.0f})[5m:1s])"), 60, f"{state} seen")
    wait_until(lambda: prometheus.values('sonde_circuit_breaker_state_time_seconds_total{name="payments",state="half_open"} > 0'), 30, "half-open")


def main(build):
    missing = [name for name in (*PROGRAMS, "redis-server", "redis-cli") if not shutil.which(name)]
    if missing:
        print(f"skipped: not installed: {' '.join(missing)}")
        return 77
    every = dashboards()
    del every["brokers"]  # which wants more brokers than the shop has: brokers_dashboard_test.py
    with Stage(build) as stage:
        try:
            stage.start_all(**TROUBLE)
            stage.start_load(40)
            with Prometheus(stage.dir, f"127.0.0.1:{stage.page}", free_port()) as prometheus:
                for dashboard in every.values():
                    check_queries(prometheus, dashboard)
                check_names(stage, every)
                check_breaker(prometheus, every["breakers"])
                check_lag(stage, prometheus)
                check_scrape(stage, prometheus)
        except BaseException:
            for name, process in stage.running.items():
                print(f"--- {name}\n{process.log()}", file=sys.stderr)
            raise
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
