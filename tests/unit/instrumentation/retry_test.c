/* SPDX-License-Identifier: Apache-2.0 */
/* Retries under a clock and random numbers of the test's own: waits, attempts, deadlines, budgets, pushback, spread. */
#include <pthread.h>
#include <setjmp.h>
#include <sonde/err.h>
#include <sonde/resilience/policy.h>
#include <sonde/resilience/retry.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MS     UINT64_C(1000000)
#define SECOND (1000 * MS)

static uint64_t time_ns, random_bits;
static uint64_t fake_clock(void *user) {
    (void)user;
    return time_ns;
}
static uint64_t fake_random(void *user) {
    (void)user;
    return random_bits;
}
/* splitmix64, for statistics */
static uint64_t mixed_random(void *state) {
    uint64_t z = *(uint64_t *)state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static const char *fresh_name(void) {
    static unsigned number;
    static char names[128][16];
    snprintf(names[number % 128], sizeof names[0], "r%u", number);
    return names[number++ % 128];
}
static struct sonde_retry_options base(void) {
    struct sonde_retry_options options = SONDE_RETRY_OPTIONS_INIT;
    options.name = fresh_name();
    options.clock = fake_clock;
    options.random = fake_random;
    random_bits = UINT64_MAX; /* the ceiling, nearly */
    return options;
}
static struct sonde_retry make(struct sonde_retry_options options) {
    struct sonde_retry retry;
    assert_int_equal(sonde_retry_create(&options, &retry), 0);
    assert_int_not_equal(retry.index, 0);
    return retry;
}
static void assert_about(uint64_t ns, uint64_t expected) {
    assert_true(ns <= expected && ns + 2 >= expected);
}

static void a_success_is_done(void **state) {
    (void)state;
    struct sonde_retry_call call;
    uint64_t wait = 1;
    sonde_retry_begin(make(base()), 0, &call);
    assert_int_equal(call.attempt, 1);
    assert_int_equal(sonde_retry_next(&call, SONDE_OUTCOME_SUCCESS, 0, &wait), SONDE_RETRY_DONE);
    assert_int_equal(wait, 0);
    assert_int_equal(sonde_retry_next(&call, SONDE_OUTCOME_FAILURE, 0, &wait), SONDE_RETRY_GIVE_UP); /* over */
}

static void attempts_and_waits(void **state) {
    (void)state;
    static const struct {
        enum sonde_jitter jitter;
        uint64_t random, waits[5];
    } rows[] = {
        {SONDE_JITTER_FULL, UINT64_MAX, {100, 200, 400, 800, 1000}},
        {SONDE_JITTER_FULL, 0, {0, 0, 0, 0, 0}},
        {SONDE_JITTER_NONE, 0, {100, 200, 400, 800, 1000}},
        {SONDE_JITTER_FIFTH, 0, {80, 160, 320, 640, 800}},
        {SONDE_JITTER_FIFTH, UINT64_MAX, {120, 240, 480, 960, 1200}},
        {SONDE_JITTER_DECORRELATED, UINT64_MAX, {300, 900, 1000, 1000, 1000}},
        {SONDE_JITTER_DECORRELATED, 0, {100, 100, 100, 100, 100}},
    };
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        struct sonde_retry_options options = base();
        struct sonde_retry_call call;
        uint64_t wait;
        options.attempts = 6;
        options.max_ns = SECOND;
        options.jitter = rows[row].jitter;
        random_bits = rows[row].random;
        sonde_retry_begin(make(options), 0, &call);
        for (uint32_t i = 0; i < 5; i++) {
            assert_int_equal(sonde_retry_next(&call, SONDE_OUTCOME_FAILURE, 0, &wait), SONDE_RETRY_AGAIN);
            assert_about(wait, rows[row].waits[i] * MS);
            assert_int_equal(call.attempt, i + 2);
        }
        assert_int_equal(sonde_retry_next(&call, SONDE_OUTCOME_FAILURE, 0, &wait), SONDE_RETRY_GIVE_UP);
    }
}

static void what_a_retry_would_not_mend_ends_the_call(void **state) {
    (void)state;
    struct sonde_retry_call call;
    uint64_t wait;
    sonde_retry_begin(make(base()), 0, &call);
    assert_int_equal(sonde_retry_next(&call, SONDE_OUTCOME_IGNORED, 0, &wait), SONDE_RETRY_GIVE_UP);
}

static void the_earlier_deadline_holds(void **state) {
    (void)state;
    struct sonde_retry_options options = base();
    struct sonde_retry_call call;
    uint64_t wait;
    options.attempts = 100;
    options.initial_ns = options.max_ns = 400 * MS;
    options.jitter = SONDE_JITTER_NONE;
    options.deadline_ns = SECOND;
    struct sonde_retry retry = make(options);
    sonde_retry_begin(retry, 0, &call);
    assert_true(sonde_retry_left_ns(&call) == SECOND);
    assert_int_equal(sonde_retry_next(&call, SONDE_OUTCOME_FAILURE, 0, &wait), SONDE_RETRY_AGAIN);
    time_ns += wait;
    assert_int_equal(sonde_retry_next(&call, SONDE_OUTCOME_FAILURE, 0, &wait), SONDE_RETRY_AGAIN);
    time_ns += wait;
    assert_int_equal(sonde_retry_next(&call, SONDE_OUTCOME_FAILURE, 0, &wait), SONDE_RETRY_GIVE_UP); /* 1.2 s */
    sonde_retry_begin(retry, 300 * MS, &call);
    assert_int_equal(sonde_retry_next(&call, SONDE_OUTCOME_FAILURE, 0, &wait), SONDE_RETRY_GIVE_UP);
    sonde_retry_begin(retry, 5 * SECOND, &call);
    assert_true(sonde_retry_left_ns(&call) == SECOND);
    sonde_retry_abandon(&call);
}

static void pushback_of_the_peer(void **state) {
    (void)state;
    struct sonde_retry_options options = base();
    struct sonde_retry_call call;
    uint64_t wait;
    options.attempts = 10;
    struct sonde_retry retry = make(options);
    sonde_retry_begin(retry, 0, &call);
    assert_int_equal(sonde_retry_next(&call, SONDE_OUTCOME_FAILURE, 0, &wait), SONDE_RETRY_AGAIN);
    assert_int_equal(sonde_retry_next(&call, SONDE_OUTCOME_FAILURE, (int64_t)(7 * SECOND), &wait), SONDE_RETRY_AGAIN);
    assert_about(wait, 7 * SECOND + 7 * SECOND / 8); /* the spread at its most */
    assert_int_equal(sonde_retry_next(&call, SONDE_OUTCOME_FAILURE, 0, &wait), SONDE_RETRY_AGAIN);
    assert_about(wait, 100 * MS); /* anew */
    assert_int_equal(sonde_retry_next(&call, SONDE_OUTCOME_FAILURE, -1, &wait), SONDE_RETRY_GIVE_UP);
    random_bits = 0;
    sonde_retry_begin(retry, 0, &call);
    assert_int_equal(sonde_retry_next(&call, SONDE_OUTCOME_FAILURE, (int64_t)(7 * SECOND), &wait), SONDE_RETRY_AGAIN);
    assert_true(wait == 7 * SECOND); /* never less */
    sonde_retry_abandon(&call);
    assert_true(sonde_retry_pushback_grpc("1500", 4) == (int64_t)(1500 * MS));
    assert_true(sonde_retry_pushback_grpc("0", 1) > 0);
    assert_true(sonde_retry_pushback_grpc("9999999999", 10) == (int64_t)(300 * SECOND)); /* as Retry-After is bounded */
    assert_true(sonde_retry_pushback_grpc(NULL, 0) == 0);                                /* absent: nothing was asked */
    assert_true(sonde_retry_pushback_grpc("-1", 2) < 0 && sonde_retry_pushback_grpc("1 ", 2) < 0 &&
                sonde_retry_pushback_grpc("99999999999", 11) < 0);
}

static void a_rejection_uses_up_no_attempt(void **state) {
    (void)state;
    struct sonde_retry_options options = base();
    struct sonde_retry_call call;
    uint64_t wait;
    options.attempts = 2;
    struct sonde_retry retry = make(options);
    sonde_retry_begin(retry, 0, &call);
    assert_int_equal(sonde_retry_rejected(&call, SECOND, &wait), SONDE_RETRY_GIVE_UP); /* no deadline: for ever */
    sonde_retry_begin(retry, 10 * SECOND, &call);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(sonde_retry_rejected(&call, SECOND, &wait), SONDE_RETRY_AGAIN);
        assert_true(wait >= SECOND);
        assert_int_equal(call.attempt, 1);
        time_ns += wait;
    }
    assert_int_equal(sonde_retry_next(&call, SONDE_OUTCOME_FAILURE, 0, &wait), SONDE_RETRY_AGAIN);
    assert_int_equal(sonde_retry_rejected(&call, 20 * SECOND, &wait), SONDE_RETRY_GIVE_UP);
    sonde_retry_begin(retry, 10 * SECOND, &call);
    assert_int_equal(sonde_retry_rejected(&call, UINT64_MAX, &wait), SONDE_RETRY_GIVE_UP);
}

/* 100 clients whose breakers opened in the same instant, and for 16 s, ask again over two seconds. */
static void the_rejected_do_not_come_back_together(void **state) {
    (void)state;
    static uint64_t seed = 1;
    unsigned arrivals[20] = {0};
    struct sonde_retry_options options = base();
    options.random = mixed_random;
    options.user = &seed;
    options.deadline_ns = 60 * SECOND;
    struct sonde_retry retry = make(options);
    for (int client = 0; client < 100; client++) {
        struct sonde_retry_call call;
        uint64_t wait;
        sonde_retry_begin(retry, 0, &call);
        assert_int_equal(sonde_retry_rejected(&call, 16 * SECOND, &wait), SONDE_RETRY_AGAIN);
        assert_true(wait >= 16 * SECOND && wait < 18 * SECOND);
        arrivals[(wait - 16 * SECOND) / (100 * MS)]++;
        sonde_retry_abandon(&call);
    }
    for (int tenth = 0; tenth < 20; tenth++)
        assert_in_range(arrivals[tenth], 0, 14); /* below three times the mean */
}

static void a_budget_of_tokens(void **state) {
    (void)state;
    struct sonde_retry_budget_options tokens = SONDE_RETRY_BUDGET_OPTIONS_INIT;
    struct sonde_retry_options options = base();
    struct sonde_retry_call call;
    uint64_t wait;
    tokens.name = options.name;
    tokens.tokens_max = 10;
    tokens.token_ratio = 0.5;
    assert_int_equal(sonde_retry_budget_create(&tokens, &options.budget), 0);
    options.attempts = 100;
    struct sonde_retry retry = make(options);
    sonde_retry_begin(retry, 0, &call);
    for (int i = 0; i < 4; i++) /* 9, 8, 7, 6 tokens are left */
        assert_int_equal(sonde_retry_next(&call, SONDE_OUTCOME_FAILURE, 0, &wait), SONDE_RETRY_AGAIN);
    assert_int_equal(sonde_retry_next(&call, SONDE_OUTCOME_FAILURE, 0, &wait), SONDE_RETRY_GIVE_UP); /* 5: half */
    for (int i = 0; i < 4; i++) {
        sonde_retry_begin(retry, 0, &call);
        assert_int_equal(sonde_retry_next(&call, SONDE_OUTCOME_SUCCESS, 0, &wait), SONDE_RETRY_DONE);
    }
    sonde_retry_begin(retry, 0, &call); /* 7 */
    assert_int_equal(sonde_retry_next(&call, SONDE_OUTCOME_FAILURE, 0, &wait), SONDE_RETRY_AGAIN);
    assert_int_equal(sonde_retry_next(&call, SONDE_OUTCOME_FAILURE, 0, &wait), SONDE_RETRY_GIVE_UP);
}

static void a_budget_of_a_share(void **state) {
    (void)state;
    struct sonde_retry_budget_options share = SONDE_RETRY_BUDGET_OPTIONS_INIT;
    struct sonde_retry_options options = base();
    struct sonde_retry_call calls[40];
    uint64_t wait;
    share.name = options.name;
    share.share = 0.2;
    assert_int_equal(sonde_retry_budget_create(&share, &options.budget), 0);
    options.attempts = 100;
    struct sonde_retry retry = make(options);
    for (int i = 0; i < 40; i++)
        sonde_retry_begin(retry, 0, &calls[i]);
    for (int i = 0; i < 40; i++) /* a fifth of 40; those that give up are no more under way */
        assert_int_equal(sonde_retry_next(&calls[i], SONDE_OUTCOME_FAILURE, 0, &wait) == SONDE_RETRY_AGAIN, i < 8);
    for (int i = 0; i < 8; i++)
        assert_int_equal(sonde_retry_next(&calls[i], SONDE_OUTCOME_SUCCESS, 0, &wait), SONDE_RETRY_DONE);
    sonde_retry_begin(retry, 0, &calls[0]); /* all came back: at least three always */
    assert_int_equal(sonde_retry_next(&calls[0], SONDE_OUTCOME_FAILURE, 0, &wait), SONDE_RETRY_AGAIN);
    sonde_retry_abandon(&calls[0]);
    sonde_retry_abandon(&calls[0]);
}

/* 100 clients of one peer, each with a breaker and a way of retrying of its own, over simulated time. The peer goes away
 * while they call, all in the same second, and is back after a minute; each client then is served with its next attempt.
 * What comes in the busiest second, from the peer's return until the last client was served, is less than three times
 * the mean.
 *   retry_after_ns  what the peer answers while it is away, 0 = nothing. */
#define CLIENTS 100u
#define OUTAGE  (60 * SECOND)
struct client {
    struct sonde_policy policy;
    struct sonde_policy_call call;
    uint64_t next_ns; /* UINT64_MAX = served */
};
static struct client *next_client(struct client *clients) {
    struct client *next = NULL;
    for (unsigned i = 0; i < CLIENTS; i++)
        if (clients[i].next_ns != UINT64_MAX && (!next || clients[i].next_ns < next->next_ns))
            next = &clients[i];
    return next;
}
static void client_make(struct client *client, unsigned number, struct sonde_retry_options options) {
    static struct sonde_breaker breakers[CLIENTS]; /* in each way the same ones, closed again */
    struct sonde_breaker_options breaker = SONDE_BREAKER_OPTIONS_INIT;
    char name[16];
    (void)snprintf(name, sizeof name, "client%u", number);
    breaker.name = name;
    breaker.consecutive_failures = 3;
    breaker.probes = 1;
    breaker.wait_ns = 5 * SECOND;
    breaker.clock = fake_clock;
    if (!breakers[number].index)
        assert_int_equal(sonde_breaker_create(&breaker, &breakers[number]), 0);
    assert_int_equal(sonde_breaker_state_set(breakers[number], SONDE_BREAKER_CLOSED, 0), 0);
    client->policy = (struct sonde_policy)SONDE_POLICY_INIT;
    client->policy.breaker = breakers[number];
    client->policy.retry = make(options);
}
/* Returns true when the peer was asked. */
static bool client_step(struct client *client, bool is_back, int64_t retry_after_ns, struct sonde_deadline none) {
    enum sonde_policy_step step = client->call.attempt ? sonde_policy_resume(&client->call)
                                                       : sonde_policy_begin(&client->policy, none, &client->call);
    bool is_asked = step == SONDE_POLICY_CALL;
    if (is_asked)
        step = sonde_policy_report(&client->call, is_back ? SONDE_OUTCOME_SUCCESS : SONDE_OUTCOME_FAILURE, MS,
                                   is_back ? 0 : retry_after_ns);
    assert_true(step == SONDE_POLICY_WAIT || (is_back && step == SONDE_POLICY_DONE));
    client->next_ns = step == SONDE_POLICY_WAIT ? time_ns + client->call.wait_ns : UINT64_MAX;
    return is_asked;
}
static void arrivals_of(enum sonde_jitter jitter, int64_t retry_after_ns) {
    static struct client clients[CLIENTS];
    static uint64_t seed;
    const struct sonde_deadline none = {0};
    unsigned arrivals[128] = {0}, most = 0, all = 0;
    const uint64_t from = time_ns;
    uint64_t last = 0;
    seed = 1;
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct sonde_retry_options options = base();
        char name[32];
        (void)snprintf(name, sizeof name, "c%u/%d", i, (int)jitter);
        options.name = name;
        options.attempts = 100;
        options.initial_ns = SECOND;
        options.max_ns = 20 * SECOND;
        options.deadline_ns = 600 * SECOND;
        options.jitter = jitter;
        options.random = mixed_random;
        options.user = &seed;
        memset(&clients[i], 0, sizeof clients[i]);
        client_make(&clients[i], i, options);
        clients[i].next_ns = from + i * (SECOND / CLIENTS);
    }
    for (struct client *client; (client = next_client(clients));) {
        time_ns = client->next_ns;
        const bool is_back = time_ns - from >= OUTAGE;
        if (!client_step(client, is_back, retry_after_ns, none) || !is_back)
            continue;
        last = time_ns - from - OUTAGE;
        assert_true(last / SECOND < 128);
        arrivals[last / SECOND]++;
        all++;
    }
    for (unsigned second = 0; second < 128; second++)
        most = arrivals[second] > most ? arrivals[second] : most;
    assert_int_equal(all, CLIENTS);
    print_message("jitter %d, Retry-After %d s: at most %u a second, mean %.1f\n", (int)jitter,
                  (int)(retry_after_ns / (int64_t)SECOND), most, (double)all / (double)(last / SECOND + 1));
    assert_true((double)most < 3.0 * all / (double)(last / SECOND + 1));
    time_ns += 3600 * SECOND;
}
static void arrivals_after_an_outage_are_spread(void **state) {
    (void)state;
    arrivals_of(SONDE_JITTER_FULL, 0);
    arrivals_of(SONDE_JITTER_DECORRELATED, 0);
    arrivals_of(SONDE_JITTER_FULL, (int64_t)(30 * SECOND));
    arrivals_of(SONDE_JITTER_DECORRELATED, (int64_t)(30 * SECOND));
}

static void a_child_begins_with_no_call_under_way(void **state) {
    (void)state;
    struct sonde_retry_budget_options budget = SONDE_RETRY_BUDGET_OPTIONS_INIT;
    struct sonde_retry_options options = base();
    struct sonde_retry_call calls[4];
    uint64_t wait;
    int status = -1;
    budget.name = options.name;
    budget.share = 0.01;
    budget.share_min = 1;
    assert_int_equal(sonde_retry_budget_create(&budget, &options.budget), 0);
    struct sonde_retry retry = make(options);
    sonde_retry_begin(retry, 0, &calls[0]);
    assert_int_equal(sonde_retry_next(&calls[0], SONDE_OUTCOME_FAILURE, 0, &wait), SONDE_RETRY_AGAIN);
    pid_t child = fork();
    if (child == 0) {
        sonde_retry_begin(retry, 0, &calls[1]);
        bool good = sonde_retry_next(&calls[1], SONDE_OUTCOME_FAILURE, 0, &wait) == SONDE_RETRY_AGAIN;
        sonde_retry_abandon(&calls[0]); /* not this process's: takes nothing from others */
        sonde_retry_begin(retry, 0, &calls[2]);
        sonde_retry_abandon(&calls[1]);
        good = good && sonde_retry_next(&calls[2], SONDE_OUTCOME_FAILURE, 0, &wait) == SONDE_RETRY_AGAIN;
        sonde_retry_begin(retry, 0, &calls[3]);
        good = good && sonde_retry_next(&calls[3], SONDE_OUTCOME_FAILURE, 0, &wait) == SONDE_RETRY_GIVE_UP;
        _exit(good ? 0 : 1);
    }
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    assert_int_equal(status, 0);
    sonde_retry_abandon(&calls[0]);
}

static struct sonde_retry shared;
static void *call_often(void *unused) {
    for (int i = 0; i < 20000; i++) {
        struct sonde_retry_call call;
        uint64_t wait;
        sonde_retry_begin(shared, 0, &call);
        while (sonde_retry_next(&call, i % 3 ? SONDE_OUTCOME_FAILURE : SONDE_OUTCOME_SUCCESS, 0, &wait) ==
               SONDE_RETRY_AGAIN)
            ;
    }
    return unused;
}
static void budgets_add_up_with_eight_threads(void **state) {
    (void)state;
    pthread_t threads[8];
    struct sonde_retry_budget_options budget = SONDE_RETRY_BUDGET_OPTIONS_INIT;
    struct sonde_retry_options options = base();
    struct sonde_retry_call calls[10];
    uint64_t wait;
    budget.name = options.name;
    budget.tokens_max = 100;
    budget.token_ratio = 10;
    budget.share = 0.5;
    assert_int_equal(sonde_retry_budget_create(&budget, &options.budget), 0);
    options.attempts = 4;
    shared = make(options);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, NULL), 0);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 10; i++) { /* tokens are full again */
        sonde_retry_begin(shared, 0, &calls[0]);
        assert_int_equal(sonde_retry_next(&calls[0], SONDE_OUTCOME_SUCCESS, 0, &wait), SONDE_RETRY_DONE);
    }
    for (int i = 0; i < 10; i++)
        sonde_retry_begin(shared, 0, &calls[i]);
    for (int i = 0; i < 6; i++) /* nothing is under way but these: half of 10, then 9, ... */
        assert_int_equal(sonde_retry_next(&calls[i], SONDE_OUTCOME_FAILURE, 0, &wait) == SONDE_RETRY_AGAIN, i < 5);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    struct sonde_retry retry;
    struct sonde_retry_options good = base(), bad[6] = {good, good, good, good, good, good};
    bad[0].name = NULL;
    bad[1].attempts = 101;
    bad[2].factor = 0.5;
    bad[3].factor = __builtin_nan("");
    bad[4].jitter = (enum sonde_jitter)9;
    bad[5].budget.index = 1000;
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(sonde_retry_create(&bad[i], &retry), SONDE_EINVALID);
        assert_int_equal(retry.index, 0);
    }
    assert_int_equal(make(good).index, make(good).index);
    struct sonde_retry_call call;
    uint64_t wait;
    sonde_retry_begin((struct sonde_retry){0}, 0, &call);
    assert_int_equal(sonde_retry_next(&call, SONDE_OUTCOME_FAILURE, 0, &wait), SONDE_RETRY_GIVE_UP);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_success_is_done),
        cmocka_unit_test(attempts_and_waits),
        cmocka_unit_test(what_a_retry_would_not_mend_ends_the_call),
        cmocka_unit_test(the_earlier_deadline_holds),
        cmocka_unit_test(pushback_of_the_peer),
        cmocka_unit_test(a_rejection_uses_up_no_attempt),
        cmocka_unit_test(the_rejected_do_not_come_back_together),
        cmocka_unit_test(a_budget_of_tokens),
        cmocka_unit_test(a_budget_of_a_share),
        cmocka_unit_test(arrivals_after_an_outage_are_spread),
        cmocka_unit_test(a_child_begins_with_no_call_under_way),
        cmocka_unit_test(budgets_add_up_with_eight_threads),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
