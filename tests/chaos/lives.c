/* SPDX-License-Identifier: Apache-2.0 */
/* A service with a life: for lives.py.
 *
 *   lives exec     leaves a span open and becomes itself again (exec), which traces too
 *   lives vfork    starts a program by vfork in the middle of a span
 *   lives hold     leaves a span open, and a child without fork handlers that keeps all its descriptors; waits to be
 * killed
 *
 * Prints "ready" when what it did is with the agent. */
#include <signal.h>
#include <sonde/sonde.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void span_done(const char *name, size_t size) {
    struct sonde_span span;
    sonde_span_start(&span, sonde_key_n(name, size), NULL);
    sonde_span_end(&span);
}

static bool flushed(void) {
    for (int i = 0; i < 100; i++) {
        if (sonde_flush(200) == 0)
            return true;
    }
    return false;
}

static int ready(void) {
    if (!flushed())
        return 1;
    puts("ready");
    fflush(stdout);
    return 0;
}

static int live_exec(const char *program) {
    struct sonde_span open;
    sonde_span_start(&open, SONDE_NAME("before exec"), NULL);
    span_done("ended before exec", 17);
    if (!flushed())
        return 1;
    execl(program, program, "again", (char *)NULL);
    return 1;
}

static int live_vfork(void) {
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("around vfork"), NULL);
    pid_t pid = vfork();
    if (pid == 0) {
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    sonde_span_end(&span);
    span_done("after vfork", 11);
    return status != 0 || ready();
}

static int live_hold(void) {
    struct sonde_span open;
    sonde_span_start(&open, SONDE_NAME("held open"), NULL);
    if (!flushed())
        return 1;
    if (syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) == 0) {
        alarm(60); /* its parent's death does not end it: that is the point */
        for (;;)
            pause();
    }
    if (ready() != 0)
        return 1;
    for (;;)
        pause();
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    if (strcmp(argv[1], "exec") == 0)
        return live_exec(argv[0]);
    if (strcmp(argv[1], "vfork") == 0)
        return live_vfork();
    if (strcmp(argv[1], "hold") == 0)
        return live_hold();
    span_done("after exec", 10); /* again */
    return ready();
}
