/* SPDX-License-Identifier: Apache-2.0 */
#include "exporters/http_headers.h"
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

bool sonde__http_is_line(const char *text) {
    for (; *text; text++)
        if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f)
            return false;
    return true;
}

static bool is_token(const char *text) {
    return *text &&
           !text[strspn(text, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")];
}

int sonde__http_headers_check(const struct sonde_string_map *headers, const char *const *reserved, char *error_text,
                              size_t error_size) {
    for (size_t i = 0; i < headers->count; i++) {
        const char *problem = NULL;
        const char *const *ours = reserved;
        while (*ours && strcasecmp(headers->keys[i], *ours) != 0)
            ours++;
        if (!is_token(headers->keys[i]))
            problem = "a header's name has letters, digits and !#$%&'*+-.^_`|~ only";
        else if (!sonde__http_is_line(headers->values[i]))
            problem = "a header's value must be one line, without control characters";
        if (*ours)
            (void)snprintf(error_text, error_size, "headers: %s is set by the agent itself", *ours);
        else if (problem)
            (void)snprintf(error_text, error_size, "headers: %s", problem);
        if (*ours || problem)
            return SONDE_EINVALID;
    }
    return 0;
}
