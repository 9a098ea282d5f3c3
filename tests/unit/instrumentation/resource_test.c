/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/resource/resource.h"
#include "tests/lib/child.h"
#include <setjmp.h>
#include <sonde/err.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static uint8_t message[SONDE_RESOURCE_SIZE_MAX];
static uint32_t message_size;

static uint64_t varint(const uint8_t **at) {
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80))
            return value;
    }
}

/* The AnyValue of a key, and how often the key is there. A decoder of its own, for this one shape of message. */
static int find(const char *key, const uint8_t **ret_value, size_t *ret_size) {
    int count = 0;
    const uint8_t *at = message, *end = message + message_size;
    while (at < end) {
        CHECK(*at++ == 0x0A);
        uint64_t size = varint(&at);
        const uint8_t *next = at + size;
        CHECK(next <= end && *at++ == 0x0A);
        uint64_t key_size = varint(&at);
        if (key_size == strlen(key) && memcmp(at, key, key_size) == 0) {
            at += key_size;
            CHECK(*at++ == 0x12);
            *ret_size = varint(&at);
            *ret_value = at;
            CHECK(at + *ret_size == next);
            count++;
        }
        at = next;
    }
    CHECK(at == end);
    return count;
}

static const char *text_of(const char *key) {
    static char text[2048];
    const uint8_t *value;
    size_t size;
    int count = find(key, &value, &size);
    if (count == 0)
        return "(absent)";
    if (count > 1)
        return "(twice)";
    CHECK(*value++ == 0x0A);
    size = varint(&value);
    memcpy(text, value, size);
    text[size] = 0;
    return text;
}
#define CHECK_TEXT(key, wanted) CHECK(strcmp(text_of(key), wanted) == 0)

static void encode(void) {
    message_size = sonde__resource_encode(message, sizeof message);
}

static void process_and_host_are_detected(void) {
    char name[256];
    encode();
    CHECK_TEXT("service.name", "unknown_service:resource_test");
    CHECK_TEXT("process.executable.name", "resource_test");
    CHECK(text_of("process.executable.path")[0] == '/');
    CHECK_TEXT("telemetry.sdk.language", "c");
    CHECK_TEXT("telemetry.sdk.name", "sonde");
    CHECK_TEXT("telemetry.sdk.version", SONDE_VERSION);
    CHECK_TEXT("os.type", "linux");
    CHECK(gethostname(name, sizeof name) == 0);
    CHECK_TEXT("host.name", name);
    CHECK(strcmp(text_of("host.arch"), "(absent)") != 0);
    CHECK_TEXT("process.command_args", "(absent)"); /* may hold secrets */
    const uint8_t *value;
    size_t size;
    CHECK(find("process.pid", &value, &size) == 1 && *value++ == 0x18 && varint(&value) == (uint64_t)getpid());
}

static void instance_id_is_a_random_uuid(void) {
    char first[64];
    encode();
    snprintf(first, sizeof first, "%s", text_of("service.instance.id"));
    CHECK(strlen(first) == 36 && first[14] == '4' && strchr("89ab", first[19]));
    encode();
    CHECK(strcmp(first, text_of("service.instance.id")) != 0);
}

static void service_name_beats_the_list(void) {
    setenv("OTEL_SERVICE_NAME", "shop", 1);
    setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=list,service.version=1.2,deployment.environment.name=test", 1);
    encode();
    CHECK_TEXT("service.name", "shop");
    CHECK_TEXT("service.version", "1.2");
    CHECK_TEXT("deployment.environment.name", "test");
}

static void list_is_percent_decoded_and_trimmed(void) {
    setenv("OTEL_RESOURCE_ATTRIBUTES", " a.b = x%20y%2Cz ,c=%C3%A9=, service.instance.id=mine,a.b=last,", 1);
    encode();
    CHECK_TEXT("a.b", "last");
    CHECK_TEXT("c", "\xC3\xA9=");
    CHECK_TEXT("service.instance.id", "mine");
}

static char reported[256];
static void report(void *user, const char *text) {
    (void)user;
    snprintf(reported, sizeof reported, "%s", text);
}

static void broken_list_is_ignored_whole(void) {
    static const char *const broken[] = {"good=1,bad", "good=1,bad=%4", "good=1,bad=%zz", "good=1,=value"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        pid_t child = child_fork();
        if (child == 0) {
            setenv("OTEL_RESOURCE_ATTRIBUTES", broken[i], 1);
            struct sonde_options options = SONDE_OPTIONS_INIT;
            options.report = report;
            CHECK(sonde__settings_start(&options) == 0);
            encode();
            CHECK_TEXT("good", "(absent)");
            CHECK(strstr(reported, "OTEL_RESOURCE_ATTRIBUTES"));
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
}

static void attributes_of_options_win(void) {
    setenv("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=list,host.name=list,team=list", 1);
    struct sonde_attribute attributes[] = {
        sonde_attribute_string(SONDE_KEY("host.name"), "options"),
        sonde_attribute_string(SONDE_KEY("service.instance.id"), "options"),
        sonde_attribute_bool(SONDE_KEY("canary"), true),
        sonde_attribute_string(SONDE_KEY(""), "no key"),
    };
    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.service_name = "named";
    options.service_namespace = "space";
    options.resource_attributes = attributes;
    options.resource_attribute_count = 4;
    CHECK(sonde__settings_start(&options) == SONDE_EINVALID); /* the one without a key */
    encode();
    CHECK_TEXT("host.name", "options");
    CHECK_TEXT("service.instance.id", "options");
    CHECK_TEXT("service.name", "named");
    CHECK_TEXT("service.namespace", "space");
    CHECK_TEXT("team", "list");
    const uint8_t *value;
    size_t size;
    CHECK(find("canary", &value, &size) == 1 && size == 2 && memcmp(value, "\x10\x01", 2) == 0);
}

static void resource_stays_within_its_limit(void) {
    static char large[SONDE_RESOURCE_SIZE_MAX], keys[40][16];
    memset(large, 'x', sizeof large - 1);
    struct sonde_attribute attributes[40];
    for (int i = 0; i < 40; i++) {
        snprintf(keys[i], sizeof keys[i], "key.%d", i);
        attributes[i] = sonde_attribute_string_n(sonde_key_cstr(keys[i]), large, 600);
    }
    attributes[0].size = sizeof large - 1; /* alone too large */
    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.resource_attributes = attributes;
    options.resource_attribute_count = 40;
    CHECK(sonde__settings_start(&options) == SONDE_EINVALID);
    encode();
    CHECK(message_size <= SONDE_RESOURCE_SIZE_MAX);
    const uint8_t *value;
    size_t size;
    (void)find("", &value, &size); /* well formed to the end */
}

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
static void container_id_is_found(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool found;
    } cases[] = {
        {"12:memory:/docker/" ID "\n11:cpu:/docker/" ID "\n", true},
        {"1:name=systemd:/kubepods/besteffort/pod8fd9e1b2-0000-1111-2222-333344445555/" ID "\n", true},
        {"0::/system.slice/docker-" ID ".scope\n", true},
        {"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" ID ".scope\n", true},
        {"0::/kubepods.slice/crio-" ID ".scope", true},
        {"0::/\n", false},
        {"0::/user.slice/user-1000.slice/session-3.scope\n", false},
        {"0::/docker/" ID "a\n", false},
        {"", false},
        {"473 456 254:1 /docker/containers/" ID "/hostname /etc/hostname rw - ext4 /dev/vda1 rw\n", true},
        {"983 961 0:56 /containers/overlay-containers/" ID "/userdata/hostname /etc/hostname rw - tmpfs tmpfs rw\n",
         true},
        {"9 8 0:5 /run/containerd/io.containerd.grpc.v1.cri/sandboxes/" ID "/hostname /etc/hostname rw - ext4 x rw\n",
         false},
        {"9 8 0:5 /var/lib/overlay2/" ID "/merged / rw - overlay overlay rw\n", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char id[65] = "";
        assert_int_equal(sonde__container_id_find(cases[i].text, id), cases[i].found);
        if (cases[i].found)
            assert_string_equal(id, ID);
    }
}

CHILD_TEST(process_and_host_are_detected)
CHILD_TEST(instance_id_is_a_random_uuid)
CHILD_TEST(service_name_beats_the_list)
CHILD_TEST(list_is_percent_decoded_and_trimmed)
CHILD_TEST(broken_list_is_ignored_whole)
CHILD_TEST(attributes_of_options_win)
CHILD_TEST(resource_stays_within_its_limit)

int main(void) {
    unsetenv("OTEL_SERVICE_NAME");
    unsetenv("OTEL_RESOURCE_ATTRIBUTES");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(process_and_host_are_detected_test),
        cmocka_unit_test(instance_id_is_a_random_uuid_test),
        cmocka_unit_test(service_name_beats_the_list_test),
        cmocka_unit_test(list_is_percent_decoded_and_trimmed_test),
        cmocka_unit_test(broken_list_is_ignored_whole_test),
        cmocka_unit_test(attributes_of_options_win_test),
        cmocka_unit_test(resource_stays_within_its_limit_test),
        cmocka_unit_test(container_id_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
