/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures, connection strings and feeds of Azure Service Bus, and what XML is taken at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/collect/servicebus_atom.h"
#include "agent/collect/servicebus_sas.h"
#include "agent/collect/xml.h"
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* RFC 4231, 4.2, 4.3 and 4.7. */
static void hmac_is_as_the_rfc_has_it(void **state) {
    static const uint8_t one[32] = {0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53, 0x5c, 0xa8, 0xaf,
                                    0xce, 0xaf, 0x0b, 0xf1, 0x2b, 0x88, 0x1d, 0xc2, 0x00, 0xc9, 0x83,
                                    0x3d, 0xa7, 0x26, 0xe9, 0x37, 0x6c, 0x2e, 0x32, 0xcf, 0xf7};
    static const uint8_t two[32] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24,
                                    0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27,
                                    0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
    static const uint8_t six[32] = {0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0, 0xb6, 0x7f, 0x0d, 0x8a, 0x26,
                                    0xaa, 0xcb, 0xf5, 0xb7, 0x7f, 0x8e, 0x0b, 0xc6, 0x21, 0x37, 0x28,
                                    0xc5, 0x14, 0x05, 0x46, 0x04, 0x0f, 0x0e, 0xe3, 0x7f, 0x54};
    uint8_t key[131], mac[32];
    (void)state;
    memset(key, 0x0b, 20);
    sonde__servicebus_hmac(key, 20, "Hi There", 8, mac);
    assert_memory_equal(mac, one, 32);
    sonde__servicebus_hmac("Jefe", 4, "what do ya want for nothing?", 28, mac);
    assert_memory_equal(mac, two, 32);
    memset(key, 0xaa, sizeof key);
    sonde__servicebus_hmac(key, sizeof key, "Test Using Larger Than Block-Size Key - Hash Key First", 54, mac);
    assert_memory_equal(mac, six, 32);
}

/* Made by Python's hmac and urllib, as Microsoft's page says. */
static void token_is_signed_as_documented(void **state) {
    char token[SONDE__SERVICEBUS_TOKEN_MAX], name[400];
    (void)state;
    assert_int_equal(sonde__servicebus_sign("https://shop.servicebus.windows.net/", "Root Manage",
                                            "c2VjcmV0K2tleS93aXRoPT0=", 1767225600, token, sizeof token),
                     0);
    assert_string_equal(token, "SharedAccessSignature sr=https%3A%2F%2Fshop.servicebus.windows.net%2F&sig="
                               "L%2BmvqMRD8kGk57TaLVtZjHczRu5olJWhZk8tNNKuO1s%3D&se=1767225600&skn=Root%20Manage");
    memset(name, '/', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(sonde__servicebus_sign("https://h/", name, "k", 1, token, sizeof token), SONDE_ETOOBIG);
    assert_int_equal(sonde__servicebus_sign("https://h/", "n", "k", 1, token, 40), SONDE_ETOOBIG);
}

static void connection_strings_are_read(void **state) {
    static const char *const bad[] = {"",
                                      ";",
                                      "Endpoint=sb://h/",
                                      "Endpoint=sb://h/;SharedAccessKeyName=n",
                                      "Endpoint=sb:///;SharedAccessKeyName=n;SharedAccessKey=k",
                                      "Endpoint",
                                      "Endpoint=sb://h/;SharedAccessKeyName=n;SharedAccessKey=k\nX: y",
                                      "SharedAccessKeyName=n;SharedAccessKey=k"};
    struct sonde__servicebus_place place;
    (void)state;
    assert_int_equal(sonde__servicebus_place_read("endpoint=sb://h.example:5671/;SharedAccessKeyName=n;"
                                                  "SharedAccessKey=a=b==;EntityPath=q;",
                                                  &place),
                     0);
    assert_string_equal(place.host, "h.example");
    assert_string_equal(place.key_name, "n");
    assert_string_equal(place.key, "a=b==");
    assert_int_equal(sonde__servicebus_place_read(
                         "Endpoint=sb://h/;SharedAccessSignature=SharedAccessSignature sr=x&sig=y&se=1&skn=n", &place),
                     0);
    assert_string_equal(place.signature, "SharedAccessSignature sr=x&sig=y&se=1&skn=n");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(sonde__servicebus_place_read(bad[i], &place), SONDE_EINVALID);
}

/* --- feeds --- */

struct entries {
    struct sonde__servicebus_entry entries[4];
    size_t count;
};

static void keep(void *user, const struct sonde__servicebus_entry *entry) {
    struct entries *entries = user;
    assert_true(entries->count < 4);
    entries->entries[entries->count++] = *entry;
}

static int feed_read(const char *text, struct entries *ret_entries) {
    size_t count = 0;
    *ret_entries = (struct entries){.count = 0};
    int error = sonde__servicebus_feed_read(text, strlen(text), keep, ret_entries, &count);
    if (!error)
        assert_int_equal(count, ret_entries->count);
    return error;
}

static void feed_is_read_by_local_names(void **state) {
    struct entries entries;
    (void)state;
    assert_int_equal(
        feed_read(
            "<?xml version='1.0'?><a:feed xmlns:a='http://www.w3.org/2005/Atom'><a:title>all</a:title><a:entry>"
            "<a:title> q/1 </a:title><a:author><a:name>n</a:name></a:author><a:content><QueueDescription>"
            "<MessageCount>9</MessageCount><SizeInBytes>12</SizeInBytes><AccessedAt>2018-05-09T21:23:36Z</AccessedAt>"
            "<ActiveMessageCount>8</ActiveMessageCount><CountDetails><x:ActiveMessageCount "
            "xmlns:x='u'>1</x:ActiveMessageCount>"
            "<DeadLetterMessageCount>x</DeadLetterMessageCount><ScheduledMessageCount/><TransferMessageCount>4"
            "</TransferMessageCount></CountDetails></QueueDescription></a:content></a:entry><a:entry/></a:feed>",
            &entries),
        0);
    assert_int_equal(entries.count, 2);
    const struct sonde__servicebus_entry *first = &entries.entries[0];
    assert_string_equal(first->name, "q/1");
    assert_true(first->numbers[SONDE__SERVICEBUS_ACTIVE] == 1 && first->numbers[SONDE__SERVICEBUS_TRANSFER] == 4);
    assert_true(first->numbers[SONDE__SERVICEBUS_DEAD_LETTERED] == -1); /* no number is unknown, not 0 */
    assert_true(first->numbers[SONDE__SERVICEBUS_SCHEDULED] == -1 && first->numbers[SONDE__SERVICEBUS_SIZE] == 12);
    assert_true(first->accessed_unix_ns == 1525901016000000000ull);
    assert_string_equal(entries.entries[1].name, "");
    assert_true(entries.entries[1].numbers[SONDE__SERVICEBUS_ACTIVE] == -1);
}

static void feed_is_refused_when_it_is_none(void **state) {
    static const char *const bad[] = {
        "",
        "x",
        "<feed>",
        "<html></html>",
        "<feed></feed><feed></feed>",
        "<!DOCTYPE feed><feed></feed>",
        ("<!DOCTYPE feed [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b "
         "'&a;&a;&a;&a;'>]><feed><entry><title>&b;</title></entry></feed>"),
        "<!DOCTYPE feed SYSTEM 'file:///etc/passwd'><feed/>",
    };
    struct entries entries;
    char deep[4 * SONDE__XML_DEPTH_MAX + 64] = "<feed>";
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(feed_read(bad[i], &entries), SONDE_EINVALID);
        assert_int_equal(entries.count, 0);
    }
    for (unsigned i = 0; i < SONDE__XML_DEPTH_MAX; i++)
        (void)snprintf(deep + 6 + (size_t)3 * i, 4, "<a>");
    assert_int_equal(feed_read(deep, &entries), SONDE_EINVALID);
}

static void long_texts_are_unknown(void **state) {
    struct entries entries;
    size_t size = 3 * SONDE__XML_TEXT_MAX;
    char *text = calloc(1, size);
    (void)state;
    assert_non_null(text);
    int at = snprintf(text, size, "<feed><entry><title>");
    memset(text + at, 'n', 2 * SONDE__XML_TEXT_MAX);
    (void)snprintf(text + at + 2 * SONDE__XML_TEXT_MAX, 64, "</title></entry></feed>");
    assert_int_equal(feed_read(text, &entries), 0);
    assert_string_equal(entries.entries[0].name, "");
    (void)snprintf(text + at + SONDE__SERVICEBUS_NAME_MAX, 64, "</title></entry></feed>");
    assert_int_equal(feed_read(text, &entries), 0);
    assert_string_equal(entries.entries[0].name, ""); /* longer than Azure allows */
    (void)snprintf(text + at + SONDE__SERVICEBUS_NAME_MAX - 1, 64, "</title></entry></feed>");
    assert_int_equal(feed_read(text, &entries), 0);
    assert_int_equal(strlen(entries.entries[0].name), SONDE__SERVICEBUS_NAME_MAX - 1);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hmac_is_as_the_rfc_has_it),       cmocka_unit_test(token_is_signed_as_documented),
        cmocka_unit_test(connection_strings_are_read),     cmocka_unit_test(feed_is_read_by_local_names),
        cmocka_unit_test(feed_is_refused_when_it_is_none), cmocka_unit_test(long_texts_are_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
