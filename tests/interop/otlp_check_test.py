# SPDX-License-Identifier: Apache-2.0
"""The checks of otlp_check.py find what they are there for: each case breaks a good request in one way."""
import sys
import time
import unittest

try:
    import otlp_check
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
except ImportError as error:
    print(f"skipped: {error}; script/test makes the venv")
    sys.exit(77)


def add_span(scope, n, parent=0, trace=1, links=()):
    now = time.time_ns()
    span = scope.spans.add(trace_id=bytes([trace] * 16), span_id=bytes([n] * 8), name="work", kind=2,
                           start_time_unix_nano=now - 5, end_time_unix_nano=now)
    if parent:
        span.parent_span_id = bytes([parent] * 8)
    for link_trace, link_span in links:
        span.links.add(trace_id=bytes([link_trace] * 16), span_id=bytes([link_span] * 8))
    return span


def add_service(request, name):
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = name
    return resource.scope_spans.add()


def errors_after(change):
    request = ExportTraceServiceRequest()
    scope = add_service(request, "a")
    change(request, scope, add_span(scope, 1))
    store = otlp_check.Store()
    store.decode("traces", request.SerializeToString())
    return list(store.errors)


class Checks(unittest.TestCase):
    def test_a_good_request_is_good(self):
        self.assertEqual(errors_after(lambda *_: None), [])

    def test_every_fault_is_found(self):
        def set_(field, value):
            return lambda request, scope, span: setattr(span, field, value)

        faults = {
            "bad id": set_("trace_id", bytes(16)), "bad id ": set_("span_id", b"short"), " parent: bad id": set_("parent_span_id", bytes(8)),
            "ends before": set_("end_time_unix_nano", 1600000000 * 10**9), "not of our days": set_("start_time_unix_nano", 0),
            "is none": set_("kind", 6), "no name": set_("name", ""),
            "link: bad id": lambda r, s, span: span.links.add(trace_id=b"x", span_id=bytes([1] * 8)),
            "event without": lambda r, s, span: span.events.add(time_unix_nano=time.time_ns()),
            "key twice": lambda r, s, span: [span.attributes.add(key="k") for _ in "ab"],
            "resource without scopes": lambda r, s, span: r.resource_spans.add().resource.CopyFrom(r.resource_spans[0].resource),
            "a resource twice": lambda r, s, span: add_span(add_service(r, "a"), 2),
            "without service.name": lambda r, s, span: r.resource_spans[0].resource.Clear(),
            "scope without spans": lambda r, s, span: r.resource_spans[0].scope_spans.add(),
            "unknown fields": lambda r, s, span: span.MergeFromString(b"\xa2\x06\x01x"),
        }
        for sentence, fault in faults.items():
            with self.subTest(sentence):
                self.assertTrue([e for e in errors_after(fault) if sentence.strip() in e], errors_after(fault))

    def test_bytes_that_are_no_request(self):
        store = otlp_check.Store()
        self.assertIsNone(store.decode("traces", b"\xff\xff"))
        self.assertIsNotNone(store.decode("traces", b""))
        self.assertEqual(len(store.errors), 2)

    def test_metrics_without_points_or_with_wrong_sums(self):
        request = ExportMetricsServiceRequest()
        resource = request.resource_metrics.add()
        resource.resource.attributes.add(key="service.name").value.string_value = "a"
        metrics = resource.scope_metrics.add().metrics
        metrics.add(name="empty")
        histogram = metrics.add(name="h").histogram
        histogram.aggregation_temporality = 2
        histogram.data_points.add(time_unix_nano=time.time_ns(), count=3, bucket_counts=[1, 1], explicit_bounds=[1])
        store = otlp_check.Store()
        store.decode("metrics", request.SerializeToString())
        self.assertEqual(sorted(store.errors), ["metric 'empty': no data points", "metric 'h': bucket counts do not add up"])


    def test_every_fault_of_an_exemplar_is_found(self):
        def errors_of(**changes):
            request = ExportMetricsServiceRequest()
            resource = request.resource_metrics.add()
            resource.resource.attributes.add(key="service.name").value.string_value = "a"
            gauge = resource.scope_metrics.add().metrics.add(name="g").gauge
            point = gauge.data_points.add(time_unix_nano=time.time_ns(), as_int=1)
            point.attributes.add(key="k")
            fields = {"time_unix_nano": time.time_ns(), "as_int": 1, "trace_id": bytes([1] * 16), "span_id": bytes([2] * 8)}
            exemplar = point.exemplars.add(**{k: v for k, v in (fields | changes).items() if v is not None and k != "keys"})
            for key in changes.get("keys", ["other"]):
                exemplar.filtered_attributes.add(key=key)
            store = otlp_check.Store()
            store.add("metrics", store.decode("metrics", request.SerializeToString()))
            self.assertEqual(len(store.exemplars), 1)
            return " ".join(store.errors)

        self.assertEqual(errors_of(), "")
        self.assertEqual(errors_of(trace_id=None, span_id=None), "")
        for changes, sentence in (({"time_unix_nano": 0}, "not of our days"), ({"as_int": None}, "no value"),
                                  ({"trace_id": bytes(16)}, "bad id"), ({"span_id": b"short"}, "bad id"),
                                  ({"span_id": None}, "without the other"), ({"keys": ["a", "a"]}, "key twice"),
                                  ({"keys": ["k"]}, "that the point has")):
            with self.subTest(sentence):
                self.assertIn(sentence, errors_of(**changes))


class Joining(unittest.TestCase):
    def test_by_parent_and_by_link_but_not_through_another_order(self):
        request = ExportTraceServiceRequest()
        orders, payments, shipping = (add_service(request, name) for name in ("orders", "payments", "shipping"))
        add_span(orders, 1, trace=1)
        add_span(payments, 2, parent=1, trace=1)
        add_span(orders, 3, trace=2)  # its payment is missing
        add_span(shipping, 4, trace=3, links=[(1, 1), (2, 3)])  # one batch for both
        store = otlp_check.Store()
        store.add("traces", store.decode("traces", request.SerializeToString()))
        store.add("traces", store.decode("traces", request.SerializeToString()))
        report = store.report(["orders", "payments", "shipping"])
        self.assertEqual((report["roots"], report["joined"], report["traces"]), (2, 1, 3))
        self.assertEqual((report["unique_spans"], report["duplicates"], report["orphans"]), (4, 4, 0))
        self.assertEqual(report["errors"], {})


if __name__ == "__main__":
    unittest.main()
