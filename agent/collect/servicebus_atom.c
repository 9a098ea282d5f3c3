/* SPDX-License-Identifier: Apache-2.0 */
/* feed > entry > title, and content > QueueDescription > CountDetails > numbers, SizeInBytes, AccessedAt. */
#include "agent/collect/servicebus_atom.h"
#include "agent/collect/timestamp.h"
#include "agent/collect/xml.h"
#include <sonde/err.h>
#include <stdlib.h>
#include <string.h>

struct feed {
    void (*entry)(void *user, const struct sonde__servicebus_entry *entry);
    void *user;
    struct sonde__servicebus_entry now;
    unsigned entry_depth, counts_depth; /* 0 = not in one */
    bool is_feed;
    size_t count;
};

static void on_begin(void *user, const char *name, unsigned depth) {
    struct feed *feed = user;
    if (depth == 1)
        feed->is_feed = strcmp(name, "feed") == 0;
    if (!feed->entry_depth && strcmp(name, "entry") == 0) {
        feed->entry_depth = depth;
        feed->now = (struct sonde__servicebus_entry){.name = ""};
        for (int i = 0; i < SONDE__SERVICEBUS_NUMBERS; i++)
            feed->now.numbers[i] = -1;
    } else if (feed->entry_depth && strcmp(name, "CountDetails") == 0) {
        feed->counts_depth = depth;
    }
}

static int64_t number_of(struct sonde_string text) {
    int64_t number = 0;
    if (!text.data || !text.size || text.size > 15)
        return -1;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return -1;
        number = number * 10 + (text.data[i] - '0');
    }
    return number;
}

static void name_take(struct sonde__servicebus_entry *entry, struct sonde_string text) {
    if (!text.data || text.size >= sizeof entry->name || memchr(text.data, '\0', text.size))
        return;
    memcpy(entry->name, text.data, text.size);
    entry->name[text.size] = '\0';
}

static void on_end(void *user, const char *name, unsigned depth, struct sonde_string text) {
    static const char *const counts[] = {
        [SONDE__SERVICEBUS_ACTIVE] = "ActiveMessageCount",
        [SONDE__SERVICEBUS_DEAD_LETTERED] = "DeadLetterMessageCount",
        [SONDE__SERVICEBUS_SCHEDULED] = "ScheduledMessageCount",
        [SONDE__SERVICEBUS_TRANSFER] = "TransferMessageCount",
        [SONDE__SERVICEBUS_TRANSFER_DEAD_LETTERED] = "TransferDeadLetterMessageCount",
        [SONDE__SERVICEBUS_SIZE] = NULL,
    };
    struct feed *feed = user;
    if (!feed->entry_depth)
        return;
    if (depth == feed->entry_depth) {
        feed->entry_depth = 0;
        feed->count++;
        feed->entry(feed->user, &feed->now);
    } else if (depth == feed->counts_depth) {
        feed->counts_depth = 0;
    } else if (depth == feed->entry_depth + 1 && strcmp(name, "title") == 0) {
        name_take(&feed->now, text);
    } else if (feed->counts_depth) {
        for (int i = 0; i < SONDE__SERVICEBUS_SIZE; i++)
            if (strcmp(name, counts[i]) == 0)
                feed->now.numbers[i] = number_of(text);
    } else if (strcmp(name, "SizeInBytes") == 0) {
        feed->now.numbers[SONDE__SERVICEBUS_SIZE] = number_of(text);
    } else if (strcmp(name, "AccessedAt") == 0 && text.data) {
        feed->now.accessed_unix_ns = sonde__timestamp_read(text.data, text.size); /* year 1 is never */
    }
}

int sonde__servicebus_feed_read(const void *bytes, size_t size,
                                void (*entry)(void *user, const struct sonde__servicebus_entry *entry), void *user,
                                size_t *ret_count) {
    struct feed feed = {.entry = entry, .user = user};
    const struct sonde__xml_handler handler = {on_begin, on_end, &feed};
    int error = sonde__xml_read(bytes, size, &handler);
    if (error)
        return error;
    if (!feed.is_feed)
        return SONDE_EINVALID;
    *ret_count = feed.count;
    return 0;
}
