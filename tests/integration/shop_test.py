# SPDX-License-Identifier: Apache-2.0
"""The shop, the agent and the sink together, one case a run.  usage: shop_test.py BUILD CASE
Each case ends with every accepted order joined at the backend and the ledger in balance."""
import json
import pathlib
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "examples" / "shop"))
from stage import CONFIG, Stage, wait_until  # noqa: E402
from traces import REJECTION, Traces  # noqa: E402

QUIET = {"PAYMENTS_FAIL_RATE": 0, "PAYMENTS_SLOW_RATE": 0}


def unjoined(stage, accepted):
    traces = Traces(stage.sink.spans())
    return {order: why for order in accepted if (why := traces.why_not_joined(order))}


def must_join(stage, accepted, seconds=30):
    assert accepted, "no order was accepted"
    try:
        wait_until(lambda: not unjoined(stage, accepted), seconds, "all joined")
    except TimeoutError:
        broken = unjoined(stage, accepted)
        raise AssertionError(f"{len(broken)} of {len(accepted)} orders not joined: {list(broken.items())[:5]}") from None


def must_balance(stage):
    wait_until(lambda: stage.ledger().settled(), 15, "nothing queued or in flight")
    ledger = stage.ledger()
    assert ledger.balances(), ledger.text()
    assert ledger.lost() == 0, ledger.text()


def silent(stage):
    """The library prints nothing, whatever the agent does."""
    for name in ("orders", "payments"):
        assert stage.running[name].log() == "", f"{name} said: {stage.running[name].log()}"


def agent_absent(stage):
    """Never there: every order is served, nothing is printed, and SIGTERM ends the services in time."""
    stage.start_redis()
    stage.start_shop(**QUIET)
    accepted, counts = stage.load(100, 2)
    assert counts["failed"] == counts["refused"] == 0 and len(accepted) == counts["accepted"] > 100, counts
    silent(stage)
    wait_until(stage.shipped, 20, "every order shipped")
    stage.stop_shop()


def agent_late(stage):
    """Comes after the orders: what the rings hold is delivered."""
    stage.start_redis()
    stage.start_shop(**QUIET)
    accepted, _ = stage.load(50, 2)
    stage.start_sink()
    stage.start_agent()
    must_join(stage, accepted, 60)  # the library tries again after 30 s at most
    silent(stage)
    must_balance(stage)


def agent_restarted(stage):
    """Ends by SIGTERM and comes again, twice: services hand their memory over again, no order is lost."""
    stage.start_all(**QUIET)
    accepted = []
    for _ in range(2):
        accepted += stage.load(50, 1)[0]
        assert stage.stop("sonded") == 0
        accepted += stage.load(50, 1)[0]
        stage.start_agent()
    accepted += stage.load(50, 1)[0]
    must_join(stage, accepted, 60)
    silent(stage)
    must_balance(stage)


def agent_killed(stage):
    """Dies by SIGKILL in the middle of traffic: nothing that was not let go early is lost."""
    stage.start_all(**QUIET)
    accepted = stage.load(50, 1)[0]
    stage.stop("sonded", signal.SIGKILL)
    accepted += stage.load(50, 1)[0]
    stage.start_agent()
    accepted += stage.load(50, 1)[0]
    must_join(stage, accepted, 60)
    must_balance(stage)


def sigterm_drains(stage):
    """SIGTERM to the agent right behind the traffic: it ends with 0 after everything has reached the backend."""
    stage.start_all(**QUIET)
    accepted = stage.load(200, 2)[0]
    wait_until(stage.shipped, 20, "every order shipped")
    stage.stop_shop()
    assert stage.stop("sonded") == 0
    broken = unjoined(stage, accepted)
    assert accepted and not broken, f"{len(broken)} of {len(accepted)}: {list(broken.items())[:5]}"


def queue_full(stage):
    """The backend hangs while a service writes more than the queue and its ring take: each record is accounted for, and
    everybody says so: page, API, /metrics, `sonde status`, the log, the service. What was taken is delivered afterwards."""
    stage.start_sink()
    stage.start_agent(CONFIG.replace("collectors:\n  redis:", "queue:\n  size: 4MiB\ncollectors:\n  redis:"))
    sink, agent = stage.running["sink"], stage.running["sonded"]
    sink.child.send_signal(signal.SIGSTOP)
    service = stage.start("load", [stage.build / "tests" / "bench" / "bench-load", 60000, 100000],
                          SONDE_AGENT_SOCKET=stage.dir / "agent.sock", OTEL_SERVICE_NAME="writer")
    dropped = json.loads(service.line("spans", 60))["dropped"]
    assert dropped > 0
    wait_until(lambda: stage.ledger().signals["traces"]["dropped"]["ring_full"] == dropped, 30, "what the service counted")
    assert stage.ledger().balances(), stage.ledger().text()
    assert f"ring_full {dropped}" in stage.get("/")
    assert re.search(rf'^sonde_agent_dropped_records_total{{.*reason="ring_full",signal="traces"}} {dropped}$',
                     stage.get("/metrics"), re.M)
    said = subprocess.run([stage.build / "agent" / "sonde", "status", "--address", f"127.0.0.1:{stage.page}"],
                          capture_output=True, text=True, check=False, timeout=30).stdout
    assert f"{dropped} dropped (ring_full {dropped})" in said, said
    wait_until(lambda: "records were lost before the queue" in agent.log(), 30, "a line in the log")
    sink.child.send_signal(signal.SIGCONT)
    wait_until(lambda: stage.ledger().signals["traces"]["received"] == 60000 and stage.ledger().settled(), 60, "all settled")
    ledger = stage.ledger()
    assert ledger.balances() and ledger.signals["traces"]["appended"] == 60000 - dropped, ledger.text()
    assert len({(s["trace_id"], s["span_id"]) for s in stage.sink.spans()}) == 60000 - dropped


def metrics_listed(stage):
    """The agent's own metric names are an interface: the README lists exactly those that /metrics has."""
    stage.start_all(**QUIET)
    must_join(stage, stage.load(50, 1)[0])
    served = {line.split()[2] for line in stage.get("/metrics").splitlines() if line.startswith("# TYPE sonde_agent_")}
    readme = (pathlib.Path(__file__).resolve().parents[2] / "README.md").read_text()
    listed = set(re.findall(r"^\| `(sonde_agent_\w+)`", readme, re.M))
    assert served == listed, f"not in the README: {sorted(served - listed)}; not served: {sorted(listed - served)}"


def series(stage, name, by_agent=False):
    """What /metrics says of a metric of the shop, or of the agent, whose exporters have breakers too: [(labels, value)]."""
    found = [(dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)) for labels, value in
             re.findall(rf"^{name}{{(.*)}} (\S+)$", stage.get("/metrics"), re.M)]
    return [(labels, value) for labels, value in found if (labels["job"] == "sonded") == by_agent]


def by_label(stage, name, label):
    return {labels[label]: value for labels, value in series(stage, name)}


def attempts_are_siblings(traces, accepted):
    """The attempts of an order lie under its step `charge`, and are numbered. Returns how many were retries."""
    retries = 0
    for order in accepted:
        top = traces.by_order[order]
        attempts = sorted((s for s in traces.by_trace[top["trace_id"]] if s["service"] == "orders" and s["name"] == "POST"),
                          key=lambda s: s["start"])
        charge = next(s for s in traces.by_trace[top["trace_id"]] if s["name"] == "charge")
        assert all(s["parent_span_id"] == charge["span_id"] for s in attempts), order
        counts = [s["attributes"].get("http.request.resend_count") for s in attempts]
        assert counts == [None, 1, 2][:len(counts)], f"{order}: {counts}"
        retries += max(0, len(attempts) - 1)
    return retries


def outage(stage):
    """Payments fail for a while: the breaker opens, probes, closes; small orders go on account meanwhile. Spans, log
    records and counters tell the same of it."""
    stage.start_all(**QUIET, PAYMENTS_OUTAGE_AFTER=1, PAYMENTS_OUTAGE_FOR=2)
    ids = stage.dir / "accepted"
    load = stage.start_load(40, 0, ids)
    states, times = "sonde_circuit_breaker_state", "sonde_circuit_breaker_state_time_seconds_total"
    wait_until(lambda: by_label(stage, states, "state").get("open"), 60, "open")
    wait_until(lambda: "closed" in [t["to"] for t in stage.sink.transitions("payments")], 60, "closed again")
    load.child.send_signal(signal.SIGTERM)
    load.line("accepted ")
    stage.stop("load")
    accepted = ids.read_text().split()
    must_join(stage, accepted)
    calls = by_label(stage, "sonde_circuit_breaker_call_total", "outcome")
    wait_until(lambda: sum("sonde.circuit_breaker.name" in s["attributes"] for s in stage.sink.spans()) >= sum(calls.values()),
               30, "a span of each call at the backend")
    must_balance(stage)

    spans = stage.sink.spans()
    guarded = [s for s in spans if s["service"] == "orders" and s["name"] == "POST"]
    rejections = [s for s in spans if s["name"] == REJECTION]
    for span in guarded + rejections:
        assert span["attributes"]["sonde.circuit_breaker.name"] == "payments", span
    assert {s["attributes"]["sonde.circuit_breaker.state"] for s in guarded} == {"closed", "half_open"}
    assert "open" in {s["attributes"]["sonde.circuit_breaker.state"] for s in rejections}
    assert all(s["status"] == 2 and s["attributes"]["error.type"] == "circuit_breaker_open" for s in rejections)
    assert calls["rejected"] == len(rejections) > 0, calls
    assert sum(calls.values()) == len(guarded) + len(rejections), calls

    told = Counter((t["from"], t["to"], t["reason"]) for t in stage.sink.transitions("payments"))
    assert told["closed", "open", "failure_rate"] == told["half_open", "closed", "probe_succeeded"] == 1, told
    assert told["open", "half_open", "wait_elapsed"] == 1 + told["half_open", "open", "probe_failed"], told
    counted = {tuple(labels[key] for key in ("from", "to", "reason")): value
               for labels, value in series(stage, "sonde_circuit_breaker_transition_total")}
    assert counted == told, f"{counted} counted, {told} told"

    now, spent = by_label(stage, states, "state"), by_label(stage, times, "state")
    assert now.pop("closed") == 1 and len(now) == 5 and not any(now.values()), now
    assert spent["closed"] > 1 and spent["open"] > 0.4 and spent["half_open"] > 0 and spent["forced_open"] == 0, spent

    assert attempts_are_siblings(Traces(spans), accepted) > 0
    suppressed = by_label(stage, "sonde_resilience_retry_suppressed_total", "sonde_resilience_reason")
    assert suppressed["breaker"] == len(rejections) and suppressed["budget"] + suppressed["attempts"] > 0, suppressed
    fallbacks = by_label(stage, "sonde_resilience_fallback_total", "sonde_resilience_outcome")
    on_account = [s for s in spans if s["attributes"].get("shop.payment.method") == "account"]
    assert on_account and all(s["attributes"]["shop.order.amount"] <= 50 for s in on_account)
    refused = [s for s in spans if s["name"] == "POST /orders" and s["attributes"]["http.response.status_code"] == 502]
    assert fallbacks == {"success": len(on_account), "failure": len(refused)}, fallbacks


def post_order(stage, order, amount):
    """The status of the answer."""
    body = json.dumps({"order": order, "amount": amount}).encode()
    request = urllib.request.Request(stage.orders_url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def steps_of(stage, order):
    """The steps of an order's saga in their order, (name, action, outcome), and how it ended."""
    traces = Traces(stage.sink.spans())
    if order not in traces.by_order:
        return None, None
    spans = sorted(traces.by_trace[traces.by_order[order]["trace_id"]], key=lambda s: s["start"])
    sagas = [s for s in spans if "sonde.saga.id" in s["attributes"]]
    assert len({s["attributes"]["sonde.saga.id"] for s in sagas}) <= 1, order
    steps = [tuple(s["attributes"].get("sonde.saga." + key) for key in ("step", "action", "outcome"))
             for s in sagas if "sonde.saga.step" in s["attributes"]]
    ends = [s["attributes"]["sonde.saga.outcome"] for s in sagas
            if "sonde.saga.step" not in s["attributes"] and "sonde.saga.outcome" in s["attributes"]]
    return steps, ends[0] if ends else None


def saga(stage):
    """An order is a saga: it completes; one that cannot be shipped is paid back and put back, the last step first; one
    that cannot be reserved has nothing to undo."""
    stage.start_all(**QUIET, ORDERS_STOCK=2)
    made, undone = ("forward", "success"), ("compensate", "success")
    assert post_order(stage, "good", 60) == 201
    stage.stop("redis")
    assert post_order(stage, "unsent", 60) == 503
    stage.start_redis()
    assert post_order(stage, "again", 60) == 201, "what was put back is there again"
    assert post_order(stage, "too many", 60) == 409
    expected = {
        "good": ([("reserve", *made), ("charge", *made), ("ship", *made)], "completed"),
        "unsent": ([("reserve", *made), ("charge", *made), ("ship", "forward", "failure"), ("charge", *undone),
                    ("reserve", *undone)], "compensated"),
        "again": ([("reserve", *made), ("charge", *made), ("ship", *made)], "completed"),
        "too many": ([("reserve", "forward", "failure")], "compensated"),
    }
    for order, what in expected.items():
        try:
            wait_until(lambda: steps_of(stage, order) == what, 30, order)
        except TimeoutError:
            raise AssertionError(f"{order}: {steps_of(stage, order)}, not {what}") from None
    spans = stage.sink.spans()
    by_id = {s["span_id"]: s for s in spans}
    for span in spans:
        if span["attributes"].get("sonde.saga.action") == "compensate":
            assert any(by_id[target]["attributes"]["sonde.saga.step"] == span["attributes"]["sonde.saga.step"]
                       for _, target in span["links"]), span
    refunds = [s for s in spans if s["name"] == "POST /refunds"]
    assert [s["attributes"]["shop.order.id"] for s in refunds] == ["unsent"], refunds
    ended = by_label(stage, "sonde_saga_ended_total", "sonde_saga_outcome")
    assert ended.get("completed") == 2 and ended.get("compensated") == 2 and not ended.get("failed"), ended
    must_balance(stage)


def links_of(span):
    return {target for _, target in span["links"]}


def saga_by_stream(stage):
    """The same saga without a leader: orders reserves and charges, shipping joins it from the message, ships, and ends it.
    What shipping cannot send it tells by the stream, and orders undoes its steps, the last first."""
    stage.start_all(**QUIET, ORDERS_BY_STREAM=1)
    assert post_order(stage, "good", 60) == 201
    wait_until(stage.shipped, 20, "shipped")
    stage.stop("shipping")
    stage.start("shipping", [stage.build / "examples" / "shop-shipping"], SONDE_AGENT_SOCKET=stage.dir / "agent.sock",
                REDIS_PORT=stage.redis_port, SHIPPING_FAIL_RATE=1).line("consumes")
    assert post_order(stage, "broken", 60) == 201, "paid, and undone afterwards"
    made, undone = ("forward", "success"), ("compensate", "success")
    expected = {
        "good": ([("orders", "reserve", 1, *made), ("orders", "charge", 2, *made), ("shipping", "ship", 3, *made)], "completed"),
        "broken": ([("orders", "reserve", 1, *made), ("orders", "charge", 2, *made), ("shipping", "ship", 3, "forward", "failure"),
                    ("orders", "charge", 2, *undone), ("orders", "reserve", 1, *undone)], "compensated"),
    }

    def saga_of(order):
        """Its spans in all services, in their order: those of steps, and how it ended."""
        spans = stage.sink.spans()
        traces = Traces(spans)
        if order not in traces.by_order:
            return [], None
        ids = {s["attributes"].get("sonde.saga.id") for s in traces.by_trace[traces.by_order[order]["trace_id"]]} - {None}
        assert len(ids) == 1, ids
        mine = sorted((s for s in spans if s["attributes"].get("sonde.saga.id") in ids), key=lambda s: s["start"])
        assert {s["attributes"]["sonde.saga.type"] for s in mine} == {"order-by-stream"}
        ends = [s["attributes"]["sonde.saga.outcome"] for s in mine
                if "sonde.saga.step" not in s["attributes"] and "sonde.saga.outcome" in s["attributes"]]
        return [s for s in mine if "sonde.saga.step" in s["attributes"]], ends[0] if ends else None

    def told(order):
        steps, end = saga_of(order)
        keys = ("step", "step.index", "action", "outcome")
        return [(s["service"], *(s["attributes"].get("sonde.saga." + key) for key in keys)) for s in steps], end
    for order, what in expected.items():
        try:
            wait_until(lambda: told(order) == what, 30, order)
        except TimeoutError:
            raise AssertionError(f"{order}: {told(order)}, not {what}") from None
    reserve, charge, ship, charged_back, put_back = saga_of("broken")[0]
    assert reserve["span_id"] in links_of(charge) and charge["span_id"] in links_of(ship), "each step links to the one before"
    assert charge["span_id"] in links_of(charged_back) and reserve["span_id"] in links_of(put_back)
    assert ship["trace_id"] != charge["trace_id"] and charged_back["trace_id"] not in (charge["trace_id"], ship["trace_id"])
    refunds = [s for s in stage.sink.spans() if s["name"] == "POST /refunds"]
    assert [s["attributes"]["shop.order.id"] for s in refunds] == ["broken"], refunds

    def ended():
        """As the agent put them together, across the services."""
        return {labels["sonde_saga_outcome"]: value for labels, value in series(stage, "sonde_saga_assembled_total", by_agent=True)
                if labels["sonde_saga_type"] == "order-by-stream"}
    wait_until(lambda: ended().get("completed") == 1 and ended().get("compensated") == 1, 30, f"the agent's count, not {ended()}")
    must_balance(stage)


def redis_command(stage, *words):
    out = subprocess.run(["redis-cli", "-p", str(stage.redis_port), "--json", *words], capture_output=True, text=True,
                         check=True, timeout=30).stdout
    return json.loads(out)


def asked(stage, deduplicator):
    """What became of the requests or messages that a deduplicator saw: {result: number}, of those that came."""
    return {labels["sonde_idempotency_result"]: value for labels, value in series(stage, "sonde_idempotency_request_total")
            if labels["sonde_resilience_name"] == deduplicator and value}


def once(stage):
    """A payment whose answer is lost is asked for again, and taken once; a message that comes again, or is sent again, has
    the money given back once."""
    stage.start_all(**QUIET, ORDERS_BY_STREAM=1, SHIPPING_FAIL_RATE=1, PAYMENTS_LOST_RATE=1)
    assert post_order(stage, "twice", 60) == 201
    wait_until(lambda: stage.sagas().get("order-by-stream", {}).get("compensated") == 1, 30, "undone")
    assert redis_command(stage, "XGROUP", "SETID", "orders.unshipped", "orders", "0") == "OK"
    wait_until(lambda: asked(stage, "orders.unshipped") == {"first": 1, "replay": 1}, 30, "the entry came again")
    (_, fields), = redis_command(stage, "XRANGE", "orders.unshipped", "-", "+")
    redis_command(stage, "XADD", "orders.unshipped", "*", *fields)
    wait_until(lambda: asked(stage, "orders.unshipped") == {"first": 2, "replay": 1}, 30, "another entry told the same")
    wait_until(stage.shipped, 20, "all acknowledged")
    stage.stop_shop()
    wait_until(lambda: stage.ledger().settled(), 15, "nothing queued or in flight")
    spans = sorted(stage.sink.spans(), key=lambda s: s["start"])

    def told(name, key):
        return [s["attributes"].get(key) for s in spans if s["name"] == name and s["service"] == "payments"]
    assert told("POST /payments", "http.response.status_code") == [504, 200]
    assert told("POST /payments", "sonde.idempotency.result") == ["first", "replay"]
    assert told("POST /refunds", "sonde.idempotency.result") == ["first"]
    assert len(told("authorize card", "shop.payment.amount")) == 1
    keys = set(told("POST /payments", "sonde.idempotency.key"))
    step = next(s for s in spans if s["name"] == "charge" and s["attributes"]["sonde.saga.action"] == "forward")
    assert keys == {step["attributes"]["sonde.saga.idempotency.key"]} and not keys & set(told("POST /refunds", "sonde.idempotency.key"))
    ended = stage.sagas()["order-by-stream"]
    assert ended["compensated"] == 1 and not ended.get("failed"), ended


def refund_waits(stage):
    """Money goes back though the breaker is open: a refund waits to be a probe."""
    stage.start_all(**QUIET, ORDERS_BY_STREAM=1, SHIPPING_FAIL_RATE=1, PAYMENTS_OUTAGE_AFTER=1, PAYMENTS_OUTAGE_FOR=600)
    shipping = stage.running["shipping"].child
    shipping.send_signal(signal.SIGSTOP)
    assert post_order(stage, "paid", 60) == 201
    load = stage.start_load(40)
    wait_until(lambda: by_label(stage, "sonde_circuit_breaker_state", "state").get("open"), 60, "open")
    shipping.send_signal(signal.SIGCONT)

    def refunds():
        return [s["attributes"]["shop.order.id"] for s in stage.sink.spans() if s["name"] == "POST /refunds"]
    wait_until(lambda: "paid" in refunds(), 60, "the money is back")
    load.child.send_signal(signal.SIGTERM)
    load.line("accepted ")
    stage.stop("load")
    wait_until(stage.shipped, 30, "all undone")
    assert refunds().count("paid") == 1
    wait_until(lambda: stage.sagas()["order-by-stream"].get("compensated"), 30, "the agent's count")
    assert not stage.sagas()["order-by-stream"].get("failed"), stage.sagas()
    must_balance(stage)


CASES = [agent_absent, agent_late, agent_restarted, agent_killed, sigterm_drains, queue_full, metrics_listed, outage, saga,
         saga_by_stream, once, refund_waits]

if __name__ == "__main__":
    case = {c.__name__: c for c in CASES}[sys.argv[2]]
    with Stage(sys.argv[1]) as the_stage:
        try:
            case(the_stage)
        except BaseException:
            for name, process in the_stage.running.items():
                print(f"--- {name}\n{process.log()}", file=sys.stderr)
            raise
