/* SPDX-License-Identifier: Apache-2.0 */
/* XML of an API, read by libexpat as a stream of elements that end. Bounded: depth, size of a text; a document type
 * (and so any declaration of an entity) is refused, as no API sends one. Names are local ones: prefixes are dropped. */
#ifndef SONDE_AGENT_COLLECT_XML_H
#define SONDE_AGENT_COLLECT_XML_H

#include <sonde/attribute.h>
#include <stddef.h>

#define SONDE__XML_DEPTH_MAX 32u
#define SONDE__XML_TEXT_MAX  8192u

struct sonde__xml_handler {
    /** An element begins, or ends. name: local, NUL-terminated. depth: of the root 1.
     *  text: what stands between its tags outside other elements, or since its last child's end, less white space round
     *  it; data NULL when it is longer than SONDE__XML_TEXT_MAX. Borrowed. */
    void (*begin)(void *user, const char *name, unsigned depth); /* may be NULL */
    void (*end)(void *user, const char *name, unsigned depth, struct sonde_string text);
    void *user;
};

/** Reads a whole document. Returns 0, SONDE_EINVALID (not well-formed, or not as said above), -ENOMEM. What was told
 *  before an error is of no use. */
int sonde__xml_read(const void *bytes, size_t size, const struct sonde__xml_handler *handler);

#endif
