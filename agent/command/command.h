/* SPDX-License-Identifier: Apache-2.0 */
/* The command `sonde`: each subcommand a function that takes what follows its name and returns the exit code. */
#ifndef SONDE_AGENT_COMMAND_H
#define SONDE_AGENT_COMMAND_H

#include <jansson.h>
#include <stdio.h>

enum {
    SONDE__EXIT_GOOD = 0,
    SONDE__EXIT_BAD = 1,   /* status: nothing leaves, or the agent does not answer */
    SONDE__EXIT_USAGE = 2, /* usage, or a configuration that is not accepted */
};

int sonde__command_check(int argc, char **argv);  /* check [FILE] */
int sonde__command_config(int argc, char **argv); /* config print [FILE] | docs | schema */
int sonde__command_status(int argc, char **argv); /* status [--address HOST:PORT] [--json] */

int sonde__command_sample(int argc, char **argv);    /* sample [SERVICE RATIO|off] [--socket PATH] */
int sonde__command_log_level(int argc, char **argv); /* log-level [SERVICE LEVEL|off] [--socket PATH] */

/** Writes a status (agent/view/status.c) for people. Returns the exit code that goes with it. */
int sonde__status_write(const json_t *status, FILE *out);

#endif
