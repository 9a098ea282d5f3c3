# SPDX-License-Identifier: Apache-2.0
"""The peer on the OpenTelemetry SDK for Python; ../README.md says what it is told and what it tells.

    python peer.py call|serve|send|receive TRANSPORT ADDRESS DESTINATION [OPTION...]

Here is what all transports share: the SDK and its spans. The transports are in transports.py."""
import argparse
import json
import logging
import signal
import sys

from opentelemetry import baggage, context, propagate, trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.span import TraceState

import transports


class Kept(SpanProcessor):
    """Remembers every span that is started."""

    def __init__(self):
        self.spans = []

    def on_start(self, span, parent_context=None):
        self.spans.append(span)


def told_context(span_context):
    return {"trace_id": f"{span_context.trace_id:032x}", "span_id": f"{span_context.span_id:016x}",
            "flags": int(span_context.trace_flags), "tracestate": span_context.trace_state.to_header()}


def told_span(span):
    parent = getattr(span, "parent", None)
    return told_context(span.get_span_context()) | {
        "name": getattr(span, "name", ""), "kind": span.kind.name.lower() if hasattr(span, "kind") else "",
        "parent_span_id": f"{parent.span_id:016x}" if parent else "",
        "links": [told_context(link.context) for link in getattr(span, "links", ())]}


def tell(line):
    print(line if isinstance(line, str) else json.dumps(line, ensure_ascii=False), flush=True)


class Peer:
    """One exchange: what the transports use to start, inject, extract and tell."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.kept = Kept()
        provider = TracerProvider()
        provider.add_span_processor(self.kept)
        trace.set_tracer_provider(provider)
        self.tracer = trace.get_tracer("sonde.interop")
        self.answer = None

    def ready(self, port=None):
        tell("ready" if port is None else f"ready {port}")

    def given(self):
        """The context that the options describe: remote parent and baggage."""
        start = context.Context()
        if self.arguments.parent:
            _, trace_id, span_id, flags = self.arguments.parent.split("-")
            parent = SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)),
                                 TraceState.from_header([self.arguments.tracestate]))
            start = trace.set_span_in_context(NonRecordingSpan(parent), start)
        for entry in self.arguments.baggage:
            key, _, value = entry.partition("=")
            start = baggage.set_baggage(key, value, start)
        return start

    def act(self, sends):
        """Runs the transport's half of call or send in a root span. Its argument injects, unless a library does."""
        token = context.attach(self.given())
        with self.tracer.start_as_current_span("root") as root:
            sends(self)
            sent = [span for span in self.kept.spans if span.kind in (SpanKind.CLIENT, SpanKind.PRODUCER)]
            self.answer = {"root": told_span(root), "sent": told_span(sent[-1] if sent else root),
                           "baggage": dict(baggage.get_all())}
        context.detach(token)

    def injected(self):
        """Where no library injects: the carrier as a plain dict."""
        carrier = {}
        propagate.inject(carrier)
        return carrier

    def _took(self, span, seen, entries):
        spans = {"parent": told_span(span)}
        if self.arguments.role == "receive":
            with self.tracer.start_as_current_span("batch", context=context.Context(), kind=SpanKind.CONSUMER,
                                                   links=[Link(seen)]) as batch:
                spans["link"] = told_span(batch)
        self.answer = {"seen": told_context(seen), "baggage": dict(entries), "spans": spans}

    def took(self, span=None):
        """Called where the library's server or consumer span is current, or is given."""
        span = span or trace.get_current_span()
        self._took(span, getattr(span, "parent", None) or SpanContext(0, 0, True), baggage.get_all())

    def extracted(self, carrier):
        """Where no library extracts: from a dict of what came."""
        came = propagate.extract(carrier, context=context.Context())
        with self.tracer.start_as_current_span("process", context=came, kind=SpanKind.CONSUMER) as span:
            self._took(span, trace.get_current_span(came).get_span_context(), baggage.get_all(came))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("call", "serve", "send", "receive"))
    parser.add_argument("transport")
    parser.add_argument("address")
    parser.add_argument("destination")
    parser.add_argument("--parent")
    parser.add_argument("--tracestate", default="")
    parser.add_argument("--baggage", action="append", default=[])
    parser.add_argument("--timeout", type=float, default=30)
    arguments = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    signal.setitimer(signal.ITIMER_REAL, arguments.timeout)  # SIGALRM ends the process when nothing else does
    host, _, port = arguments.address.rpartition(":")
    make = transports.ALL.get((arguments.role, arguments.transport))
    if not make:
        print(f"no {arguments.role} over {arguments.transport}", file=sys.stderr)
        return 77
    peer = Peer(arguments)
    try:
        make(peer, host, int(port), arguments.destination)
    except ImportError as missing:
        print(missing, file=sys.stderr)
        return 77
    if not peer.answer:
        print("nothing came", file=sys.stderr)
        return 1
    tell(peer.answer)
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    sys.exit(main())
