# SPDX-License-Identifier: Apache-2.0
"""script/demo: the agent, the shop and traffic on this machine; one joined trace as text.
usage: demo.py --build BUILD [--check]"""
import argparse
import json
import re
import signal
import sys
import time

from stage import Stage, wait_until
from traces import BY_STREAM, REJECTION, SERVICES, Traces

RATE = 40
CHECK_SECONDS = 6
TROUBLE = {"PAYMENTS_FAIL_RATE": 0.1, "PAYMENTS_SLOW_RATE": 0.05, "PAYMENTS_OUTAGE_AFTER": 2, "PAYMENTS_OUTAGE_FOR": 1.5,
           "PAYMENTS_LOST_RATE": 0.05, "ORDERS_BY_STREAM": 0.5, "SHIPPING_FAIL_RATE": 0.1}


def say(text):
    print(text, file=sys.stderr, flush=True)


def interrupted(*_):
    raise KeyboardInterrupt


def repeated_payments(stage):
    """How many requests `payments` knew again by their idempotency key."""
    return sum(int(float(value)) for labels, value in
               re.findall(r"^sonde_idempotency_request_total{(.*)} (\S+)$", stage.get("/metrics"), re.M)
               if 'sonde_idempotency_result="replay"' in labels and 'sonde_resilience_name="payments"' in labels)


def verdict(stage, accepted, refused):
    """What --check reports; traffic has ended."""
    wait_until(stage.shipped, 20, "every order shipped")
    repeated = wait_until(lambda: repeated_payments(stage), 10, "a payment that was asked for again")
    stage.stop_shop()  # clean ends: what they still held is delivered

    def all_joined():
        traces = Traces(stage.sink.spans())
        return all(traces.why_not_joined(order) is None for order in accepted)

    try:
        wait_until(all_joined, 20, "every accepted order joined at the backend")
        wait_until(lambda: stage.ledger().settled(), 10, "nothing queued or in flight")
        wait_until(lambda: sum(sum(ended.values()) for ended in stage.sagas().values()) == len(accepted) + refused, 10,
                   "every order's saga ended")
    except TimeoutError as error:
        say(str(error))
    ledger, sagas = stage.ledger(), stage.sagas()
    stage.stop("sonded")

    spans = stage.sink.spans()
    traces = Traces(spans)
    missing = [order for order in accepted if order not in traces.by_order]
    reasons = {order: traces.why_not_joined(order) for order in accepted}
    broken = {order: why for order, why in reasons.items() if why}
    for order, why in list(broken.items())[:5]:
        say(f"order {order}: {why}")
    undelivered = max(0, ledger.appended("traces") - len(traces.by_id))
    report = stage.sink.report()
    return traces, {
        "services": len({s["service"] for s in spans} & set(SERVICES)),
        "traces": len(accepted),
        "joined": len(accepted) - len(broken),
        "spans": len(traces.by_id),
        "lost": ledger.lost() + len(missing) + undelivered,
        "duplicates": report["duplicates"],
        "logs": report["logs"],
        "lag_series": "sonde.messaging.consumer.lag" in report["metrics"],
        "ledger_balances": ledger.balances(),
        "complaints": report["errors"],
        "breaker": [f"{t['from']}->{t['to']}" for t in stage.sink.transitions("payments")],
        "rejected": sum(s["name"] == REJECTION for s in spans),
        "sagas": sagas,
        "repeated": repeated,
        "paid_twice": sum(number > 1 for number in traces.payments().values()),
        "fallbacks": sum(s["attributes"].get("shop.payment.method") == "account" for s in spans),
    }


def check(stage):
    began = time.monotonic()
    stage.start_all(**TROUBLE)
    accepted, counts = stage.load(RATE, CHECK_SECONDS)
    say(f"load: {counts}")
    traces, result = verdict(stage, accepted, counts["refused"])
    result["seconds"] = round(time.monotonic() - began, 1)
    order = traces.most_telling(accepted)
    if order:
        say(traces.waterfall(order))
    breaker_did_all = {"closed->open", "open->half_open", "half_open->closed"} <= set(result["breaker"])
    led, by_stream = result["sagas"].get("order", {}), result["sagas"].get(BY_STREAM, {})
    both_sagas = (led.get("completed") and by_stream.get("completed") and by_stream.get("compensated")
                  and sum(led.values()) + sum(by_stream.values()) == counts["accepted"] + counts["refused"]
                  and not led.get("failed") and not by_stream.get("failed"))
    good = (result["services"] == 3 and result["traces"] > 0 and result["joined"] == result["traces"] and result["lost"] == 0
            and result["ledger_balances"] and not result["complaints"] and counts["accepted"] == len(accepted)
            and breaker_did_all and both_sagas and result["rejected"] and result["fallbacks"]
            and result["repeated"] and not result["paid_twice"])
    print(json.dumps(result), flush=True)
    return 0 if good else 1


def show(stage):
    stage.start_all(**TROUBLE | {"PAYMENTS_OUTAGE_FOR": 5, "PAYMENTS_OUTAGE_EVERY": 30})
    accepted, counts = stage.load(RATE, 3)
    wait_until(stage.shipped, 20, "every order shipped")
    order = wait_until(lambda: Traces(stage.sink.spans()).most_telling(accepted), 20, "a joined trace at the backend")
    print(Traces(stage.sink.spans()).waterfall(order))
    print(f"\n{counts['accepted']} orders accepted. Traffic goes on at {RATE // 4} orders a second, and every 30 s `payments` has "
          "an outage:\n"
          f"  status page   http://127.0.0.1:{stage.page}/\n"
          f"  metrics       http://127.0.0.1:{stage.page}/metrics\n"
          f"  an order      curl -d '{{\"order\":\"mine\",\"amount\":5}}' {stage.orders_url}\n"
          "Ctrl-C stops everything.", flush=True)
    stage.start_load(RATE // 4)
    while all(process.alive() for process in stage.running.values()):
        time.sleep(0.5)
    dead = [name for name, process in stage.running.items() if not process.alive()]
    say(f"ended by itself: {dead}")
    return 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, interrupted)
    with Stage(arguments.build) as stage:
        try:
            return check(stage) if arguments.check else show(stage)
        except KeyboardInterrupt:
            say("stopping")
            return 130 if arguments.check else 0
        except (TimeoutError, RuntimeError) as error:
            say(str(error))
            for name, process in stage.running.items():
                say(f"--- {name}\n{process.log()}")
            return 1


if __name__ == "__main__":
    sys.exit(main())
