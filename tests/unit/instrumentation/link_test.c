/* SPDX-License-Identifier: Apache-2.0 */
/* The link thread against an agent that checks, restarts, refuses, evicts, or is not there. */
#include "fake_agent.h"

#include "instrumentation/link/doorbell.h"
#include "instrumentation/link/link.h"
#include "instrumentation/link/place.h"
#include "instrumentation/ring/process.h"
#include "instrumentation/ring/producer.h"
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <sonde/err.h>
#include <stdarg.h>

#include <cmocka.h>

static struct fake_agent agent;

static void end(void) {
    fake_agent_stop(&agent);
    fake_agent_deinit(&agent);
}

static struct sonde_stats stats_now(void) {
    struct sonde_stats stats = {.size = sizeof stats};
    sonde_stats_get(&stats);
    return stats;
}

static void *one_record(void *unused) {
    (void)unused;
    struct sonde__thread *thread = sonde__thread_enter();
    CHECK(thread && thread->region && sonde__ring_reserve(thread, 8));
    (void)sonde__ring_commit(thread, 8, SONDE__RECORD_LOG, 0, 0, NULL);
    sonde__thread_leave(thread);
    return NULL;
}

static void memory_is_handed_over(void) {
    fake_agent_init(&agent);
    fake_agent_start(&agent);
    one_record(NULL);
    CHECK_SOON(stats_now().connected && atomic_load(&agent.threads) == 1);
    CHECK(agent.hello.pid == (uint32_t)getpid());
    CHECK(memcmp(agent.hello.process_id, sonde__registry.id, 16) == 0);
    CHECK(agent.hello.resource_size > 100);
    CHECK(memmem(agent.resource, agent.hello.resource_size, "service.instance.id", 19) != NULL);
    CHECK(atomic_load(&agent.processes) == 1 && stats_now().connects == 1);
    end();
}

static void *waiting_record(void *barrier) {
    one_record(NULL);
    pthread_barrier_wait(barrier);
    return NULL;
}

static void memory_made_later_is_handed_over_too(void) {
    fake_agent_init(&agent);
    fake_agent_start(&agent);
    one_record(NULL);
    CHECK_SOON(atomic_load(&agent.threads) == 1);
    pthread_t threads[16];
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, 17);
    for (int i = 0; i < 16; i++)
        CHECK(pthread_create(&threads[i], NULL, waiting_record, &barrier) == 0);
    CHECK_SOON(atomic_load(&agent.threads) == 2);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 16; i++)
        pthread_join(threads[i], NULL);
    end();
}

static void memory_is_handed_over_again_after_a_restart(void) {
    fake_agent_init(&agent);
    fake_agent_start(&agent);
    one_record(NULL);
    CHECK_SOON(atomic_load(&agent.threads) == 1);
    uint8_t id[16];
    memcpy(id, agent.hello.process_id, 16);
    fake_agent_stop(&agent);
    CHECK_SOON(!stats_now().connected);
    one_record(NULL);
    fake_agent_start(&agent);
    CHECK_SOON(atomic_load(&agent.threads) == 2);
    CHECK(memcmp(id, agent.hello.process_id, 16) == 0);
    CHECK(atomic_load(&agent.processes) == 2);
    CHECK_SOON(stats_now().connects == 2);
    CHECK(sonde_flush(5000) == 0);
    end();
}

static void flush_waits_for_the_answer(void) {
    fake_agent_init(&agent);
    fake_agent_start(&agent);
    one_record(NULL);
    CHECK(sonde_flush(10000) == 0);
    CHECK(atomic_load(&agent.threads) == 1); /* what is flushed was handed over before */
    CHECK(sonde_flush(10000) == 0);
    CHECK(atomic_load(&agent.flushes) >= 1);
    end();
}

static void flush_without_agent_says_so(void) {
    fake_agent_init(&agent);
    CHECK(sonde_flush(10000) == SONDE_ENOAGENT);
    CHECK(sonde_flush(10000) == SONDE_ENOAGENT);
    fake_agent_start(&agent);
    CHECK(sonde_flush(10000) == 0); /* it does not wait for the back-off to end */
    end();
}

static void flush_gives_up_on_a_mute_agent(void) {
    fake_agent_init(&agent);
    atomic_store(&agent.mute, 1);
    fake_agent_start(&agent);
    CHECK(sonde_flush(50) == -ETIMEDOUT);
    end();
}

static void shutdown_says_goodbye(void) {
    fake_agent_init(&agent);
    fake_agent_start(&agent);
    one_record(NULL);
    CHECK(sonde_shutdown(10000) == 0);
    CHECK_SOON(atomic_load(&agent.byes) == 1 && atomic_load(&agent.closes) == 1);
    CHECK(agent.process->exit_state == SONDE__EXITED_CLEANLY);
    CHECK(sonde__thread_enter() == NULL);
    CHECK(sonde_shutdown(10) == SONDE_EDISABLED && sonde_flush(10) == SONDE_EDISABLED);
    end();
}

static void refused_memory_ends_the_connection(void) {
    fake_agent_init(&agent);
    atomic_store(&agent.refuse_process, 1);
    fake_agent_start(&agent);
    one_record(NULL);
    CHECK_SOON(atomic_load(&agent.closes) >= 1); /* it comes back after a second, which a busy machine may let pass */
    CHECK(!stats_now().connected && stats_now().connects == 0);
    one_record(NULL); /* life goes on */
    end();
}

static void packet_of_another_size_than_it_says_ends_the_connection(void) {
    fake_agent_init(&agent);
    atomic_store(&agent.odd_size, 8);
    fake_agent_start(&agent);
    one_record(NULL);
    CHECK_SOON(atomic_load(&agent.closes) >= 1);
    CHECK(stats_now().connects == 0 && atomic_load(&agent.processes) == 0);
    end();
}

static void evicted_process_starts_over_with_fresh_memory(void) {
    sonde__link_renew_ms = 50;
    fake_agent_init(&agent);
    fake_agent_start(&agent);
    one_record(NULL);
    CHECK(sonde_flush(10000) == 0);
    struct sonde__thread *thread = sonde__thread_self;
    uint8_t id[16];
    memcpy(id, sonde__registry.id, 16);
    thread->depth = 1; /* contexts are kept */
    sonde__drop(thread, SONDE_SIGNAL_LOGS, SONDE_DROP_RING_FULL);
    CHECK(sonde__descriptor_append(SONDE__DESCRIPTOR_SCOPE, 1, "scope", 5, NULL, 0) == 0);
    atomic_store(&agent.evict_next, 1);
    CHECK(sonde_flush(10000) == SONDE_ENOAGENT);
    CHECK_SOON(atomic_load(&agent.processes) == 2);
    CHECK(memcmp(agent.hello.process_id, id, 16) != 0);
    one_record(NULL);
    CHECK(sonde__thread_self == thread && thread->depth == 1 && thread->head == 16);
    CHECK_SOON(atomic_load(&agent.threads) == 2);
    CHECK(agent.process->descriptors_head > 0);
    CHECK(stats_now().dropped[SONDE_SIGNAL_LOGS][SONDE_DROP_RING_FULL] == 1);
    end();
}

/* The reset is told ahead of the reason: without it the same memory would be handed over again. */
static void evicted_process_learns_it_though_the_connection_was_reset(void) {
    sonde__link_renew_ms = 50;
    fake_agent_init(&agent);
    fake_agent_start(&agent);
    one_record(NULL);
    CHECK(sonde_flush(10000) == 0);
    uint8_t id[16];
    memcpy(id, sonde__registry.id, 16);
    atomic_store(&agent.evict_unread, 1);
    CHECK(sonde_flush(10000) == SONDE_ENOAGENT);
    CHECK_SOON(atomic_load(&agent.processes) == 2);
    CHECK(memcmp(agent.hello.process_id, id, 16) != 0);
    end();
}

static void evicted_process_stays_away_for_a_while(void) {
    fake_agent_init(&agent);
    fake_agent_start(&agent);
    one_record(NULL);
    CHECK(sonde_flush(10000) == 0);
    atomic_store(&agent.evict_next, 1);
    CHECK(sonde_flush(10000) == SONDE_ENOAGENT);
    CHECK_SOON(sonde_flush(10000) == SONDE_ENOAGENT && atomic_load(&agent.closes) == 1); /* at once: nobody tries */
    one_record(NULL);
    CHECK(atomic_load(&agent.hellos) == 1);
    end();
}

static void doorbell_rings_once_a_sleep(void) {
    fake_agent_init(&agent);
    fake_agent_start(&agent);
    one_record(NULL);
    CHECK(sonde_flush(10000) == 0);
    struct sonde__thread *thread = sonde__thread_enter();
    for (uint64_t sleep = 1; sleep <= 9; sleep += 2) {
        for (int i = 0; i < 100; i++) { /* awake: nobody rings */
            CHECK(sonde__ring_reserve(thread, 8));
            (void)sonde__ring_commit(thread, 8, SONDE__RECORD_SPAN, 0, SONDE__RECORD_FLAG_ERROR, NULL);
        }
        CHECK(stats_now().doorbells == sleep / 2);
        atomic_store(&agent.control->sleep_sequence, sleep);
        for (int i = 0; i < 100; i++) {
            CHECK(sonde__ring_reserve(thread, 8));
            (void)sonde__ring_commit(thread, 8, SONDE__RECORD_SPAN, 0, SONDE__RECORD_FLAG_ERROR, NULL);
        }
        CHECK(stats_now().doorbells == sleep / 2 + 1);
        atomic_store(&agent.control->sleep_sequence, sleep + 1);
    }
    uint64_t rung = 0;
    CHECK(read(agent.doorbell, &rung, sizeof rung) == sizeof rung && rung == 5);
    sonde__thread_leave(thread);
    end();
}

static void doorbell_rings_at_a_quarter(void) {
    fake_agent_init(&agent);
    fake_agent_start(&agent);
    one_record(NULL);
    CHECK(sonde_flush(10000) == 0);
    atomic_store(&agent.control->sleep_sequence, 1);
    struct sonde__thread *thread = sonde__thread_enter();
    while (stats_now().doorbells == 0) {
        CHECK(sonde__ring_reserve(thread, 1000));
        (void)sonde__ring_commit(thread, 1000, SONDE__RECORD_SPAN, 0, 0, NULL);
        CHECK(thread->head < SONDE__RING_SIZE / 2);
    }
    CHECK(thread->head >= SONDE__RING_SIZE / 4 && thread->head < SONDE__RING_SIZE / 4 + 2048);
    sonde__thread_leave(thread);
    end();
}

static void unsealed_control_page_is_refused(void) {
    int fd = memfd_create("control", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(ftruncate(fd, SONDE__PAGE) == 0);
    CHECK(sonde__doorbell_connect(fd) == SONDE_EMALFORMED);
    CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
    CHECK(sonde__doorbell_connect(fd) == SONDE_EMALFORMED); /* no magic */
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    CHECK(sonde__doorbell_connect(file) == SONDE_EMALFORMED);
}

/* As daemons do that close all they did not open, and open their own files at the same numbers. */
static void closed_descriptors_hurt_nobody(void) {
    fake_agent_init(&agent);
    fake_agent_start(&agent);
    one_record(NULL);
    CHECK(sonde_flush(10000) == 0);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int taken[64], count = 0;
    for (int fd = 512; fd < 1024; fd++) /* ours are moved up there; the fake agent's are below */
        if (fcntl(fd, F_GETFD) >= 0) {
            CHECK(dup2(null, fd) == fd);
            taken[count++] = fd;
        }
    CHECK(count >= 4);
    uint8_t id[16];
    memcpy(id, agent.hello.process_id, 16);
    one_record(NULL);
    fake_agent_stop(&agent);
    fake_agent_start(&agent);
    CHECK_SOON(sonde_flush(1000) == 0); /* with fresh memory: the old can no longer be handed over */
    CHECK(memcmp(id, agent.hello.process_id, 16) != 0);
    for (int i = 0; i < count; i++) {
        struct stat st;
        CHECK(fstat(taken[i], &st) == 0 && S_ISCHR(st.st_mode));
    }
    one_record(NULL);
    CHECK(sonde_flush(10000) == 0 && atomic_load(&agent.threads) == 2);
    end();
}

static int count_entries(const char *path) {
    int count = 0;
    DIR *directory = opendir(path);
    while (directory && readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static void absent_agent_costs_no_descriptors(void) {
    fake_agent_init(&agent);
    one_record(NULL);
    CHECK(sonde_flush(10000) == SONDE_ENOAGENT);
    int before = count_entries("/proc/self/fd");
    for (int i = 0; i < 200; i++)
        CHECK(sonde_flush(10000) == SONDE_ENOAGENT);
    CHECK(count_entries("/proc/self/fd") == before);
    CHECK(child_threads("sonde-link") == 1);
    fake_agent_deinit(&agent);
}

static void link_thread_takes_no_signals(void) {
    fake_agent_init(&agent);
    fake_agent_start(&agent);
    CHECK(sonde_flush(10000) == 0);
    bool found = false;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; (task = readdir(tasks));) {
        char path[300], text[4096] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
        FILE *file = fopen(path, "re");
        if (!file)
            continue;
        CHECK(fread(text, 1, sizeof text - 1, file) > 0);
        fclose(file);
        if (!strstr(text, "sonde-link"))
            continue;
        found = true;
        unsigned long long blocked = strtoull(strstr(text, "SigBlk:") + 7, NULL, 16);
        CHECK(blocked >> (SIGTERM - 1) & 1 && blocked >> (SIGUSR1 - 1) & 1 && blocked >> (SIGPROF - 1) & 1);
    }
    closedir(tasks);
    CHECK(found);
    end();
}

static void forked_child_has_its_own_connection(void) {
    fake_agent_init(&agent);
    CHECK(sonde_flush(10000) == SONDE_ENOAGENT); /* the link thread is at rest */
    pid_t parent = getpid(), child = child_fork();
    if (child == 0) {
        fake_agent_start(&agent);
        one_record(NULL);
        CHECK(sonde_flush(10000) == 0);
        CHECK(agent.hello.pid == (uint32_t)getpid() || agent.hello.pid == (uint32_t)parent);
        CHECK_SOON(atomic_load(&agent.hellos) >= 1);
        fake_agent_stop(&agent);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    one_record(NULL);
    fake_agent_deinit(&agent);
}

static void places_are_tried_in_order(void) {
    struct sonde__places places;
    struct sonde__settings settings = {.disabled = false};
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    sonde__places_list(&settings, &places);
    CHECK(places.count == 3);
    CHECK(strcmp(places.path[0], "/run/sonde/agent.sock") == 0);
    CHECK(strcmp(places.path[1], "/run/user/7/sonde/agent.sock") == 0);
    CHECK(strncmp(places.path[2], "/tmp/sonde-", 11) == 0);
    setenv("XDG_RUNTIME_DIR", "relative", 1);
    sonde__places_list(&settings, &places);
    CHECK(places.count == 2);
    snprintf(settings.agent_socket, sizeof settings.agent_socket, "/else/where");
    sonde__places_list(&settings, &places);
    CHECK(places.count == 1 && strcmp(places.path[0], "/else/where") == 0);
}

/* A peer of another uid, seen from an ordinary user: only where root made the directory for it. Needs root to set up.
 */
static void foreign_peer_is_not_trusted(void) {
    if (getuid() != 0)
        return;
    char directory[] = "/tmp/sonde-test-XXXXXX", path[64];
    CHECK(mkdtemp(directory) && chmod(directory, 0755) == 0 && chown(directory, 1234, 1234) == 0);
    snprintf(path, sizeof path, "%s/agent.sock", directory);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK(setresuid(1234, 1234, 0) == 0); /* SO_PEERCRED tells who called listen() */
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 1) == 0);
    CHECK(setresuid(0, 0, 0) == 0 && chmod(path, 0666) == 0);
    CHECK(setresuid(4321, 4321, 0) == 0);
    int client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK(connect(client, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(!sonde__place_peer_allowed(client, path)); /* /tmp is anybody's: that directory proves nothing */
    CHECK(setresuid(0, 0, 0) == 0);
    CHECK(sonde__place_peer_allowed(client, path) == false); /* root trusts root only */
    CHECK(setresuid(1234, 1234, 0) == 0);
    CHECK(sonde__place_peer_allowed(client, path)); /* our own uid */
    CHECK(setresuid(0, 0, 0) == 0);
    unlink(path);
    rmdir(directory);
}

CHILD_TEST(memory_is_handed_over)
CHILD_TEST(memory_made_later_is_handed_over_too)
CHILD_TEST(memory_is_handed_over_again_after_a_restart)
CHILD_TEST(flush_waits_for_the_answer)
CHILD_TEST(flush_without_agent_says_so)
CHILD_TEST(flush_gives_up_on_a_mute_agent)
CHILD_TEST(shutdown_says_goodbye)
CHILD_TEST(refused_memory_ends_the_connection)
CHILD_TEST(packet_of_another_size_than_it_says_ends_the_connection)
CHILD_TEST(evicted_process_starts_over_with_fresh_memory)
CHILD_TEST(evicted_process_learns_it_though_the_connection_was_reset)
CHILD_TEST(evicted_process_stays_away_for_a_while)
CHILD_TEST(doorbell_rings_once_a_sleep)
CHILD_TEST(doorbell_rings_at_a_quarter)
CHILD_TEST(unsealed_control_page_is_refused)
CHILD_TEST(closed_descriptors_hurt_nobody)
CHILD_TEST(absent_agent_costs_no_descriptors)
CHILD_TEST(link_thread_takes_no_signals)
CHILD_TEST(forked_child_has_its_own_connection)
CHILD_TEST(places_are_tried_in_order)
CHILD_TEST(foreign_peer_is_not_trusted)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_handed_over_test),
        cmocka_unit_test(memory_made_later_is_handed_over_too_test),
        cmocka_unit_test(memory_is_handed_over_again_after_a_restart_test),
        cmocka_unit_test(flush_waits_for_the_answer_test),
        cmocka_unit_test(flush_without_agent_says_so_test),
        cmocka_unit_test(flush_gives_up_on_a_mute_agent_test),
        cmocka_unit_test(shutdown_says_goodbye_test),
        cmocka_unit_test(refused_memory_ends_the_connection_test),
        cmocka_unit_test(packet_of_another_size_than_it_says_ends_the_connection_test),
        cmocka_unit_test(evicted_process_starts_over_with_fresh_memory_test),
        cmocka_unit_test(evicted_process_learns_it_though_the_connection_was_reset_test),
        cmocka_unit_test(evicted_process_stays_away_for_a_while_test),
        cmocka_unit_test(doorbell_rings_once_a_sleep_test),
        cmocka_unit_test(doorbell_rings_at_a_quarter_test),
        cmocka_unit_test(unsealed_control_page_is_refused_test),
        cmocka_unit_test(closed_descriptors_hurt_nobody_test),
        cmocka_unit_test(absent_agent_costs_no_descriptors_test),
        cmocka_unit_test(link_thread_takes_no_signals_test),
        cmocka_unit_test(forked_child_has_its_own_connection_test),
        cmocka_unit_test(places_are_tried_in_order_test),
        cmocka_unit_test(foreign_peer_is_not_trusted_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
