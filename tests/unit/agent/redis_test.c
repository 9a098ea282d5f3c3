/* SPDX-License-Identifier: Apache-2.0 */
/* The Redis collector against a real redis-server that this program starts, and against servers that are silent or talk
 * nonsense. Series go to a table here instead of the store. What is true is what the test itself did to the streams. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/collect/collector.h"
#include "agent/collect/redis_cluster.h"
#include "exporters/option.h"
#include <arpa/inet.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern const struct sonde_collector_ops sonde_collector_redis;

/* --- the table of series --- */

struct series {
    char name[64], labels[256];
    double value;
    bool set;
};
static struct series table[512];
static size_t table_count, sweeps;

static void labels_write(const struct sonde_series_value *value, char *ret_labels, size_t size) {
    size_t at = 0;
    ret_labels[0] = '\0';
    for (size_t i = 0; i < value->attribute_count; i++) {
        const struct sonde_attribute *a = &value->attributes[i];
        if (a->type == SONDE_VALUE_STRING)
            at += (size_t)snprintf(ret_labels + at, size - at, "%.*s=%.*s;", (int)a->key.length, a->key.text,
                                   (int)a->size, a->value.string);
        else
            at += (size_t)snprintf(ret_labels + at, size - at, "%.*s=%lld;", (int)a->key.length, a->key.text,
                                   (long long)a->value.int64);
        assert_true(at < size);
    }
}

int sonde_series_set(struct sonde_series_source *source, const struct sonde_series_value *value) {
    char labels[256];
    size_t i = 0;
    (void)source;
    labels_write(value, labels, sizeof labels);
    while (i < table_count && (strcmp(table[i].name, value->name) != 0 || strcmp(table[i].labels, labels) != 0))
        i++;
    assert_true(i < sizeof table / sizeof *table);
    if (i == table_count)
        table_count++;
    (void)snprintf(table[i].name, sizeof table[i].name, "%s", value->name);
    memcpy(table[i].labels, labels, sizeof labels);
    table[i].value = value->is_double ? value->float64 : (double)value->int64;
    table[i].set = true;
    return 0;
}

void sonde_series_sweep(struct sonde_series_source *source) {
    size_t kept = 0;
    (void)source;
    for (size_t i = 0; i < table_count; i++)
        if (table[i].set) {
            table[kept] = table[i];
            table[kept++].set = false;
        }
    table_count = kept;
    sweeps++;
}

/** The series of a name whose labels hold all of the words (NULL = none), or NULL. */
static const struct series *find(const char *name, const char *word, const char *other) {
    for (size_t i = 0; i < table_count; i++)
        if (strcmp(table[i].name, name) == 0 && (!word || strstr(table[i].labels, word)) &&
            (!other || strstr(table[i].labels, other)))
            return &table[i];
    return NULL;
}

static double value_of(const char *name, const char *word, const char *other) {
    const struct series *series = find(name, word, other);
    if (!series)
        fail_msg("no series %s %s %s", name, word ? word : "", other ? other : "");
    return series ? series->value : -1;
}

static double lag_of(const char *stream) {
    char word[96];
    (void)snprintf(word, sizeof word, "destination.name=%s;", stream);
    return value_of("sonde.messaging.consumer.lag", word, NULL);
}

static double errors_of(const char *type) {
    char word[64];
    (void)snprintf(word, sizeof word, "error.type=%s;", type);
    const struct series *series = find("sonde.messaging.poll.errors", word, NULL);
    return series ? series->value : 0;
}

/* --- the server --- */

static char folder[] = "/tmp/sonde-redis-XXXXXX";
static char socket_path[64], log_path[64];
static int port;
static pid_t server;
static redisContext *control;

static int listen_anywhere(int *ret_port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static uint64_t monotonic_ms(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void server_start(void) {
    char port_text[16];
    (void)snprintf(port_text, sizeof port_text, "%d", port);
    server = fork();
    assert_true(server >= 0);
    if (server == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("redis-server", "redis-server", "--port", port_text, "--bind", "127.0.0.1", "--unixsocket", socket_path,
               "--dir", folder, "--save", "", "--appendonly", "no", "--logfile", log_path, "--daemonize", "no",
               "--enable-debug-command", "yes", (char *)NULL);
        _exit(127);
    }
    for (uint64_t end = monotonic_ms() + 10000; monotonic_ms() < end;) {
        control = redisConnectUnix(socket_path);
        redisReply *reply = control && !control->err ? redisCommand(control, "PING") : NULL;
        bool up = reply && reply->type == REDIS_REPLY_STATUS;
        freeReplyObject(reply);
        if (up)
            return;
        redisFree(control);
        control = NULL;
        (void)poll(NULL, 0, 10);
    }
    fail_msg("redis-server did not start; see %s", log_path);
}

static void server_stop(void) {
    redisFree(control);
    control = NULL;
    if (server > 0) {
        (void)kill(server, SIGKILL);
        (void)waitpid(server, NULL, 0);
    }
    server = 0;
    (void)unlink(socket_path);
}

__attribute__((format(printf, 1, 2))) static void redis(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    redisReply *reply = redisvCommand(control, format, arguments);
    va_end(arguments);
    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", format, reply->str);
    freeReplyObject(reply);
}

/** A command of words between spaces; the word KEY stands for the stream. */
static void redis_words(const char *command, const char *stream) {
    const char *argv[16];
    size_t argvlen[16];
    int argc = 0;
    for (const char *end; *command; command = *end ? end + 1 : end) {
        end = command + strcspn(command, " ");
        assert_true(argc < 16);
        bool key = strncmp(command, "KEY", 3) == 0;
        argv[argc] = key ? stream : command;
        argvlen[argc++] = key ? strlen(stream) : (size_t)(end - command);
    }
    redisReply *reply = redisCommandArgv(control, argc, argv, argvlen);
    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", argv[0], reply->str);
    freeReplyObject(reply);
}

static void produce(const char *stream, int count) {
    for (int i = 0; i < count; i++)
        redis("XADD %s * n %d", stream, i);
}

static void consume(const char *stream, int count) {
    redis("XREADGROUP GROUP g c COUNT %d STREAMS %s >", count, stream);
}

/* --- the collector --- */

static struct sonde_loop *loop;
static void *collector;
static uint64_t config[64]; /* aligned room for the collector's configuration */

static void *field(const char *key) {
    for (const struct sonde_option *row = sonde_collector_redis.options; row->key; row++)
        if (strcmp(row->key, key) == 0)
            return (char *)config + row->offset;
    fail_msg("no option %s", key);
    return NULL;
}
static void set_text(const char *key, const char *text) {
    *(char **)field(key) = (char *)(uintptr_t)text;
}
static void set_number(const char *key, int64_t number) {
    *(int64_t *)field(key) = number;
}
static void set_streams(char **streams, size_t count) {
    *(struct sonde_string_list *)field("streams") = (struct sonde_string_list){streams, count};
}

static char endpoint[64];

static int setup(void **state) {
    (void)state;
    assert_true(sonde_collector_redis.config_size <= sizeof config);
    memset(config, 0, sizeof config);
    table_count = sweeps = 0;
    (void)snprintf(endpoint, sizeof endpoint, "127.0.0.1:%d", port);
    set_text("address", endpoint);
    set_text("match", ""); /* no streams named either: all */
    set_number("interval", 20 * 1000000);
    set_number("timeout", (int64_t)3000 * 1000000);
    set_number("scan_keys_max", 10240);
    set_number("streams_max", 256);
    set_number("groups_max", 1024);
    set_number("count_max", 100);
    set_number("reply_size_max", 1 << 20);
    if (control)
        redis("FLUSHALL");
    assert_int_equal(sonde_loop_create(&loop), 0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sonde_collector_redis.destroy(collector);
    collector = NULL;
    sonde_loop_destroy(loop);
    loop = NULL;
    return 0;
}

static void start(void) {
    char error[256] = "";
    struct sonde_collector_env env = {.name = "redis", .loop = loop, .seams = sonde_loop_seams(loop)};
    assert_int_equal(sonde_collector_redis.create(config, &env, &collector, error, sizeof error), 0);
    assert_string_equal(error, "");
}

struct waiting {
    bool (*condition)(void);
    uint64_t deadline_ms;
    bool met;
    struct sonde_timer *timer;
};

static void look(void *user) {
    struct waiting *waiting = user;
    uint64_t now = monotonic_ms();
    waiting->met = waiting->condition();
    if (waiting->met || now > waiting->deadline_ms)
        sonde_loop_stop(loop);
    else
        sonde_timer_set(waiting->timer, (now + 5) * 1000000);
}

/** Runs the loop until the condition holds; fails after 15 s. */
static void run_until(bool (*condition)(void)) {
    struct waiting waiting = {.condition = condition, .deadline_ms = monotonic_ms() + 15000};
    assert_int_equal(sonde_timer_create(loop, look, &waiting, &waiting.timer), 0);
    sonde_timer_set(waiting.timer, 0);
    (void)sonde_loop_run(loop);
    sonde_timer_destroy(waiting.timer);
    if (!waiting.met)
        fail_msg("the condition did not come true");
}

static size_t sweeps_wanted;
static bool enough_polls(void) {
    return sweeps >= sweeps_wanted;
}
/** Until a poll that began after this call has ended. */
static void run_polls(void) {
    sweeps_wanted = sweeps + 2;
    run_until(enough_polls);
}
static bool is_up(void) {
    const struct series *up = find("sonde.messaging.poll.up", NULL, NULL);
    return up && up->value == 1;
}
static bool is_down(void) {
    const struct series *up = find("sonde.messaging.poll.up", NULL, NULL);
    return up && up->value == 0;
}

/* --- what it says --- */

static void lag_is_produced_minus_consumed(void **state) {
    (void)state;
    produce("orders", 10);
    redis("XGROUP CREATE orders g 0");
    consume("orders", 4);
    redisReply *reply = redisCommand(control, "XRANGE orders - + COUNT 1");
    assert_non_null(reply);
    redis("XACK orders g %s", reply->element[0]->element[0]->str);
    freeReplyObject(reply);
    start();
    run_polls();
    assert_true(is_up());
    assert_int_equal(lag_of("orders"), 6);
    assert_int_equal(value_of("sonde.messaging.queue.message", "state=ready;", NULL), 6);
    assert_int_equal(value_of("sonde.messaging.queue.message", "state=unacked;", NULL), 3);
    assert_int_equal(value_of("sonde.messaging.queue.message", "state=retained;", NULL), 10);
    assert_int_equal(value_of("sonde.messaging.consumer.active", NULL, NULL), 1);
    for (int i = 0; i < 2; i++) {
        double age = value_of("sonde.messaging.queue.oldest_message.age", i ? "state=ready;" : "state=unacked;", NULL);
        assert_true(age >= 0 && age < 60);
    }
    const struct series *lag = find("sonde.messaging.consumer.lag", NULL, NULL);
    char want[200];
    (void)snprintf(want, sizeof want,
                   "messaging.system=redis;server.address=127.0.0.1;server.port=%d;db.namespace=0;"
                   "messaging.destination.name=orders;messaging.consumer.group.name=g;",
                   port);
    assert_string_equal(lag->labels, want);
    assert_true(value_of("sonde.messaging.poll.last_success.timestamp", NULL, NULL) > 1.7e9);
    assert_int_equal(value_of("sonde.messaging.poll.fallbacks", NULL, NULL), 0);
    assert_int_equal(value_of("sonde.messaging.poll.truncated", NULL, NULL), 0);
    assert_null(find("sonde.messaging.poll.errors", NULL, NULL));
    consume("orders", 100);
    run_polls();
    assert_int_equal(lag_of("orders"), 0);
    assert_true(value_of("sonde.messaging.queue.oldest_message.age", "state=ready;", NULL) == 0);
}

/** Ten entries 1-1 .. 10-1 in each stream; what was done to it, and how many entries the group will still be given. */
static void lag_is_true_after_deletion_trimming_and_setid(void **state) {
    (void)state;
    static const struct {
        const char *stream, *commands[4];
        int lag;
    } cases[] = {
        {"new", {"XGROUP CREATE KEY g 0"}, 10},
        {"end", {"XGROUP CREATE KEY g $"}, 0},
        {"middle", {"XGROUP CREATE KEY g 4-1"}, 6},
        {"beyond", {"XGROUP CREATE KEY g 99-1"}, 0},
        {"read", {"XGROUP CREATE KEY g 0", "XREADGROUP GROUP g c COUNT 7 STREAMS KEY >"}, 3},
        {"xdel_ahead", {"XGROUP CREATE KEY g 0", "XREADGROUP GROUP g c COUNT 5 STREAMS KEY >", "XDEL KEY 7-1 9-1"}, 3},
        {"xdel_behind", {"XGROUP CREATE KEY g 0", "XREADGROUP GROUP g c COUNT 5 STREAMS KEY >", "XDEL KEY 2-1"}, 5},
        {"xtrim_ahead",
         {"XGROUP CREATE KEY g 0", "XREADGROUP GROUP g c COUNT 3 STREAMS KEY >", "XTRIM KEY MAXLEN 2"},
         2},
        {"xtrim_behind",
         {"XGROUP CREATE KEY g 0", "XREADGROUP GROUP g c COUNT 8 STREAMS KEY >", "XTRIM KEY MAXLEN 4"},
         2},
        {"xtrim_all", {"XGROUP CREATE KEY g 0", "XTRIM KEY MAXLEN 0"}, 0},
        {"setid_back", {"XGROUP CREATE KEY g $", "XGROUP SETID KEY g 3-1"}, 7},
        {"setid_zero", {"XGROUP CREATE KEY g $", "XGROUP SETID KEY g 0"}, 10},
        {"setid_end", {"XGROUP CREATE KEY g 0", "XGROUP SETID KEY g $"}, 0},
        {"deleted_middle", {"XGROUP CREATE KEY g 4-1", "XDEL KEY 5-1 1-1"}, 5},
    };
    enum { COUNT = sizeof cases / sizeof *cases };
    for (size_t c = 0; c < COUNT; c++) {
        for (int i = 1; i <= 10; i++)
            redis("XADD %s %d-1 n %d", cases[c].stream, i, i);
        for (size_t k = 0; k < 4 && cases[c].commands[k]; k++)
            redis_words(cases[c].commands[k], cases[c].stream);
    }
    redis("XGROUP CREATE empty g $ MKSTREAM");
    start();
    run_polls();
    assert_true(is_up());
    for (size_t c = 0; c < COUNT; c++)
        if (lag_of(cases[c].stream) != cases[c].lag)
            fail_msg("%s: lag %g, %d entries wait", cases[c].stream, lag_of(cases[c].stream), cases[c].lag);
    assert_int_equal(lag_of("empty"), 0);
    assert_true(value_of("sonde.messaging.poll.fallbacks", NULL, NULL) > 0);
    assert_null(find("sonde.messaging.consumer.lag", "estimate=", NULL)); /* counted to the end: exact */
    /* Ids 1-1 and so on are no times. */
    assert_null(find("sonde.messaging.queue.oldest_message.age", "name=read;", "state=ready;"));
    assert_null(find("sonde.messaging.queue.oldest_message.age", "name=read;", "state=unacked;"));
}

static void unknown_lag_is_a_floor_or_absent(void **state) {
    (void)state;
    for (int i = 1; i <= 250; i++)
        redis("XADD orders %d-1 n 1", i);
    redis("XGROUP CREATE orders g 100-1"); /* an id the server did not count: its lag is nil */
    start();
    run_polls();
    assert_int_equal(lag_of("orders"), 100);
    assert_non_null(find("sonde.messaging.consumer.lag", "estimate=floor;", NULL));
    assert_true(value_of("sonde.messaging.poll.fallbacks", NULL, NULL) >= 1);
    (void)teardown(state);
    assert_int_equal(sonde_loop_create(&loop), 0);
    set_number("count_max", 0);
    table_count = 0;
    start();
    run_polls();
    assert_true(is_up());
    assert_null(find("sonde.messaging.consumer.lag", NULL, NULL));
    assert_null(find("sonde.messaging.queue.message", "state=ready;", NULL));
    assert_true(errors_of("lag_unknown") >= 1);
    assert_int_equal(value_of("sonde.messaging.queue.message", "state=retained;", NULL), 250);
}

static void entry_too_big_to_read_costs_its_age_not_the_lag(void **state) {
    (void)state;
    size_t size = 2u << 20;
    char *payload = malloc(size);
    assert_non_null(payload);
    memset(payload, 'x', size);
    const char *argv[] = {"XADD", "orders", "*", "payload", payload};
    freeReplyObject(redisCommandArgv(control, 5, argv, (size_t[]){4, 6, 1, 7, size}));
    free(payload);
    redis("XGROUP CREATE orders g 0");
    start();
    run_until(is_down);
    assert_true(errors_of("too_big") >= 1);
    run_until(is_up);
    assert_int_equal(lag_of("orders"), 1);
    assert_null(find("sonde.messaging.queue.oldest_message.age", "state=ready;", NULL));
}

static void group_and_stream_vanish_when_they_are_gone(void **state) {
    (void)state;
    produce("orders", 3);
    produce("other", 3);
    redis("XGROUP CREATE orders g 0");
    redis("XGROUP CREATE orders h 0");
    redis("XGROUP CREATE other g 0");
    start();
    run_polls();
    assert_non_null(find("sonde.messaging.consumer.lag", "group.name=h;", NULL));
    assert_non_null(find("sonde.messaging.consumer.lag", "name=other;", NULL));
    redis("XGROUP DESTROY orders h");
    redis("DEL other");
    run_polls();
    run_polls();
    assert_null(find("sonde.messaging.consumer.lag", "group.name=h;", NULL));
    assert_null(find("sonde.messaging.consumer.lag", "name=other;", NULL));
    assert_int_equal(lag_of("orders"), 3);
    assert_null(find("sonde.messaging.poll.errors", NULL, NULL));
}

static bool found_in_the_end(void) {
    return find("sonde.messaging.consumer.lag", "name=app:orders;", NULL) != NULL;
}

static void scan_finds_streams_by_pattern_over_several_polls(void **state) {
    (void)state;
    redis("DEBUG POPULATE 5000 key"); /* other keys, more than one poll may look at */
    redis("SET app:text x");
    produce("app:orders", 2);
    produce("private", 2);
    redis("XGROUP CREATE app:orders g 0");
    redis("XGROUP CREATE private g 0");
    set_text("match", "app:*");
    set_number("scan_keys_max", 512);
    start();
    run_until(found_in_the_end);
    for (int i = 0; i < 12; i++) /* past the end of a round: it stays */
        run_polls();
    assert_int_equal(lag_of("app:orders"), 2);
    assert_null(find("sonde.messaging.consumer.lag", "name=private;", NULL));
}

static void limits_leave_out_and_say_so(void **state) {
    (void)state;
    for (int i = 0; i < 5; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "s%d", i);
        produce(name, 1);
        redis("XGROUP CREATE %s g 0", name);
        redis("XGROUP CREATE %s h 0", name);
    }
    set_number("streams_max", 3);
    set_number("groups_max", 4);
    start();
    run_polls();
    assert_int_equal(value_of("sonde.messaging.poll.truncated", NULL, NULL), 1);
    size_t lags = 0;
    for (size_t i = 0; i < table_count; i++)
        lags += strcmp(table[i].name, "sonde.messaging.consumer.lag") == 0;
    assert_int_equal(lags, 4);
}

static void named_stream_that_is_missing_or_no_stream_is_told(void **state) {
    (void)state;
    char *streams[] = {"orders", "missing", "text"};
    set_streams(streams, 3);
    set_text("match", "");
    produce("orders", 1);
    produce("unnamed", 1);
    redis("XGROUP CREATE orders g 0");
    redis("XGROUP CREATE unnamed g 0");
    redis("SET text x");
    start();
    run_polls();
    assert_true(is_up());
    assert_int_equal(lag_of("orders"), 1);
    assert_null(find("sonde.messaging.consumer.lag", "name=unnamed;", NULL));
    assert_true(errors_of("not_found") >= 1);
    assert_true(errors_of("wrong_type") >= 1);
}

static void database_and_other_ways_to_the_server(void **state) {
    char unix_endpoint[80], name_endpoint[80];
    (void)snprintf(unix_endpoint, sizeof unix_endpoint, "unix:%s", socket_path);
    (void)snprintf(name_endpoint, sizeof name_endpoint, "localhost:%d", port);
    for (int way = 0; way < 2; way++) {
        set_text("address", way ? name_endpoint : unix_endpoint);
        set_number("database", 3);
        redis("SELECT 3");
        produce("orders", 2);
        redis("XGROUP CREATE orders g 0");
        redis("SELECT 0");
        start();
        run_polls();
        assert_true(is_up());
        assert_int_equal(lag_of("orders"), 2);
        assert_non_null(
            find("sonde.messaging.consumer.lag", "db.namespace=3;", way ? "server.address=localhost;" : socket_path));
        (void)teardown(state);
        (void)setup(state);
    }
}

static void wrong_password_is_auth_and_the_right_one_works(void **state) {
    redis("ACL SETUSER watcher on >secret ~* +@all");
    produce("orders", 2);
    redis("XGROUP CREATE orders g 0");
    set_text("username", "watcher");
    set_text("password", "wrong");
    start();
    run_until(is_down);
    assert_true(errors_of("auth") >= 1);
    assert_null(find("sonde.messaging.consumer.lag", NULL, NULL));
    (void)teardown(state);

    assert_int_equal(sonde_loop_create(&loop), 0);
    set_text("password", "secret");
    start();
    run_until(is_up);
    assert_int_equal(lag_of("orders"), 2);
    (void)teardown(state);

    redis("CONFIG SET requirepass other");
    assert_int_equal(sonde_loop_create(&loop), 0);
    set_text("username", "");
    set_text("password", ""); /* none given, one needed */
    table_count = 0;
    start();
    run_until(is_down);
    assert_true(errors_of("auth") >= 1);
    (void)teardown(state);

    assert_int_equal(sonde_loop_create(&loop), 0);
    set_text("password", "other");
    start();
    run_until(is_up);
    redis("CONFIG SET requirepass %s", "");
}

static void connection_lost_between_polls_is_no_error(void **state) {
    (void)state;
    produce("orders", 2);
    redis("XGROUP CREATE orders g 0");
    set_number("interval", 200 * 1000000);
    start();
    sweeps_wanted = 1;
    run_until(enough_polls);
    redis("CLIENT KILL TYPE normal SKIPME yes");
    run_polls();
    assert_true(is_up());
    assert_null(find("sonde.messaging.poll.errors", NULL, NULL));
    assert_int_equal(lag_of("orders"), 2);
}

static void server_that_goes_and_comes_back(void **state) {
    (void)state;
    produce("orders", 2);
    redis("XGROUP CREATE orders g 0");
    start();
    run_polls();
    assert_int_equal(lag_of("orders"), 2);
    server_stop();
    run_until(is_down);
    assert_null(find("sonde.messaging.consumer.lag", NULL, NULL)); /* unknown is absent */
    assert_true(errors_of("connect") + errors_of("closed") >= 1);
    server_start();
    run_until(is_up);
    assert_null(find("sonde.messaging.consumer.lag", NULL, NULL)); /* it forgot everything */
}

/* --- servers that are none --- */

static void silent_server_is_a_timeout(void **state) {
    (void)state;
    int silent_port, fd = listen_anywhere(&silent_port);
    (void)snprintf(endpoint, sizeof endpoint, "127.0.0.1:%d", silent_port);
    set_number("timeout", 60 * 1000000);
    start();
    run_until(is_down);
    assert_true(errors_of("timeout") >= 1);
    (void)close(fd);
}

static void closed_port_and_unknown_name_are_told(void **state) {
    int closed_port, fd = listen_anywhere(&closed_port);
    (void)close(fd);
    (void)snprintf(endpoint, sizeof endpoint, "127.0.0.1:%d", closed_port);
    start();
    run_until(is_down);
    assert_true(errors_of("connect") >= 1);
    (void)teardown(state);

    assert_int_equal(sonde_loop_create(&loop), 0);
    table_count = 0;
    set_text("address", "no-such-host.invalid");
    start();
    run_until(is_down);
    assert_true(errors_of("resolve") >= 1);
}

/** Accepts for ever and says the same thing to each: `text`, then `more` over and over as long as it is taken. */
static pid_t liar_start(int fd, const char *text, size_t size, const char *more) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)signal(SIGPIPE, SIG_IGN);
    for (;;) {
        char taken[256];
        int peer = accept(fd, NULL, NULL);
        if (peer < 0)
            _exit(1);
        if (read(peer, taken, sizeof taken) > 0 && write(peer, text, size) == (ssize_t)size)
            while (more && write(peer, more, strlen(more)) > 0)
                continue;
        while (!more && read(peer, taken, sizeof taken) > 0)
            continue;
        (void)close(peer);
    }
}

static void garbage_is_an_error_and_never_a_lag(void **state) {
#define SETNAME "+OK\r\n"
    static const struct {
        const char *text, *more, *error_type;
    } cases[] = {
        {"HTTP/1.1 400 Bad Request\r\n\r\n", NULL, "protocol"},
        {"\xff\xfe\x00\x01", NULL, "protocol"},
        {SETNAME "*2000000000\r\n", NULL, "too_big"},
        {SETNAME "*60000\r\n", "*60000\r\n", "too_big"},
        {SETNAME "$400000000\r\n", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "too_big"},
        {SETNAME, "++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++", "too_big"},
        {SETNAME "+SCAN\r\n", NULL, "protocol"},
        {SETNAME "*2\r\n$1\r\n0\r\n*1\r\n:5\r\n", NULL, "protocol"},
        {SETNAME "*2\r\n$1\r\n0\r\n*1\r\n$1\r\ns\r\n*0\r\n:3\r\n*1\r\n*2\r\n$4\r\nname\r\n$1\r\ng\r\n", NULL,
         "protocol"},
        {SETNAME "*2\r\n$1\r\n0\r\n*1\r\n$1\r\ns\r\n*0\r\n:3\r\n+what\r\n", NULL, "protocol"},
        {SETNAME "-LOADING Redis is loading the dataset in memory\r\n", NULL, "loading"},
        {SETNAME "-ERR syntax error\r\n", NULL, "server"},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        int liar_port, fd = listen_anywhere(&liar_port);
        pid_t liar = liar_start(fd, cases[c].text, strlen(cases[c].text) + (c == 1 ? 2 : 0), cases[c].more);
        (void)close(fd);
        (void)snprintf(endpoint, sizeof endpoint, "127.0.0.1:%d", liar_port);
        start();
        run_until(is_down);
        if (errors_of(cases[c].error_type) < 1)
            fail_msg("case %zu: no error %s but %s", c, cases[c].error_type, table[table_count - 1].labels);
        assert_null(find("sonde.messaging.consumer.lag", NULL, NULL));
        (void)kill(liar, SIGKILL);
        (void)waitpid(liar, NULL, 0);
        (void)teardown(state);
        assert_int_equal(sonde_loop_create(&loop), 0);
        table_count = 0;
    }
}

static void create_says_what_is_wrong(void **state) {
    (void)state;
    static const char *const bad[] = {"", ":6379", "a:0", "a:65536", "a:x", "[::1", "[::1]x", "unix:relative", "a b"};
    struct sonde_collector_env env = {.name = "redis", .loop = loop, .seams = sonde_loop_seams(loop)};
    char error[256];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        set_text("address", bad[i]);
        assert_int_equal(sonde_collector_redis.create(config, &env, &collector, error, sizeof error), SONDE_EINVALID);
        assert_non_null(strstr(error, "address"));
    }
    char *streams[] = {"a", "b"};
    set_streams(streams, 2);
    set_text("address", "[::1]:6379");
    set_number("streams_max", 1);
    assert_int_equal(sonde_collector_redis.create(config, &env, &collector, error, sizeof error), SONDE_EINVALID);
    assert_non_null(strstr(error, "streams"));
}

/* --- clusters (tests/integration/collect_redis_test.py has a real one) --- */

static void slot_is_of_what_stands_in_braces(void **state) {
    static const struct {
        const char *key;
        unsigned slot;
    } cases[] = {{"123456789", 12739}, /* the check value of the specification */
                 {"{123456789}.x", 12739},
                 {"a{123456789}b{other}", 12739},
                 {"", 0}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(sonde__redis_slot(cases[i].key, strlen(cases[i].key)), cases[i].slot);
    assert_int_not_equal(sonde__redis_slot("{}x", 3), sonde__redis_slot("", 0)); /* nothing in them: the whole key */
}

static void redirect_is_read_or_refused(void **state) {
    static const struct {
        const char *text, *host;
        uint16_t port;
        bool ask;
    } cases[] = {
        {"MOVED 3999 127.0.0.1:6381", "127.0.0.1", 6381, false},
        {"ASK 3999 10.0.0.1:7000", "10.0.0.1", 7000, true},
        {"MOVED 1 ::1:7000", "::1", 7000, false},
        {"MOVED 1 redis.example:7000", "redis.example", 7000, false},
        {"MOVED 1 :7000", "asked", 7000, false}, /* it does not know its own address */
        {"MOVED 1", NULL, 0, false},
        {"MOVED 1 host", NULL, 0, false},
        {"MOVED 1 host:0", NULL, 0, false},
        {"MOVED 1 host:x", NULL, 0, false},
        {"ERR moved", NULL, 0, false},
    };
    const struct sonde__redis_address asked = {.host = "asked"};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sonde__redis_address address;
        bool ask = false, good = sonde__redis_redirect_read(cases[i].text, &asked, &address, &ask);
        assert_int_equal(good, cases[i].host != NULL);
        if (!good)
            continue;
        assert_string_equal(address.host, cases[i].host);
        assert_int_equal(address.port, cases[i].port);
        assert_int_equal(ask, cases[i].ask);
    }
}

static void cluster_that_is_none_is_told(void **state) {
    (void)state;
    *(bool *)field("cluster") = true;
    start(); /* against a server without cluster support */
    run_until(is_down);
    assert_true(errors_of("server") >= 1);
}

static int group_setup(void **state) {
    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    assert_non_null(mkdtemp(folder));
    (void)snprintf(socket_path, sizeof socket_path, "%s/s", folder);
    (void)snprintf(log_path, sizeof log_path, "%s/log", folder);
    int fd = listen_anywhere(&port);
    (void)close(fd);
    server_start();
    return 0;
}

static int group_teardown(void **state) {
    (void)state;
    server_stop();
    (void)unlink(log_path);
    return rmdir(folder);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(lag_is_produced_minus_consumed),
        CASE(lag_is_true_after_deletion_trimming_and_setid),
        CASE(unknown_lag_is_a_floor_or_absent),
        CASE(entry_too_big_to_read_costs_its_age_not_the_lag),
        CASE(group_and_stream_vanish_when_they_are_gone),
        CASE(scan_finds_streams_by_pattern_over_several_polls),
        CASE(limits_leave_out_and_say_so),
        CASE(named_stream_that_is_missing_or_no_stream_is_told),
        CASE(database_and_other_ways_to_the_server),
        CASE(wrong_password_is_auth_and_the_right_one_works),
        CASE(connection_lost_between_polls_is_no_error),
        CASE(server_that_goes_and_comes_back),
        CASE(silent_server_is_a_timeout),
        CASE(closed_port_and_unknown_name_are_told),
        CASE(garbage_is_an_error_and_never_a_lag),
        CASE(create_says_what_is_wrong),
        CASE(slot_is_of_what_stands_in_braces),
        CASE(redirect_is_read_or_refused),
        CASE(cluster_that_is_none_is_told),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
