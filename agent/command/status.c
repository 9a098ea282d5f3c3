/* SPDX-License-Identifier: Apache-2.0 */
/* `sonde status`: the agent's /api/status, for people and scripts. */
#include "agent/command/command.h"
#include "agent/loop/loop.h"
#include "agent/net/http_client.h"
#include <getopt.h>
#include <sonde/err.h>
#include <stdbool.h>
#include <stdint.h>

#define ANSWER_SIZE_MAX (16u << 20)
#define TIMEOUT_NS      UINT64_C(10000000000)

struct fetch {
    struct sonde_loop *loop;
    const char *address;
    json_t *status;
};

static void on_answer(void *user, const struct sonde_http_response *response) {
    struct fetch *fetch = user;
    if (response->error)
        fprintf(stderr, "sonde: the agent at %s does not answer: %s\n", fetch->address,
                response->error_text ? response->error_text : sonde_strerror(response->error));
    else if (response->status != 200)
        fprintf(stderr, "sonde: %s answers with status %d\n", fetch->address, response->status);
    else
        fetch->status = json_loadb((const char *)response->body, response->body_size, 0, NULL);
    if (!response->error && response->status == 200 && !fetch->status)
        fprintf(stderr, "sonde: what answers at %s is not an agent\n", fetch->address);
    sonde_loop_stop(fetch->loop);
}

/** One exchange on a loop of its own. NULL when it failed; told. */
static json_t *fetch_status(const char *address) {
    char url[300];
    struct fetch fetch = {.address = address};
    struct sonde_http_curl *client = NULL;
    void *exchange;
    (void)snprintf(url, sizeof url, "http://%s/api/status", address);
    const struct sonde_http_request request = {
        .method = "GET", .url = url, .timeout_ns = TIMEOUT_NS, .response_size_max = ANSWER_SIZE_MAX};
    int error = sonde_loop_create(&fetch.loop);
    if (!error)
        error = sonde_http_curl_create(fetch.loop, &client);
    if (!error) {
        struct sonde__http_client http = sonde_http_curl_interface(client);
        error = http.start(http.self, &request, on_answer, &fetch, &exchange);
    }
    if (!error)
        sonde_loop_run(fetch.loop);
    else
        fprintf(stderr, "sonde: the agent at %s cannot be asked: %s\n", address, sonde_strerror(error));
    sonde_http_curl_destroy(client);
    sonde_loop_destroy(fetch.loop);
    return fetch.status;
}

static const char *string_at(const json_t *object, const char *key) {
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}
static long long number_at(const json_t *object, const char *key) {
    return json_integer_value(json_object_get(object, key));
}

/** A terminal obeys control characters: none of them gets there. */
static void put_text(FILE *out, const char *text) {
    for (; *text; text++)
        fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, out);
}

/** "3 dropped (ring_full 2, invalid 1)". */
static void write_dropped(const json_t *reasons, FILE *out) {
    long long sum = 0;
    const char *reason, *before = " (";
    json_t *count;
    json_object_foreach((json_t *)(uintptr_t)reasons, reason, count) /* only read */
        sum += json_integer_value(count);
    fprintf(out, "%lld dropped", sum);
    json_object_foreach((json_t *)(uintptr_t)reasons, reason, count) {
        if (json_integer_value(count) == 0)
            continue;
        fputs(before, out);
        put_text(out, reason);
        fprintf(out, " %lld", (long long)json_integer_value(count));
        before = ", ";
    }
    fputs(sum ? ")\n" : "\n", out);
}

static void write_services(const json_t *status, FILE *out) {
    size_t i;
    json_t *one;
    fprintf(out, "services:%s\n", json_array_size(json_object_get(status, "services")) ? "" : " none seen");
    json_array_foreach(json_object_get(status, "services"), i, one) {
        fputs("  ", out);
        put_text(out, string_at(one, "name"));
        fprintf(out, ": %lld processes, %lld ended, %lld spans, %lld logs, %lld dropped\n", number_at(one, "peers"),
                number_at(one, "gone"), number_at(one, "traces"), number_at(one, "logs"), number_at(one, "dropped"));
    }
}

static void write_steering(const json_t *status, FILE *out) {
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(status, "steering"), i, one) {
        const json_t *ratio = json_object_get(one, "ratio");
        fputs(i ? "  " : "set for services:\n  ", out);
        put_text(out, string_at(one, "service"));
        if (ratio)
            fprintf(out, ": sample %g", json_number_value(ratio));
        if (json_object_get(one, "log_level")) {
            fputs(ratio ? ", log-level " : ": log-level ", out);
            put_text(out, string_at(one, "log_level"));
        }
        fputs(" (by ", out);
        put_text(out, string_at(one, "by"));
        fputs(")\n", out);
    }
}

static void write_account(const char *signal, const json_t *account, FILE *out) {
    fprintf(out, "    %s: %lld appended, %lld queued, %lld in flight, %lld delivered, %lld refused, ", signal,
            number_at(account, "appended"), number_at(account, "queued"), number_at(account, "in_flight"),
            number_at(account, "delivered"), number_at(account, "refused"));
    write_dropped(json_object_get(account, "dropped"), out);
}

static void write_exporters(const json_t *status, FILE *out) {
    size_t i;
    json_t *one, *account;
    const char *signal;
    fprintf(out, "exporters:%s\n", json_array_size(json_object_get(status, "exporters")) ? "" : " none configured");
    json_array_foreach(json_object_get(status, "exporters"), i, one) {
        bool failing = json_is_true(json_object_get(one, "failing"));
        fputs("  ", out);
        put_text(out, string_at(one, "name"));
        fputs(failing ? ": FAILING, " : ": good, ", out);
        put_text(out, string_at(one, "endpoint"));
        if (failing) {
            fputs(", ", out);
            put_text(out, string_at(one, "last_error"));
            fputs(", circuit breaker ", out);
            put_text(out, string_at(one, "breaker"));
        }
        fputc('\n', out);
        json_object_foreach(json_object_get(one, "signals"), signal, account) {
            write_account(signal, account, out);
        }
    }
}

static void write_processors(const json_t *status, FILE *out) {
    size_t i;
    json_t *one, *figure;
    const char *name, *before;
    json_array_foreach(json_object_get(status, "processors"), i, one) {
        fputs(i ? "  " : "processors:\n  ", out);
        put_text(out, string_at(one, "name"));
        before = ": ";
        json_object_foreach(json_object_get(one, "figures"), name, figure) {
            fprintf(out, "%s%lld ", before, (long long)json_integer_value(figure));
            put_text(out, name);
            before = ", ";
        }
        fputc('\n', out);
    }
}

static void write_collectors(const json_t *status, FILE *out) {
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(status, "collectors"), i, one) {
        bool failing = json_is_true(json_object_get(one, "failing"));
        fputs(i ? "  " : "collectors:\n  ", out);
        put_text(out, string_at(one, "name"));
        fputs(failing ? ": FAILING, " : ": good, ", out);
        put_text(out, string_at(one, "address"));
        fputs(failing ? ", " : "", out);
        put_text(out, string_at(one, "trouble"));
        fputc('\n', out);
    }
}

static void write_discoveries(const json_t *status, FILE *out) {
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(status, "discoveries"), i, one) {
        bool failing = json_is_true(json_object_get(one, "failing"));
        fputs(i ? "  " : "discoveries:\n  ", out);
        put_text(out, string_at(one, "receiver"));
        fputc(' ', out);
        put_text(out, string_at(one, "source"));
        fputs(failing ? ": FAILING, " : ": good, ", out);
        put_text(out, string_at(one, "address"));
        fprintf(out, ", %lld targets%s", number_at(one, "targets"), failing ? ", " : "");
        put_text(out, string_at(one, "trouble"));
        fputc('\n', out);
    }
}

int sonde__status_write(const json_t *status, FILE *out) {
    const json_t *ledger = json_object_get(status, "ledger");
    bool healthy = json_is_true(json_object_get(status, "healthy"));
    const char *signal;
    json_t *one;
    fputs("sonded ", out);
    put_text(out, string_at(status, "version"));
    fprintf(out, ", pid %lld, up %lld s, ", number_at(status, "pid"), number_at(status, "uptime_seconds"));
    put_text(out, string_at(status, "state"));
    fputc('\n', out);
    write_services(status, out);
    write_steering(status, out);
    fputs("taken in:\n", out);
    json_object_foreach(json_object_get(status, "signals"), signal, one) {
        fprintf(out, "    %s: %lld received, %lld appended, ", signal, number_at(one, "received"),
                number_at(one, "appended"));
        write_dropped(json_object_get(one, "dropped"), out);
    }
    write_processors(status, out);
    write_exporters(status, out);
    write_collectors(status, out);
    write_discoveries(status, out);
    fprintf(out, "queue: %lld of %lld bytes\n", number_at(json_object_get(status, "queue"), "bytes"),
            number_at(json_object_get(status, "queue"), "bytes_max"));
    fputs("ledger: ", out);
    fputs(json_is_true(json_object_get(ledger, "balanced")) ? "balanced" : "DOES NOT BALANCE ", out);
    put_text(out, string_at(ledger, "text"));
    fprintf(out, "; %lld ring places given back early, %lld evictions\n", number_at(ledger, "early_released"),
            number_at(ledger, "evictions"));
    return healthy ? SONDE__EXIT_GOOD : SONDE__EXIT_BAD;
}

int sonde__command_status(int argc, char **argv) {
    static const struct option options[] = {
        {"address", required_argument, NULL, 'a'}, {"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
    const char *address = "127.0.0.1:4320";
    bool json = false;
    optind = 1;
    for (int c; (c = getopt_long(argc, argv, "a:j", options, NULL)) != -1;) {
        if (c == 'a')
            address = optarg;
        else if (c == 'j')
            json = true;
        else
            return SONDE__EXIT_USAGE;
    }
    if (optind < argc) {
        fprintf(stderr, "sonde: \"%s\" is not expected\n", argv[optind]);
        return SONDE__EXIT_USAGE;
    }
    json_t *status = fetch_status(address);
    if (!status)
        return SONDE__EXIT_BAD;
    int code = json_is_true(json_object_get(status, "healthy")) ? SONDE__EXIT_GOOD : SONDE__EXIT_BAD;
    if (json) {
        (void)json_dumpf(status, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        code = sonde__status_write(status, stdout);
    }
    json_decref(status);
    return code;
}
