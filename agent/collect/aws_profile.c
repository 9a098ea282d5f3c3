/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/aws_profile.h"
#include <string.h>
#include <strings.h>

struct text {
    const char *at, *end;
};

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

static struct text trim(struct text text) {
    while (text.at < text.end && is_space(*text.at))
        text.at++;
    while (text.end > text.at && is_space(text.end[-1]))
        text.end--;
    return text;
}

static bool equals(struct text text, const char *word) {
    size_t size = strlen(word);
    return (size_t)(text.end - text.at) == size && strncasecmp(text.at, word, size) == 0;
}

static struct text until(struct text text, char c) {
    const char *found = memchr(text.at, c, (size_t)(text.end - text.at));
    return (struct text){text.at, found ? found : text.end};
}

/** Whether a line "[...]" begins the section that is looked for. */
static bool section_is(struct text line, const char *name, bool is_config) {
    struct text inside = trim(until((struct text){line.at + 1, line.end}, ']'));
    if (is_config && !equals(inside, "default")) {
        if (inside.end - inside.at < 8 || strncmp(inside.at, "profile", 7) != 0 || !is_space(inside.at[7]))
            return false;
        inside = trim((struct text){inside.at + 7, inside.end});
    }
    size_t size = strlen(name);
    return (size_t)(inside.end - inside.at) == size && memcmp(inside.at, name, size) == 0;
}

/* A comment at the end of a value begins with white space. */
static struct text without_comment(struct text value) {
    for (const char *at = value.at; at + 1 < value.end; at++)
        if (is_space(*at) && (at[1] == '#' || at[1] == ';'))
            return trim((struct text){value.at, at});
    return value;
}

static void key_take(struct sonde__aws_profile *profile, const struct sonde__aws_profile *known, struct text key,
                     struct text value) {
    static const struct {
        const char *key;
        size_t offset, size;
    } rows[] = {
#define ROW(key, field) {key, offsetof(struct sonde__aws_profile, field), sizeof profile->field}
        ROW("aws_access_key_id", access_key_id),
        ROW("aws_secret_access_key", secret_access_key),
        ROW("aws_session_token", session_token),
        ROW("region", region),
        ROW("role_arn", role_arn),
        ROW("web_identity_token_file", web_identity_token_file),
#undef ROW
    };
    static const char *const foreign[] = {"source_profile", "credential_source", "credential_process",
                                          "sso_session",    "sso_start_url",     "login_session"};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (equals(key, foreign[i]))
            profile->elsewhere = true;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t size = (size_t)(value.end - value.at);
        if (*known->access_key_id && strncmp(rows[i].key, "aws_", 4) == 0)
            continue; /* keys are never put together of two files */
        if (!equals(key, rows[i].key) || size >= rows[i].size || memchr(value.at, '\0', size) ||
            *((const char *)known + rows[i].offset))
            continue;
        char *to = (char *)profile + rows[i].offset;
        memcpy(to, value.at, size);
        to[size] = '\0';
    }
}

void sonde__aws_profile_add(struct sonde__aws_profile *profile, const char *text, size_t size, const char *name,
                            bool is_config) {
    const struct sonde__aws_profile known = *profile;
    struct text rest = {text, text + size};
    bool inside = false;
    while (rest.at < rest.end) {
        struct text line = until(rest, '\n');
        rest.at = line.end < rest.end ? line.end + 1 : rest.end;
        if (line.at == line.end || is_space(*line.at) || *line.at == '#' || *line.at == ';')
            continue;
        if (*line.at == '[') {
            inside = section_is(line, name, is_config);
            profile->found = profile->found || inside;
            continue;
        }
        struct text key = until(line, '=');
        if (inside && key.end < line.end)
            key_take(profile, &known, trim(key), without_comment(trim((struct text){key.end + 1, line.end})));
    }
}
