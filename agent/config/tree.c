/* SPDX-License-Identifier: Apache-2.0 */
/* libyaml's events into nodes: a stack of open lists and maps, never deeper than the limit. */
#include "agent/config/tree.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

struct builder {
    struct sonde__tree *tree;
    struct sonde__node *open[SONDE__CONFIG_DEPTH_MAX];
    size_t depth;
    uint32_t weight;
    bool documents;
    struct sonde_config_error *error;
};

__attribute__((format(printf, 4, 5))) static int fail(struct builder *builder, const yaml_mark_t *mark, int code,
                                                      const char *format, ...) {
    builder->error->line = (uint32_t)mark->line + 1;
    builder->error->column = (uint32_t)mark->column + 1;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(builder->error->text, sizeof builder->error->text, format, arguments);
    va_end(arguments);
    return code;
}

static char *copy_text(const struct sonde_alloc *alloc, const char *text, size_t size) {
    char *copy = sonde_alloc_new(alloc, size + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

static struct sonde__node *new_node(struct builder *builder, enum sonde__node_type type, const yaml_mark_t *mark) {
    struct sonde__node *node = sonde_alloc_new(&builder->tree->alloc, sizeof *node);
    if (!node)
        return NULL;
    *node = (struct sonde__node){.all_next = builder->tree->all,
                                 .type = type,
                                 .line = (uint32_t)mark->line + 1,
                                 .column = (uint32_t)mark->column + 1,
                                 .weight = 1};
    builder->tree->all = node;
    return node;
}

static int push_item(struct builder *builder, struct sonde__node *parent, struct sonde__node *item) {
    if (parent->item_count == parent->item_room) {
        size_t room = parent->item_room ? parent->item_room * 2 : 8;
        const struct sonde_alloc *alloc = &builder->tree->alloc;
        struct sonde__node **items = alloc->resize(alloc->self, parent->items, room * sizeof(struct sonde__node *));
        if (!items)
            return -ENOMEM;
        parent->items = items;
        parent->item_room = room;
    }
    parent->items[parent->item_count++] = item;
    return 0;
}

/** A key of a map must be text and must be new. */
static int check_key(struct builder *builder, const struct sonde__node *map, const struct sonde__node *key,
                     const yaml_mark_t *mark) {
    if (key->type != SONDE__NODE_SCALAR)
        return fail(builder, mark, SONDE_EMALFORMED, "a key must be plain text");
    for (size_t i = 0; i < map->item_count; i += 2)
        if (strcmp(map->items[i]->text, key->text) == 0)
            return fail(builder, mark, SONDE_EMALFORMED, "key \"%.100s\" stands twice; the first is in line %u",
                        key->text, map->items[i]->line);
    return 0;
}

static int attach(struct builder *builder, struct sonde__node *node, const yaml_mark_t *mark) {
    builder->weight += node->weight;
    if (builder->weight > SONDE__CONFIG_NODES_MAX)
        return fail(builder, mark, SONDE_ETOOBIG, "more than %u values, aliases counted in full",
                    SONDE__CONFIG_NODES_MAX);
    if (builder->depth == 0) {
        builder->tree->root = node;
        return 0;
    }
    struct sonde__node *parent = builder->open[builder->depth - 1];
    if (parent->type == SONDE__NODE_MAP && parent->item_count % 2 == 0) {
        int error = check_key(builder, parent, node, mark);
        if (error)
            return error;
    }
    return push_item(builder, parent, node);
}

static int set_anchor(struct builder *builder, struct sonde__node *node, const yaml_char_t *anchor) {
    if (!anchor)
        return 0;
    node->anchor = copy_text(&builder->tree->alloc, (const char *)anchor, strlen((const char *)anchor));
    return node->anchor ? 0 : -ENOMEM;
}

static int on_scalar(struct builder *builder, const yaml_event_t *event) {
    struct sonde__node *node = new_node(builder, SONDE__NODE_SCALAR, &event->start_mark);
    if (!node)
        return -ENOMEM;
    const char *value = (const char *)event->data.scalar.value;
    size_t size = event->data.scalar.length;
    if (memchr(value, '\0', size))
        return fail(builder, &event->start_mark, SONDE_EMALFORMED, "a NUL character is not accepted in text");
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    node->text = copy_text(&builder->tree->alloc, value, size);
    if (!node->text)
        return -ENOMEM;
    int error = attach(builder, node, &event->start_mark);
    node->complete = true;
    return error ? error : set_anchor(builder, node, event->data.scalar.anchor);
}

static int on_start(struct builder *builder, enum sonde__node_type type, const yaml_char_t *anchor,
                    const yaml_event_t *event) {
    if (builder->depth == SONDE__CONFIG_DEPTH_MAX)
        return fail(builder, &event->start_mark, SONDE_ETOOBIG, "nested deeper than %u levels",
                    SONDE__CONFIG_DEPTH_MAX);
    struct sonde__node *node = new_node(builder, type, &event->start_mark);
    if (!node)
        return -ENOMEM;
    int error = attach(builder, node, &event->start_mark);
    if (error)
        return error;
    builder->open[builder->depth++] = node;
    return set_anchor(builder, node, anchor);
}

static void on_end(struct builder *builder) {
    struct sonde__node *node = builder->open[--builder->depth];
    for (size_t i = 0; i < node->item_count; i++)
        node->weight += node->items[i]->weight; /* bounded by the limit on the sum */
    node->complete = true;
}

static int on_alias(struct builder *builder, const yaml_event_t *event) {
    const char *name = (const char *)event->data.alias.anchor;
    for (struct sonde__node *node = builder->tree->all; node; node = node->all_next) { /* latest first, as YAML asks */
        if (!node->anchor || strcmp(node->anchor, name) != 0)
            continue;
        if (!node->complete)
            return fail(builder, &event->start_mark, SONDE_EMALFORMED, "alias *%.100s is inside of what it stands for",
                        name);
        return attach(builder, node, &event->start_mark);
    }
    return fail(builder, &event->start_mark, SONDE_EMALFORMED, "alias *%.100s has no anchor before it", name);
}

static int on_event(struct builder *builder, const yaml_event_t *event) {
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return on_scalar(builder, event);
    case YAML_SEQUENCE_START_EVENT:
        return on_start(builder, SONDE__NODE_LIST, event->data.sequence_start.anchor, event);
    case YAML_MAPPING_START_EVENT:
        return on_start(builder, SONDE__NODE_MAP, event->data.mapping_start.anchor, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        on_end(builder);
        return 0;
    case YAML_ALIAS_EVENT:
        return on_alias(builder, event);
    case YAML_DOCUMENT_START_EVENT:
        if (builder->documents)
            return fail(builder, &event->start_mark, SONDE_EMALFORMED, "a second document; one is accepted");
        builder->documents = true;
        return 0;
    default:
        return 0;
    }
}

static int parse(struct builder *builder, yaml_parser_t *parser) {
    for (bool more = true; more;) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event)) {
            yaml_mark_t mark = parser->problem_mark;
            if (parser->error == YAML_MEMORY_ERROR)
                return -ENOMEM;
            return fail(builder, &mark, SONDE_EMALFORMED, "not YAML: %s%s%s", parser->context ? parser->context : "",
                        parser->context ? ": " : "", parser->problem ? parser->problem : "unreadable");
        }
        int error = on_event(builder, &event);
        more = event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
        if (error)
            return error;
    }
    return 0;
}

int sonde__tree_read(const char *text, size_t size, const struct sonde_alloc *alloc, struct sonde__tree *ret_tree,
                     struct sonde_config_error *ret_error) {
    struct sonde__tree tree = {.alloc = *alloc};
    struct builder builder = {.tree = &tree, .error = ret_error};
    yaml_mark_t start = {0};
    yaml_parser_t parser;
    if (size > SONDE__CONFIG_SIZE_MAX)
        return fail(&builder, &start, SONDE_ETOOBIG, "larger than %u bytes", SONDE__CONFIG_SIZE_MAX);
    if (!yaml_parser_initialize(&parser))
        return -ENOMEM;
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    int error = parse(&builder, &parser);
    yaml_parser_delete(&parser);
    if (error) {
        sonde__tree_deinit(&tree);
        return error;
    }
    *ret_tree = tree;
    return 0;
}

void sonde__tree_deinit(struct sonde__tree *tree) {
    while (tree->all) {
        struct sonde__node *node = tree->all;
        tree->all = node->all_next;
        sonde_alloc_free(&tree->alloc, node->anchor);
        sonde_alloc_free(&tree->alloc, node->text);
        sonde_alloc_free(&tree->alloc, node->items);
        sonde_alloc_free(&tree->alloc, node);
    }
    tree->root = NULL;
}

bool sonde__node_is_null(const struct sonde__node *node) {
    return node->type == SONDE__NODE_SCALAR && !node->quoted &&
           (node->text[0] == '\0' || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0);
}
