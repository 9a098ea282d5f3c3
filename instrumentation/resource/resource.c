/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/resource/resource.h"

#include "instrumentation/ring/fd.h"
#include "instrumentation/wire/writer.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define ATTRIBUTES 1u /* field of Resource. Source: opentelemetry-proto, resource/v1/resource.proto */
#define KEYS_MAX   160u

/* The message as it grows, and where its keys are: the first to say a key wins. */
struct resource {
    struct sonde__writer writer;
    uint32_t key_count;
    struct sonde_string keys[KEYS_MAX];
};

static bool key_is_taken(const struct resource *r, const char *key, size_t size) {
    for (uint32_t i = 0; i < r->key_count; i++)
        if (r->keys[i].size == size && memcmp(r->keys[i].data, key, size) == 0)
            return true;
    return r->key_count == KEYS_MAX;
}

/* key lives as long as r. */
static void put_n(struct resource *r, const char *key, size_t key_size, const char *value, size_t size) {
    if (!size || !key_size || key_is_taken(r, key, key_size))
        return;
    struct sonde_attribute attribute = sonde_attribute_string_n(sonde_key_n(key, key_size), value, size);
    if (!sonde__key_fits(attribute.key))
        return;
    r->keys[r->key_count++] = (struct sonde_string){key, key_size};
    sonde__write_attribute(&r->writer, ATTRIBUTES, &attribute, SIZE_MAX);
    r->writer.full = false; /* it was left out whole; smaller ones may still fit */
}

static void put(struct resource *r, const char *key, const char *value) {
    put_n(r, key, strlen(key), value, strlen(value));
}

static uint64_t varint_read(const uint8_t **at, const uint8_t *end) {
    uint64_t value = 0;
    for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80))
            break;
    }
    return value;
}

/* Attributes of sonde_start(), encoded there: copied whole, their keys noted. Each is 0A length 0A key-length key ...
 */
static void put_options(struct resource *r, const struct sonde__settings *settings) {
    const uint8_t *at = settings->option_attributes, *end = at + settings->option_attributes_size;
    while (at < end) {
        const uint8_t *begin = at++;
        uint64_t size = varint_read(&at, end);
        const uint8_t *next = at + size, *key = at + 1;
        uint64_t key_size = varint_read(&key, end);
        if (!key_is_taken(r, (const char *)key, key_size)) {
            r->keys[r->key_count++] = (struct sonde_string){(const char *)key, key_size};
            sonde__write_raw(&r->writer, begin, (size_t)(next - begin));
            r->writer.full = false;
        }
        at = next;
    }
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place. Returns the new size, or SIZE_MAX on a bad escape. */
static size_t percent_decode(char *text, size_t size) {
    size_t to = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] != '%') {
            text[to++] = text[i];
            continue;
        }
        if (i + 2 >= size || hex_value(text[i + 1]) < 0 || hex_value(text[i + 2]) < 0)
            return SIZE_MAX;
        text[to++] = (char)(hex_value(text[i + 1]) << 4 | hex_value(text[i + 2]));
        i += 2;
    }
    return to;
}

static void trim(char **text, size_t *size) {
    while (*size && ((*text)[0] == ' ' || (*text)[0] == '\t')) {
        (*text)++;
        (*size)--;
    }
    while (*size && ((*text)[*size - 1] == ' ' || (*text)[*size - 1] == '\t'))
        (*size)--;
}

/* key1=value1,key2=value2, as in W3C Baggage: keys and values are percent-encoded. An error discards the whole value.
 * text is changed and lives as long as r. Source: resource/sdk.md, specifying resource information via an environment
 * variable. */
static void put_list(struct resource *r, char *text) {
    struct {
        char *key, *value;
        size_t key_size, size;
    } found[KEYS_MAX];
    size_t count = 0;
    for (char *at = text, *end; *at; at = *end ? end + 1 : end) {
        end = strchrnul(at, ',');
        char *equals = memchr(at, '=', (size_t)(end - at)), *key = at;
        size_t key_size = (size_t)((equals ? equals : end) - at);
        trim(&key, &key_size);
        if (!equals && !key_size)
            continue; /* an empty member, as a trailing comma leaves it */
        char *value = equals ? equals + 1 : end;
        size_t size = (size_t)(end - value);
        trim(&value, &size);
        if (!equals || !key_size || (size = percent_decode(value, size)) == SIZE_MAX ||
            (key_size = percent_decode(key, key_size)) == SIZE_MAX || count == KEYS_MAX) {
            sonde__report("OTEL_RESOURCE_ATTRIBUTES: not key=value,... with percent-encoding, ignored");
            return;
        }
        found[count].key = key;
        found[count].key_size = key_size;
        found[count].value = value;
        found[count++].size = size;
    }
    for (size_t i = count; i-- > 0;) /* the last of a repeated key wins */
        put_n(r, found[i].key, found[i].key_size, found[i].value, found[i].size);
}

/* Up to size - 1 bytes of a file, NUL-terminated; empty when it cannot be read. */
static void file_read(const char *path, char *ret_text, size_t size) {
    size_t used = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    while (fd >= 0 && used < size - 1) {
        ssize_t n = read(fd, ret_text + used, size - 1 - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    if (fd >= 0)
        (void)close(fd);
    ret_text[used] = 0;
}

static void put_instance_id(struct resource *r) {
    uint8_t b[16];
    char text[37];
    sonde__random_fill(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0F) | 0x40); /* version 4, variant 1; RFC 9562, 5.4 */
    b[8] = (uint8_t)((b[8] & 0x3F) | 0x80);
    snprintf(text, sizeof text, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
    put(r, "service.instance.id", text);
}

static void put_process(struct resource *r) {
    char path[1024], name[256 + 32];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    path[size > 0 ? size : 0] = 0;
    const char *slash = strrchr(path, '/');
    const char *executable = slash ? slash + 1 : program_invocation_short_name;
    snprintf(name, sizeof name, "unknown_service:%.255s", executable ? executable : "");
    put(r, "service.name", executable && *executable ? name : "unknown_service");
    struct sonde_attribute pid = sonde_attribute_int64(SONDE_KEY("process.pid"), getpid());
    if (!key_is_taken(r, "process.pid", strlen("process.pid")))
        sonde__write_attribute(&r->writer, ATTRIBUTES, &pid, SIZE_MAX);
    put(r, "process.executable.name", executable ? executable : "");
    put(r, "process.executable.path", path);
}

/* semantic conventions, resource/host.md: host.arch */
static const char *architecture(const char *machine) {
    static const char *const names[][2] = {{"x86_64", "amd64"}, {"aarch64", "arm64"}, {"i686", "x86"},
                                           {"i386", "x86"},     {"armv7l", "arm32"},  {"armv6l", "arm32"},
                                           {"ppc64le", "ppc64"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(machine, names[i][0]) == 0)
            return names[i][1];
    return machine;
}

static void put_host(struct resource *r) {
    struct utsname system;
    if (uname(&system) == 0) {
        put(r, "host.name", system.nodename);
        put(r, "host.arch", architecture(system.machine));
    }
    char id[64];
    file_read("/etc/machine-id", id, sizeof id);
    put_n(r, "host.id", strlen("host.id"), id, strcspn(id, "\n"));
    put(r, "os.type", "linux");
}

static void put_container(struct resource *r) {
    static char text[32768]; /* the link thread's stack is small, and there is one link thread */
    char id[65];
    file_read("/proc/self/cgroup", text, sizeof text);
    bool found = sonde__container_id_find(text, id);
    if (!found) {
        file_read("/proc/self/mountinfo", text, sizeof text);
        found = sonde__container_id_find(text, id);
    }
    if (found)
        put(r, "container.id", id);
}

uint32_t sonde__resource_encode(uint8_t *ret_message, uint32_t size) {
    static char list[sizeof sonde__settings.resource_attributes]; /* decoded in place */
    const struct sonde__settings *settings = sonde__settings_get();
    struct resource resource = {.key_count = 0};
    sonde__writer_init(&resource.writer, ret_message, size);
    put_options(&resource, settings);
    put(&resource, "service.name", settings->service_name);
    put(&resource, "service.namespace", settings->service_namespace);
    put(&resource, "service.version", settings->service_version);
    memcpy(list, settings->resource_attributes, sizeof list);
    put_list(&resource, list);
    put(&resource, "telemetry.sdk.language", "c");
    put(&resource, "telemetry.sdk.name", "sonde");
    put(&resource, "telemetry.sdk.version", SONDE_VERSION);
    put_instance_id(&resource);
    put_process(&resource);
    put_host(&resource);
    put_container(&resource);
    return (uint32_t)sonde__writer_size(&resource.writer);
}
