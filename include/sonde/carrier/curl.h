/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl's header list as a carrier: what goes into CURLOPT_HTTPHEADER. Header-only, so that libsonde needs no
 * libcurl: include it where you use libcurl. Lines are "name: value"; names compare without case.
 *
 *     struct curl_slist *headers = curl_slist_append(NULL, "content-type: application/json");
 *     struct sonde_carrier carrier = sonde_curl_carrier(&headers);
 *     (void)sonde_inject(NULL, &carrier);
 *     curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
 *
 * Source: libcurl's curl_slist_append(3), CURLOPT_HTTPHEADER(3). */
#ifndef SONDE_CARRIER_CURL_H
#define SONDE_CARRIER_CURL_H

#include <curl/curl.h>
#include <sonde/carrier.h>
#include <sonde/err.h>
#include <sonde/limits.h>
#include <string.h>

SONDE_BEGIN

/** The value of a line when its name is the one asked for. ret_value has no white space round it. */
static inline bool sonde_curl_line(const char *line, struct sonde_string name, struct sonde_string *ret_value) {
    size_t i;
    for (i = 0; i < name.size; i++) {
        char c = line[i];
        if (c >= 'A' && c <= 'Z')
            c = SONDE_CAST(char, c + ('a' - 'A'));
        if (c != name.data[i])
            return false;
    }
    if (line[i] != ':' && line[i] != ';') /* "name;" is libcurl's way of an empty value */
        return false;
    const char *start = line + i + 1, *end = start + strlen(start);
    while (*start == ' ' || *start == '\t')
        start++;
    while (end > start && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    ret_value->data = start;
    ret_value->size = SONDE_CAST(size_t, end - start);
    return true;
}

static inline bool sonde_curl_get(void *self, struct sonde_string name, struct sonde_string *ret_value) {
    struct curl_slist *node;
    for (node = *SONDE_CAST(struct curl_slist **, self); node; node = node->next)
        if (sonde_curl_line(node->data, name, ret_value))
            return true;
    return false;
}

static inline void sonde_curl_each(void *self, struct sonde_string name, sonde_carrier_visit visit, void *user) {
    struct curl_slist *node;
    struct sonde_string value;
    for (node = *SONDE_CAST(struct curl_slist **, self); node; node = node->next)
        if (sonde_curl_line(node->data, name, &value) && !visit(user, value))
            return;
}

static inline void sonde_curl_remove(void *self, struct sonde_string name) {
    struct curl_slist **link = SONDE_CAST(struct curl_slist **, self);
    struct sonde_string value;
    while (*link) {
        struct curl_slist *node = *link;
        if (!sonde_curl_line(node->data, name, &value)) {
            link = &node->next;
            continue;
        }
        *link = node->next;
        node->next = NULL;
        curl_slist_free_all(node);
    }
}

/** Appends before it removes, so that a list without memory is unchanged. */
static inline int sonde_curl_set(void *self, struct sonde_string name, struct sonde_string value) {
    struct curl_slist **list = SONDE_CAST(struct curl_slist **, self), *fresh, **link;
    char line[64 + SONDE_BAGGAGE_SIZE_MAX]; /* the longest that is sent */
    size_t i;
    if (name.size + value.size + 3 > sizeof line)
        return SONDE_ETOOBIG;
    for (i = 0; i < value.size; i++)
        if (SONDE_CAST(unsigned char, value.data[i]) < 0x20 || SONDE_CAST(unsigned char, value.data[i]) > 0x7e)
            return SONDE_EINVALID; /* a line end here would be a header of its own */
    for (i = 0; i < name.size; i++)
        if (SONDE_CAST(unsigned char, name.data[i]) <= 0x20 || SONDE_CAST(unsigned char, name.data[i]) > 0x7e ||
            name.data[i] == ':' || name.data[i] == ';')
            return SONDE_EINVALID;
    if (name.size == 0)
        return SONDE_EINVALID;
    memcpy(line, name.data, name.size);
    memcpy(line + name.size, ": ", 2);
    memcpy(line + name.size + 2, value.data, value.size);
    line[name.size + 2 + value.size] = '\0';
    fresh = curl_slist_append(NULL, line);
    if (!fresh)
        return -12; /* -ENOMEM */
    sonde_curl_remove(self, name);
    for (link = list; *link; link = &(*link)->next)
        continue;
    *link = fresh;
    return 0;
}

static inline void sonde_curl_keys(void *self, sonde_carrier_visit visit, void *user) {
    struct curl_slist *node;
    for (node = *SONDE_CAST(struct curl_slist **, self); node; node = node->next) {
        struct sonde_string name;
        name.data = node->data;
        name.size = strcspn(node->data, ":;");
        if (!visit(user, name))
            return;
    }
}

/** A carrier of a list. list: borrowed while the carrier is used; *list may be NULL (empty) and changes when a header
 * is set, so hand it to libcurl after the injection. Memory is libcurl's: free with curl_slist_free_all(). */
static inline struct sonde_carrier sonde_curl_carrier(struct curl_slist **list) {
    static const struct sonde_carrier_ops ops = {sonde_curl_get,    sonde_curl_each, sonde_curl_set,
                                                 sonde_curl_remove, sonde_curl_keys, NULL};
    struct sonde_carrier carrier = {&ops, list};
    return carrier;
}

SONDE_END

#endif
