/* SPDX-License-Identifier: Apache-2.0 */
/* Shared memory as the agent will check it, and every way the system may refuse it. */
#include "instrumentation/ring/process.h"
#include "instrumentation/ring/producer.h"
#include "tests/lib/child.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <sonde/err.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cmocka.h>

static long status_kib(const char *field) {
    char line[256];
    long value = -1;
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, field, strlen(field)) == 0)
            value = strtol(line + strlen(field), NULL, 10);
    if (file)
        fclose(file);
    return value;
}

static void memory_is_sealed_and_sparse(void) {
    CHECK(sonde__process_get() != NULL);
    const struct sonde__memory *memories[] = {&sonde__registry.process, &sonde__registry.threads[0]};
    size_t sizes[] = {SONDE__PROCESS_SIZE, SONDE__THREADS_SIZE};
    for (int i = 0; i < 2; i++) {
        int fd = memories[i]->file.fd;
        struct stat st;
        const int needed = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
        CHECK((fcntl(fd, F_GET_SEALS) & needed) == needed);
        CHECK(ftruncate(fd, 0) == -1 && errno == EPERM);
        CHECK(fstat(fd, &st) == 0 && (size_t)st.st_size == sizes[i]);
        CHECK(st.st_blocks * 512 < 64 * 1024);
        CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        CHECK(fd > 2);
        const struct sonde__memory_header *header = (const void *)memories[i]->base;
        CHECK(header->magic == SONDE__MAGIC && header->layout_major == SONDE__LAYOUT_MAJOR);
        CHECK(header->size == sizes[i] && header->pid == (uint32_t)getpid());
        CHECK(memcmp(header->process_id, sonde__registry.id, 16) == 0);
    }
}

static void ring_is_mapped_twice_in_a_row(void) {
    struct sonde__thread *thread = sonde__thread_enter();
    CHECK(thread && thread->region);
    memcpy(thread->ring + SONDE__RING_SIZE - 4, "abcdefgh", 8);
    CHECK(memcmp(thread->ring, "efgh", 4) == 0);
    CHECK(memcmp(thread->ring + 2 * SONDE__RING_SIZE - 4, "abcd", 4) == 0);
    sonde__thread_leave(thread);
}

/* Without memory: contexts work, nothing is recorded, drops are counted, nobody is told but the hook. */
static void check_counters_only(void) {
    struct sonde__thread *thread = sonde__thread_enter();
    CHECK(thread && !thread->region && !thread->ring && thread->free_count == 0);
    CHECK(thread->random != 0);
    sonde__drop(thread, SONDE_SIGNAL_TRACES, SONDE_DROP_NO_MEMORY);
    sonde__thread_leave(thread);
    struct sonde_stats stats = {.size = sizeof stats};
    sonde_stats_get(&stats);
    CHECK(stats.dropped[SONDE_SIGNAL_TRACES][SONDE_DROP_NO_MEMORY] == 1);
    CHECK(!stats.connected && stats.threads_attached == 0);
    CHECK(sonde__process_get() == NULL);
    CHECK(sonde__extent_take() == -1);
    CHECK(sonde__descriptor_append(SONDE__DESCRIPTOR_SCOPE, 1, "x", 1, NULL, 0) == SONDE_EDISABLED);
    CHECK(sonde_flush(1000) == SONDE_ENOAGENT);
    CHECK(sonde__slot_find(1) == NULL);
}

static char reported[256];
static void report(void *user, const char *message) {
    snprintf(user, sizeof reported, "%s", message);
}

static void counters_remain_when_seccomp_refuses_memfd(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0);
    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.report = report;
    options.report_user = reported;
    CHECK(sonde_start(&options) == 0);
    CHECK(strstr(reported, "no shared memory"));
    check_counters_only();
}

static void counters_remain_when_files_must_be_small(void) {
    struct rlimit limit = {1 << 20, 1 << 20};
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    check_counters_only(); /* a ftruncate() would have killed us by SIGXFSZ */
}

static void counters_remain_without_descriptors(void) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = 3;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    check_counters_only();
}

static void counters_remain_without_address_space(void) {
    long used = status_kib("VmSize:");
    CHECK(used > 0);
    struct rlimit limit = {(rlim_t)(used + 2048) << 10, (rlim_t)(used + 2048) << 10};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    check_counters_only();
}

/* KiB that are locked of mappings whose name contains `name`. */
/* Mappings that core files leave out ("dd" of VmFlags), and the others. */
static void dumped_count(const char *name, int *ret_left_out, int *ret_dumped) {
    char line[512];
    bool ours = false;
    *ret_left_out = *ret_dumped = 0;
    FILE *file = fopen("/proc/self/smaps", "re");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "VmFlags:", strlen("VmFlags:")) == 0)
            (*(strstr(line, " dd") ? ret_left_out : ret_dumped)) += ours;
        else if (line[0] < 'A' || line[0] > 'Z')
            ours = strstr(line, name) != NULL;
    CHECK(file && fclose(file) == 0);
}

static void core_files_leave_the_memory_out(void) {
    int left_out, dumped;
    struct sonde__thread *thread = sonde__thread_enter();
    CHECK(thread && thread->region);
    sonde__thread_leave(thread);
    dumped_count("memfd:sonde", &left_out, &dumped);
    CHECK(left_out >= 2 && dumped == 0);
}

static long locked_kib(const char *name) {
    char line[512];
    long sum = 0, kib;
    bool ours = false;
    FILE *file = fopen("/proc/self/smaps", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Locked: %ld", &kib) == 1)
            sum += ours ? kib : 0;
        else if (line[0] < 'A' || line[0] > 'Z') /* not a field: the head of a mapping */
            ours = strstr(line, name) != NULL;
    CHECK(file && fclose(file) == 0);
    return sum;
}

static void memory_is_not_locked_by_mlockall(void) {
    if (syscall(SYS_mlockall, MCL_FUTURE)) /* the function: sanitizers make it a no-op */
        return;                            /* not allowed here: then nobody can be hurt by it */
    struct sonde__thread *thread = sonde__thread_enter();
    CHECK(thread);
    bool recorded = thread->region != NULL;
    sonde__thread_leave(thread);
    CHECK(locked_kib("memfd:sonde") == 0);
    CHECK(recorded || sonde__process_get() == NULL);
    struct stat st;
    if (recorded)
        CHECK(fstat(sonde__registry.threads[0].file.fd, &st) == 0 && st.st_blocks * 512 < 256 * 1024);
}

/* The number it got; kept open only when it is 0. */
static int open_null(void) {
    int fd = open("/dev/null", O_RDONLY);
    if (fd > 0)
        close(fd);
    return fd;
}

static void descriptors_keep_off_the_standard_numbers(void) {
    close(0);
    CHECK(sonde__process_get() != NULL);
    CHECK_SOON(open_null() == 0); /* the link thread opens files too, for a moment */
}

static void foreign_descriptor_is_left_alone(void) {
    CHECK(sonde__process_get() != NULL);
    struct sonde__fd file = sonde__registry.process.file;
    close(file.fd);
    int other = open("/dev/null", O_RDONLY);
    CHECK(dup2(other, file.fd) == file.fd);
    CHECK(!sonde__fd_is_ours(&file));
    int number = file.fd;
    sonde__fd_close(&file);
    CHECK(fcntl(number, F_GETFD) >= 0);
    CHECK(sonde__memory_map_ring(&(struct sonde__memory){sonde__registry.process.base, file}, 0) == NULL);
}

/* All eventfds are one file to fstat(); the kernel numbers them. */
static void foreign_event_is_left_alone(void) {
    struct sonde__fd file = sonde__fd_take(eventfd(0, EFD_CLOEXEC));
    CHECK(file.fd >= 0);
    if (file.event_id < 0)
        return; /* a kernel that does not: nothing to tell them by */
    int number = file.fd, other = eventfd(0, EFD_CLOEXEC);
    CHECK(dup2(other, number) == number);
    sonde__fd_close(&file);
    CHECK(fcntl(number, F_GETFD) >= 0);
    file = sonde__fd_take(dup(other)); /* and our own is closed */
    number = file.fd;
    sonde__fd_close(&file);
    CHECK(fcntl(number, F_GETFD) < 0);
}

static void errno_is_kept(void) {
    errno = 77;
    CHECK(sonde__process_get() != NULL);
    CHECK(errno == 77);
}

CHILD_TEST(memory_is_sealed_and_sparse)
CHILD_TEST(ring_is_mapped_twice_in_a_row)
CHILD_TEST(counters_remain_when_seccomp_refuses_memfd)
CHILD_TEST(counters_remain_when_files_must_be_small)
CHILD_TEST(counters_remain_without_descriptors)
CHILD_TEST(counters_remain_without_address_space)
CHILD_TEST(memory_is_not_locked_by_mlockall)
CHILD_TEST(descriptors_keep_off_the_standard_numbers)
CHILD_TEST(foreign_descriptor_is_left_alone)
CHILD_TEST(foreign_event_is_left_alone)
CHILD_TEST(core_files_leave_the_memory_out)
CHILD_TEST(errno_is_kept)

int main(void) {
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/agent.sock", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_sealed_and_sparse_test),
        cmocka_unit_test(ring_is_mapped_twice_in_a_row_test),
        cmocka_unit_test(counters_remain_when_seccomp_refuses_memfd_test),
        cmocka_unit_test(counters_remain_when_files_must_be_small_test),
        cmocka_unit_test(counters_remain_without_descriptors_test),
        cmocka_unit_test(counters_remain_without_address_space_test),
        cmocka_unit_test(memory_is_not_locked_by_mlockall_test),
        cmocka_unit_test(descriptors_keep_off_the_standard_numbers_test),
        cmocka_unit_test(foreign_descriptor_is_left_alone_test),
        cmocka_unit_test(foreign_event_is_left_alone_test),
        cmocka_unit_test(core_files_leave_the_memory_out_test),
        cmocka_unit_test(errno_is_kept_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
