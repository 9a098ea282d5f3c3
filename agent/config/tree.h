/* SPDX-License-Identifier: Apache-2.0 */
/* A YAML document as a tree with positions. Bounded in size, depth and nodes; an alias shares its anchor's node and
 * counts with all that hangs below, so that a few lines cannot stand for millions. Duplicate keys are refused. */
#ifndef SONDE_AGENT_CONFIG_TREE_H
#define SONDE_AGENT_CONFIG_TREE_H

#include "exporters/seam.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SONDE__CONFIG_SIZE_MAX  (1u << 20)
#define SONDE__CONFIG_DEPTH_MAX 16u
#define SONDE__CONFIG_NODES_MAX 10000u

enum sonde__node_type { SONDE__NODE_SCALAR = 1, SONDE__NODE_LIST, SONDE__NODE_MAP };

struct sonde__node {
    struct sonde__node *all_next; /* every node of the tree, to free them */
    enum sonde__node_type type;
    uint32_t line, column; /* 1-based */
    uint32_t weight;       /* nodes in this subtree, aliases expanded */
    bool complete;         /* its end was read: may be aliased */
    bool quoted;           /* a scalar in quotes: text, never null */
    char *anchor;
    char *text;                   /* scalar, NUL-terminated, UTF-8 */
    struct sonde__node **items;   /* list: items. Map: key, value, key, value */
    size_t item_count, item_room; /* pointers in items */
};

struct sonde__tree {
    struct sonde_alloc alloc;
    struct sonde__node *root; /* NULL: an empty document */
    struct sonde__node *all;
};

/** What is wrong with a configuration, and where. line 0 = no position (environment, command line). */
struct sonde_config_error {
    uint32_t line, column;
    char text[600];
};

/** Reads one document. text: borrowed, size bytes. Returns 0, SONDE_EMALFORMED, SONDE_ETOOBIG (ret_error says what),
 * -ENOMEM. */
int sonde__tree_read(const char *text, size_t size, const struct sonde_alloc *alloc, struct sonde__tree *ret_tree,
                     struct sonde_config_error *ret_error);
void sonde__tree_deinit(struct sonde__tree *tree); /* all-zero is fine */

/** True for a scalar that stands for nothing: empty, ~ or null, unquoted. */
bool sonde__node_is_null(const struct sonde__node *node);

#endif
