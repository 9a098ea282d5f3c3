/* SPDX-License-Identifier: Apache-2.0 */
/* What clouds answer, and files with credentials, from hostile bytes. The first byte chooses the parser. What must hold
 * beside memory safety: texts end within their room, unknown numbers are -1 and others not negative. */
#include "agent/collect/aws_credentials.h"
#include "agent/collect/aws_profile.h"
#include "agent/collect/servicebus_atom.h"
#include "agent/collect/servicebus_sas.h"
#include "agent/collect/sqs_queues.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition) {
    if (!condition)
        abort();
}
#define REQUIRE_TEXT(field) require(memchr(field, '\0', sizeof(field)) != NULL)

static void on_entry(void *user, const struct sonde__servicebus_entry *entry) {
    (void)user;
    REQUIRE_TEXT(entry->name);
    for (int i = 0; i < SONDE__SERVICEBUS_NUMBERS; i++)
        require(entry->numbers[i] >= -1);
}

static void queues_read(const char *text, size_t size) {
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    struct sonde__sqs_queue queue = {0};
    char arn[256], account[16];
    const char *name;
    if (sonde__sqs_attributes_read(root, &queue, arn, sizeof arn))
        require(queue.ready >= 0 && queue.unacked >= 0 && queue.scheduled >= 0);
    REQUIRE_TEXT(arn);
    if (sonde__sqs_arn_read(arn, "sqs", account, sizeof account, &name)) {
        REQUIRE_TEXT(account);
        require(*name != '\0');
    }
    json_decref(root);
}

static void keys_check(const struct sonde__aws_keys *keys) {
    require(strspn(keys->access_key_id, "\r\n ") == 0 && *keys->access_key_id && *keys->secret_access_key);
    REQUIRE_TEXT(keys->session_token);
}

static void profile_read(const char *text, size_t size) {
    struct sonde__aws_profile profile = {0};
    sonde__aws_profile_add(&profile, text, size, "default", false);
    sonde__aws_profile_add(&profile, text, size, "p", true);
    REQUIRE_TEXT(profile.access_key_id);
    REQUIRE_TEXT(profile.secret_access_key);
    REQUIRE_TEXT(profile.session_token);
    REQUIRE_TEXT(profile.region);
}

static void place_read(const char *text, size_t size) {
    struct sonde__servicebus_place place;
    char *copy = malloc(size + 1);
    require(copy != NULL);
    memcpy(copy, text, size);
    copy[size] = '\0';
    if (sonde__servicebus_place_read(copy, &place) == 0)
        require(*place.host && (*place.signature || (*place.key_name && *place.key)));
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size)
        return 0;
    const char *text = (const char *)data + 1;
    size_t count;
    struct sonde__aws_keys keys;
    switch (*data) {
    case 'f':
        (void)sonde__servicebus_feed_read(text, size - 1, on_entry, NULL, &count);
        break;
    case 'q':
        queues_read(text, size - 1);
        break;
    case 'j':
        if (sonde__aws_keys_read_json(text, size - 1, &keys))
            keys_check(&keys);
        break;
    case 'x':
        if (sonde__aws_keys_read_xml(text, size - 1, &keys))
            keys_check(&keys);
        break;
    case 'p':
        profile_read(text, size - 1);
        break;
    default:
        place_read(text, size - 1);
    }
    return 0;
}
