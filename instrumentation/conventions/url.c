/* SPDX-License-Identifier: Apache-2.0 */
/* Source: RFC 3986, 3; semantic conventions, registry/attributes/url.md (url.full, url.query). */
#include "instrumentation/conventions/url.h"
#include <string.h>

/* Keys whose values give access to what the URL names. Case counts. */
static const struct sonde_string secrets[] = {
    {"sig", 3},
    {"Signature", 9},
    {"AWSAccessKeyId", 14},
    {"X-Goog-Signature", 16},
    {"X-Amz-Signature", 15},
    {"X-Amz-Credential", 16},
    {"X-Amz-Security-Token", 20},
};
#define REDACTED      "REDACTED"
#define USER_REDACTED "REDACTED:REDACTED@"

static bool is_secret(const char *key, size_t size) {
    if (size < 3 || size > 20 || (key[0] != 's' && key[0] != 'S' && key[0] != 'A' && key[0] != 'X'))
        return false;
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++)
        if (secrets[i].size == size && memcmp(secrets[i].data, key, size) == 0)
            return true;
    return false;
}

struct out {
    char *text;
    size_t size;
};
static void put(struct out *out, const char *text, size_t size) {
    size_t room = SONDE__URL_SIZE_MAX - out->size;
    size = size < room ? size : room;
    memcpy(out->text + out->size, text, size);
    out->size += size;
}

/* The value of the next secret at or after `at`; false when there is none. A fragment ends the query. */
static bool next_secret(const char *at, const char *end, const char **ret_value, const char **ret_value_end) {
    while (at < end && *at != '#') {
        const char *key = at, *equals = NULL;
        while (at < end && *at != '&' && *at != '#') {
            if (*at == '=' && !equals)
                equals = at;
            at++;
        }
        if (equals && is_secret(key, (size_t)(equals - key))) {
            *ret_value = equals + 1;
            *ret_value_end = at;
            return true;
        }
        if (at < end && *at == '&')
            at++;
    }
    return false;
}

/* Puts a query in which secrets are replaced. */
static void put_query(struct out *out, const char *at, const char *end) {
    const char *value, *value_end;
    while (next_secret(at, end, &value, &value_end)) {
        put(out, at, (size_t)(value - at));
        put(out, REDACTED, sizeof REDACTED - 1);
        at = value_end;
        if (at < end && *at == '&') /* next_secret() begins at a key */
            put(out, at++, 1);
    }
    put(out, at, (size_t)(end - at));
}

struct sonde_string sonde__query_redact(struct sonde_string query, char *buffer) {
    const char *end = query.data + query.size, *value, *value_end;
    struct out out = {buffer, 0};
    if (!query.size || !next_secret(query.data, end, &value, &value_end))
        return query;
    put_query(&out, query.data, end);
    return (struct sonde_string){out.text, out.size};
}

/* Where the authority begins ("//" behind the scheme) and ends; false when there is none. */
static bool authority(struct sonde_string url, const char **ret_begin, const char **ret_end) {
    const char *end = url.data + url.size, *colon = url.size ? memchr(url.data, ':', url.size) : NULL;
    if (!colon || end - colon < 3 || colon[1] != '/' || colon[2] != '/')
        return false;
    const char *at = *ret_begin = colon + 3;
    while (at < end && *at != '/' && *at != '?' && *at != '#')
        at++;
    *ret_end = at;
    return true;
}

/* Behind the last '@' of an authority, or its begin. */
static const char *host_begin(const char *begin, const char *end) {
    for (const char *at = end; at > begin; at--)
        if (at[-1] == '@')
            return at;
    return begin;
}

struct sonde_string sonde__url_redact(struct sonde_string url, char *buffer) {
    const char *begin = url.data, *host_end = url.data, *end = url.data + url.size, *value, *value_end;
    bool has_authority = authority(url, &begin, &host_end);
    const char *host = has_authority ? host_begin(begin, host_end) : begin;
    const char *query = memchr(host_end, '?', (size_t)(end - host_end));
    query = query ? query + 1 : end;
    if (host == begin && !next_secret(query, end, &value, &value_end))
        return url;
    struct out out = {buffer, 0};
    put(&out, url.data, (size_t)(begin - url.data));
    if (host > begin)
        put(&out, USER_REDACTED, sizeof USER_REDACTED - 1);
    put(&out, host, (size_t)(query - host));
    put_query(&out, query, end);
    return (struct sonde_string){out.text, out.size};
}

static uint16_t default_port(struct sonde_string url) {
    struct sonde_string scheme = {url.data, (size_t)((const char *)memchr(url.data, ':', url.size) - url.data)};
    if ((scheme.size == 4 && memcmp(scheme.data, "http", 4) == 0) ||
        (scheme.size == 2 && memcmp(scheme.data, "ws", 2) == 0))
        return 80;
    if ((scheme.size == 5 && memcmp(scheme.data, "https", 5) == 0) ||
        (scheme.size == 3 && memcmp(scheme.data, "wss", 3) == 0))
        return 443;
    return 0;
}

bool sonde__url_server(struct sonde_string url, struct sonde_string *ret_host, uint16_t *ret_port) {
    const char *begin, *end;
    if (!authority(url, &begin, &end))
        return false;
    const char *host = host_begin(begin, end), *host_end = host;
    if (host < end && *host == '[') { /* an IPv6 address has colons of its own */
        host++;
        host_end = memchr(host, ']', (size_t)(end - host));
        if (!host_end)
            return false;
        begin = host_end + 1;
    } else {
        while (host_end < end && *host_end != ':')
            host_end++;
        begin = host_end;
    }
    if (host_end == host)
        return false;
    uint32_t port = 0;
    if (begin < end && *begin == ':')
        for (const char *at = begin + 1; at < end && port <= UINT16_MAX; at++)
            port = *at >= '0' && *at <= '9' ? port * 10 + (uint32_t)(*at - '0') : UINT16_MAX + 1u;
    *ret_host = (struct sonde_string){host, (size_t)(host_end - host)};
    *ret_port = !port ? default_port(url) : port <= UINT16_MAX ? (uint16_t)port : 0;
    return true;
}
