/* SPDX-License-Identifier: Apache-2.0 */
/* include/sonde/environment.md, printed from the rows that the library reads its variables by.
 *   environment_table            prints it
 *   environment_table FILE       fails when FILE says something else */
#include "instrumentation/resource/variables.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_accepted(FILE *out, const struct sonde__variable *v) {
    if (v->accepted) {
        fputs(v->accepted, out);
    } else if (v->type == SONDE__VARIABLE_BOOL) {
        fputs("`true`, `false`; default `false`", out);
    } else if (v->type == SONDE__VARIABLE_TEXT) {
        fprintf(out, "text up to %zu bytes", v->most - 1);
    } else if (v->type == SONDE__VARIABLE_LIMIT && v->most == SIZE_MAX) {
        fputs("0 and up; default no limit", out);
    } else if (v->type == SONDE__VARIABLE_LIMIT) {
        fprintf(out, "0 to %zu; default %zu", v->most, v->most);
    } else if (v->type == SONDE__VARIABLE_ENUM) {
        for (size_t i = 0; v->values[i]; i++)
            fprintf(out, "%s`%s`", i ? ", " : "", v->values[i]);
        fprintf(out, "; default `%s`", v->values[0]);
    }
    if (v->type == SONDE__VARIABLE_TEXT && v->accepted)
        fprintf(out, "; up to %zu bytes", v->most - 1);
}

static void put_name(FILE *out, const char *name) {
    const char *star = strchr(name, '*');
    if (star)
        fprintf(out, "`%.*s[TRACES_\\|METRICS_\\|LOGS_]%s`", (int)(star - name), name, star + 1);
    else
        fprintf(out, "`%s`", name);
}

static void put_rows(FILE *out, enum sonde__variable_type from, enum sonde__variable_type to) {
    for (const struct sonde__variable *v = sonde__variables; v->name; v++) {
        if (v->type < from || v->type > to)
            continue;
        fputs("| ", out);
        put_name(out, v->name);
        fputs(" | ", out);
        if (to < SONDE__VARIABLE_AGENT) {
            put_accepted(out, v);
            fputs(" | ", out);
        }
        fprintf(out, "%s |\n", v->sentence);
    }
}

static void put_page(FILE *out) {
    fputs("<!-- SPDX-License-Identifier: Apache-2.0 -->\n"
          "<!-- Printed by tests/lint/environment_table.c from instrumentation/resource/variables.c. -->\n"
          "# Environment variables\n\n"
          "Read once, at the first use of the library. An empty variable is as one that is not set. A bad value is\n"
          "ignored and reported, with what is accepted; a text that is too long is a bad value; a limit above the\n"
          "largest is taken as the largest, and reported. Names of values may be written in any case. Only `true` is\n"
          "true. What `sonde_start()` is told beats the environment.\n\n"
          "## The library reads\n\n| variable | accepted | |\n|---|---|---|\n",
          out);
    put_rows(out, SONDE__VARIABLE_BOOL, SONDE__VARIABLE_ELSEWHERE);
    fputs("\n## For the agent\n\n"
          "The library leaves these to `sonded`, and says so to who listens (an `info` report).\n\n"
          "| variable | |\n|---|---|\n",
          out);
    put_rows(out, SONDE__VARIABLE_AGENT, SONDE__VARIABLE_AGENT);
    fputs("\n## Not read\n\nReported when set.\n\n| variable | |\n|---|---|\n", out);
    put_rows(out, SONDE__VARIABLE_NOT_READ, SONDE__VARIABLE_NOT_READ);
}

int main(int argc, char **argv) {
    static char found[1 << 16];
    char *wanted = NULL;
    size_t size = 0;
    FILE *out = argc > 1 ? open_memstream(&wanted, &size) : stdout;
    if (!out)
        return 1;
    put_page(out);
    if (fclose(out) || argc == 1)
        return argc != 1;
    FILE *file = fopen(argv[1], "re");
    size_t length = file ? fread(found, 1, sizeof found, file) : 0;
    if (file)
        (void)fclose(file);
    bool same = length == size && memcmp(found, wanted, size) == 0;
    if (!same)
        fprintf(stderr, "%s is not what the rows say: write `%s > %s`\n", argv[1], argv[0], argv[1]);
    free(wanted);
    return !same;
}
