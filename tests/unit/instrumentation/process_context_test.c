/* SPDX-License-Identifier: Apache-2.0 */
/* The process context as a reader outside meets it: found in /proc/PID/maps, read by process_vm_readv(), by the reading
 * protocol of OTEP 4719. */
#include "instrumentation/resource/process_context.h"
#include "instrumentation/resource/resource.h"
#include "tests/lib/child.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <sonde/sonde.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>

#include <cmocka.h>

/* ---- a reader ---- */

/* Addresses of the mappings that bear one of the three names. Returns how many. */
static int mappings_find(pid_t pid, uint64_t *ret_at, char *ret_rights) {
    char path[64], line[512];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    CHECK(maps);
    while (fgets(line, sizeof line, maps)) {
        const char *name = strpbrk(line, "/[");
        if (!name || (strncmp(name, "[anon_shmem:OTEL_CTX]", 21) != 0 && strncmp(name, "[anon:OTEL_CTX]", 15) != 0 &&
                      strncmp(name, "/memfd:OTEL_CTX", 15) != 0))
            continue;
        unsigned long from;
        CHECK(sscanf(line, "%lx-%*x %4s", &from, ret_rights) == 2);
        *ret_at = from;
        count++;
    }
    fclose(maps);
    return count;
}

static bool peek(pid_t pid, uint64_t at, void *to, size_t size) {
    struct iovec local = {to, size}, remote = {(void *)(uintptr_t)at, size};
    return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)size;
}

static uint8_t payload[SONDE_RESOURCE_SIZE_MAX + 64];

/* Steps 2 to 7. Returns the payload's size, 0 when the context was just being changed. */
static uint32_t context_read(pid_t pid, uint64_t at, struct sonde__process_context *ret_header) {
    struct sonde__process_context again;
    CHECK(peek(pid, at, ret_header, sizeof *ret_header));
    CHECK(memcmp(ret_header, "OTEL_CTX\x02\0\0\0", 12) == 0);
    uint64_t published = atomic_load(&ret_header->published_ns);
    if (!published)
        return 0;
    CHECK(peek(pid, at, ret_header, sizeof *ret_header)); /* behind the time that was seen */
    if (ret_header->payload_size > sizeof payload || !peek(pid, ret_header->payload, payload, ret_header->payload_size))
        return 0;
    CHECK(peek(pid, at, &again, sizeof again));
    return atomic_load(&again.published_ns) == published ? ret_header->payload_size : 0;
}

/* Decodes strictly: one field 1 of attributes (field 1), each a key with a value. Copies a text value. */
static uint64_t varint(const uint8_t **at, const uint8_t *end) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        CHECK(*at < end);
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80))
            return value;
    }
    CHECK(false); /* no varint */
    return 0;
}

static const uint8_t *part(const uint8_t **at, const uint8_t *end, uint8_t tag, size_t *ret_size) {
    CHECK(*at < end && *(*at)++ == tag);
    *ret_size = varint(at, end);
    CHECK(*ret_size <= (size_t)(end - *at));
    const uint8_t *begin = *at;
    *at += *ret_size;
    return begin;
}

static bool text_of(uint32_t size, const char *key, char *ret_text, size_t text_size) {
    const uint8_t *at = payload, *end = payload + size;
    size_t resource_size, length;
    const uint8_t *resource = part(&at, end, 0x0A, &resource_size);
    CHECK(at == end); /* nothing but the resource */
    bool found = false;
    for (const uint8_t *next = resource; next < resource + resource_size;) {
        const uint8_t *pair = part(&next, resource + resource_size, 0x0A, &length), *pair_end = pair + length;
        const uint8_t *name = part(&pair, pair_end, 0x0A, &length);
        bool is_it = length == strlen(key) && memcmp(name, key, length) == 0;
        const uint8_t *value = part(&pair, pair_end, 0x12, &length);
        CHECK(pair == pair_end && !(found && is_it));
        if (!is_it)
            continue;
        const uint8_t *value_end = value + length;
        const uint8_t *text = part(&value, value_end, 0x0A, &length);
        CHECK(value == value_end && length < text_size);
        memcpy(ret_text, text, length);
        ret_text[length] = 0;
        found = true;
    }
    return found;
}

/* ---- processes that publish ---- */

/* A child that does `work` and then waits to be killed; ret_ready: its end of a pipe, readable when the work is done. */
static pid_t publisher(void (*work)(void), int *ret_ready) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = child_fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(ends[0]);
        work();
        CHECK(write(ends[1], "r", 1) == 1);
        for (;;)
            pause();
    }
    close(ends[1]);
    *ret_ready = ends[0];
    return child;
}
static pid_t publisher_of(void (*work)(void)) {
    int ready;
    char byte;
    pid_t child = publisher(work, &ready);
    CHECK(read(ready, &byte, 1) == 1);
    close(ready);
    return child;
}
static void end(pid_t child) {
    int status;
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
}

static void use_the_library(void) {
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("span"), NULL);
    sonde_span_end(&span);
}

static bool can_be_read(pid_t pid, uint64_t *ret_at, uint32_t *ret_size) {
    struct sonde__process_context header;
    char rights[8];
    if (mappings_find(pid, ret_at, rights) != 1 || !peek(pid, *ret_at, &header, sizeof header) ||
        memcmp(header.signature, "OTEL_CTX", 8) != 0)
        return false; /* not yet */
    *ret_size = context_read(pid, *ret_at, &header);
    return *ret_size > 0;
}

static void process_context_is_found_from_outside_and_holds_the_resource(void) {
    uint64_t at;
    uint32_t size = 0;
    char text[256], rights[8];
    setenv("OTEL_SERVICE_NAME", "orders", 1);
    setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=i-1,team=x", 1);
    pid_t child = publisher_of(use_the_library);
    CHECK_SOON(can_be_read(child, &at, &size));
    CHECK(text_of(size, "service.name", text, sizeof text) && strcmp(text, "orders") == 0);
    CHECK(text_of(size, "service.instance.id", text, sizeof text) && strcmp(text, "i-1") == 0);
    CHECK(text_of(size, "team", text, sizeof text) && strcmp(text, "x") == 0);
    CHECK(text_of(size, "telemetry.sdk.name", text, sizeof text) && strcmp(text, "sonde") == 0);
    CHECK(mappings_find(child, &at, rights) == 1 && strcmp(rights, "rw-p") == 0);
    struct sonde__process_context header;
    struct timespec now;
    CHECK(peek(child, at, &header, sizeof header) && clock_gettime(CLOCK_BOOTTIME, &now) == 0);
    CHECK(atomic_load(&header.published_ns) <= (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
    end(child);
}

static int pipe_of_grandchild[2];

static void fork_a_child(void) {
    use_the_library();
    uint64_t at;
    uint32_t size;
    CHECK_SOON(can_be_read(getpid(), &at, &size));
    pid_t child = child_fork();
    if (child == 0) {
        char byte;
        close(pipe_of_grandchild[1]);
        CHECK(read(pipe_of_grandchild[0], &byte, 1) == 1);
        use_the_library();
        for (;;)
            pause();
    }
    FILE *file = fopen(getenv("CHILD_FILE"), "we");
    CHECK(file && fprintf(file, "%d\n", (int)child) > 0 && fclose(file) == 0);
}

static void process_context_is_not_inherited_by_a_forked_child_which_has_its_own(void) {
    char path[] = "/tmp/sonde-context-XXXXXX", ours[64], theirs[64], rights[8];
    int fd = mkstemp(path), child = 0;
    uint64_t at;
    uint32_t size;
    CHECK(fd >= 0 && pipe(pipe_of_grandchild) == 0);
    setenv("CHILD_FILE", path, 1);
    pid_t parent = publisher_of(fork_a_child);
    FILE *file = fopen(path, "re");
    CHECK(file && fscanf(file, "%d", &child) == 1 && fclose(file) == 0 && unlink(path) == 0);
    close(fd);
    CHECK(mappings_find(child, &at, rights) == 0);
    CHECK(write(pipe_of_grandchild[1], "g", 1) == 1);
    CHECK_SOON(can_be_read(child, &at, &size));
    CHECK(text_of(size, "service.instance.id", theirs, sizeof theirs));
    CHECK(can_be_read(parent, &at, &size) && text_of(size, "service.instance.id", ours, sizeof ours));
    CHECK(strcmp(ours, theirs) != 0);
    kill(child, SIGKILL);
    end(parent);
}

/* A resource of one attribute whose value is `size` times the letter. */
static uint32_t resource_of(uint8_t *to, char letter, uint32_t size) {
    to[0] = 0x0A;
    to[1] = (uint8_t)(7 + size);
    memcpy(to + 2, "\x0A\x01k\x12", 4);
    to[6] = (uint8_t)(size + 2);
    to[7] = 0x0A;
    to[8] = (uint8_t)size;
    memset(to + 9, letter, size);
    return 9 + size;
}

static void update_for_ever(void) {
    uint8_t resource[128];
    for (unsigned i = 0;; i++)
        CHECK(sonde__process_context_publish(resource, resource_of(resource, (char)('a' + i % 26), 20 + i % 60)) == 0);
}

static void process_context_updates_are_never_read_torn(void) {
    pid_t child = child_fork();
    if (child == 0)
        update_for_ever();
    uint64_t at, last = 0;
    uint32_t size;
    char text[128];
    int read = 0, changes = 0;
    CHECK_SOON(can_be_read(child, &at, &size));
    for (int i = 0; (read < 300 || changes < 100) && i < 1000000; i++) {
        struct sonde__process_context header;
        size = context_read(child, at, &header);
        if (!size)
            continue;
        CHECK(text_of(size, "k", text, sizeof text) && strspn(text, (char[]){text[0], 0}) == strlen(text));
        CHECK(strlen(text) >= 20);
        uint64_t published = atomic_load(&header.published_ns);
        CHECK(published >= last);
        changes += published != last;
        last = published;
        read++;
    }
    CHECK(read >= 300 && changes >= 100);
    end(child);
}

static void process_context_update_changes_the_time_and_keeps_the_place(void) {
    uint8_t resource[128];
    uint64_t at, again;
    uint32_t size;
    char rights[8], text[128];
    struct sonde__process_context first, second;
    CHECK(sonde__process_context_publish(resource, resource_of(resource, 'a', 20)) == 0);
    CHECK(can_be_read(getpid(), &at, &size) && peek(getpid(), at, &first, sizeof first));
    CHECK(sonde__process_context_publish(resource, resource_of(resource, 'b', 30)) == 0);
    CHECK(can_be_read(getpid(), &again, &size) && peek(getpid(), at, &second, sizeof second));
    CHECK(at == again && mappings_find(getpid(), &at, rights) == 1);
    CHECK(atomic_load(&second.published_ns) > atomic_load(&first.published_ns));
    CHECK(text_of(size, "k", text, sizeof text) && text[0] == 'b' && strlen(text) == 30);
    CHECK(sonde__process_context_publish(resource, SONDE_RESOURCE_SIZE_MAX + 1) == -EMSGSIZE);
}

static void process_context_can_be_switched_off(void) {
    setenv("SONDE_PROCESS_CONTEXT_DISABLED", "true", 1);
    uint64_t at;
    char rights[8];
    use_the_library();
    CHECK(sonde_flush(10000) != 0); /* no agent: the link thread has been past where it would publish */
    CHECK(mappings_find(getpid(), &at, rights) == 0);
}

static void process_context_of_another_library_stays_the_only_one(void) {
    uint8_t resource[128];
    uint64_t at;
    char rights[8];
    int fd = memfd_create("OTEL_CTX", MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
    CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0) != MAP_FAILED);
    close(fd);
    CHECK(sonde__process_context_publish(resource, resource_of(resource, 'a', 20)) == -EEXIST);
    CHECK(mappings_find(getpid(), &at, rights) == 1);
}

/* Without a memfd it is anonymous memory, which only some kernels can name; else there is none. */
static void process_context_without_a_memfd_is_named_or_not_there(void) {
    uint8_t resource[128];
    uint64_t at;
    char rights[8];
    CHECK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){0, 0}) == 0);
    int result = sonde__process_context_publish(resource, resource_of(resource, 'a', 20));
    CHECK(mappings_find(getpid(), &at, rights) == (result == 0));
}

CHILD_TEST(process_context_is_found_from_outside_and_holds_the_resource)
CHILD_TEST(process_context_is_not_inherited_by_a_forked_child_which_has_its_own)
CHILD_TEST(process_context_updates_are_never_read_torn)
CHILD_TEST(process_context_update_changes_the_time_and_keeps_the_place)
CHILD_TEST(process_context_can_be_switched_off)
CHILD_TEST(process_context_of_another_library_stays_the_only_one)
CHILD_TEST(process_context_without_a_memfd_is_named_or_not_there)

int main(void) {
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/agent.sock", 1);
    unsetenv("OTEL_SERVICE_NAME");
    unsetenv("OTEL_RESOURCE_ATTRIBUTES");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(process_context_is_found_from_outside_and_holds_the_resource_test),
        cmocka_unit_test(process_context_is_not_inherited_by_a_forked_child_which_has_its_own_test),
        cmocka_unit_test(process_context_updates_are_never_read_torn_test),
        cmocka_unit_test(process_context_update_changes_the_time_and_keeps_the_place_test),
        cmocka_unit_test(process_context_can_be_switched_off_test),
        cmocka_unit_test(process_context_of_another_library_stays_the_only_one_test),
        cmocka_unit_test(process_context_without_a_memfd_is_named_or_not_there_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
