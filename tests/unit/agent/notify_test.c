/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the three above */
#include <cmocka.h>

#include "agent/daemon/notify.h"
#include "agent/daemon/place.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char directory[] = "/tmp/sonde-test-XXXXXX";

static int manager(const char *name) { /* the service manager's end */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(name);
    memcpy(address.sun_path, name, size);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + (name[0] == '/'))),
                     0);
    return fd;
}

static void message_reaches(const char *name) {
    struct sonde__notify notify;
    char got[200];
    int fd = manager(name);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    assert_int_equal(setenv("WATCHDOG_USEC", "20000000", 1), 0);
    sonde__notify_init(&notify);
    assert_int_equal(notify.watchdog_ns, 20000000000);
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_null(getenv("WATCHDOG_USEC"));
    sonde__notify_send(&notify, "READY=1\nSTATUS=x");
    ssize_t size = recv(fd, got, sizeof got - 1, MSG_DONTWAIT);
    assert_int_equal(size, 16);
    got[size] = '\0';
    assert_string_equal(got, "READY=1\nSTATUS=x");
    close(fd);
    sonde__notify_send(&notify, "STOPPING=1"); /* a manager that is gone is no trouble */
    sonde__notify_deinit(&notify);
}
static void notify_reaches_a_path_socket(void **state) {
    (void)state;
    char path[100];
    (void)snprintf(path, sizeof path, "%s/notify", directory);
    message_reaches(path);
}
static void notify_reaches_an_abstract_socket(void **state) {
    (void)state;
    char name[100];
    (void)snprintf(name, sizeof name, "@%s/notify", directory);
    message_reaches(name);
}

static void notify_is_silent_without_a_manager(void **state) {
    (void)state;
    static const char *const bad[] = {"", "/", "relative", "/nowhere/at/all", NULL};
    struct sonde__notify notify;
    sonde__notify_init(&notify);
    assert_int_equal(notify.fd, -1);
    sonde__notify_send(&notify, "READY=1");
    for (size_t i = 0; bad[i]; i++) {
        assert_int_equal(setenv("NOTIFY_SOCKET", bad[i], 1), 0);
        sonde__notify_init(&notify);
        assert_int_equal(notify.fd, -1);
        sonde__notify_deinit(&notify);
    }
}

static void watchdog_of_another_process_is_not_ours(void **state) {
    (void)state;
    struct sonde__notify notify;
    char path[100];
    (void)snprintf(path, sizeof path, "%s/other", directory);
    int fd = manager(path);
    setenv("NOTIFY_SOCKET", path, 1);
    setenv("WATCHDOG_USEC", "1000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    sonde__notify_init(&notify);
    assert_int_equal(notify.watchdog_ns, 0);
    sonde__notify_deinit(&notify);
    close(fd);
}

static void place_belongs_to_one(void **state) {
    (void)state;
    char wanted[100], path[SONDE__SOCKET_PATH_MAX], why[300];
    int first = -1, second = -1;
    (void)snprintf(wanted, sizeof wanted, "%s/new/agent.sock", directory);
    assert_int_equal(sonde__place_take(wanted, path, &first, why, sizeof why), 0);
    assert_string_equal(path, wanted);
    assert_int_equal(sonde__place_take(wanted, path, &second, why, sizeof why), -EWOULDBLOCK);
    assert_non_null(strstr(why, "another agent"));
    close(first);
    assert_int_equal(sonde__place_take(wanted, path, &second, why, sizeof why), 0);
    close(second);
    struct stat status;
    (void)snprintf(wanted, sizeof wanted, "%s/new", directory);
    assert_int_equal(stat(wanted, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0755);
}

static void place_says_what_is_wrong(void **state) {
    (void)state;
    char path[SONDE__SOCKET_PATH_MAX], why[300], wanted[300];
    int fd;
    assert_true(sonde__place_take("/proc/nowhere/agent.sock", path, &fd, why, sizeof why) < 0);
    assert_non_null(strstr(why, "/proc/nowhere"));
    assert_true(sonde__place_take("relative.sock", path, &fd, why, sizeof why) < 0);
    memset(wanted, 'a', sizeof wanted - 1);
    wanted[0] = '/';
    wanted[sizeof wanted - 1] = '\0';
    assert_true(sonde__place_take(wanted, path, &fd, why, sizeof why) < 0);
    assert_non_null(strstr(why, "longer than 107"));
}

static int make_directory(void **state) {
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}
static int remove_directory(void **state) {
    static const char *const names[] = {"new/agent.sock.lock", "new", "notify", "other", ""};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[200];
        (void)snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        (void)remove(path);
    }
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notify_reaches_a_path_socket),
        cmocka_unit_test(notify_reaches_an_abstract_socket),
        cmocka_unit_test(notify_is_silent_without_a_manager),
        cmocka_unit_test(watchdog_of_another_process_is_not_ours),
        cmocka_unit_test(place_belongs_to_one),
        cmocka_unit_test(place_says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
