/* SPDX-License-Identifier: Apache-2.0 */
/* Between start and end of a span, in inject and extract, in a log and a counter add: no allocation, no mutex, and no
 * system call but the clock and the doorbell, once the thread is warm. Each row of the table runs in a child of its
 * own: there a seccomp filter traps every other system call of the calling thread, and allocator and mutexes count. A
 * new hot-path call is a new row. */
#include "instrumentation/ring/steering.h"
#include "instrumentation/ring/thread.h"
#include <dlfcn.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sonde/carrier/http.h>
#include <sonde/carrier/websocket.h>
#include <sonde/resilience/breaker.h>
#include <sonde/resilience/hedge.h>
#include <sonde/resilience/idempotency.h>
#include <sonde/resilience/policy.h>
#include <sonde/resilience/saga.h>
#include <sonde/sonde.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- what is counted ---- */

static struct verdict {
    int syscall;
    unsigned allocations, mutexes, calls;
} * verdict;               /* shared with the child */
static __thread int armed; /* this thread only: the link thread may do as it likes */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
/* Of sanitizer/allocator_interface.h, which Debian's gcc comes without. */
int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void *, size_t), void (*)(const volatile void *));
#define SANITIZED
static void on_malloc(const volatile void *memory, size_t size) {
    (void)memory, (void)size;
    if (armed)
        verdict->allocations++;
}
static void on_free(const volatile void *memory) {
    (void)memory;
}
#else
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *malloc(size_t size) {
    if (armed)
        verdict->allocations++;
    return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
    if (armed)
        verdict->allocations++;
    return __libc_calloc(count, size);
}
void *realloc(void *memory, size_t size) {
    if (armed)
        verdict->allocations++;
    return __libc_realloc(memory, size);
}
/* Mutexes that were free make no system call: they are counted by name. */
int pthread_mutex_lock(pthread_mutex_t *mutex) {
    static int (*next)(pthread_mutex_t *);
    if (armed)
        verdict->mutexes++;
    if (!next)
        next = (int (*)(pthread_mutex_t *))dlsym(RTLD_NEXT, "pthread_mutex_lock");
    return next(mutex);
}
#endif

/* A sanitizer's _exit() makes system calls of its own. */
static void leave(int code) {
    syscall(SYS_exit_group, code);
}

static void on_trap(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    verdict->syscall = info->si_syscall;
    leave(1);
}

static int forbid_syscalls(void) {
#define ALLOW(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(__NR_clock_gettime), /* where the vDSO has no clock */
        ALLOW(__NR_write),         /* the doorbell; counted by the library, none without an agent */
        ALLOW(__NR_exit_group),
        ALLOW(__NR_rt_sigreturn),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    };
    struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    action.sa_sigaction = on_trap;
    if (sigaction(SIGSYS, &action, NULL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* ---- the rows ---- */

static void span_plain(int i) {
    struct sonde_span outer, inner;
    sonde_span_start(&outer, SONDE_NAME("outer"), NULL); /* a root: draws a trace id */
    sonde_span_start(&inner, SONDE_NAME("inner"), NULL);
    sonde_span_set_int64(&inner, SONDE_KEY("i"), i);
    sonde_span_set_cstr(&inner, sonde_key_cstr("http.route"), "/users/{id}");
    sonde_span_end(&inner);
    sonde_span_end(&outer);
}

static void span_with_everything(int i) {
    static char text[6000];
    static const int64_t numbers[] = {1, 2, 3};
    struct sonde_attribute list = {.key = SONDE_KEY("list"), .type = SONDE_VALUE_INT64_ARRAY, .size = 3};
    struct sonde_link link = {.context = {.trace_id = {1}, .span_id = {1}}};
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    struct sonde_context context;
    struct sonde_span span;
    list.value.int64s = numbers;
    link.attributes = &list;
    link.attribute_count = 1;
    options.links = &link;
    options.link_count = 1;
    if (!text[0])
        memset(text, 'x', sizeof text - 1);
    sonde_span_start(&span, SONDE_NAME("everything"), &options);
    sonde_span_set_string(&span, SONDE_KEY("big"), text, sizeof text - 1); /* extents */
    sonde_span_set_string(&span, SONDE_KEY("bad"), "\xFF", 1);
    sonde_span_set_double(&span, SONDE_KEY("d"), i);
    sonde_span_set_bool(&span, SONDE_KEY("b"), true);
    sonde_span_set_bytes(&span, SONDE_KEY("raw"), text, 10);
    sonde_span_set(&span, &list);
    sonde_span_set_int64(&span, SONDE_KEY("b"), 1); /* replaces */
    sonde_span_add_event(&span, SONDE_NAME("event"), 0, &list, 1);
    sonde_span_add_link(&span, &link);
    sonde_span_record_exception(&span, "Error", "message", text);
    sonde_span_set_name(&span, SONDE_NAME("renamed"));
    sonde_span_context_get(&span, &context);
    sonde_span_set_status(&span, SONDE_STATUS_ERROR, "description");
    sonde_span_end(&span);
}

static void span_under_remote_parents(int i) {
    struct sonde_context parent = {
        .span = {.trace_id = {1}, .span_id = {1}, .flags = (uint8_t)(i & 1), .is_remote = 1}};
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    struct sonde_span span, child;
    memcpy(parent.tracestate, "ot=th:8,a=1", 11);
    parent.tracestate_length = 11;
    options.parent = &parent;
    sonde_span_start(&span, SONDE_NAME("server"), &options);
    sonde_span_start(&child, SONDE_NAME("child"), NULL);
    sonde_span_end(&child);
    sonde_span_end(&span);
}

static void context_moves(int i) {
    struct sonde_context context;
    struct sonde_context_token token;
    (void)i;
    sonde_context_current(&context);
    token = sonde_context_attach(&context);
    (void)sonde_context_current_span();
    sonde_context_detach(token);
}

static void log_record(int i) {
    struct sonde_attribute attribute = sonde_attribute_int64(SONDE_KEY("i"), i);
    if (sonde_log_enabled(SONDE_SEVERITY_ERROR))
        sonde_log(SONDE_SEVERITY_ERROR, "something happened", 18, &attribute, 1);
}

/* Inject and extract through a carrier that has room for two headers. */
struct headers {
    char value[2][1200];
    size_t size[2];
};
static size_t header_of(struct sonde_string name) {
    return name.size == 11; /* "traceparent", else "tracestate" */
}
static bool header_get(void *self, struct sonde_string name, struct sonde_string *ret_value) {
    struct headers *headers = self;
    size_t i = header_of(name);
    *ret_value = (struct sonde_string){headers->value[i], headers->size[i]};
    return headers->size[i] != 0;
}
static void header_each(void *self, struct sonde_string name, sonde_carrier_visit visit, void *user) {
    struct sonde_string value;
    if (header_get(self, name, &value))
        (void)visit(user, value);
}
static int header_set(void *self, struct sonde_string name, struct sonde_string value) {
    struct headers *headers = self;
    size_t i = header_of(name);
    if (value.size > sizeof headers->value[i])
        return SONDE_ETOOBIG;
    memcpy(headers->value[i], value.data, value.size);
    headers->size[i] = value.size;
    return 0;
}
static void header_remove(void *self, struct sonde_string name) {
    ((struct headers *)self)->size[header_of(name)] = 0;
}
static void inject_and_extract(int i) {
    static const struct sonde_carrier_ops ops = {
        .get = header_get, .each = header_each, .set = header_set, .remove = header_remove};
    static struct headers headers;
    struct sonde_carrier carrier = {&ops, &headers};
    struct sonde_context context = {.span = {.trace_id = {1}, .span_id = {(uint8_t)(i | 1)}, .flags = 1}};
    memcpy(context.tracestate, "a=1", 3);
    context.tracestate_length = 3;
    (void)sonde_inject(&context, &carrier);
    (void)sonde_extract(&carrier, &context);
}

/* Every format, over headers as services have them, and baggage as a value and on the thread. */
static void propagators(int i) {
    static struct sonde_context context, back;
    static char text[SONDE_HTTP_INJECT_SIZE];
    struct sonde_http_header headers[64];
    struct sonde_http_headers list = {headers, 0, 64, text, sizeof text, 0};
    struct sonde_carrier carrier = sonde_http_carrier(&list);
    const char *all = "tracecontext,baggage,b3,b3multi,jaeger,xray,gcloud,datadog,ottrace,grpc-trace-bin";
    struct sonde_extract_options options = SONDE_EXTRACT_OPTIONS_INIT;
    struct sonde_baggage_entry entry;
    sonde_context_init(&context);
    context.span.trace_id[15] = context.span.span_id[7] = (uint8_t)(i | 1);
    context.span.decision = SONDE_DECISION_DEBUG;
    (void)sonde_tracestate_set(&context, "dd", 2, "s:2;o:x;t.dm:-4", 15);
    (void)sonde_baggage_set(&context, sonde_text("k"), sonde_text("a b"), sonde_text("m"));
    (void)sonde_inject_as(all, &context, &carrier);
    options.propagators = all;
    (void)sonde_extract_with(&carrier, &options, &back);
    static struct sonde_entry_budget budget;
    if (!budget.internal[0])
        (void)sonde_entry_budget_init(&budget, 1000, 1);
    options.budget = &budget;
    (void)sonde_extract_with(&carrier, &options, &back);
    sonde_baggage_clear(&context); /* a request that is sent again */
    (void)sonde_inject_as(all, &context, &carrier);
    struct sonde_context_token token = sonde_context_attach(&back);
    (void)sonde_baggage_set(NULL, sonde_text("l"), sonde_text("\xff"), sonde_text(""));
    (void)sonde_baggage_find(NULL, sonde_text("l"), &entry);
    (void)sonde_baggage_decode(entry.value, text, sizeof text);
    (void)sonde_baggage_remove(NULL, sonde_text("l"));
    sonde_context_detach(token);
    sonde_propagation_clear(&carrier);
    struct sonde_string url =
        sonde_text("/?traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01&baggage=k%3Dv");
    (void)sonde_websocket_extract(&carrier, url.data, url.size, &back);
}

static struct sonde_instrument instrument_of(enum sonde_instrument_kind kind, const char *name) {
    struct sonde_instrument instrument;
    struct sonde_instrument_options options = {.size = sizeof options, .kind = kind, .name = name};
    options.number = kind == SONDE_HISTOGRAM ? SONDE_NUMBER_DOUBLE : SONDE_NUMBER_INT64;
    if (sonde_instrument_create(&options, &instrument) != 0)
        leave(3);
    return instrument;
}
static void metrics(int i) {
    static bool ready;
    static struct sonde_instrument counter;
    static struct sonde_series bound, histogram;
    struct sonde_attribute attribute = sonde_attribute_int64(SONDE_KEY("shard"), i & 3);
    if (!ready) { /* in the warm-up */
        counter = instrument_of(SONDE_COUNTER, "hot.counter");
        bound = sonde_series_bind(counter, &attribute, 1);
        histogram = sonde_series_bind(instrument_of(SONDE_HISTOGRAM, "hot.histogram"), NULL, 0);
        ready = true;
    }
    sonde_counter_add(bound, 1);
    sonde_histogram_record(histogram, i + 0.5);
    sonde_instrument_add(counter, 1, &attribute, 1);
}

/* Offered, drawn and written, with attributes that a view left out; every tenth call begins a period. */
static void exemplars(int i) {
    static const char *const keep[] = {"shard"};
    static const double bounds[] = {1, 10, 100};
    static struct sonde_instrument counter, advised;
    static struct sonde_series bound, histogram;
    struct sonde_attribute attributes[] = {sonde_attribute_int64(SONDE_KEY("shard"), i & 3),
                                           sonde_attribute_string(SONDE_KEY("user"), "u-1")};
    struct sonde_view_options view = {
        .size = sizeof view, .instrument_name = "hot.exemplars.*", .keep_keys = keep, .keep_key_count = 1};
    struct sonde_span_context other = {.trace_id = {1}, .span_id = {1}, .flags = 1};
    if (!histogram.index) { /* in the warm-up */
        struct sonde_instrument_options options = {
            .size = sizeof options, .kind = SONDE_HISTOGRAM, .name = "hot.exemplars.advised", .bounds = bounds};
        options.bound_count = 3;
        if (sonde_view_add(&view) || sonde_instrument_create(&options, &advised))
            leave(3);
        counter = instrument_of(SONDE_COUNTER, "hot.exemplars.counter");
        bound = sonde_series_bind(counter, attributes, 1);
        histogram = sonde_series_bind(instrument_of(SONDE_HISTOGRAM, "hot.exemplars.histogram"), NULL, 0);
    }
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("measured"), NULL);
    sonde_counter_add(bound, 1);
    sonde_histogram_record(histogram, i + 0.5);
    sonde_instrument_add(counter, 1, attributes, 2);
    sonde_instrument_record(advised, i % 200, attributes, 2);
    sonde_instrument_record_in(&other, advised, i % 200, attributes, 2);
    sonde_span_end(&span);
    if (i % 10 == 0)
        atomic_fetch_add_explicit(&sonde__process_get()->collection, 1, memory_order_relaxed);
}

static void conventions(int i) {
    static const struct sonde_carrier_ops ops = {
        .get = header_get, .each = header_each, .set = header_set, .remove = header_remove};
    static struct headers headers;
    struct sonde_carrier carrier = {&ops, &headers};
    struct sonde_message messages[2] = {{carrier, {"id", 2}, NULL}, {carrier, {"id", 2}, NULL}};
    struct sonde_http_client client;
    struct sonde_http_server server;
    struct sonde_rpc call;
    struct sonde_messaging send, process;
    sonde_http_client_init(&client);
    client.method = sonde_text("GET");
    client.url = sonde_text("https://u:p@host/?sig=secret");
    sonde_http_client_start(&client, &carrier);
    client.status_code = 200 + (i & 3);
    sonde_http_server_init(&server);
    server.method = client.method;
    server.route = sonde_text("/users/{id}");
    sonde_http_server_start(&server, &carrier);
    server.status_code = client.status_code;
    sonde_http_server_end(&server);
    sonde_http_client_end(&client);
    sonde_rpc_init(&call);
    call.method = sonde_text("a/b");
    sonde_rpc_client_start(&call, &carrier);
    sonde_rpc_client_end(&call);
    headers.size[0] = headers.size[1] = 0; /* a message without a context */
    sonde_messaging_init(&send, SONDE_MESSAGING_SEND);
    send.system = sonde_text("kafka");
    send.destination = sonde_text("orders");
    send.messages = messages;
    send.message_count = 1;
    sonde_messaging_start(&send);
    sonde_messaging_end(&send);
    sonde_messaging_init(&process, SONDE_MESSAGING_PROCESS);
    process.messages = messages;
    process.message_count = 2;
    sonde_messaging_start(&process);
    sonde_messaging_end(&process);
}

/* Every kind of sampler, attributes at the start, ids of a generator. */
static void decide_as_flags_say(void *user, const struct sonde_sampling_request *request,
                                struct sonde_sampling_result *result) {
    (void)user;
    (void)sonde_tracestate_set(request->context, "mine", 4, "1", 1);
    result->decision = request->randomness & 1 ? SONDE_SAMPLING_SAMPLE : SONDE_SAMPLING_THRESHOLD;
    result->threshold = 1;
}
static void samplers_start(void) {
    struct sonde_sampler_rule rules[3] = {SONDE_SAMPLER_RULE_INIT, SONDE_SAMPLER_RULE_INIT, SONDE_SAMPLER_RULE_INIT};
    struct sonde_attribute added = sonde_attribute_string(SONDE_KEY("by"), "rule");
    struct sonde_options options = SONDE_OPTIONS_INIT;
    const struct sonde_sampler *half, *remote, *custom, *root;
    if (sonde_sampler_probability(0.5, &half) || sonde_sampler_remote(half, &remote) ||
        sonde_sampler_rate_limiting(100000, 0, remote, &rules[1].sampler) ||
        sonde_sampler_custom(decide_as_flags_say, NULL, &custom) ||
        sonde_sampler_annotating(custom, &added, 1, &rules[2].sampler))
        leave(3);
    rules[0].name = "*health*";
    rules[0].sampler = sonde_sampler_always_off();
    rules[1].attributes = &added;
    rules[1].attribute_count = 1;
    options.id_generator = sonde_id_generator_xray();
    if (sonde_sampler_rule_based(rules, 3, &root) || sonde_sampler_parent_threshold(root, &options.composed_sampler) ||
        sonde_start(&options))
        leave(3);
}
static void samplers(int i) {
    static bool ready;
    struct sonde_attribute by = sonde_attribute_string(SONDE_KEY("by"), i & 1 ? "rule" : "chance");
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    struct sonde_span span, child;
    if (!ready)
        samplers_start();
    ready = true;
    options.attributes = &by;
    options.attribute_count = 1;
    sonde_span_start(&span, SONDE_NAME("GET /users"), &options);
    sonde_span_start(&child, SONDE_NAME("health"), &options);
    sonde_span_end(&child);
    sonde_span_end(&span);
}

/* The agent changes its mind every time. */
static void steered(int i) {
    static struct sonde__control *page;
    struct sonde__steering_row rows[2] = {{"*", SONDE__STEERING_SAMPLES | (uint64_t)(i & 3) << 54, 0}, {"x", 1, 0}};
    struct sonde_span span;
    if (!page) {
        page = mmap(NULL, SONDE__CONTROL_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED)
            leave(3);
        page->start_unix_ns = 1;
        atomic_store(&sonde__control_page, page);
    }
    rows[0].severity = i & 1 ? 9 : 0;
    sonde__steering_publish(page, rows, 1u + (unsigned)(i & 1));
    sonde_span_start(&span, SONDE_NAME("root"), NULL);
    sonde_log(SONDE_SEVERITY_DEBUG, "said", 4, NULL, 0);
    sonde_span_end(&span);
}

/* Ids first seen, seen again, forgotten; the table is full after a while. */
#ifndef __SANITIZE_THREAD__
static void deduplicator(int i) {
    static struct sonde_dedup dedup;
    struct sonde_dedup_ticket ticket, none;
    struct sonde_string id = {(const char *)&i, sizeof i};
    if (!dedup.index) { /* in the warm-up */
        struct sonde_dedup_options options = SONDE_DEDUP_OPTIONS_INIT;
        options.name = "hot";
        options.capacity = 1000;
        if (sonde_dedup_create(&options, &dedup))
            leave(3);
    }
    if (sonde_dedup_begin(dedup, id, 7, &ticket) != SONDE_IDEMPOTENCY_FIRST ||
        sonde_dedup_begin(dedup, id, 7, &none) != SONDE_IDEMPOTENCY_IN_FLIGHT ||
        sonde_dedup_begin(dedup, id, 8, &none) != SONDE_IDEMPOTENCY_CONFLICT)
        leave(3);
    (void)(i & 1 ? sonde_dedup_done(&ticket) : sonde_dedup_forget(&ticket));
    sonde_idempotency_record(NULL, id, SONDE_IDEMPOTENCY_REPLAY);
}
#endif

/* A saga that is undone, with its id given; what travels; and one written down and resumed. */
static void saga(int i) {
    static char text[SONDE_SAGA_STATE_SIZE_MAX];
    struct sonde_saga_options options = SONDE_SAGA_OPTIONS_INIT;
    struct sonde_saga_step_options step_options = SONDE_SAGA_STEP_OPTIONS_INIT;
    struct sonde_saga_step step;
    struct sonde_saga one, joined;
    options.id = "order-17";
    step_options.idempotency_key = sonde_text("key");
    sonde_saga_begin(&one, "order", &options);
    sonde_saga_step_begin(&one, &step, "reserve", &step_options);
    if (sonde_span_is_recording(&step.span) && sonde_saga_join(&joined, NULL))
        leave(3);
    sonde_saga_step_end(&one, &step, NULL);
    sonde_saga_step_begin(&one, &step, "charge", NULL);
    sonde_saga_step_end(&one, &step, i & 1 ? "timeout" : NULL);
    struct sonde_string state = {text, sonde_saga_save(&one, text, sizeof text)};
    if (sonde_saga_resume(&one, NULL, state, NULL))
        leave(3);
    while (sonde_saga_compensate(&one, &step, NULL))
        sonde_saga_step_end(&one, &step, NULL);
    sonde_saga_end(&one, SONDE_SAGA_COMPENSATED);
}

/* So that every change of state a breaker makes is made in the warm-up too: the first one of a kind takes a lock. */
static uint64_t policy_time_ns;
static uint64_t policy_clock(void *user) {
    (void)user;
    return policy_time_ns;
}
/* Calls through every part of the kit that succeed, fail and are refused; breakers open and close on the way. */
static struct sonde_policy policy_of(const char *name, struct sonde_hedge *ret_hedge) {
    struct sonde_policy policy = SONDE_POLICY_INIT;
    struct sonde_timeout_options timeout = SONDE_TIMEOUT_OPTIONS_INIT;
    struct sonde_retry_budget_options budget = SONDE_RETRY_BUDGET_OPTIONS_INIT;
    struct sonde_retry_options retry = SONDE_RETRY_OPTIONS_INIT;
    struct sonde_breaker_options breaker = SONDE_BREAKER_OPTIONS_INIT;
    struct sonde_bulkhead_options bulkhead = SONDE_BULKHEAD_OPTIONS_INIT;
    struct sonde_rate_limit_options rate = SONDE_RATE_LIMIT_OPTIONS_INIT;
    struct sonde_hedge_options hedge = SONDE_HEDGE_OPTIONS_INIT;
    timeout.name = budget.name = retry.name = breaker.name = bulkhead.name = rate.name = hedge.name = name;
    timeout.overall_ns = timeout.attempt_ns = 1000000000;
    budget.tokens_max = 100;
    budget.token_ratio = 1;
    budget.share = 0.5;
    breaker.minimum_calls = breaker.window_calls = 10;
    breaker.wait_ns = 1000000;
    breaker.clock = policy_clock;
    breaker.probes = 1;
    bulkhead.limit = 1;
    rate.per_second = 1e6;
    hedge.delay_ns = 1;
    if (sonde_timeout_create(&timeout, &policy.timeout) || sonde_retry_budget_create(&budget, &retry.budget) ||
        sonde_retry_create(&retry, &policy.retry) || sonde_breaker_create(&breaker, &policy.breaker) ||
        sonde_bulkhead_create(&bulkhead, &policy.bulkhead) || sonde_rate_limit_create(&rate, &policy.rate_limit) ||
        sonde_fallback_create(name, &policy.fallback))
        leave(3);
    hedge.budget = retry.budget;
    if (sonde_hedge_create(&hedge, ret_hedge))
        leave(3);
    return policy;
}
static void resilience(int i) {
    static struct sonde_policy policy;
    static struct sonde_hedge hedge;
    const struct sonde_deadline none = {0};
    struct sonde_policy_call calls[2];
    struct sonde_hedge_call hedged;
    uint64_t wait_ns;
    if (!policy.size) /* in the warm-up */
        policy = policy_of("hot", &hedge);
    policy_time_ns += 300000;
    const enum sonde_outcome outcome = i % 40 < 20 ? SONDE_OUTCOME_SUCCESS : SONDE_OUTCOME_FAILURE;
    enum sonde_policy_step step = sonde_policy_begin(&policy, none, &calls[0]);
    (void)sonde_policy_begin(&policy, none, &calls[1]); /* there is one place */
    sonde_policy_abandon(&calls[1]);
    for (int turn = 0; turn < 4 && step <= SONDE_POLICY_WAIT; turn++)
        step = step == SONDE_POLICY_WAIT ? sonde_policy_resume(&calls[0])
               : i % 5 == 0              ? sonde_policy_timed_out(&calls[0], 1000000)
                                         : sonde_policy_report(&calls[0], outcome, 1000, 0);
    sonde_policy_abandon(&calls[0]);
    sonde_fallback_record(policy.fallback, outcome);
    sonde_hedge_begin(hedge, &hedged);
    uint32_t attempt = sonde_hedge_next(&hedged, &wait_ns);
    (void)sonde_hedge_report(&hedged, 1, outcome, 0);
    if (attempt)
        (void)sonde_hedge_report(&hedged, attempt, SONDE_OUTCOME_SUCCESS, 0);
    sonde_hedge_abandon(&hedged);
}

/* Closed, and open by the machine's clock. */
static void breakers(int i) {
    static struct sonde_breaker closed, open;
    struct sonde_breaker_permit permit;
    struct sonde_breaker_options options = SONDE_BREAKER_OPTIONS_INIT;
    if (!open.index) { /* in the warm-up */
        options.name = "hot closed";
        assert_int_equal(sonde_breaker_create(&options, &closed), 0);
        options.name = "hot open";
        assert_int_equal(sonde_breaker_create(&options, &open), 0);
        assert_int_equal(sonde_breaker_state_set(open, SONDE_BREAKER_OPEN, UINT64_C(3600000000000)), 0);
    }
    if (sonde_breaker_admit(closed, &permit) != SONDE_REJECTED)
        sonde_breaker_report(closed, &permit, i % 8 ? SONDE_OUTCOME_SUCCESS : SONDE_OUTCOME_FAILURE, 1000);
    assert_int_equal(sonde_breaker_admit(open, &permit), SONDE_REJECTED);
}

static const struct row {
    const char *name;
    void (*call)(int i);
} rows[] = {
    {"span_plain", span_plain},
    {"span_with_everything", span_with_everything},
    {"span_under_remote_parents", span_under_remote_parents},
    {"context_moves", context_moves},
    {"log_record", log_record},
    {"inject_and_extract", inject_and_extract},
    {"propagators", propagators},
    {"metrics", metrics},
    {"exemplars", exemplars},
    {"conventions", conventions},
    {"samplers", samplers},
    {"steered", steered},
    {"breakers", breakers},
    {"resilience", resilience},
#ifndef __SANITIZE_THREAD__ /* which maps memory for every place that is used as an atomic for the first time */
    {"deduplicator", deduplicator},
#endif
    {"saga", saga},
};

/* ---- running them ---- */

#define WARM_UP 300
#define CALLS   3000 /* the ring fills up on the way: dropping is a hot path too */

static void child(const struct row *row) {
    for (int i = 0; i < WARM_UP; i++)
        row->call(i);
    if (forbid_syscalls())
        leave(errno == EINVAL || errno == EACCES ? 77 : 2);
    armed = 1;
    for (int i = 0; i < CALLS; i++, verdict->calls++)
        row->call(WARM_UP + i);
    armed = 0;
    leave(0);
}

static int run(const struct row *row) {
    int status;
    memset(verdict, 0, sizeof *verdict);
    verdict->syscall = -1;
    pid_t pid = fork();
    if (pid == 0)
        child(row);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void hot_path_makes_no_system_call_and_no_allocation(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int code = run(&rows[i]);
        if (code == 77) {
            print_message("skipped: the system refuses seccomp filters\n");
            skip();
        }
        if (code || verdict->allocations || verdict->mutexes || verdict->calls != CALLS)
            fail_msg("%s: exit %d after %u calls, system call %d, %u allocations, %u mutexes", rows[i].name, code,
                     verdict->calls, verdict->syscall, verdict->allocations, verdict->mutexes);
    }
}

/* The test of the test: what is forbidden is found. */
static void bad_syscall(int i) {
    if (i == WARM_UP)
        (void)syscall(SYS_getppid);
}
static void bad_allocation(int i) { /* when warm too, so that the allocator has memory by then */
    static void *volatile memory;
    (void)i;
    memory = malloc(10);
    free(memory);
}
static void forbidden_things_are_found(void **state) {
    (void)state;
    static const struct row syscalls = {"bad_syscall", bad_syscall}, allocations = {"bad_allocation", bad_allocation};
    int code = run(&syscalls);
    if (code == 77)
        skip();
    assert_int_equal(code, 1);
    assert_int_equal(verdict->syscall, SYS_getppid);
    (void)run(&allocations);
    assert_in_range(verdict->allocations, 1, CALLS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hot_path_makes_no_system_call_and_no_allocation),
        cmocka_unit_test(forbidden_things_are_found),
    };
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
#ifdef SANITIZED
    (void)__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
#endif
    verdict = mmap(NULL, sizeof *verdict, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (verdict == MAP_FAILED)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
