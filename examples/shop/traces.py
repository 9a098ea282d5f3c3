# SPDX-License-Identifier: Apache-2.0
"""Joins what arrived at the backend into traces, and draws one as text."""

SERVICES = ("orders", "payments", "shipping")
REJECTION = "circuit breaker rejection"
BY_STREAM = "order-by-stream"


class Traces:
    """spans: dicts with trace_id, span_id, parent_span_id (hex), name, service, start, end (unix ns), status, attributes,
    links [(trace_id, span_id)]."""

    def __init__(self, spans):
        self.by_id = {(s["trace_id"], s["span_id"]): s for s in spans}
        self.by_trace, self.linked_from, self.by_order = {}, {}, {}
        for span in self.by_id.values():
            self.by_trace.setdefault(span["trace_id"], []).append(span)
            for target in span["links"]:
                self.linked_from.setdefault(target, []).append(span)
            if span["name"] == "POST /orders" and "shop.order.id" in span["attributes"]:
                self.by_order[span["attributes"]["shop.order.id"]] = span

    def parent(self, span):
        return self.by_id.get((span["trace_id"], span["parent_span_id"]))

    def root(self, span):
        seen = set()
        while span["span_id"] not in seen and self.parent(span):
            seen.add(span["span_id"])
            span = self.parent(span)
        return span

    def payments(self):
        """How often money was taken in each trace that has an order: {trace id: number}."""
        traces = [top["trace_id"] for top in self.by_order.values()]
        return {trace: sum(s["name"] == "authorize card" and s["status"] != 2 for s in self.by_trace[trace]) for trace in traces}

    def why_not_joined(self, order):
        """None when the order's spans in all three services hang together, else the reason."""
        top = self.by_order.get(order)
        if not top:
            return "no server span"
        spans = self.by_trace[top["trace_id"]]
        loose = [s["name"] for s in spans if self.root(s) is not top]
        if loose:
            return f"not below the server span: {loose}"
        if not any(s["service"] == "payments" and s["name"] == "POST /payments" for s in spans):
            rejected = [s for s in spans if s["name"] == REJECTION]
            if top["attributes"].get("shop.payment.method") != "account" or not rejected:
                return "no payments, and no rejection by the breaker instead"
        sends = [s for s in spans if s["name"] == "send orders" and s["service"] == "orders"]
        if len(sends) != 1:
            return f"{len(sends)} producer spans"
        received = self.linked_from.get((top["trace_id"], sends[0]["span_id"]), [])
        if not any(s["name"] == "process orders" and s["service"] == "shipping" for s in received):
            return "no process span links to it"
        handed_over = [s for s in spans if s["attributes"].get("sonde.saga.type") == BY_STREAM
                       and s["attributes"].get("sonde.saga.step") == "charge"]
        gone_on = [s for step in handed_over for s in self.linked_from.get((step["trace_id"], step["span_id"]), [])]
        if handed_over and not any(s["name"] == "ship" and s["service"] == "shipping" for s in gone_on):
            return "no step of shipping goes on with its saga"
        return None

    def waterfall(self, order, width=40):
        """The trace of an order, and what links to it, one line a span."""
        top = self.by_order[order]
        rows, seen = [], set()

        def walk(span, depth, mark):
            if span["span_id"] in seen:  # a step of a saga is below its batch and linked to the step before
                return
            seen.add(span["span_id"])
            rows.append((span, depth, mark))
            children = [s for s in self.by_trace[span["trace_id"]] if self.parent(s) is span]
            for child in sorted(children, key=lambda s: s["start"]):
                walk(child, depth + 1, "")
            key = (span["trace_id"], span["span_id"])
            for linked in sorted(self.linked_from.get(key, []), key=lambda s: s["start"]):
                if linked["trace_id"] != span["trace_id"]:
                    walk(linked, depth + 1, "~> ")

        walk(top, 0, "")
        begin = top["start"]  # a poll that waited for this order began before it: a negative offset
        total = max(max(s["end"] for s, _, _ in rows) - begin, 1)
        out = [f"trace {top['trace_id']}   order {order}   {total / 1e6:.1f} ms   (~> = another trace, by link)",
               f"{'service':<9} {'span':<34} {'offset':>9} {'duration':>11}"]
        for span, depth, mark in rows:
            left = min(max(0, int((span["start"] - begin) * width / total)), width - 1)
            size = max(1, round((span["end"] - max(span["start"], begin)) * width / total))
            code = span["attributes"].get("http.response.status_code")
            name = "  " * depth + mark + span["name"] + (f" {code}" if code else "")
            error = " !" if span["status"] == 2 else ""
            links = f"  links {len(span['links'])}" if span["links"] else ""
            offset, duration = (span["start"] - begin) / 1e6, (span["end"] - span["start"]) / 1e6
            out.append(f"{span['service']:<9} {name:<34.34} {offset:6.1f} ms {duration:8.2f} ms"
                       f"  {' ' * left}{'#' * min(size, width - left)}{error}{links}")
        return "\n".join(out)

    def most_telling(self, orders):
        """An order worth showing: the one that needed most attempts."""
        joined = [o for o in orders if self.why_not_joined(o) is None]

        def retried(order):
            return max(s["attributes"].get("http.request.resend_count", 0)
                       for s in self.by_trace[self.by_order[order]["trace_id"]])
        return max(joined, key=retried, default=None)
