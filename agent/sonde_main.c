/* SPDX-License-Identifier: Apache-2.0 */
/* sonde: the command beside the daemon. */
#include "agent/command/command.h"
#include <sonde/api.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "Usage: sonde check [FILE]                   checks a configuration\n"
    "       sonde config print [FILE]            the effective configuration, secrets hidden\n"
    "       sonde config docs                    the reference of all keys, Markdown\n"
    "       sonde config schema                  the same as a JSON Schema\n"
    "       sonde status [--address HOST:PORT] [--json]\n"
    "                                            what the agent does (default 127.0.0.1:4320)\n"
    "       sonde sample [SERVICE RATIO|off] [--socket PATH]\n"
    "                                            the ratio at which a service (\"*\": all) samples, from its next\n"
    "                                            root span on; off: its own sampler again; alone: what is set\n"
    "       sonde log-level [SERVICE LEVEL|off] [--socket PATH]\n"
    "                                            the least severe log records that it records\n"
    "       sonde version\n"
    "\n"
    "Exit codes: 0 good; 1 status: an exporter fails, the ledger does not balance, or the agent\n"
    "does not answer or refuses; 2 usage, or a configuration that is not accepted.\n";

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "check") == 0)
        return sonde__command_check(argc - 1, argv + 1);
    if (strcmp(name, "config") == 0)
        return sonde__command_config(argc - 1, argv + 1);
    if (strcmp(name, "status") == 0)
        return sonde__command_status(argc - 1, argv + 1);
    if (strcmp(name, "sample") == 0)
        return sonde__command_sample(argc - 1, argv + 1);
    if (strcmp(name, "log-level") == 0)
        return sonde__command_log_level(argc - 1, argv + 1);
    if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0) {
        puts("sonde " SONDE_VERSION);
        return SONDE__EXIT_GOOD;
    }
    bool help = strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0;
    fputs(usage, help ? stdout : stderr);
    return help ? SONDE__EXIT_GOOD : SONDE__EXIT_USAGE;
}
