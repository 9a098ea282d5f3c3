# SPDX-License-Identifier: Apache-2.0
"""Decodes OTLP export requests with the official messages, checks them, and keeps what they held.

Plain functions and one class, no I/O; sink.py puts them behind a port.
    store = Store(); store.add("traces", body_bytes); store.report(["orders", "payments"])
"""
import time
from collections import defaultdict

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest, ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

REFUSE_MARKER = "test.refuse"
# signal: (request, list of resources, list of scopes, list of items)
SHAPES = {
    "traces": (ExportTraceServiceRequest, "resource_spans", "scope_spans", "spans"),
    "logs": (ExportLogsServiceRequest, "resource_logs", "scope_logs", "log_records"),
    "metrics": (ExportMetricsServiceRequest, "resource_metrics", "scope_metrics", "metrics"),
}
# signal: (response, its count of refused items)
RESPONSES = {
    "traces": (ExportTraceServiceResponse, "rejected_spans"),
    "logs": (ExportLogsServiceResponse, "rejected_log_records"),
    "metrics": (ExportMetricsServiceResponse, "rejected_data_points"),
}
YEAR_2020_NS = 1577836800 * 10**9
HOUR_NS = 3600 * 10**9


def plain(value):
    """An AnyValue as a Python value."""
    which = value.WhichOneof("value")
    if which == "array_value":
        return [plain(v) for v in value.array_value.values]
    if which == "kvlist_value":
        return attributes(value.kvlist_value.values)
    if which == "bytes_value":
        return value.bytes_value.hex()
    return getattr(value, which) if which else None


def attributes(pairs):
    return {pair.key: plain(pair.value) for pair in pairs}


def unknown_fields(message, where):
    """Names the messages that hold fields the official schema does not know."""
    found = [where] if len(UnknownFieldSet(message)) else []
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
        for child in value if repeated else [value]:
            found += unknown_fields(child, where + "." + field.name)
    return found


def check_attributes(pairs, where):
    keys = [pair.key for pair in pairs]
    if "" in keys:
        yield f"{where}: attribute without a key"
    if len(set(keys)) != len(keys):
        yield f"{where}: attribute key twice"


def check_id(value, size, where, empty_is_fine=False):
    if empty_is_fine and not value:
        return
    if len(value) != size or not any(value):
        yield f"{where}: bad id {value.hex()!r}"


def check_time(ns, where, zero_is_fine=False):
    if zero_is_fine and ns == 0:
        return
    if not YEAR_2020_NS < ns < time.time_ns() + HOUR_NS:
        yield f"{where}: time {ns} is not of our days"


def check_span(span):
    where = f"span {span.name!r}"
    yield from check_id(span.trace_id, 16, where)
    yield from check_id(span.span_id, 8, where)
    yield from check_id(span.parent_span_id, 8, where + " parent", True)
    yield from check_time(span.start_time_unix_nano, where + " start")
    yield from check_time(span.end_time_unix_nano, where + " end")
    if span.start_time_unix_nano > span.end_time_unix_nano:
        yield f"{where}: ends before it starts"
    if span.kind not in Span.SpanKind.values() or span.status.code not in Status.StatusCode.values():
        yield f"{where}: kind {span.kind} or status {span.status.code} is none"
    if not span.name:
        yield f"{where}: no name"
    yield from check_attributes(span.attributes, where)
    for event in span.events:
        yield from check_time(event.time_unix_nano, where + " event")
        yield from check_attributes(event.attributes, where + " event")
        if not event.name:
            yield f"{where}: event without a name"
    for link in span.links:
        yield from check_id(link.trace_id, 16, where + " link")
        yield from check_id(link.span_id, 8, where + " link")
        yield from check_attributes(link.attributes, where + " link")


def check_log(log):
    where = "log record"
    yield from check_time(log.time_unix_nano, where, True)
    yield from check_time(log.observed_time_unix_nano, where, True)
    if not log.time_unix_nano and not log.observed_time_unix_nano:
        yield f"{where}: no time at all"
    if not 0 <= log.severity_number <= 24:
        yield f"{where}: severity {log.severity_number} is none"
    yield from check_id(log.trace_id, 16, where, True)
    yield from check_id(log.span_id, 8, where, True)
    yield from check_attributes(log.attributes, where)


def points_of(metric):
    which = metric.WhichOneof("data")
    return getattr(metric, which).data_points if which else []


def check_exemplar(exemplar, point, where):
    yield from check_time(exemplar.time_unix_nano, where)
    yield from check_id(exemplar.trace_id, 16, where, True)
    yield from check_id(exemplar.span_id, 8, where, True)
    yield from check_attributes(exemplar.filtered_attributes, where)
    if bool(exemplar.trace_id) != bool(exemplar.span_id):
        yield f"{where}: one id without the other"
    if not exemplar.WhichOneof("value"):
        yield f"{where}: no value"
    if set(attributes(exemplar.filtered_attributes)) & set(attributes(point.attributes)):
        yield f"{where}: filtered attributes that the point has"


def check_metric(metric):
    where = f"metric {metric.name!r}"
    if not metric.name:
        yield f"{where}: no name"
    if not points_of(metric):
        yield f"{where}: no data points"
    which = metric.WhichOneof("data")
    if which in ("sum", "histogram", "exponential_histogram"):
        if getattr(metric, which).aggregation_temporality not in (1, 2):
            yield f"{where}: no temporality"
    for point in points_of(metric):
        yield from check_time(point.time_unix_nano, where)
        yield from check_attributes(point.attributes, where)
        if point.start_time_unix_nano > point.time_unix_nano:
            yield f"{where}: starts after its time"
        for exemplar in point.exemplars:
            yield from check_exemplar(exemplar, point, where + " exemplar")
        if which in ("gauge", "sum") and not point.WhichOneof("value"):
            yield f"{where}: point without a value"
        if which == "histogram" and point.bucket_counts:
            if sum(point.bucket_counts) != point.count:
                yield f"{where}: bucket counts do not add up"
            if len(point.bucket_counts) != len(point.explicit_bounds) + 1:
                yield f"{where}: bounds do not fit the buckets"
        if which == "exponential_histogram":
            if sum(point.positive.bucket_counts) + sum(point.negative.bucket_counts) + point.zero_count != point.count:
                yield f"{where}: bucket counts do not add up"


CHECKS = {"traces": check_span, "logs": check_log, "metrics": check_metric}


def check_request(signal, request):
    """Everything that is wrong with a decoded request, as sentences."""
    _, resources_name, scopes_name, items_name = SHAPES[signal]
    resources = getattr(request, resources_name)
    if not resources:
        yield f"{signal}: empty request"
    seen = [r.resource.SerializeToString(deterministic=True) for r in resources]
    if len(set(seen)) != len(seen):
        yield f"{signal}: a resource twice in one request"
    for resource in resources:
        scopes = getattr(resource, scopes_name)
        if not scopes:
            yield f"{signal}: resource without scopes"
        if not attributes(resource.resource.attributes).get("service.name"):
            yield f"{signal}: resource without service.name"
        yield from check_attributes(resource.resource.attributes, "resource")
        for scope in scopes:
            if not getattr(scope, items_name):
                yield f"{signal}: scope without {items_name}"
            for item in getattr(scope, items_name):
                yield from CHECKS[signal](item)
    for where in unknown_fields(request, signal):
        yield f"{where}: unknown fields"


def item_attributes(signal, item):
    if signal != "metrics":
        yield item.attributes
        return
    for point in points_of(item):
        yield point.attributes


def item_count(signal, request):
    _, resources_name, scopes_name, items_name = SHAPES[signal]
    return sum(len(getattr(s, items_name)) for r in getattr(request, resources_name) for s in getattr(r, scopes_name))


def has_marker(signal, request, marker=REFUSE_MARKER):
    _, resources_name, scopes_name, items_name = SHAPES[signal]
    return any(
        any(pair.key == marker for pairs in item_attributes(signal, item) for pair in pairs)
        for resource in getattr(request, resources_name)
        for scope in getattr(resource, scopes_name)
        for item in getattr(scope, items_name)
    )


def added(before, value):
    """Deltas of one series are added up: the report has what a cumulative one would say."""
    if before is None:
        return value
    return {key: before[key] + value[key] for key in value} if isinstance(value, dict) else before + value


class Store:
    """What arrived. Not thread-safe: the caller locks."""

    def __init__(self):
        self.spans = {}  # span id: dict
        self.duplicates = 0
        self.logs = []
        self.exemplars = []
        self.metrics = {}  # name: {"type", "unit", "temporality", "points": {(service, attributes): value}}
        self.deltas = defaultdict(list)  # (resource, name, attributes): (start, end) of each; requests may overtake
        self.errors = defaultdict(int)  # sentence: how often

    def decode(self, signal, body):
        """Decodes and checks; returns the message, or None when the bytes are not one."""
        try:
            request = SHAPES[signal][0].FromString(body)
        except DecodeError as error:
            self.errors[f"{signal}: does not decode: {error}"] += 1
            return None
        for sentence in check_request(signal, request):
            self.errors[sentence] += 1
        return request

    def add(self, signal, request, skip=0):
        """Keeps the items of a request but the first `skip` ones."""
        _, resources_name, scopes_name, items_name = SHAPES[signal]
        for resource in getattr(request, resources_name):
            resource_attributes = attributes(resource.resource.attributes)
            for scope in getattr(resource, scopes_name):
                for item in getattr(scope, items_name):
                    if skip > 0:
                        skip -= 1
                        continue
                    getattr(self, "add_" + signal)(item, resource_attributes, scope.scope.name)

    def add_traces(self, span, resource, scope):
        key = span.span_id.hex()
        if key in self.spans:
            self.duplicates += 1
        self.spans[key] = {
            "trace_id": span.trace_id.hex(), "span_id": key, "parent_span_id": span.parent_span_id.hex(),
            "name": span.name, "kind": span.kind, "start": span.start_time_unix_nano, "end": span.end_time_unix_nano,
            "status": span.status.code, "service": resource.get("service.name"), "scope": scope,
            "attributes": attributes(span.attributes), "events": [e.name for e in span.events],
            "links": [[link.trace_id.hex(), link.span_id.hex()] for link in span.links],
        }

    def add_logs(self, log, resource, scope):
        self.logs.append({
            "service": resource.get("service.name"), "scope": scope, "severity": log.severity_number,
            "body": plain(log.body), "attributes": attributes(log.attributes), "event_name": log.event_name,
            "trace_id": log.trace_id.hex(), "span_id": log.span_id.hex(),
        })

    def add_metrics(self, metric, resource, scope):
        which = metric.WhichOneof("data")
        kept = self.metrics.setdefault(metric.name, {"type": which, "unit": metric.unit, "points": {}})
        kept["temporality"] = getattr(getattr(metric, which), "aggregation_temporality", 0) if which else 0
        for point in points_of(metric):
            if which in ("gauge", "sum"):
                value = getattr(point, point.WhichOneof("value") or "as_double")
            else:
                value = {"count": point.count, "sum": point.sum}
            pairs = attributes(point.attributes)
            for exemplar in point.exemplars:
                self.exemplars.append({
                    "service": resource.get("service.name"), "metric": metric.name, "type": which, "attributes": pairs,
                    "value": getattr(exemplar, exemplar.WhichOneof("value") or "as_double"), "time": exemplar.time_unix_nano,
                    "trace_id": exemplar.trace_id.hex(), "span_id": exemplar.span_id.hex(),
                    "filtered": attributes(exemplar.filtered_attributes),
                })
            key = (resource.get("service.name"), repr(sorted(pairs.items())))
            if kept["temporality"] == 1:
                self.check_delta((repr(sorted(resource.items())), metric.name, key[1]), point)
                value = added(kept["points"].get(key, (pairs, None))[1], value)
            kept["points"][key] = (pairs, value)

    def check_delta(self, series, point):
        start, end = point.start_time_unix_nano, point.time_unix_nano
        if any(start < other_end and other_start < end for other_start, other_end in self.deltas[series]):
            self.errors[f"metric {series[1]!r}: two deltas of one time"] += 1
        self.deltas[series].append((start, end))

    def reached(self):
        """For every root span the services its work reached: by children, and by spans that link to what was reached."""
        children, linked = defaultdict(list), defaultdict(list)
        for span in self.spans.values():
            if span["parent_span_id"]:
                children[span["trace_id"], span["parent_span_id"]].append(span)
            for link in span["links"]:
                linked[tuple(link)].append(span)
        for root in self.spans.values():
            if root["parent_span_id"] or any(link[1] in self.spans for link in root["links"]):
                continue
            services, seen, todo = set(), set(), [root]
            while todo:
                span = todo.pop()
                if span["span_id"] in seen:
                    continue
                seen.add(span["span_id"])
                services.add(span["service"])
                key = (span["trace_id"], span["span_id"])
                todo += children[key] + linked[key]
            yield root, services

    def report(self, services=(), root_service=None, root_name=None):
        """services: which must all be reached for a root to count as joined; default: all that were seen."""
        seen = sorted({span["service"] or "" for span in self.spans.values()})
        wanted = set(services or seen)
        roots = [
            (root, reached) for root, reached in self.reached()
            if root_service in (None, root["service"]) and root_name in (None, root["name"])
        ]
        orphans = sum(
            1 for span in self.spans.values() if span["parent_span_id"] and span["parent_span_id"] not in self.spans
        )
        return {
            "spans": len(self.spans) + self.duplicates, "unique_spans": len(self.spans), "duplicates": self.duplicates,
            "traces": len({span["trace_id"] for span in self.spans.values()}), "roots": len(roots),
            "joined": sum(1 for _, reached in roots if wanted <= reached), "orphans": orphans, "services": seen,
            "logs": len(self.logs), "errors": dict(self.errors),
            "metrics": {
                name: {
                    "type": kept["type"], "unit": kept["unit"], "temporality": kept["temporality"],
                    "points": [
                        {"service": service, "attributes": pairs, "value": value}
                        for (service, _), (pairs, value) in kept["points"].items()
                    ],
                }
                for name, kept in self.metrics.items()
            },
        }
