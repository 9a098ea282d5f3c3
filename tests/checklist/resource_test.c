/* SPDX-License-Identifier: Apache-2.0 */
/* The specification's checklist: resource. Each test is named after its item in items.tsv. */
#include "instrumentation/resource/resource.h"
#include "telemetry.pb-c.h"
#include "tests/checklist/checklist.h"

/* The resource as it is handed to the agent; its string values by key, NULL when absent. */
static Pb__Resource *resource(void) {
    static uint8_t bytes[SONDE_RESOURCE_SIZE_MAX];
    uint32_t size = sonde__resource_encode(bytes, sizeof bytes);
    return pb__resource__unpack(NULL, size, bytes);
}
static const char *text_of(const Pb__Resource *resource, const char *key) {
    const char *text = NULL;
    for (size_t i = 0; i < resource->n_attributes; i++) {
        if (strcmp(resource->attributes[i]->key, key) == 0) {
            CHECK(!text); /* once only */
            text = resource->attributes[i]->value->string_value;
        }
    }
    return text;
}
#define CHECK_TEXT(resource, key, wanted)                                                                              \
    do {                                                                                                               \
        const char *text_ = text_of(resource, key);                                                                    \
        CHECK(text_ &&strcmp(text_, wanted) == 0);                                                                     \
    } while (0)

static void created(void) {
    struct sonde_attribute attributes[] = {sonde_attribute_string(SONDE_KEY("deployment.environment.name"), "test")};
    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.service_name = "orders";
    options.resource_attributes = attributes;
    options.resource_attribute_count = 1;
    CHECK(sonde_start(&options) == 0);
    Pb__Resource *pb = resource();
    CHECK(pb != NULL);
    CHECK_TEXT(pb, "deployment.environment.name", "test");
    CHECK_TEXT(pb, "service.name", "orders");
    pb__resource__free_unpacked(pb, NULL);
}
static void create_from_attributes(void **state) {
    (void)state;
    assert_int_equal(child_run(created), 0);
}

/* Options beat OTEL_SERVICE_NAME, which beats OTEL_RESOURCE_ATTRIBUTES, which beats what is detected. */
static void merged(void) {
    setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=third,host.name=mine,team=a%20b,region=eu", 1);
    setenv("OTEL_SERVICE_NAME", "second", 1);
    struct sonde_attribute attributes[] = {sonde_attribute_string(SONDE_KEY("region"), "us")};
    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.resource_attributes = attributes;
    options.resource_attribute_count = 1;
    CHECK(sonde_start(&options) == 0);
    Pb__Resource *pb = resource();
    CHECK(pb != NULL);
    CHECK_TEXT(pb, "service.name", "second");
    CHECK_TEXT(pb, "host.name", "mine");
    CHECK_TEXT(pb, "team", "a b");
    CHECK_TEXT(pb, "region", "us");
    pb__resource__free_unpacked(pb, NULL);
}
static void merge(void **state) {
    (void)state;
    assert_int_equal(child_run(merged), 0);
}

static void detected(void) {
    Pb__Resource *pb = resource();
    char host[256];
    CHECK(pb && gethostname(host, sizeof host) == 0);
    CHECK_TEXT(pb, "service.name", "unknown_service:checklist_resource");
    CHECK_TEXT(pb, "telemetry.sdk.name", "sonde");
    CHECK_TEXT(pb, "telemetry.sdk.language", "c");
    CHECK_TEXT(pb, "host.name", host);
    CHECK_TEXT(pb, "os.type", "linux");
    CHECK(text_of(pb, "service.instance.id") != NULL);
    pb__resource__free_unpacked(pb, NULL);
}
static void the_default_service_name(void **state) {
    (void)state;
    assert_int_equal(child_run(detected), 0);
}
static void detectors(void **state) {
    (void)state;
    assert_int_equal(child_run(detected), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_from_attributes),
        cmocka_unit_test(merge),
        cmocka_unit_test(the_default_service_name),
        cmocka_unit_test(detectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
