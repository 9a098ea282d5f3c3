/* SPDX-License-Identifier: Apache-2.0 */
/* What the Pulsar collector makes of answers: sums over partitions, names of topics. The collector as a whole is in
 * tests/integration/collect_pulsar_test.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the three above */
#include <cmocka.h>

#include "agent/collect/pulsar_reply.h"
#include "agent/collect/pulsar_topics.h"
#include "tests/lib/fakes.h"
#include <errno.h>
#include <sonde/err.h>
#include <string.h>

struct seen {
    struct sonde__pulsar_subscription whole, part[4];
    size_t wholes, parts;
    int64_t published, stored;
};

static void on_topic(void *user, int64_t published, int64_t stored) {
    struct seen *seen = user;
    seen->published = published;
    seen->stored = stored;
}
static void on_subscription(void *user, const char *partition, const struct sonde__pulsar_subscription *subscription) {
    struct seen *seen = user;
    if (!*partition) {
        seen->whole = *subscription;
        seen->wholes++;
    } else if (strspn(partition, "0123") == 1) {
        seen->part[partition[0] - '0'] = *subscription;
        seen->parts++;
    }
}

static int read_stats(const char *body, bool partitioned, bool per_partition, struct seen *ret_seen) {
    const struct sonde__pulsar_take take = {on_topic, on_subscription, ret_seen};
    *ret_seen = (struct seen){.wholes = 0};
    return sonde__pulsar_read_stats(body, strlen(body), partitioned, per_partition, &take);
}

static void partitions_are_summed_as_the_broker_does_not(void **state) {
    static const char body[] =
        "{\"subscriptions\":{\"s\":{\"msgBacklog\":1}},\"partitions\":{"
        "\"persistent://a/b/c-partition-0\":{\"msgInCounter\":5,\"storageSize\":10,\"subscriptions\":{\"s\":{"
        "\"msgBacklog\":2,\"unackedMessages\":1,\"earliestMsgPublishTimeInBacklog\":900,"
        "\"blockedSubscriptionOnUnackedMsgs\":true,\"consumers\":[{\"consumerName\":\"x\"},{\"consumerName\":\"y\"}]}}}"
        ","
        "\"persistent://a/b/c-partition-1\":{\"msgInCounter\":7,\"subscriptions\":{\"s\":{"
        "\"msgBacklog\":3,\"earliestMsgPublishTimeInBacklog\":800,\"consumers\":[{\"consumerName\":\"x\"},{}]}}},"
        "\"persistent://a/b/c-partition-2\":{\"subscriptions\":{\"s\":{\"earliestMsgPublishTimeInBacklog\":0}}}}}";
    struct seen seen;
    (void)state;
    assert_int_equal(read_stats(body, true, true, &seen), 0);
    assert_int_equal(seen.wholes, 1);
    assert_int_equal(seen.whole.backlog, 5);
    assert_int_equal(seen.whole.unacked, 1);
    assert_int_equal(seen.whole.delayed, -1);
    assert_int_equal(seen.whole.consumers, 3);
    assert_int_equal(seen.whole.earliest_unix_ms, 800);
    assert_true(seen.whole.blocked);
    assert_int_equal(seen.published, 12);
    assert_int_equal(seen.stored, 10);
    assert_int_equal(seen.parts, 3);
    assert_int_equal(seen.part[1].backlog, 3);
    assert_int_equal(seen.part[2].backlog, -1);
    assert_int_equal(read_stats(body, true, false, &seen), 0);
    assert_int_equal(seen.parts, 0);
}

static void what_is_no_number_is_unknown(void **state) {
    struct seen seen;
    (void)state;
    assert_int_equal(
        read_stats("{\"subscriptions\":{\"s\":{\"msgBacklog\":-3,\"unackedMessages\":\"4\",\"msgDelayed\":null,"
                   "\"msgOutCounter\":9223372036854775807,\"consumers\":5}},\"msgInCounter\":1.5}",
                   false, true, &seen),
        0);
    assert_int_equal(seen.wholes, 1);
    assert_int_equal(seen.whole.backlog, -1);
    assert_int_equal(seen.whole.unacked, -1);
    assert_int_equal(seen.whole.delayed, -1);
    assert_int_equal(seen.whole.delivered, -1);
    assert_int_equal(seen.whole.consumers, 0);
    assert_int_equal(seen.published, -1);
    static const char *const bad[] = {"", "[]", "{}", "{\"subscriptions\":[]}", "{\"subscriptions\":{}", NULL};
    for (size_t i = 0; bad[i]; i++)
        assert_int_equal(read_stats(bad[i], false, false, &seen), SONDE_EMALFORMED);
    assert_int_equal(read_stats("{\"subscriptions\":{}}", true, false, &seen), SONDE_EMALFORMED);
}

static void topics_have_paths_or_are_none(void **state) {
    static const char *const cases[][2] = {
        {"persistent://t/n/a", "/admin/v2/persistent/t/n/a"},
        {"persistent://t/n/a/b c%", "/admin/v2/persistent/t/n/a%2Fb%20c%25"},
        {"persistent://t/n/\xc3\xa4", "/admin/v2/persistent/t/n/%C3%A4"},
        {"persistent://t/n/", NULL},
        {"persistent://t//a", NULL},
        {"persistent:///n/a", NULL},
        {"persistent://t?x/n/a", NULL},
        {"non-persistent://t/n/a", NULL},
        {"", NULL},
    };
    char path[128];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool found = sonde__pulsar_topic_path(cases[i][0], path, sizeof path);
        assert_int_equal(found, cases[i][1] != NULL);
        if (found)
            assert_string_equal(path, cases[i][1]);
    }
    assert_false(sonde__pulsar_topic_path("persistent://t/n/abcdef", path, 28));
}

static void names_are_filtered_and_limited(void **state) {
    static char keep[] = "t/n/.*", drop[] = "t/n/x.*", *keeps[] = {keep}, *drops[] = {drop};
    const struct sonde_string_list include = {keeps, 1}, exclude = {drops, 1};
    struct sonde__filter filter;
    struct sonde__pulsar_names names = {.count = 0};
    struct fakes fakes;
    char text[128];
    (void)state;
    fakes_init(&fakes);
    struct sonde_seams seams = fakes_seams(&fakes);
    assert_int_equal(sonde__filter_init(&filter, &seams.alloc, &include, &exclude, text, sizeof text), 0);
    assert_true(sonde__pulsar_topic_passes("persistent://t/n/a", &filter));
    assert_false(sonde__pulsar_topic_passes("persistent://t/n/xa", &filter));
    assert_false(sonde__pulsar_topic_passes("persistent://u/t/n/a", &filter));
    assert_false(sonde__pulsar_topic_passes("persistent://t/n/__change_events", &filter));
    assert_int_equal(sonde__pulsar_names_add(&names, &seams.alloc, "persistent://t/n/p-partition-x", 2), 0);
    assert_int_equal(sonde__pulsar_names_add(&names, &seams.alloc, "persistent://t/n/p", 2), 0);
    assert_int_equal(sonde__pulsar_names_add(&names, &seams.alloc, "more", 2), SONDE_EFULL);
    assert_true(sonde__pulsar_is_partition("persistent://t/n/p-partition-0", &names));
    assert_true(sonde__pulsar_is_partition("persistent://t/n/p-partition-x-partition-3", &names));
    assert_false(sonde__pulsar_is_partition("persistent://t/n/q-partition-0", &names));
    assert_false(sonde__pulsar_is_partition("persistent://t/n/p", &names));
    sonde__pulsar_names_clear(&names, &seams.alloc);
    sonde__filter_deinit(&filter, &seams.alloc);
    fakes.allocations_until_failure = 0;
    assert_int_equal(sonde__pulsar_names_add(&names, &seams.alloc, "a", 2), -ENOMEM);
    assert_int_equal(fakes.live, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(partitions_are_summed_as_the_broker_does_not),
        cmocka_unit_test(what_is_no_number_is_unknown),
        cmocka_unit_test(topics_have_paths_or_are_none),
        cmocka_unit_test(names_are_filtered_and_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
