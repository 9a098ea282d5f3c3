/* SPDX-License-Identifier: Apache-2.0 */
/* sonded: one daemon per node. Exit codes: 0 stopped by a signal, 1 could not start or run, 2 configuration or usage.
 */
#include "agent/config/config.h"
#include "agent/daemon/daemon.h"
#include "agent/log.h"
#include <getopt.h>
#include <signal.h>
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

enum { EXIT_GOOD = 0, EXIT_RUN = 1, EXIT_CONFIG = 2 };

static const char usage[] =
    "Usage: sonded [--config FILE] [--socket PATH]\n"
    "       sonded --list-components | --version | --help\n"
    "\n"
    "Gathers telemetry of services and delivers it. Without FILE the defaults and OTEL_EXPORTER_OTLP_* serve.\n"
    "\n"
    "  -c, --config FILE       configuration, YAML (sonde check; sonde config docs)\n"
    "  -s, --socket PATH       unix socket for services, instead of agent.socket\n"
    "      --list-components   receivers, exporters and collectors of this build\n"
    "      --version           version\n"
    "\n"
    "Exit codes: 0 stopped by SIGTERM or SIGINT, 1 could not start or run, 2 configuration or usage.\n";

static void list_components(void) {
    struct sonde_config_kind kind;
    for (unsigned s = 0; s < SONDE_CONFIG_SECTION_COUNT; s++)
        for (size_t i = 0; sonde_config_kind_at(&sonde_config_catalog_real, s, i, &kind); i++)
            printf("%-11s %-16s %s\n", sonde_config_section_name(s), kind.name, kind.summary);
}

/** Before any thread: signals for the loop alone, none for a closed pipe; no core files, which would hold telemetry. */
static void settle_process(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) { /* several descriptors per service */
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
}

static int run(const char *path, const char *socket) {
    struct sonde_loop *loop;
    struct sonde_config *config;
    struct sonde_daemon *daemon;
    char text[1200];
    int error = sonde_loop_create(&loop);
    if (error) {
        sonde_agent_log(SONDE_LOG_ERROR, "not started", "error=%s", sonde_agent_log_quote(sonde_strerror(error)));
        return EXIT_RUN;
    }
    error = sonde_config_load(path, &sonde_loop_seams(loop)->alloc, &config, text, sizeof text);
    if (error) {
        fprintf(stderr, "sonded: %s\n", text); /* not a log line: what an editor jumps to */
        sonde_loop_destroy(loop);
        return EXIT_CONFIG;
    }
    sonde_agent_log_level_set(config->agent.log_level);
    error = sonde_daemon_create(config, socket, loop, &daemon);
    if (!error) {
        sonde_daemon_run(daemon);
        sonde_daemon_destroy(daemon);
        sonde_agent_log(SONDE_LOG_INFO, "stopped", NULL);
    }
    sonde_loop_destroy(loop);
    sonde_config_destroy(config);
    return error == 0 ? EXIT_GOOD : error == SONDE_EINVALID ? EXIT_CONFIG : EXIT_RUN;
}

int main(int argc, char **argv) {
    enum { LIST = 256, VERSION };
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"socket", required_argument, NULL, 's'},
        {"list-components", no_argument, NULL, LIST},
        {"version", no_argument, NULL, VERSION},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *path = NULL, *socket = NULL;
    for (int c; (c = getopt_long(argc, argv, "c:s:h", options, NULL)) != -1;) {
        switch (c) {
        case 'c':
            path = optarg;
            break;
        case 's':
            socket = optarg;
            break;
        case LIST:
            list_components();
            return EXIT_GOOD;
        case VERSION:
            puts("sonded " SONDE_VERSION);
            return EXIT_GOOD;
        case 'h':
            fputs(usage, stdout);
            return EXIT_GOOD;
        default:
            fputs(usage, stderr);
            return EXIT_CONFIG;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "sonded: \"%s\" is not expected\n%s", argv[optind], usage);
        return EXIT_CONFIG;
    }
    settle_process();
    sonde_heap_settle();
    return run(path, socket);
}
