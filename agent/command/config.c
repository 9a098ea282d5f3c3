/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/config/config.h"
#include "agent/command/command.h"
#include <getopt.h>
#include <string.h>

/** Reads --config FILE or FILE and nothing else; -1 = wrong usage. */
static int read_path(int argc, char **argv, const char **ret_path) {
    static const struct option options[] = {{"config", required_argument, NULL, 'c'}, {NULL, 0, NULL, 0}};
    optind = 1;
    for (int c; (c = getopt_long(argc, argv, "c:", options, NULL)) != -1;) {
        if (c != 'c')
            return -1;
        *ret_path = optarg;
    }
    if (!*ret_path && optind < argc)
        *ret_path = argv[optind++];
    if (optind == argc)
        return 0;
    fprintf(stderr, "sonde: \"%s\" is not expected\n", argv[optind]);
    return -1;
}

static struct sonde_config *load(int argc, char **argv) {
    struct sonde_config *config = NULL;
    const char *path = NULL;
    char text[1200];
    if (read_path(argc, argv, &path) != 0)
        return NULL;
    if (sonde_config_load(path, &sonde_heap, &config, text, sizeof text) != 0) {
        fprintf(stderr, "%s\n", text);
        return NULL;
    }
    return config;
}

int sonde__command_check(int argc, char **argv) {
    struct sonde_config *config = load(argc, argv);
    if (!config)
        return SONDE__EXIT_USAGE;
    printf("good: %zu receivers, %zu exporters%s, %zu collectors\n", config->counts[SONDE_CONFIG_RECEIVERS],
           config->counts[SONDE_CONFIG_EXPORTERS],
           config->exporters_from_environment            ? " (from OTEL_EXPORTER_OTLP_*)"
           : config->counts[SONDE_CONFIG_EXPORTERS] == 0 ? " (only the page and /metrics serve)"
                                                         : "",
           config->counts[SONDE_CONFIG_COLLECTORS]);
    sonde_config_destroy(config);
    return SONDE__EXIT_GOOD;
}

int sonde__command_config(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "docs") == 0 && argc == 2) {
        sonde_config_print_docs(&sonde_config_catalog_real, stdout);
        return SONDE__EXIT_GOOD;
    }
    if (strcmp(what, "schema") == 0 && argc == 2) {
        sonde_config_print_schema(&sonde_config_catalog_real, stdout);
        return SONDE__EXIT_GOOD;
    }
    if (strcmp(what, "print") != 0) {
        fputs("usage: sonde config print [FILE] | docs | schema\n", stderr);
        return SONDE__EXIT_USAGE;
    }
    struct sonde_config *config = load(argc - 1, argv + 1);
    if (!config)
        return SONDE__EXIT_USAGE;
    sonde_config_print(config, stdout);
    sonde_config_destroy(config);
    return SONDE__EXIT_GOOD;
}
