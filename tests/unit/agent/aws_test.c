/* SPDX-License-Identifier: Apache-2.0 */
/* Where AWS's keys come from, what its errors mean, what queues say. HTTP is scripted; environment and files are tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/collect/aws_call.h"
#include "agent/collect/aws_credentials.h"
#include "agent/collect/aws_profile.h"
#include "agent/collect/endpoint.h"
#include "agent/collect/poll.h"
#include "agent/collect/sqs_queues.h"
#include "agent/collect/timestamp.h"
#include "tests/lib/fakes.h"
#include "tests/lib/http_fake.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define S 1000000000ull

/* --- environment and files --- */

struct pair {
    const char *name, *text;
};
static const struct pair *variables, *files;

static const char *look_up(const struct pair *pairs, const char *name) {
    for (; pairs && pairs->name; pairs++)
        if (strcmp(pairs->name, name) == 0)
            return pairs->text;
    return NULL;
}
static const char *env(void *self, const char *name) {
    (void)self;
    return look_up(variables, name);
}
static int file(void *self, const struct sonde_alloc *alloc, const char *path, size_t size_max, char **ret_text,
                size_t *ret_size) {
    const char *text = look_up(files, path);
    (void)self;
    if (!text)
        return -ENOENT;
    *ret_size = strlen(text);
    assert_true(*ret_size <= size_max);
    *ret_text = sonde_alloc_new(alloc, *ret_size + 1);
    memcpy(*ret_text, text, *ret_size + 1);
    return 0;
}
static const struct sonde_config_sources sources = {.env = env, .file = file};

/* --- a place of keys --- */

struct place {
    struct fakes fakes;
    struct sonde_seams seams;
    struct http_fake http;
    struct sonde__aws_credentials *credentials;
    unsigned dones;
    char key[128], token[8192], error_type[32], text[256];
};

static void on_keys(void *user, const struct sonde__aws_keys *keys, const char *error_type, const char *text) {
    struct place *place = user;
    place->dones++;
    (void)snprintf(place->key, sizeof place->key, "%s", keys ? keys->access_key_id : "");
    (void)snprintf(place->token, sizeof place->token, "%s", keys ? keys->session_token : "");
    (void)snprintf(place->error_type, sizeof place->error_type, "%s", error_type ? error_type : "");
    (void)snprintf(place->text, sizeof place->text, "%s", text);
}

static struct place *place_of(enum sonde__aws_credentials_source source, const char *profile,
                              const struct pair *of_environment, const struct pair *of_files) {
    struct place *place = calloc(1, sizeof *place);
    assert_non_null(place);
    variables = of_environment;
    files = of_files;
    fakes_init(&place->fakes);
    place->seams = fakes_seams(&place->fakes);
    http_fake_init(&place->http);
    const struct sonde__aws_credentials_config config = {.seams = &place->seams,
                                                         .http = http_fake_client(&place->http),
                                                         .sources = &sources,
                                                         .source = source,
                                                         .access_key_id = "",
                                                         .secret_access_key = "",
                                                         .session_token = "",
                                                         .profile = profile,
                                                         .region = "eu-west-1"};
    assert_int_equal(sonde__aws_credentials_create(&config, &place->credentials), 0);
    return place;
}

static void place_free(struct place *place) {
    sonde__aws_credentials_destroy(place->credentials);
    assert_int_equal(place->http.open_count, 0);
    http_fake_deinit(&place->http);
    assert_int_equal(place->fakes.live, 0);
    free(place);
}

static void get(struct place *place) {
    sonde__aws_credentials_get(place->credentials, on_keys, place);
}

static void answer(struct place *place, const char *method, const char *url, int status, const char *body) {
    size_t at = http_fake_open(&place->http);
    assert_true(at != SIZE_MAX);
    assert_string_equal(place->http.exchanges[at]->method, method);
    assert_string_equal(place->http.exchanges[at]->url, url);
    http_fake_respond(
        &place->http, at,
        (struct sonde_http_response){.status = status, .body = (const uint8_t *)body, .body_size = strlen(body)});
}

#define KEYS(id, end)                                                                                                  \
    "{\"AccessKeyId\":\"" id "\",\"SecretAccessKey\":\"s\",\"Token\":\"t-" id "\",\"Expiration\":\"" end "\"}"
#define METADATA "http://169.254.169.254/latest/"

static void instance_answers(struct place *place, const char *keys) {
    answer(place, "PUT", METADATA "api/token", 200, "tok");
    answer(place, "GET", METADATA "meta-data/iam/security-credentials/", 200, "role-a\n");
    answer(place, "GET", METADATA "meta-data/iam/security-credentials/role-a", 200, keys);
}

static void environment_comes_before_files(void **state) {
    const struct pair of_environment[] = {
        {"AWS_ACCESS_KEY_ID", "E"}, {"AWS_SECRET_ACCESS_KEY", "s"}, {"HOME", "/h"}, {0}};
    const struct pair of_files[] = {
        {"/h/.aws/credentials", "[default]\naws_access_key_id=F\naws_secret_access_key=s\n[p]\naws_access_key_id=P\n"
                                "aws_secret_access_key=s\n"},
        {0}};
    (void)state;
    struct place *place = place_of(SONDE__AWS_CREDENTIALS_AUTO, "", of_environment, of_files);
    get(place);
    assert_string_equal(place->key, "E");
    place_free(place);
    place = place_of(SONDE__AWS_CREDENTIALS_FILE, "", of_environment, of_files);
    get(place);
    assert_string_equal(place->key, "F");
    place_free(place);
    place = place_of(SONDE__AWS_CREDENTIALS_AUTO, "p", of_environment, of_files); /* who names a profile means it */
    get(place);
    assert_string_equal(place->key, "P");
    place_free(place);
}

static void files_are_read_again(void **state) {
    const struct pair of_environment[] = {{"AWS_SHARED_CREDENTIALS_FILE", "/c"}, {0}};
    const struct pair before[] = {{"/c", "[default]\naws_access_key_id=A\naws_secret_access_key=s\n"}, {0}};
    const struct pair after[] = {{"/c", "[default]\naws_access_key_id=B\naws_secret_access_key=s\n"}, {0}};
    (void)state;
    struct place *place = place_of(SONDE__AWS_CREDENTIALS_AUTO, "", of_environment, before);
    get(place);
    files = after;
    get(place);
    assert_string_equal(place->key, "A");
    fakes_advance(&place->fakes, 61 * S);
    get(place);
    assert_string_equal(place->key, "B");
    files = before; /* refused meanwhile: at once */
    sonde__aws_credentials_forget(place->credentials);
    get(place);
    assert_string_equal(place->key, "A");
    place_free(place);
}

static void instance_keys_are_fetched_before_they_end(void **state) {
    (void)state;
    struct place *place = place_of(SONDE__AWS_CREDENTIALS_AUTO, "", NULL, NULL); /* it is 2026-01-01T00:00:00 */
    get(place);
    instance_answers(place, KEYS("A", "2026-01-01T01:00:00Z"));
    assert_string_equal(place->key, "A");
    assert_string_equal(place->token, "t-A");
    fakes_advance(&place->fakes, 3200 * S);
    get(place);
    assert_int_equal(place->http.count, 3); /* not yet */
    fakes_advance(&place->fakes, 110 * S);
    get(place);
    answer(place, "PUT", METADATA "api/token", 503, ""); /* the old ones serve until they end */
    assert_string_equal(place->key, "A");
    fakes_advance(&place->fakes, 400 * S);
    get(place);
    answer(place, "PUT", METADATA "api/token", 503, "");
    assert_string_equal(place->key, "");
    assert_string_equal(place->error_type, "auth");
    get(place);
    instance_answers(place, KEYS("B", "2026-01-01T09:00:00Z"));
    assert_string_equal(place->key, "B");
    place_free(place);
}

static void instance_that_lies_gives_no_keys(void **state) {
    static const char *const roles[] = {"", "../../x", "a b", "role\x01"};
    static const char *const keys[] = {"",
                                       "[]",
                                       "{\"Code\":\"Failed\"}",
                                       KEYS("A", "soon"),
                                       KEYS("A", "2025-01-01T00:00:00Z"),
                                       KEYS("A\\nB", "2027-01-01T00:00:00Z"),
                                       "{\"AccessKeyId\":\"A\"}"};
    (void)state;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        struct place *place = place_of(SONDE__AWS_CREDENTIALS_INSTANCE, "", NULL, NULL);
        get(place);
        answer(place, "PUT", METADATA "api/token", 200, "tok");
        answer(place, "GET", METADATA "meta-data/iam/security-credentials/", 200, roles[i]);
        assert_string_equal(place->error_type, "protocol");
        place_free(place);
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct place *place = place_of(SONDE__AWS_CREDENTIALS_INSTANCE, "", NULL, NULL);
        get(place);
        instance_answers(place, keys[i]);
        assert_true(place->dones == 1 && place->error_type[0] != '\0');
        place_free(place);
    }
}

static void token_goes_to_near_or_encrypted_places_only(void **state) {
    static const struct {
        const char *uri, *url;
    } rows[] = {
        {"http://169.254.170.2/x", "http://169.254.170.2/x"},
        {"http://[::1]:99/x?a=b", "http://[::1]:99/x?a=b"},
        {"https://keys.example/x", "https://keys.example/x"},
        {"http://keys.example/x", NULL},
        {"http://127.0.0.1@keys.example/x", NULL},
        {"http://127.0.0.1.example/", NULL},
        {"ftp://127.0.0.1/", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct pair of_environment[] = {
            {"AWS_CONTAINER_CREDENTIALS_FULL_URI", rows[i].uri}, {"AWS_CONTAINER_AUTHORIZATION_TOKEN", "secret"}, {0}};
        struct place *place = place_of(SONDE__AWS_CREDENTIALS_AUTO, "", of_environment, NULL);
        get(place);
        assert_int_equal(place->http.count, rows[i].url != NULL);
        if (rows[i].url)
            answer(place, "GET", rows[i].url, 200, KEYS("C", "2026-01-01T01:00:00Z"));
        assert_string_equal(place->key, rows[i].url ? "C" : "");
        assert_null(strstr(place->text, "secret"));
        place_free(place);
    }
}

static void web_identity_asks_sts(void **state) {
    const struct pair of_environment[] = {
        {"AWS_ROLE_ARN", "arn:aws:iam::1:role/r"}, {"AWS_WEB_IDENTITY_TOKEN_FILE", "/t"}, {0}};
    const struct pair of_files[] = {{"/t", "a+b=\n"}, {0}};
    (void)state;
    struct place *place = place_of(SONDE__AWS_CREDENTIALS_AUTO, "", of_environment, of_files);
    get(place);
    const struct http_fake_exchange *asked = place->http.exchanges[0];
    static const char body[] =
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=sonde&RoleArn=arn%3Aaws%3A"
        "iam%3A%3A1%3Arole%2Fr&WebIdentityToken=a%2Bb%3D";
    assert_int_equal(asked->body_size, sizeof body - 1);
    assert_memory_equal(asked->body, body, sizeof body - 1);
    answer(place, "POST", "https://sts.eu-west-1.amazonaws.com/", 200,
           "<r><x><Credentials><AccessKeyId>W</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</"
           "SessionToken>"
           "<Expiration>2026-01-01T01:00:00.000Z</Expiration></Credentials></x></r>");
    assert_string_equal(place->key, "W");
    place_free(place);
}

static void cancel_keeps_done_quiet(void **state) {
    (void)state;
    struct place *place = place_of(SONDE__AWS_CREDENTIALS_INSTANCE, "", NULL, NULL);
    get(place);
    sonde__aws_credentials_cancel(place->credentials);
    assert_int_equal(place->http.cancelled, 1);
    assert_int_equal(place->dones, 0);
    get(place);
    place_free(place); /* under way: cancelled, too */
}

/* --- pieces --- */

static void profile_is_read_as_aws_tools_do(void **state) {
    struct sonde__aws_profile profile = {0};
    static const char credentials[] =
        "; comment\n[other]\naws_access_key_id = X\n[shop] # it\n  aws_access_key_id = indented\n"
        "AWS_ACCESS_KEY_ID =  A \r\naws_secret_access_key=a=b#c # why\n[end]\nregion=x";
    static const char config[] =
        "[shop]\nregion = not-this\n[profile shop]\nregion=eu-west-1\naws_session_token = of-another\n"
        "source_profile = base\n";
    (void)state;
    sonde__aws_profile_add(&profile, credentials, sizeof credentials - 1, "shop", false);
    sonde__aws_profile_add(&profile, config, sizeof config - 1, "shop", true);
    assert_true(profile.found);
    assert_string_equal(profile.access_key_id, "A");
    assert_string_equal(profile.secret_access_key, "a=b#c");
    assert_string_equal(profile.session_token, ""); /* keys are not put together of two files */
    assert_string_equal(profile.region, "eu-west-1");
    assert_true(profile.elsewhere);
}

static void times_are_read(void **state) {
    static const struct {
        const char *text;
        uint64_t unix_s;
    } rows[] = {
        {"2026-01-01T00:00:00Z", 1767225600},
        {"2018-05-09T21:23:36.8456187Z", 1525901016},
        {"0001-01-01T00:00:00Z", 0},
        {"2026-13-01T00:00:00Z", 0},
        {"2026-01-01T00:00:00+01:00", 0},
        {"2026-01-01 00:00:00Z", 0},
        {"", 0},
        {"2026-01-01T00:00:00.1x2Z", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(sonde__timestamp_read(rows[i].text, strlen(rows[i].text)), rows[i].unix_s * S);
}

static void endpoints_are_read(void **state) {
    static const char *const bad[] = {
        "",           "host",          "http://",    "http://u:p@h/", "http://h:0/", "http://h:65536",
        "http://h:/", "http://h/?a=b", "http://h /", "http://[::1",   "ftp://h",     "http://h#a"};
    struct sonde__endpoint endpoint;
    (void)state;
    assert_int_equal(sonde__endpoint_parse("https://[::1]:8443/base//", &endpoint), 0);
    assert_string_equal(endpoint.host, "::1");
    assert_int_equal(endpoint.port, 8443);
    assert_true(endpoint.tls);
    assert_string_equal(endpoint.url, "https://[::1]:8443/base");
    assert_int_equal(sonde__endpoint_parse("http://h", &endpoint), 0);
    assert_int_equal(endpoint.port, 80);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(sonde__endpoint_parse(bad[i], &endpoint), SONDE_EINVALID);
}

static void error_codes_are_told_apart(void **state) {
    static const struct {
        const char *code, *trouble;
        int status;
        bool denied;
    } rows[] = {
        {"com.amazonaws.sqs#QueueDoesNotExist", "not_found", 400, false},
        {"AWS.SimpleQueueService.NonExistentQueue", "not_found", 400, false},
        {"com.amazon.coral.service#AccessDeniedException", "auth", 400, true},
        {"InvalidClientTokenId", "auth", 403, false},
        {"com.amazonaws.sqs#RequestThrottled", "throttled", 400, false},
        {"Throttling", "throttled", 400, false},
        {"Unheard", "server", 500, false},
        {"Unheard", "protocol", 400, false},
        {"Unheard", "auth", 403, false},
    };
    bool denied;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_string_equal(sonde__aws_trouble(rows[i].code, rows[i].status, &denied), rows[i].trouble);
        assert_int_equal(denied, rows[i].denied);
    }
}

static bool attributes_of(const char *text, struct sonde__sqs_queue *queue, char *arn) {
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    bool good = sonde__sqs_attributes_read(root, queue, arn, 256);
    json_decref(root);
    return good;
}

static void attributes_are_numbers_or_unknown(void **state) {
#define NUMBERS(a, b, c)                                                                                               \
    "{\"Attributes\":{\"ApproximateNumberOfMessages\":" a ",\"ApproximateNumberOfMessagesNotVisible\":" b              \
    ",\"ApproximateNumberOfMessagesDelayed\":" c ",\"QueueArn\":\"arn:aws:sqs:r:1:q\","                                \
    "\"RedrivePolicy\":\"{\\\"deadLetterTargetArn\\\":\\\"arn:aws:sqs:r:1:d\\\",\\\"maxReceiveCount\\\":3}\"}}"
    struct sonde__sqs_queue queue = {0};
    char arn[256], account[16];
    const char *name;
    (void)state;
    assert_true(attributes_of(NUMBERS("\"7\"", "\"0\"", "2"), &queue, arn));
    assert_true(queue.ready == 7 && queue.unacked == 0 && queue.scheduled == 2);
    assert_string_equal(arn, "arn:aws:sqs:r:1:d");
    assert_true(sonde__sqs_arn_read(arn, "sqs", account, sizeof account, &name));
    assert_string_equal(name, "d");
    assert_string_equal(account, "1");
    assert_false(attributes_of(NUMBERS("\"\"", "\"0\"", "\"0\""), &queue, arn));
    assert_false(attributes_of(NUMBERS("\"1\"", "\"-1\"", "\"0\""), &queue, arn));
    assert_false(attributes_of(NUMBERS("\"1\"", "\"1x\"", "\"0\""), &queue, arn));
    assert_false(attributes_of(NUMBERS("\"99999999999999999999\"", "\"0\"", "\"0\""), &queue, arn));
    assert_false(attributes_of("{\"Attributes\":[]}", &queue, arn));
    assert_false(sonde__sqs_arn_read("arn:aws:sns:r:1:d", "sqs", account, sizeof account, &name));
    assert_false(sonde__sqs_arn_read("arn:aws:sqs:r:12345678901234567:d", "sqs", account, sizeof account, &name));
}

static void queues_are_kept_while_seen(void **state) {
    struct fakes fakes;
    struct sonde__sqs_queues queues;
    int error;
    (void)state;
    fakes_init(&fakes);
    const struct sonde_seams seams = fakes_seams(&fakes);
    sonde__sqs_queues_init(&queues, &seams.alloc, 2);
    struct sonde__sqs_queue *one = sonde__sqs_queues_see(&queues, "one", "", "http://h/1/one", &error);
    assert_ptr_equal(sonde__sqs_queues_see(&queues, "one", "1", "", &error), one);
    assert_non_null(sonde__sqs_queues_see(&queues, "two.fifo", "", "", &error));
    assert_null(sonde__sqs_queues_see(&queues, "three", "", "", &error));
    assert_int_equal(error, SONDE_EFULL);
    assert_null(sonde__sqs_queues_see(&queues, "no/name", "", "", &error));
    assert_int_equal(error, SONDE_EINVALID);
    assert_ptr_equal(sonde__sqs_queues_work(&queues), one); /* once, though seen twice */
    assert_int_equal(sonde__sqs_queues_work(&queues)->need, SONDE__SQS_URL);
    assert_null(sonde__sqs_queues_work(&queues));
    sonde__sqs_queues_unsee(&queues);
    assert_ptr_equal(sonde__sqs_queues_see(&queues, "one", "", "", &error), one); /* its URL is known */
    assert_int_equal(one->need, SONDE__SQS_ATTRIBUTES);
    sonde__sqs_queues_sweep(&queues);
    assert_int_equal(queues.count, 1);
    sonde__sqs_queues_deinit(&queues);
    assert_int_equal(fakes.live, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(environment_comes_before_files),
        cmocka_unit_test(files_are_read_again),
        cmocka_unit_test(instance_keys_are_fetched_before_they_end),
        cmocka_unit_test(instance_that_lies_gives_no_keys),
        cmocka_unit_test(token_goes_to_near_or_encrypted_places_only),
        cmocka_unit_test(web_identity_asks_sts),
        cmocka_unit_test(cancel_keeps_done_quiet),
        cmocka_unit_test(profile_is_read_as_aws_tools_do),
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(endpoints_are_read),
        cmocka_unit_test(error_codes_are_told_apart),
        cmocka_unit_test(attributes_are_numbers_or_unknown),
        cmocka_unit_test(queues_are_kept_while_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
