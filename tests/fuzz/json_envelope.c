/* SPDX-License-Identifier: Apache-2.0 */
/* JSON envelopes from hostile bytes. Input: a byte that chooses the place, then the text. What must hold beside memory
 * safety: setting into what is JSON gives JSON, with the value where it was put once and every other byte as it was;
 * removing it gives JSON without it; and what is not JSON is never written. */
#include "instrumentation/wire/json.h"
#include <sonde/carrier/cloudevents.h>
#include <sonde/carrier/graphql.h>
#include <sonde/carrier/json.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROOM = 256 };
static const struct sonde_string name = {"tracestate", 10}, value = {"a=\"1\\", 5};

static void require(int condition) {
    if (!condition)
        abort();
}

struct found {
    unsigned count;
    bool all_equal;
};

static bool visit(void *user, struct sonde_string text) {
    struct found *found = user;
    found->count++;
    found->all_equal = found->all_equal && text.size == value.size && memcmp(text.data, value.data, text.size) == 0;
    return true;
}

static struct found find(const struct sonde_carrier *carrier) {
    struct found found = {0, true};
    carrier->ops->each(carrier->self, name, visit, &found);
    return found;
}

static void check_edit(const char *text, size_t size, enum sonde_json_place place) {
    static struct sonde_json json;
    struct sonde_string root;
    char *buffer = malloc(size + ROOM);
    require(buffer != NULL);
    memcpy(buffer, text, size);
    sonde_json_edit(&json, buffer, size, size + ROOM, place);
    struct sonde_carrier carrier = sonde_json_carrier(&json);
    unsigned before = find(&carrier).count;
    int error = carrier.ops->set(carrier.self, name, value);
    if (error) {
        require(json.size == size && memcmp(buffer, text, size) == 0);
    } else {
        struct found found = find(&carrier);
        require(found.count == 1 && found.all_equal);
        require(json.size > SONDE__JSON_SIZE_MAX || sonde__json_check(buffer, json.size, &root));
        if (before == 0 && json.size >= size) { /* put in at one place, or over a value that was no text */
            size_t head = 0, tail = 0;
            while (head < size && buffer[head] == text[head])
                head++;
            while (tail < size - head && buffer[json.size - 1 - tail] == text[size - 1 - tail])
                tail++;
            require(head > 0 && tail > 0);
        }
    }
    carrier.ops->remove(carrier.self, name);
    require(error || find(&carrier).count == 0);
    require(!json.is_json || json.size > SONDE__JSON_SIZE_MAX || sonde__json_check(buffer, json.size, &root));
    free(buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct sonde_json json;
    static struct sonde_context context, socket;
    struct sonde_string event;
    size_t position = 0;
    if (size == 0)
        return 0;
    enum sonde_json_place place = (enum sonde_json_place)(data[0] % (SONDE_JSON_SNS + 1));
    const char *text = (const char *)data + 1;
    size--;
    check_edit(text, size, place);
    sonde_json_read(&json, text, size, place);
    struct sonde_carrier carrier = sonde_json_carrier(&json);
    (void)sonde_extract(&carrier, &context);
    sonde_context_init(&socket);
    (void)sonde_graphql_extract(text, size, &socket, &context);
    for (unsigned events = 0; sonde_cloudevents_batch_next(text, size, &position, &event); events++)
        require(event.data >= text && event.data + event.size <= text + size && events < size);
    return 0;
}
