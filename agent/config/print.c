/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration from its rows: as YAML, as a reference, as a JSON Schema. */
#include "agent/config/config.h"
#include "agent/config/value.h"
#include <jansson.h>
#include <string.h>

#define TEXT_SIZE_MAX 400u /* of a number, duration, size or choice */

/** The code point of the UTF-8 at c, of 2 or 3 bytes, if YAML wants it escaped or would fold it; else 0. */
static unsigned special_point(const unsigned char *c, size_t *ret_size) {
    *ret_size = c[0] == 0xC2 ? 2 : 3;
    if (c[0] == 0xC2 && c[1] < 0xA0) /* C1 controls, among them the line break U+0085 */
        return c[1];
    unsigned point =
        c[0] >= 0xE0 && c[0] < 0xF0 && c[1] && c[2] ? ((c[0] & 15u) << 12) | ((c[1] & 63u) << 6) | (c[2] & 63u) : 0;
    return point == 0x2028 || point == 0x2029 || point == 0xFEFF || point >= 0xFFFE ? point : 0;
}

/** A YAML double-quoted scalar. A "${" in a value came out of an expansion or an escape; it is escaped again. */
static void put_quoted(FILE *out, const char *text) {
    fputc('"', out);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        size_t size;
        unsigned point = special_point(c, &size);
        if (point) {
            fprintf(out, "\\u%04X", point);
            c += size - 1;
        } else if (*c == '"' || *c == '\\') {
            fprintf(out, "\\%c", *c);
        } else if (*c < 0x20 || *c == 0x7f) {
            fprintf(out, "\\x%02x", *c);
        } else if (*c == '$' && c[1] == '{') {
            fputs("$$", out);
        } else {
            fputc(*c, out);
        }
    }
    fputc('"', out);
}

static void put_list(FILE *out, const struct sonde_option *row, const struct sonde_string_list *list) {
    fputs(" [", out);
    for (size_t i = 0; i < list->count; i++) {
        fputs(i ? ", " : "", out);
        put_quoted(out, row->secret ? "***" : list->items[i]);
    }
    fputs("]\n", out);
}

static void put_map(FILE *out, const struct sonde_option *row, const struct sonde_string_map *map) {
    fputs(" {", out);
    for (size_t i = 0; i < map->count; i++) {
        fputs(i ? ", " : "", out);
        put_quoted(out, map->keys[i]);
        fputs(": ", out);
        put_quoted(out, row->secret ? "***" : map->values[i]);
    }
    fputs("}\n", out);
}

static void put_value(FILE *out, const struct sonde_option *row, const void *config) {
    const void *place = (const char *)config + row->offset;
    char text[TEXT_SIZE_MAX];
    if (row->type == SONDE_OPTION_STRING_LIST) {
        put_list(out, row, place);
        return;
    }
    if (row->type == SONDE_OPTION_STRING_MAP) {
        put_map(out, row, place);
        return;
    }
    fputc(' ', out);
    if (row->type == SONDE_OPTION_STRING) {
        const char *string = *(char *const *)place ? *(char *const *)place : "";
        put_quoted(out, row->secret && string[0] ? "***" : string);
    } else {
        sonde__value_format(row, config, text, sizeof text);
        fputs(row->secret ? "\"***\"" : text, out);
    }
    fputc('\n', out);
}

/** Size of "tls." in "tls.ca_file"; 0 when the key stands alone. */
static size_t group_size(const char *key) {
    const char *dot = strrchr(key, '.');
    return dot ? (size_t)(dot - key) : 0;
}

static void put_rows(FILE *out, const struct sonde_option *rows, const void *config, int indent) {
    const char *group = "";
    size_t size = 0;
    for (const struct sonde_option *row = rows; row && row->key; row++) {
        size_t own = group_size(row->key);
        if (own && (own != size || strncmp(group, row->key, own) != 0))
            fprintf(out, "%*s%.*s:\n", indent, "", (int)own, row->key);
        group = row->key;
        size = own;
        fprintf(out, "%*s%s:", own ? indent + 2 : indent, "", own ? row->key + own + 1 : row->key);
        put_value(out, row, config);
    }
}

void sonde_config_print(const struct sonde_config *config, FILE *out) {
    for (unsigned s = 0; s < SONDE_CONFIG_SECTION_COUNT; s++) {
        fprintf(out, "%s:%s\n", sonde_config_section_name(s), config->counts[s] ? "" : " {}");
        for (size_t i = 0; i < config->counts[s]; i++) {
            const struct sonde_config_instance *instance = &config->instances[s][i];
            bool empty =
                s != SONDE_CONFIG_COLLECTORS && (!instance->kind.options || !instance->kind.options[0].key);
            fprintf(out, "  %s:%s\n", instance->name, empty ? " {}" : "");
            put_rows(out, instance->kind.options, instance->config, 4);
            if (s == SONDE_CONFIG_COLLECTORS)
                put_rows(out, sonde_collector_common_options, &instance->common, 4);
        }
    }
    fputs("queue:\n", out);
    put_rows(out, sonde_config_queue_options, &config->queue, 2);
    fputs("agent:\n", out);
    put_rows(out, sonde_config_agent_options, &config->agent, 2);
}

static void docs_rows(FILE *out, const struct sonde_option *rows) {
    if (!rows || !rows->key) {
        fputs("No keys.\n\n", out);
        return;
    }
    fputs("| key | accepts | default | what it does |\n|---|---|---|---|\n", out);
    for (const struct sonde_option *row = rows; row->key; row++) {
        char accepted[300];
        sonde__value_describe(row, accepted, sizeof accepted);
        fprintf(out, "| `%s` | ", row->key);
        for (const char *c = accepted; *c; c++)
            fprintf(out, *c == '|' ? "\\%c" : "%c", *c);
        const char *fallback = !row->default_text     ? "(must be given)"
                               : row->default_text[0] ? row->default_text
                                                      : "empty";
        fprintf(out, " | %s | %s%s%s |\n", fallback, row->sentence ? row->sentence : "",
                row->secret ? " Secret: never shown." : "", row->reloadable ? " Reloadable." : "");
    }
    fputc('\n', out);
}

void sonde_config_print_docs(const struct sonde_config_catalog *catalog, FILE *out) {
    struct sonde_config_kind kind;
    fputs("# Configuration of sonded\n\n"
          "YAML, optional; without a file the defaults below and the variables OTEL_EXPORTER_OTLP_* serve. A key with "
          "a dot "
          "may also be a key in a map: `tls.ca_file` is `ca_file` in `tls`. Values may hold `${env:NAME}`, "
          "`${env:NAME:-default}` and `${file:PATH}`; `$${` is a plain `${`.\n\n",
          out);
    for (unsigned s = 0; s < SONDE_CONFIG_SECTION_COUNT; s++) {
        fprintf(out, "## %s\n\n", sonde_config_section_name(s));
        size_t i = 0;
        for (; sonde_config_kind_at(catalog, s, i, &kind); i++) {
            fprintf(out, "### %s\n\n%s\n\n", kind.name, kind.summary);
            docs_rows(out, kind.options);
        }
        if (s == SONDE_CONFIG_COLLECTORS) {
            fputs("### Keys that every collector has, too\n\n", out);
            docs_rows(out, sonde_collector_common_options);
        }
        if (i == 0)
            fputs("None in this version.\n\n", out);
    }
    fputs("## queue\n\n", out);
    docs_rows(out, sonde_config_queue_options);
    fputs("## agent\n\n", out);
    docs_rows(out, sonde_config_agent_options);
}

static json_t *schema_row(const struct sonde_option *row) {
    static const char *const types[] = {"boolean", "integer", "number", "string", "string",
                                        "string",  "string",  "array",  "object"};
    char accepted[300];
    json_t *schema = json_object();
    sonde__value_describe(row, accepted, sizeof accepted);
    if (row->type == SONDE_OPTION_SIZE)
        json_object_set_new(schema, "type", json_pack("[ss]", "string", "integer"));
    else
        json_object_set_new(schema, "type", json_string(types[row->type]));
    json_object_set_new(schema, "description",
                        json_sprintf("%s Accepts: %s.", row->sentence ? row->sentence : "", accepted));
    if (row->type == SONDE_OPTION_ENUM) {
        json_t *values = json_array();
        for (size_t i = 0; row->values[i]; i++)
            json_array_append_new(values, json_string(row->values[i]));
        json_object_set_new(schema, "enum", values);
    }
    if ((row->type == SONDE_OPTION_INT || row->type == SONDE_OPTION_DOUBLE) && (row->min != 0 || row->max != 0)) {
        json_object_set_new(schema, "minimum", json_real(row->min));
        json_object_set_new(schema, "maximum", json_real(row->max));
    }
    if (row->type == SONDE_OPTION_STRING_LIST)
        json_object_set_new(schema, "items", json_pack("{ss}", "type", "string"));
    if (row->type == SONDE_OPTION_STRING_MAP)
        json_object_set_new(schema, "additionalProperties", json_pack("{ss}", "type", "string"));
    if (row->default_text && row->default_text[0] && row->type >= SONDE_OPTION_DURATION)
        json_object_set_new(schema, "default", json_string(row->default_text));
    return schema;
}

static json_t *schema_object(void) {
    return json_pack("{sss{}sb}", "type", "object", "properties", "additionalProperties", 0);
}

static json_t *schema_rows(const struct sonde_option *rows) {
    json_t *schema = schema_object(), *required = json_array();
    for (const struct sonde_option *row = rows; row && row->key; row++) {
        json_t *properties = json_object_get(schema, "properties");
        size_t own = group_size(row->key);
        if (own) {
            char name[64];
            (void)snprintf(name, sizeof name, "%.*s", (int)own, row->key);
            if (!json_object_get(properties, name))
                json_object_set_new(properties, name, schema_object());
            properties = json_object_get(json_object_get(properties, name), "properties");
        }
        json_object_set_new(properties, own ? row->key + own + 1 : row->key, schema_row(row));
        if (!row->default_text)
            json_array_append_new(required, json_string(row->key));
    }
    if (json_array_size(required))
        json_object_set(schema, "required", required);
    json_decref(required);
    return schema;
}

void sonde_config_print_schema(const struct sonde_config_catalog *catalog, FILE *out) {
    struct sonde_config_kind kind;
    json_t *schema = schema_object(), *properties = json_object_get(schema, "properties");
    json_object_set_new(schema, "$schema", json_string("https://json-schema.org/draft/2020-12/schema"));
    json_object_set_new(schema, "title", json_string("Configuration of sonded"));
    for (unsigned s = 0; s < SONDE_CONFIG_SECTION_COUNT; s++) {
        json_t *section = json_pack("{sss{}sb}", "type", "object", "patternProperties", "additionalProperties", 0);
        for (size_t i = 0; sonde_config_kind_at(catalog, s, i, &kind); i++) {
            json_t *pattern = json_sprintf("^%s(/[A-Za-z0-9_.-]+)?$", kind.name);
            json_t *rows = schema_rows(kind.options);
            if (s == SONDE_CONFIG_COLLECTORS)
                for (const struct sonde_option *row = sonde_collector_common_options; row->key; row++)
                    json_object_set_new(json_object_get(rows, "properties"), row->key, schema_row(row));
            if (!json_object_get(rows, "required"))
                json_object_set_new(rows, "type", json_pack("[ss]", "object", "null"));
            json_object_set_new(rows, "description", json_string(kind.summary));
            json_object_set_new(json_object_get(section, "patternProperties"), json_string_value(pattern), rows);
            json_decref(pattern);
        }
        json_object_set_new(properties, sonde_config_section_name(s), section);
    }
    json_object_set_new(properties, "queue", schema_rows(sonde_config_queue_options));
    json_object_set_new(properties, "agent", schema_rows(sonde_config_agent_options));
    (void)json_dumpf(schema, out, JSON_INDENT(2));
    fputc('\n', out);
    json_decref(schema);
}
