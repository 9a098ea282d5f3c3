/* SPDX-License-Identifier: Apache-2.0 */
/* Accept: range (";" parameter)* ("," range (";" parameter)*)*; a parameter's value may be quoted. Untrusted: what does
 * not follow the grammar is passed over, and what is asked for a thousand times costs a thousand looks. */
#include "exporters/prometheus/dialect.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

const char *const sonde_prometheus_strategies[] = {"UnderscoreEscapingWithSuffixes",
                                                   "UnderscoreEscapingWithoutSuffixes", "NoUTF8EscapingWithSuffixes",
                                                   "NoTranslation", NULL};
static const char *const escapings[] = {"underscores", "allow-utf-8", "dots", "values"};

struct text {
    const char *data;
    size_t size;
};

static bool is(struct text text, const char *word) {
    return text.size == strlen(word) && strncasecmp(text.data, word, text.size) == 0;
}

static struct text trim(struct text text) {
    while (text.size && (*text.data == ' ' || *text.data == '\t')) {
        text.data++;
        text.size--;
    }
    while (text.size && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t'))
        text.size--;
    return text;
}

/* Takes what stands before the next separator, quoted ones aside. False at the end. */
static bool next(struct text *rest, char separator, struct text *ret_part) {
    if (!rest->data)
        return false;
    size_t at = 0;
    bool quoted = false;
    for (; at < rest->size && (quoted || rest->data[at] != separator); at++) {
        if (rest->data[at] == '"')
            quoted = !quoted;
        else if (quoted && rest->data[at] == '\\' && at + 1 < rest->size)
            at++;
    }
    *ret_part = trim((struct text){rest->data, at});
    *rest = at < rest->size ? (struct text){rest->data + at + 1, rest->size - at - 1} : (struct text){NULL, 0};
    return true;
}

static struct text unquote(struct text text) {
    if (text.size >= 2 && text.data[0] == '"' && text.data[text.size - 1] == '"')
        return (struct text){text.data + 1, text.size - 2};
    return text;
}

/* In thousandths; what is no number is 1, as if it were not there. */
static unsigned quality(struct text text) {
    unsigned q = 0, place = 1000;
    size_t i = 0;
    if (!text.size || (text.data[0] != '0' && text.data[0] != '1') || (text.size > 1 && text.data[1] != '.'))
        return 1000;
    q = text.data[0] == '1' ? 1000 : 0;
    for (i = 2; i < text.size && text.data[i] >= '0' && text.data[i] <= '9'; i++) {
        place /= 10;
        q += (unsigned)(text.data[i] - '0') * place;
    }
    return i < text.size ? 1000 : q > 1000 ? 1000 : q;
}

/* One range of the header. */
struct range {
    struct text type, version, escaping, proto, encoding;
    unsigned q;
};

static struct range parse_range(struct text text) {
    struct range range = {.q = 1000};
    struct text part;
    (void)next(&text, ';', &range.type);
    while (next(&text, ';', &part)) {
        struct text name, value = part;
        (void)next(&value, '=', &name);
        value = value.data ? unquote(trim(value)) : value;
        if (is(name, "q"))
            range.q = quality(value);
        else if (is(name, "version"))
            range.version = value;
        else if (is(name, "escaping"))
            range.escaping = value;
        else if (is(name, "proto"))
            range.proto = value;
        else if (is(name, "encoding"))
            range.encoding = value;
    }
    return range;
}

/* The content type of what is asked, but for the escaping; NULL when we have nothing like it. */
static const char *have(const struct range *range, enum sonde_prometheus_format *ret_format) {
    if (is(range->type, "application/vnd.google.protobuf")) {
        *ret_format = SONDE_PROMETHEUS_PROTOBUF;
        return is(range->proto, "io.prometheus.client.MetricFamily") && is(range->encoding, "delimited")
                   ? "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
                   : NULL;
    }
    if (is(range->type, "application/openmetrics-text")) {
        *ret_format = SONDE_PROMETHEUS_OPENMETRICS;
        return !range->version.size || is(range->version, "1.0.0")
                   ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
               : is(range->version, "0.0.1") ? "application/openmetrics-text; version=0.0.1; charset=utf-8"
                                             : NULL;
    }
    *ret_format = SONDE_PROMETHEUS_TEXT;
    if (is(range->type, "text/plain") && is(range->version, "1.0.0"))
        return "text/plain; version=1.0.0; charset=utf-8";
    if (is(range->type, "text/plain") && (!range->version.size || is(range->version, "0.0.4")))
        return "text/plain; version=0.0.4; charset=utf-8";
    return NULL;
}

void sonde_prometheus_negotiate(const char *accept, struct sonde_prometheus_dialect *ret_dialect) {
    struct text rest = {accept, accept ? strlen(accept) : 0}, part;
    const char *type = "text/plain; version=0.0.4; charset=utf-8";
    unsigned best = 0;
    int escaping = -1;
    ret_dialect->format = SONDE_PROMETHEUS_TEXT;
    while (next(&rest, ',', &part)) {
        struct range range = parse_range(part);
        enum sonde_prometheus_format format;
        const char *found = range.q > best ? have(&range, &format) : NULL;
        if (!found)
            continue;
        best = range.q;
        type = found;
        ret_dialect->format = format;
        escaping = -1;
        for (size_t i = 0; i < sizeof escapings / sizeof escapings[0]; i++)
            if (is(range.escaping, escapings[i]))
                escaping = (int)i;
    }
    ret_dialect->escaping = escaping < 0 ? SONDE_PROMETHEUS_UNDERSCORES : (enum sonde_prometheus_escaping)escaping;
    (void)snprintf(ret_dialect->content_type, sizeof ret_dialect->content_type, "%s%s%s", type,
                   escaping < 0 ? "" : "; escaping=", escaping < 0 ? "" : escapings[escaping]);
}

bool sonde_prometheus_takes_gzip(const char *accept_encoding) {
    struct text rest = {accept_encoding, accept_encoding ? strlen(accept_encoding) : 0}, part;
    int named = -1, all = -1; /* q of gzip and of everything */
    while (next(&rest, ',', &part)) {
        struct range range = parse_range(part);
        if (is(range.type, "gzip") || is(range.type, "x-gzip"))
            named = (int)range.q;
        else if (is(range.type, "*"))
            all = (int)range.q;
    }
    return named > 0 || (named < 0 && all > 0);
}
