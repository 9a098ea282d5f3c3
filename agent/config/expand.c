/* SPDX-License-Identifier: Apache-2.0 */
/* ${env:NAME} and ${file:PATH}, in values only and once: what comes in is not expanded again. */
#include "agent/config/bind.h"
#include <errno.h>
#include <sonde/err.h>
#include <string.h>

#define REFERENCE_SIZE_MAX 256u        /* name and default */
#define FILE_SIZE_MAX      (64u << 10) /* a token, a certificate chain at most */
#define VALUE_SIZE_MAX     (256u << 10)

struct text {
    char *data;
    size_t size;
};

static int text_add(struct sonde__binder *binder, const struct sonde__node *node, struct text *text, const char *data,
                    size_t size) {
    if (text->size + size > VALUE_SIZE_MAX)
        return sonde__bind_fail(binder, node, SONDE_ETOOBIG, "a value of more than %u bytes", VALUE_SIZE_MAX);
    char *bigger = binder->alloc.resize(binder->alloc.self, text->data, text->size + size + 1);
    if (!bigger)
        return -ENOMEM;
    memcpy(bigger + text->size, data, size);
    text->data = bigger;
    text->size += size;
    bigger[text->size] = '\0';
    return 0;
}

static int add_env(struct sonde__binder *binder, const struct sonde__node *node, struct text *text, char *name) {
    char *fallback = strstr(name, ":-");
    if (fallback) {
        *fallback = '\0';
        fallback += 2;
    }
    const char *value = name[0] ? binder->sources->env(binder->sources->self, name) : NULL;
    if (!value || (fallback && !value[0]))
        value = fallback;
    if (!value)
        return sonde__bind_fail(binder, node, SONDE_EINVALID,
                                "environment variable %s is not set; set it or write ${env:%s:-default}", name, name);
    return text_add(binder, node, text, value, strlen(value));
}

static int add_file(struct sonde__binder *binder, const struct sonde__node *node, struct text *text, const char *path) {
    char *content = NULL;
    size_t size = 0;
    int error = binder->sources->file(binder->sources->self, &binder->alloc, path, FILE_SIZE_MAX, &content, &size);
    if (error == -ENOMEM)
        return error;
    if (error)
        return sonde__bind_fail(binder, node, SONDE_EINVALID, "file %s cannot be read: %s", path,
                                sonde_strerror(error));
    while (size && (content[size - 1] == '\n' || content[size - 1] == '\r'))
        size--;
    if (memchr(content, '\0', size))
        error = sonde__bind_fail(binder, node, SONDE_EINVALID, "file %s holds a NUL byte; text is accepted", path);
    else
        error = text_add(binder, node, text, content, size);
    sonde_alloc_free(&binder->alloc, content);
    return error;
}

/** One reference; *at stands behind "${" and is moved behind "}". */
static int add_reference(struct sonde__binder *binder, const struct sonde__node *node, struct text *text,
                         const char **at) {
    char reference[REFERENCE_SIZE_MAX];
    const char *end = strchr(*at, '}');
    if (!end)
        return sonde__bind_fail(binder, node, SONDE_EINVALID, "${ has no }; write $${ for a plain ${");
    size_t size = (size_t)(end - *at);
    if (size >= sizeof reference)
        return sonde__bind_fail(binder, node, SONDE_EINVALID, "a reference of more than %u bytes",
                                REFERENCE_SIZE_MAX - 1);
    memcpy(reference, *at, size);
    reference[size] = '\0';
    *at = end + 1;
    if (strncmp(reference, "env:", 4) == 0)
        return add_env(binder, node, text, reference + 4);
    if (strncmp(reference, "file:", 5) == 0)
        return add_file(binder, node, text, reference + 5);
    return sonde__bind_fail(binder, node, SONDE_EINVALID,
                            "${%s} is not known; accepted: ${env:NAME}, ${env:NAME:-default}, ${file:PATH}", reference);
}

static int expand(struct sonde__binder *binder, const struct sonde__node *node, struct text *text) {
    const char *at = node->text;
    int error = text_add(binder, node, text, "", 0);
    while (!error && *at) {
        const char *dollar = strstr(at, "${");
        if (!dollar)
            return text_add(binder, node, text, at, strlen(at));
        bool plain = dollar > at && dollar[-1] == '$';
        error = text_add(binder, node, text, at, (size_t)(dollar - at) - plain);
        at = dollar + 2;
        if (!error)
            error = plain ? text_add(binder, node, text, "${", 2) : add_reference(binder, node, text, &at);
    }
    return error;
}

int sonde__bind_expand(struct sonde__binder *binder, const struct sonde__node *node, char **ret_text) {
    struct text text = {NULL, 0};
    int error = expand(binder, node, &text);
    if (error) {
        sonde_alloc_free(&binder->alloc, text.data);
        return error;
    }
    *ret_text = text.data;
    return 0;
}
