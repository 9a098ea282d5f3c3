/* SPDX-License-Identifier: Apache-2.0 */
/* What the Kafka collector keeps of a cluster: topics, groups and offsets, the file of histories, members' assignments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/collect/kafka_assignment.h"
#include "agent/collect/kafka_state.h"
#include "tests/lib/fakes.h"
#include <errno.h>
#include <fcntl.h>
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define S    INT64_C(1000000000)
#define WALL (INT64_C(1700000000) * S)

static struct fakes fakes;
static struct sonde_alloc alloc;
static struct sonde__kafka_book book;

static int setup(void **state) {
    (void)state;
    fakes_init(&fakes);
    alloc = fakes_seams(&fakes).alloc;
    book = (struct sonde__kafka_book){.alloc = &alloc, .look = 1};
    return 0;
}
static int teardown(void **state) {
    (void)state;
    sonde__kafka_book_deinit(&book);
    return fakes.live == 0 ? 0 : -1;
}

/* --- the book --- */

static struct sonde__kafka_topic *topic(const char *name, uint32_t partitions) {
    struct sonde__kafka_topic *made = sonde__kafka_book_add_topic(&book, name, NULL);
    assert_non_null(made);
    assert_int_equal(sonde__kafka_topic_grow(&book, made, partitions), 0);
    return made;
}

static void names_are_found_in_order(void **state) {
    (void)state;
    bool is_new;
    for (int i = 0; i < 500; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "g%03d", i * 7919 % 500);
        assert_non_null(sonde__kafka_book_add_group(&book, name, &is_new));
        assert_true(is_new);
        (void)sonde__kafka_book_add_group(&book, name, &is_new);
        assert_false(is_new);
    }
    assert_int_equal(book.group_count, 500);
    for (size_t i = 1; i < book.group_count; i++)
        assert_true(strcmp(book.groups[i - 1]->name, book.groups[i]->name) < 0);
    assert_null(sonde__kafka_book_group(&book, "g500"));
    assert_null(sonde__kafka_book_topic(&book, "g000"));
}

static struct sonde__kafka_commit *commit(struct sonde__kafka_group *group, struct sonde__kafka_topic *of,
                                          int partition, uint32_t sorted) {
    struct sonde__kafka_commit *made = sonde__kafka_group_commit(&book, group, of, partition, sorted);
    assert_non_null(made);
    made->seen = book.look;
    return made;
}

static void offsets_that_a_look_does_not_see_go(void **state) {
    (void)state;
    struct sonde__kafka_topic *a = topic("a", 4), *b = topic("b", 4);
    struct sonde__kafka_group *group = sonde__kafka_book_add_group(&book, "g", NULL);
    for (int i = 3; i >= 0; i--) {
        commit(group, b, i, 0)->committed = 100 + i;
        commit(group, a, i, 0)->committed = i;
    }
    (void)commit(group, a, 2, 0); /* told of twice */
    sonde__kafka_group_settle(&book, group);
    assert_int_equal(group->commit_count, 8);
    assert_int_equal(book.commit_count, 8);
    assert_ptr_equal(group->commits[0].topic, a);
    assert_int_equal(group->commits[7].committed, 103);
    book.look++;
    assert_int_equal(commit(group, b, 1, group->commit_count)->committed, 101); /* kept from before */
    sonde__kafka_group_settle(&book, group);
    assert_int_equal(group->commit_count, 1);
    assert_int_equal(book.commit_count, 1);
}

static bool is_named_gone(void *user, const struct sonde__kafka_group *group) {
    (void)user;
    return strcmp(group->name, "gone") == 0;
}

static void topics_outlive_their_groups_for_some_looks(void **state) {
    (void)state;
    struct sonde__kafka_group *group = sonde__kafka_book_add_group(&book, "gone", NULL);
    struct sonde__kafka_group *stays = sonde__kafka_book_add_group(&book, "stays", NULL);
    (void)commit(group, topic("left", 1), 0, 0);
    (void)commit(stays, topic("kept", 1), 0, 0);
    for (int i = 0; i < 6; i++, book.look++)
        sonde__kafka_book_prune(&book, is_named_gone, NULL, 4);
    assert_int_equal(book.group_count, 1);
    assert_int_equal(book.commit_count, 1);
    assert_null(sonde__kafka_book_topic(&book, "left"));
    assert_non_null(sonde__kafka_book_topic(&book, "kept"));
}

static void book_lives_without_memory(void **state) {
    (void)state;
    struct sonde__kafka_topic *a = topic("a", 1);
    struct sonde__kafka_group *group = sonde__kafka_book_add_group(&book, "g", NULL);
    fakes.allocations_until_failure = 0;
    assert_null(sonde__kafka_book_add_topic(&book, "b", NULL));
    assert_null(sonde__kafka_book_add_group(&book, "h", NULL));
    assert_null(sonde__kafka_group_commit(&book, group, a, 0, 0));
    assert_int_equal(sonde__kafka_topic_grow(&book, a, 2), -ENOMEM);
    assert_int_equal(sonde__kafka_topic_grow(&book, a, SONDE__KAFKA_PARTITION_MAX + 1), -ERANGE);
    fakes.allocations_until_failure = -1;
    assert_int_equal(book.topic_count + book.group_count, 2);
}

static void states_are_told_by_the_brokers_word(void **state) {
    (void)state;
    assert_int_equal(sonde__kafka_group_state_of("PreparingRebalance"), SONDE__KAFKA_GROUP_PREPARING);
    assert_int_equal(sonde__kafka_group_state_of("stable"), SONDE__KAFKA_GROUP_STABLE);
    assert_int_equal(sonde__kafka_group_state_of("RECONCILING"), SONDE__KAFKA_GROUP_RECONCILING);
    assert_int_equal(sonde__kafka_group_state_of("Whatever"), SONDE__KAFKA_GROUP_UNKNOWN);
    assert_int_equal(sonde__kafka_group_state_of(NULL), SONDE__KAFKA_GROUP_UNKNOWN);
}

/* --- the file --- */

static uint8_t *encoded(size_t *ret_size) {
    uint8_t *data;
    struct sonde__kafka_topic *orders = topic("orders", 3);
    for (int64_t i = 0; i < 5; i++)
        assert_int_equal(sonde__kafka_history_add(&orders->partitions[1].history, &alloc, 120, (90 + i) * S, i * 10),
                         0);
    assert_int_equal(sonde__kafka_history_add(&orders->partitions[2].history, &alloc, 120, 90 * S, 7), 0);
    assert_int_equal(sonde__kafka_state_encode(&book, "cluster", 100 * S, WALL, &data, ret_size), 0);
    sonde__kafka_book_deinit(&book);
    book.look = 1;
    return data;
}

static void histories_come_back_on_another_clock(void **state) {
    (void)state;
    size_t size;
    uint8_t *data = encoded(&size);
    /* 20 s later by the wall, on a machine that was started 3 s ago */
    assert_int_equal(sonde__kafka_state_decode(&book, data, size, "cluster", 3 * S, WALL + 20 * S, 120), 0);
    struct sonde__kafka_topic *orders = sonde__kafka_book_topic(&book, "orders");
    assert_int_equal(orders->partitions[1].history.count, 5);
    assert_int_equal(orders->partitions[2].history.count, 1);
    struct sonde__kafka_age age = sonde__kafka_history_age(&orders->partitions[1].history, 35, 3 * S);
    assert_int_equal(age.estimate, SONDE__KAFKA_INTERPOLATED);
    assert_true(age.seconds > 26 && age.seconds < 27);
    sonde_alloc_free(&alloc, data);
}

static void histories_of_the_future_or_long_ago_are_left_out(void **state) {
    (void)state;
    size_t size;
    uint8_t *data = encoded(&size);
    assert_int_equal(sonde__kafka_state_decode(&book, data, size, "cluster", 100 * S, WALL - 7 * S, 120), 0);
    assert_int_equal(sonde__kafka_book_topic(&book, "orders")->partitions[1].history.count, 4);
    sonde__kafka_book_deinit(&book);
    assert_int_equal(sonde__kafka_state_decode(&book, data, size, "cluster", 100 * S, WALL + 8 * 86400 * S, 120), 0);
    assert_int_equal(sonde__kafka_book_topic(&book, "orders")->partitions[1].history.count, 0);
    sonde_alloc_free(&alloc, data);
}

static void files_of_others_and_broken_ones_are_refused_whole(void **state) {
    (void)state;
    size_t size;
    uint8_t *data = encoded(&size);
    assert_int_equal(sonde__kafka_state_decode(&book, data, size, "other", 0, WALL, 120), -ESTALE);
    for (size_t i = 0; i < size; i++) {
        data[i] ^= 0x41;
        assert_int_equal(sonde__kafka_state_decode(&book, data, size, "cluster", 0, WALL, 120), SONDE_EINVALID);
        data[i] ^= 0x41;
        assert_int_equal(sonde__kafka_state_decode(&book, data, i, "cluster", 0, WALL, 120), SONDE_EINVALID);
    }
    /* cut, but with the right sum */
    for (size_t i = 8; i + 4 < size; i++) {
        uint32_t crc = (uint32_t)crc32(0, data, (uInt)i);
        uint8_t whole[4], *copy = sonde_alloc_new(&alloc, i + 4);
        for (unsigned b = 0; b < 4; b++)
            whole[b] = (uint8_t)(crc >> (8 * b));
        memcpy(copy, data, i);
        memcpy(copy + i, whole, 4);
        if (i + 8 < size)
            assert_int_equal(sonde__kafka_state_decode(&book, copy, i + 4, "cluster", 0, WALL, 120), SONDE_EINVALID);
        sonde_alloc_free(&alloc, copy);
    }
    assert_int_equal(book.topic_count, 0);
    sonde_alloc_free(&alloc, data);
}

static void file_is_replaced_whole(void **state) {
    (void)state;
    char directory[] = "/tmp/sonde-kafka-XXXXXX", path[64], beside[64];
    uint8_t *data = NULL;
    size_t size;
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/state", directory);
    (void)snprintf(beside, sizeof beside, "%s/state.new", directory);
    assert_int_equal(sonde__kafka_state_read(&alloc, path, &data, &size), -ENOENT);
    assert_int_equal(sonde__kafka_state_write(path, (const uint8_t *)"first", 5), 0);
    assert_int_equal(sonde__kafka_state_write(path, (const uint8_t *)"second", 6), 0);
    assert_int_equal(sonde__kafka_state_read(&alloc, path, &data, &size), 0);
    assert_int_equal(size, 6);
    assert_memory_equal(data, "second", 6);
    sonde_alloc_free(&alloc, data);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(access(beside, F_OK), -1);
    /* what is no file, or one that is too large, is not read */
    assert_int_equal(sonde__kafka_state_read(&alloc, directory, &data, &size), -EINVAL);
    assert_int_equal(truncate(path, (off_t)SONDE__KAFKA_STATE_SIZE_MAX + 1), 0);
    assert_int_equal(sonde__kafka_state_read(&alloc, path, &data, &size), SONDE_ETOOBIG);
    (void)snprintf(beside, sizeof beside, "%s/none/state", directory);
    assert_int_equal(sonde__kafka_state_write(beside, (const uint8_t *)"x", 1), -ENOENT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(directory), 0);
}

/* --- assignments --- */

static char visited[256];
static int visit(void *user, const char *name, int32_t partition) {
    size_t at = strlen(visited);
    (void)snprintf(visited + at, sizeof visited - at, "%s/%d ", name, partition);
    return *(int *)user;
}
static void expect_assignment(const char *bytes, size_t size, int result, const char *expected) {
    int answer = 0;
    visited[0] = '\0';
    assert_int_equal(sonde__kafka_assignment_each(bytes, size, visit, &answer), result);
    assert_string_equal(visited, expected);
}
#define ASSIGNMENT "\0\1\0\0\0\2\0\1a\0\0\0\2\0\0\0\0\0\0\0\5\0\2bc\0\0\0\1\0\0\0\1\xff\xff\xff\xff"

static void assignments_are_read(void **state) {
    (void)state;
    size_t size = sizeof ASSIGNMENT - 1;
    expect_assignment(ASSIGNMENT, size, 0, "a/0 a/5 bc/1 ");
    expect_assignment(ASSIGNMENT, size - 4, 0, "a/0 a/5 bc/1 "); /* without user data */
    expect_assignment("", 0, 0, "");
    int stop = 7;
    visited[0] = '\0';
    assert_int_equal(sonde__kafka_assignment_each(ASSIGNMENT, size, visit, &stop), 7);
    assert_string_equal(visited, "a/0 ");
}
static void assignments_that_are_none_are_refused(void **state) {
    (void)state;
    for (size_t i = 1; i + 4 < sizeof ASSIGNMENT - 1; i++) {
        int answer = 0;
        visited[0] = '\0';
        assert_int_equal(sonde__kafka_assignment_each(ASSIGNMENT, i, visit, &answer), SONDE_EINVALID);
    }
    expect_assignment("\0\0\0\0\0\1\0\0\0\0\0\1\0\0\0\0", 16, SONDE_EINVALID, "");          /* no name */
    expect_assignment("\0\0\0\0\0\1\0\1\0\0\0\0\1\0\0\0\0", 17, SONDE_EINVALID, "");        /* NUL in it */
    expect_assignment("\0\0\0\0\0\1\0\1a\0\0\0\1\xff\xff\xff\xff", 17, SONDE_EINVALID, ""); /* partition -1 */
    expect_assignment("\0\0\x7f\xff\xff\xff\0\1a\x7f\xff\xff\xff", 13, SONDE_EINVALID, ""); /* counts that lie */
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        CASE(names_are_found_in_order),
        CASE(offsets_that_a_look_does_not_see_go),
        CASE(topics_outlive_their_groups_for_some_looks),
        CASE(book_lives_without_memory),
        CASE(states_are_told_by_the_brokers_word),
        CASE(histories_come_back_on_another_clock),
        CASE(histories_of_the_future_or_long_ago_are_left_out),
        CASE(files_of_others_and_broken_ones_are_refused_whole),
        CASE(file_is_replaced_whole),
        CASE(assignments_are_read),
        CASE(assignments_that_are_none_are_refused),
#undef CASE
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
