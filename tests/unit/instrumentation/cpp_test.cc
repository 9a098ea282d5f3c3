/* SPDX-License-Identifier: Apache-2.0 */
/* sonde.hpp: scopes end what they began, values arrive, nothing throws or costs more than the C call. What was recorded
 * is seen in this thread's ring by the length and bytes of its records. */
#include <sonde/carrier/http.h>
#include <sonde/sonde.hpp>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

extern "C" {
const void *cpp_test_record(size_t *ret_size); /* cpp_test_ring.c */
void cpp_test_patience();
}

static int failures;
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                       \
            failures++;                                                                                                \
        }                                                                                                              \
    } while (0)

/* The next record of the ring as bytes; empty when there is none. */
static std::string record() {
    size_t size = 0;
    const void *bytes = cpp_test_record(&size);
    return bytes ? std::string(static_cast<const char *>(bytes), size) : std::string();
}
static bool has(const std::string &bytes, std::string_view part) {
    return bytes.find(part) != std::string::npos;
}

static_assert(!std::is_copy_constructible_v<sonde::span> && std::is_nothrow_move_constructible_v<sonde::span>);
static_assert(noexcept(std::declval<sonde::span &>().set("k", 1)) &&noexcept(sonde::span("name")));
static_assert(sizeof(sonde::counter) == sizeof(sonde_instrument));

static void span_ends_with_its_scope() {
    std::string route = "/users/{id}";
    {
        sonde::span outer("outer", SONDE_SPAN_KIND_SERVER);
        outer.set("http.route", route)
            .set(SONDE_KEY("http.response.status_code"), 200)
            .set("ratio", 0.5f)
            .set("ok", true);
        outer.set(std::string_view("text"), "literal").event("happened", {{"n", 1}, {"s", route}});
        CHECK(outer.is_recording());
        {
            sonde::span inner("inner");
            CHECK(std::memcmp(inner.get().context.trace_id, outer.get().context.trace_id, 16) == 0);
        }
        sonde_span_context current = sonde_context_current_span();
        CHECK(std::memcmp(current.span_id, outer.get().context.span_id, 8) == 0);
    }
    CHECK(!sonde::context::current().is_valid());
    CHECK(has(record(), "inner"));
    std::string bytes = record();
    for (const char *part :
         {"outer", "http.route", "/users/{id}", "http.response.status_code", "ratio", "ok", "literal", "happened"})
        CHECK(has(bytes, part));
    CHECK(record().empty());
}

static void moved_span_ends_once() {
    sonde::span first("first");
    sonde::span second(std::move(first));
    CHECK(!first.is_recording() && second.is_recording());
    first.end();
    second = sonde::span("third");
    CHECK(has(record(), "first"));
    second.end();
    second.end();
    CHECK(has(record(), "third"));
    CHECK(record().empty());
}

static void context_goes_through_headers_and_threads_of_control() {
    sonde_http_header items[4] = {};
    char room[SONDE_HTTP_INJECT_SIZE];
    sonde_http_headers headers = {items, 0, 4, room, sizeof room, 0};
    sonde_carrier carrier = sonde_http_carrier(&headers);
    {
        sonde::span client("call", SONDE_SPAN_KIND_CLIENT);
        CHECK(client.to_context().inject(carrier) == 0);
    }
    CHECK(headers.count == 1);
    sonde::context remote = sonde::context::extract(carrier);
    CHECK(remote.is_valid() && remote.get().span.is_remote);
    {
        sonde::scope here(remote);
        sonde::span child("child");
        CHECK(std::memcmp(child.get().context.trace_id, remote.get().span.trace_id, 16) == 0);
    }
    CHECK(!sonde::context::current().is_valid());
    {
        sonde::span server("serve", SONDE_SPAN_KIND_SERVER, remote);
        server.link(remote, {{"why", "test"}}).rename("served").status(SONDE_STATUS_OK);
        CHECK(std::memcmp(server.get().context.trace_id, remote.get().span.trace_id, 16) == 0);
    }
    CHECK(has(record(), "call"));
    CHECK(has(record(), "child"));
    std::string bytes = record();
    CHECK(has(bytes, "served") && has(bytes, "why") && !has(bytes, "serve\x12"));
}

static void exceptions_are_recorded_not_thrown() {
    try {
        sonde::span span("work");
        try {
            throw std::runtime_error("it broke");
        } catch (const std::exception &error) {
            span.fail(error);
            throw;
        }
    } catch (const std::exception &) {
    }
    std::string bytes = record();
    CHECK(has(bytes, "work") && has(bytes, "it broke") && has(bytes, "exception"));
    sonde::log(SONDE_SEVERITY_WARN, "a warning", {{"n", 7u}});
    CHECK(has(record(), "a warning"));
}

static void instruments_take_attributes() {
    sonde::counter hits("cpp.hits", "{hit}");
    sonde::up_down_counter open("cpp.open");
    sonde::gauge level("cpp.level");
    sonde::histogram wait("cpp.wait", "s", "a test");
    std::string name = "shop";
    hits.add(1, {{"name", name}, {"id", 7}});
    open.add(-1);
    level.set(0.5, {{"a", true}});
    wait.record(1.5, {{"b", 2.5}});
    CHECK(hits.get().index && open.get().index && level.get().index && wait.get().index);
    CHECK(hits.bind({{"name", name}}).index != hits.bind({{"name", "other"}}).index);
    sonde::counter bad("not a name");
    bad.add(1); /* a no-op */
    CHECK(bad.get().index == 0);
    sonde_stats stats = {};
    stats.size = sizeof stats;
    sonde_stats_get(&stats);
    CHECK(stats.measurements_dropped == 0);
}

/* The last test: sonde_shutdown() asks the callbacks. */
static void observables_report_as_long_as_they_live() {
    sonde::observable_counter total("cpp.total");
    sonde::observable_up_down_counter length("cpp.length");
    sonde::observable_gauge level("cpp.level.observed");
    int kept = 0, gone = 0;
    std::string name = "shop";
    sonde::observable watch(
        [&](sonde::observer to) {
            kept++;
            to.set(total, 7u, {{"name", name}});
            to.set(length, -1);
            to.set(level, 0.5);
            to.set(level, 2, {{"a", true}});
            to.set(total, 0.5); /* a counter of integers: dropped */
        },
        {total, length, level});
    {
        sonde::observable ended([&](sonde::observer) { gone++; }, {level});
    }
    cpp_test_patience();
    (void)sonde_shutdown(60000);
    sonde_stats stats = {};
    stats.size = sizeof stats;
    sonde_stats_get(&stats);
    CHECK(kept == 1 && gone == 0 && stats.observations_dropped == 1);
}

int main() {
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    span_ends_with_its_scope();
    moved_span_ends_once();
    context_goes_through_headers_and_threads_of_control();
    exceptions_are_recorded_not_thrown();
    instruments_take_attributes();
    observables_report_as_long_as_they_live();
    return failures ? 1 : 0;
}
