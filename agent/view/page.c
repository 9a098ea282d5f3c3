/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/view/page.h"
#include <inttypes.h>
#include <string.h>

const char sonde__page_style[] =
    ":root{color-scheme:light dark;--line:#8884;--good:#1a7f37;--bad:#cf222e;--dim:#8889}\n"
    "body{font:15px/1.45 system-ui,sans-serif;margin:1.5rem auto;max-width:72rem;padding:0 1rem}\n"
    "h1{font-size:1.4rem;margin:0}h2{font-size:1.05rem;margin:1.6rem 0 .3rem}\n"
    "table{border-collapse:collapse;width:100%;overflow-wrap:anywhere}\n"
    "th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}\n"
    "th{font-weight:600}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\n"
    ".light{display:inline-block;width:.7em;height:.7em;border-radius:50%;margin-right:.4em}\n"
    ".good{background:var(--good)}.bad{background:var(--bad)}.badtext{color:var(--bad);font-weight:600}\n"
    ".dim{color:var(--dim)}.scroll{overflow-x:auto}\n";

static const char *const signals[] = {"traces", "logs", "metrics"};
#define SIGNALS (sizeof signals / sizeof signals[0])

static void text(FILE *out, const char *string) {
    for (; string && *string; string++) {
        switch (*string) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        case '\'':
            fputs("&#39;", out);
            break;
        default:
            fputc((unsigned char)*string < 0x20 || *string == 0x7f ? ' ' : *string, out);
        }
    }
}

static const char *string_at(const json_t *object, const char *key) {
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}
static uint64_t number_at(const json_t *object, const char *key) {
    return (uint64_t)json_integer_value(json_object_get(object, key));
}
static bool true_at(const json_t *object, const char *key) {
    return json_is_true(json_object_get(object, key));
}

static void cell(FILE *out, const char *string) {
    fputs("<td>", out);
    text(out, string);
    fputs("</td>", out);
}
static void cell_number(FILE *out, uint64_t value) {
    fprintf(out, "<td class=n>%" PRIu64 "</td>", value);
}
static void cell_light(FILE *out, bool good, const char *yes, const char *no) {
    fprintf(out, "<td><span class=\"light %s\"></span><span%s>", good ? "good" : "bad", good ? "" : " class=badtext");
    text(out, good ? yes : no);
    fputs("</span></td>", out);
}
static void head(FILE *out, const char *title, const char *const *columns) {
    fprintf(out, "<h2>%s</h2>\n<div class=scroll><table><tr>", title); /* static strings of ours */
    for (; *columns; columns++)
        fprintf(out, (*columns)[0] == '#' ? "<th class=n>%s</th>" : "<th>%s</th>", *columns + ((*columns)[0] == '#'));
    fputs("</tr>\n", out);
}
static void foot(FILE *out) {
    fputs("</table></div>\n", out);
}
static void none(FILE *out, const json_t *list, int columns, const char *hint) {
    if (json_array_size(list) == 0)
        fprintf(out, "<tr><td colspan=%d class=dim>%s</td></tr>\n", columns, hint);
}

static void age(FILE *out, uint64_t unix_ns, uint64_t now_unix_ns) {
    uint64_t seconds = now_unix_ns > unix_ns ? (now_unix_ns - unix_ns) / 1000000000u : 0;
    if (seconds < 120)
        fprintf(out, "%" PRIu64 " s ago", seconds);
    else if (seconds < 7200)
        fprintf(out, "%" PRIu64 " min ago", seconds / 60);
    else
        fprintf(out, "%" PRIu64 " h ago", seconds / 3600);
}

static void cell_age(FILE *out, uint64_t unix_ns, uint64_t now_unix_ns) {
    fputs(unix_ns ? "<td>" : "<td class=dim>never", out);
    if (unix_ns)
        age(out, unix_ns, now_unix_ns);
    fputs("</td>", out);
}

/** The error stays in sight when it is over, so it says how old it is. */
static void cell_error(FILE *out, const json_t *exporter, uint64_t now_unix_ns) {
    uint64_t unix_ns = number_at(exporter, "last_error_unix_ns");
    fputs("<td>", out);
    text(out, string_at(exporter, "last_error"));
    if (unix_ns) {
        fputs(" <span class=dim>", out);
        age(out, unix_ns, now_unix_ns);
        fputs("</span>", out);
    }
    fputs("</td>", out);
}

/** "ring_full 3, invalid 1" of an object of counts; a dash when all are 0. */
static void cell_drops(FILE *out, const json_t *dropped) {
    const char *reason;
    json_t *count;
    bool any = false;
    fputs("<td>", out);
    json_object_foreach((json_t *)(uintptr_t)dropped, reason, count) { /* only read */
        if (json_integer_value(count) == 0)
            continue;
        fputs(any ? ", " : "", out);
        text(out, reason);
        fprintf(out, " %" JSON_INTEGER_FORMAT, json_integer_value(count));
        any = true;
    }
    fputs(any ? "</td>" : "-</td>", out);
}

static void services(const json_t *status, FILE *out) {
    static const char *const columns[] = {"service", "#processes", "#ended",   "#traces",
                                          "#logs",   "#metrics",   "#dropped", NULL};
    const json_t *list = json_object_get(status, "services"), *one;
    size_t i;
    head(out, "Services", columns);
    json_array_foreach(list, i, one) {
        fputs("<tr>", out);
        cell(out, string_at(one, "name"));
        cell_number(out, number_at(one, "peers"));
        cell_number(out, number_at(one, "gone"));
        for (size_t s = 0; s < SIGNALS; s++)
            cell_number(out, number_at(one, signals[s]));
        cell_number(out, number_at(one, "dropped"));
        fputs("</tr>\n", out);
    }
    none(out, list, 7, "No service was seen yet. Link libsonde, or set SONDE_AGENT_SOCKET for a socket elsewhere.");
    foot(out);
}

static void steering(const json_t *status, FILE *out) {
    static const char *const columns[] = {"service", "sample", "log level", "by", NULL};
    const json_t *list = json_object_get(status, "steering"), *one;
    size_t i;
    if (json_array_size(list) == 0)
        return;
    head(out, "Set for services", columns);
    json_array_foreach(list, i, one) {
        const json_t *ratio = json_object_get(one, "ratio");
        fputs("<tr>", out);
        cell(out, string_at(one, "service"));
        fprintf(out, ratio ? "<td>%g</td>" : "<td class=dim>own</td>", json_number_value(ratio));
        cell(out, string_at(one, "log_level"));
        cell(out, string_at(one, "by"));
        fputs("</tr>\n", out);
    }
    foot(out);
}

static void intake(const json_t *status, FILE *out) {
    static const char *const columns[] = {"signal", "#received", "#appended", "dropped, by reason", NULL};
    head(out, "Records taken in", columns);
    for (size_t s = 0; s < SIGNALS; s++) {
        const json_t *one = json_object_get(json_object_get(status, "signals"), signals[s]);
        fputs("<tr>", out);
        cell(out, signals[s]);
        cell_number(out, number_at(one, "received"));
        cell_number(out, number_at(one, "appended"));
        cell_drops(out, json_object_get(one, "dropped"));
        fputs("</tr>\n", out);
    }
    foot(out);
}

static const char *failing_text(const char *breaker) {
    bool is_closed = !breaker[0] || strcmp(breaker, "closed") == 0;
    return is_closed                      ? "failing"
           : strcmp(breaker, "open") == 0 ? "failing, breaker open"
                                          : "failing, breaker half-open";
}

static void exporters(const json_t *status, uint64_t now_unix_ns, FILE *out) {
    static const char *const columns[] = {"exporter",  "state",   "endpoint", "last success", "last error",
                                          "#requests", "#failed", "#retries", "#bytes sent",  NULL};
    const json_t *list = json_object_get(status, "exporters"), *one;
    size_t i;
    head(out, "Exporters", columns);
    json_array_foreach(list, i, one) {
        fputs("<tr>", out);
        cell(out, string_at(one, "name"));
        cell_light(out, !true_at(one, "failing"), "good", failing_text(string_at(one, "breaker")));
        cell(out, string_at(one, "endpoint"));
        cell_age(out, number_at(one, "last_success_unix_ns"), now_unix_ns);
        cell_error(out, one, now_unix_ns);
        cell_number(out, number_at(one, "requests"));
        cell_number(out, number_at(one, "request_errors"));
        cell_number(out, number_at(one, "retries"));
        cell_number(out, number_at(one, "bytes_sent"));
        fputs("</tr>\n", out);
    }
    none(out, list, 9,
         "No exporter is configured: telemetry is counted and let go. Set OTEL_EXPORTER_OTLP_ENDPOINT, or exporters in "
         "the "
         "configuration.");
    foot(out);
}

static void ledger(const json_t *status, FILE *out) {
    static const char *const columns[] = {"exporter",   "signal",   "#appended",          "#queued", "#in flight",
                                          "#delivered", "#refused", "dropped, by reason", NULL};
    const json_t *list = json_object_get(status, "exporters"), *one, *balance = json_object_get(status, "ledger");
    size_t i;
    head(out, "Ledger", columns);
    json_array_foreach(list, i, one) {
        for (size_t s = 0; s < SIGNALS; s++) {
            const json_t *account = json_object_get(json_object_get(one, "signals"), signals[s]);
            if (!account)
                continue;
            fputs("<tr>", out);
            cell(out, string_at(one, "name"));
            cell(out, signals[s]);
            cell_number(out, number_at(account, "appended"));
            cell_number(out, number_at(account, "queued"));
            cell_number(out, number_at(account, "in_flight"));
            cell_number(out, number_at(account, "delivered"));
            cell_number(out, number_at(account, "refused"));
            cell_drops(out, json_object_get(account, "dropped"));
            fputs("</tr>\n", out);
        }
    }
    fputs("<tr>", out);
    cell_light(out, true_at(balance, "balanced"), "balanced", "does not balance");
    fprintf(out, "<td colspan=7>%s", true_at(balance, "balanced") ? "every record is accounted for" : "");
    text(out, string_at(balance, "text"));
    fprintf(out, "; %" PRIu64 " ring places given back early, %" PRIu64 " evictions</td></tr>\n",
            number_at(balance, "early_released"), number_at(balance, "evictions"));
    foot(out);
}

static void peers(const json_t *status, FILE *out) {
    static const char *const columns[] = {"service", "#pid",        "#uid", "state", "#threads", "#fullest ring, bytes",
                                          "#of",     "#violations", NULL};
    const json_t *list = json_object_get(status, "peers"), *one;
    size_t i;
    head(out, "Peers and rings", columns);
    json_array_foreach(list, i, one) {
        fputs("<tr>", out);
        cell(out, string_at(one, "service"));
        cell_number(out, number_at(one, "pid"));
        cell_number(out, number_at(one, "uid"));
        cell(out, !true_at(one, "alive") ? "gone" : true_at(one, "connected") ? "connected" : "not connected");
        cell_number(out, number_at(one, "threads"));
        cell_number(out, number_at(one, "ring_bytes"));
        cell_number(out, number_at(one, "ring_bytes_max"));
        cell_number(out, number_at(one, "violations"));
        fputs("</tr>\n", out);
    }
    none(out, list, 8, "None.");
    foot(out);
}

static void collectors(const json_t *status, uint64_t now_unix_ns, FILE *out) {
    static const char *const columns[] = {"collector", "state", "address", "last success", NULL};
    const json_t *list = json_object_get(status, "collectors"), *one;
    size_t i;
    head(out, "Collectors", columns);
    json_array_foreach(list, i, one) {
        fputs("<tr>", out);
        cell(out, string_at(one, "name"));
        cell_light(out, !true_at(one, "failing"), number_at(one, "last_success_unix_ns") ? "good" : "not polled yet",
                   string_at(one, "trouble"));
        cell(out, string_at(one, "address"));
        cell_age(out, number_at(one, "last_success_unix_ns"), now_unix_ns);
        fputs("</tr>\n", out);
    }
    none(out, list, 4, "None is configured.");
    foot(out);
}

static void discoveries(const json_t *status, uint64_t now_unix_ns, FILE *out) {
    static const char *const columns[] = {"discovery", "receiver",     "state", "address",
                                          "#targets",  "last success", NULL};
    const json_t *list = json_object_get(status, "discoveries"), *one;
    size_t i;
    if (json_array_size(list) == 0)
        return;
    head(out, "Discovery", columns);
    json_array_foreach(list, i, one) {
        fputs("<tr>", out);
        cell(out, string_at(one, "source"));
        cell(out, string_at(one, "receiver"));
        cell_light(out, !true_at(one, "failing"), number_at(one, "last_success_unix_ns") ? "good" : "not answered yet",
                   string_at(one, "trouble"));
        cell(out, string_at(one, "address"));
        cell_number(out, number_at(one, "targets"));
        cell_age(out, number_at(one, "last_success_unix_ns"), now_unix_ns);
        fputs("</tr>\n", out);
    }
    foot(out);
}

void sonde__page_write(const json_t *status, uint64_t now_unix_ns, FILE *out) {
    const json_t *problems = json_object_get(status, "problems"), *one, *queue = json_object_get(status, "queue");
    size_t i;
    fputs("<!doctype html><html lang=en><head><meta charset=utf-8><title>Sonde</title>"
          "<meta name=viewport content=\"width=device-width\"><link rel=stylesheet href=\"/style.css\"></head><body>\n"
          "<h1><span class=\"light ",
          out);
    fputs(true_at(status, "healthy") ? "good" : "bad", out);
    fputs("\"></span>Sonde</h1>\n<p class=dim>", out);
    text(out, string_at(status, "version"));
    fprintf(out, ", pid %" PRIu64 ", up %" PRIu64 " s, ", number_at(status, "pid"),
            number_at(status, "uptime_seconds"));
    text(out, string_at(status, "state"));
    fputs(", services at ", out);
    text(out, string_at(status, "socket"));
    fprintf(out, ", queue %" PRIu64 " of %" PRIu64 " bytes, %" PRIu64 " series. ", number_at(queue, "bytes"),
            number_at(queue, "bytes_max"), number_at(json_object_get(status, "series"), "series"));
    fputs("<a href=\"/metrics\">/metrics</a> <a href=\"/api/status\">/api/status</a></p>\n", out);
    json_array_foreach(problems, i, one) {
        fputs("<p class=badtext>", out);
        text(out, json_string_value(one));
        fputs("</p>\n", out);
    }
    services(status, out);
    steering(status, out);
    intake(status, out);
    exporters(status, now_unix_ns, out);
    ledger(status, out);
    peers(status, out);
    collectors(status, now_unix_ns, out);
    discoveries(status, now_unix_ns, out);
    fputs("</body></html>\n", out);
}
