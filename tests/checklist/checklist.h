/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of the specification's checklist. A test that needs settings of its own runs in a child process, which
 * must not have used libsonde before: the programs' first tests do without (checklist_start() makes sure). */
#ifndef SONDE_TESTS_CHECKLIST_H
#define SONDE_TESTS_CHECKLIST_H

#include "instrumentation/ring/process.h"
#include "tests/lib/child.h"
#include <setjmp.h>
#include <sonde/sonde.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define A_TRACE_ID    "4bf92f3577b34da6a3ce929d0e0e4736"
#define A_TRACEPARENT "00-" A_TRACE_ID "-00f067aa0ba902b7-01"

static inline struct sonde_context remote_parent(uint8_t flags) {
    struct sonde_context context;
    sonde_context_init(&context);
    (void)sonde_traceparent_read(A_TRACEPARENT, SONDE_TRACEPARENT_SIZE, &context.span);
    context.span.flags = flags;
    return context;
}

/* True when the descriptor log, which the agent reads, has a scope of this number whose record contains a text. */
static inline bool descriptor_has(uint32_t scope, const char *text) {
    static uint8_t log[SONDE__DESCRIPTORS_SIZE];
    ssize_t size = pread(sonde__registry.process.file.fd, log, sizeof log, SONDE__DESCRIPTORS_AT);
    for (ssize_t at = 0; at + (ssize_t)sizeof(struct sonde__descriptor) <= size;) {
        struct sonde__descriptor head;
        memcpy(&head, log + at, sizeof head);
        if (!head.size)
            return false;
        if (head.type == SONDE__DESCRIPTOR_SCOPE && head.index == scope)
            return memmem(log + at, head.size, text, strlen(text)) != NULL;
        at += head.size;
    }
    return false;
}

#endif
