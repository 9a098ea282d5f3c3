/* SPDX-License-Identifier: Apache-2.0 */
/* The status page: the status as HTML made here, no scripts, nothing loaded from elsewhere. Everything shown is text:
 * whatever a service calls itself, it stays letters on the page. */
#ifndef SONDE_AGENT_PAGE_H
#define SONDE_AGENT_PAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/** Writes the page of a status (status.c). now_unix_ns: for ages. */
void sonde__page_write(const json_t *status, uint64_t now_unix_ns, FILE *out);
extern const char sonde__page_style[]; /* /style.css */

#endif
