/* SPDX-License-Identifier: Apache-2.0 */
/* `sonde sample` and `sonde log-level`: what services do from their next span or log record on. They speak to the agent
 * by the services' socket, whose kernel-given credentials say who may. */
#include "agent/command/command.h"
#include "agent/receive/steering.h"
#include "instrumentation/link/place.h"
#include <errno.h>
#include <getopt.h>
#include <sonde/err.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define TIMEOUT_S 10

static union {
    struct sonde__steered answer;
    uint8_t bytes[SONDE__STEERED_SIZE_MAX];
} in;

static int connect_to(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    if (snprintf(address.sun_path, sizeof address.sun_path, "%s", path) >= (int)sizeof address.sun_path)
        return -ENAMETOOLONG;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) ||
        connect(fd, (const struct sockaddr *)&address, sizeof address)) {
        int error = -errno;
        (void)close(fd);
        return error;
    }
    if (!sonde__place_peer_allowed(fd, path)) {
        (void)close(fd);
        return SONDE_EREFUSED;
    }
    return fd;
}

/** The agent at that path, or at the first of the standard places where there is one. Told when there is none. */
static int connect_agent(const char *path) {
    struct sonde__places places = {.count = 0};
    int fd = SONDE_ENOAGENT;
    if (path)
        fd = connect_to(path);
    else
        sonde__places_list(sonde__settings_get(), &places);
    for (unsigned i = 0; fd < 0 && i < places.count; i++)
        fd = connect_to(places.path[i]);
    if (fd >= 0)
        return fd;
    fprintf(stderr, "sonde: no agent at %s: %s\n", path ? path : "the standard places ($SONDE_AGENT_SOCKET, --socket)",
            sonde_strerror(fd));
    return -1;
}

/** One question, one answer in `in`. False when that failed; told. */
static bool ask(const char *path, struct sonde__steer *steer) {
    steer->message = (struct sonde__message){SONDE__STEER, SONDE__PROTOCOL_VERSION, sizeof *steer};
    int fd = connect_agent(path);
    if (fd < 0)
        return false;
    ssize_t size = send(fd, steer, sizeof *steer, MSG_NOSIGNAL);
    if (size == (ssize_t)sizeof *steer)
        size = recv(fd, &in, sizeof in, 0);
    int error = errno;
    (void)close(fd);
    if (size < 0)
        fprintf(stderr, "sonde: the agent does not answer: %s\n", sonde_strerror(-error));
    else if (size < (ssize_t)sizeof in.answer || in.answer.message.type != SONDE__STEERED ||
             (size_t)size != sizeof in.answer + in.answer.count * sizeof in.answer.rows[0])
        fputs("sonde: the agent does not know this command (an older version?)\n", stderr);
    else
        return true;
    return false;
}

/** A terminal obeys control characters: none of them gets there. */
static void put_name(const char *text) {
    for (size_t i = 0; i < SONDE__STEERING_NAME_MAX && text[i]; i++)
        putchar((unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i]);
}

static int list(void) {
    if (!in.answer.count)
        puts("nothing is set: every service samples and logs by its own settings");
    for (uint32_t i = 0; i < in.answer.count; i++) {
        const struct sonde__steered_row *row = &in.answer.rows[i];
        put_name(row->service);
        fputs(":", stdout);
        if (row->ratio >= 0)
            printf(" sample %g", row->ratio);
        if (row->severity)
            printf(" log-level %s", sonde_steering_level_name(row->severity));
        puts(row->by_command ? " (by command, until the agent restarts)" : " (by the configuration)");
    }
    return SONDE__EXIT_GOOD;
}

static int tell(const struct sonde__steer *steer) {
    bool off = steer->action == SONDE__STEER_SAMPLE_OFF || steer->action == SONDE__STEER_LOG_LEVEL_OFF;
    bool sample = steer->action == SONDE__STEER_SAMPLE || steer->action == SONDE__STEER_SAMPLE_OFF;
    switch (in.answer.result) {
    case 0:
        break;
    case SONDE_EREFUSED:
        fputs("sonde: refused: only root and the agent's own user may change what services do\n", stderr);
        return SONDE__EXIT_BAD;
    case SONDE_ENOTFOUND:
        fprintf(stderr, "sonde: nothing is set for \"%s\"\n", steer->service);
        return SONDE__EXIT_BAD;
    default:
        fprintf(stderr, "sonde: not accepted: %s\n", sonde_strerror(in.answer.result));
        return SONDE__EXIT_BAD;
    }
    put_name(steer->service);
    if (off)
        fputs(sample ? ": its own sampler again" : ": all log records again", stdout);
    else if (sample)
        printf(": samples %g", steer->ratio);
    else
        printf(": log records from %s on", sonde_steering_level_name(steer->severity));
    if (in.answer.processes)
        printf(", %u process%s\n", in.answer.processes, in.answer.processes == 1 ? "" : "es");
    else
        puts("; no process of that name is here, it counts when one comes");
    return SONDE__EXIT_GOOD;
}

static int usage(bool sample) {
    fprintf(stderr,
            sample ? "usage: sonde sample [SERVICE RATIO|off] [--socket PATH]\n"
                     "       RATIO from 0 to 1; SERVICE as in service.name, or \"*\" for all\n"
                   : "usage: sonde log-level [SERVICE LEVEL|off] [--socket PATH]\n"
                     "       LEVEL trace, debug, info, warn, error or fatal; SERVICE as in service.name, or \"*\"\n");
    return SONDE__EXIT_USAGE;
}

/** Reads SERVICE and what is wanted of it. False: said. */
static bool read_wish(bool sample, const char *service, const char *text, struct sonde__steer *steer) {
    size_t size = strlen(service);
    if (size == 0 || size > SONDE__STEERING_NAME_MAX) {
        fprintf(stderr, "sonde: a service's name has 1 to %u bytes\n", SONDE__STEERING_NAME_MAX);
        return false;
    }
    memcpy(steer->service, service, size);
    if (strcmp(text, "off") == 0) {
        steer->action = sample ? SONDE__STEER_SAMPLE_OFF : SONDE__STEER_LOG_LEVEL_OFF;
        return true;
    }
    steer->action = sample ? SONDE__STEER_SAMPLE : SONDE__STEER_LOG_LEVEL;
    if (sample ? sonde_steering_ratio_parse(text, &steer->ratio) : sonde_steering_level_parse(text, &steer->severity))
        return true;
    fprintf(stderr, "sonde: \"%.40s\" is not %s\n", text,
            sample ? "a ratio from 0 to 1, nor \"off\"" : "trace, debug, info, warn, error, fatal, nor \"off\"");
    return false;
}

static int steer_command(bool sample, int argc, char **argv) {
    static const struct option options[] = {{"socket", required_argument, NULL, 's'}, {NULL, 0, NULL, 0}};
    struct sonde__steer steer = {.action = SONDE__STEER_LIST};
    const char *path = NULL;
    optind = 1;
    for (int c; (c = getopt_long(argc, argv, "s:", options, NULL)) != -1;) {
        if (c != 's')
            return usage(sample);
        path = optarg;
    }
    if (argc - optind != 0 && argc - optind != 2)
        return usage(sample);
    if (optind < argc && !read_wish(sample, argv[optind], argv[optind + 1], &steer))
        return SONDE__EXIT_USAGE;
    if (!ask(path, &steer))
        return SONDE__EXIT_BAD;
    return steer.action == SONDE__STEER_LIST ? list() : tell(&steer);
}

int sonde__command_sample(int argc, char **argv) {
    return steer_command(true, argc, argv);
}
int sonde__command_log_level(int argc, char **argv) {
    return steer_command(false, argc, argv);
}
