/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the three above */
#include <cmocka.h>

#include "agent/loop/loop.h"
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct world {
    struct sonde_loop *loop;
    struct sonde_timer *timer, *guard;
    struct sonde_watch *watch;
    int sockets[2];
    int fired, seen, slept, woke, worked, done;
    bool inside, timed_out;
};

static void on_guard(void *user) { /* a deadline instead of a hang */
    struct world *world = user;
    world->timed_out = true;
    sonde_loop_stop(world->loop);
}
static void open_world(struct world *world) {
    memset(world, 0, sizeof *world);
    assert_int_equal(sonde_loop_create(&world->loop), 0);
    assert_int_equal(sonde_timer_create(world->loop, on_guard, world, &world->guard), 0);
    const struct sonde_time *time = &sonde_loop_seams(world->loop)->time;
    sonde_timer_set(world->guard, time->monotonic_ns(time->self) + 20000000000u);
}
static void close_world(struct world *world) {
    sonde_timer_destroy(world->guard);
    sonde_loop_destroy(world->loop);
    assert_false(world->timed_out);
}

static void on_timer(void *user) {
    struct world *world = user;
    assert_false(world->inside);
    if (++world->fired == 3) {
        sonde_timer_destroy(world->timer); /* from its own callback */
        sonde_loop_stop(world->loop);
        return;
    }
    world->inside = true;
    sonde_timer_set(world->timer, 0);
    world->inside = false;
}
static void timer_fires_from_the_loop_only(void **state) {
    (void)state;
    struct world world;
    open_world(&world);
    assert_int_equal(sonde_timer_create(world.loop, on_timer, &world, &world.timer), 0);
    world.inside = true;
    sonde_timer_set(world.timer, 1);
    world.inside = false;
    sonde_loop_run(world.loop);
    assert_int_equal(world.fired, 3);
    assert_true(sonde_loop_wakeups(world.loop) >= 3);
    close_world(&world);
}

static void on_watch(void *user, int events) {
    struct world *world = user;
    char byte;
    world->seen |= events;
    if (!(events & SONDE_WATCH_READ))
        assert_int_equal(sonde_watch_change(world->watch, SONDE_WATCH_READ), 0);
    else if (read(world->sockets[0], &byte, 1) <= 0)
        sonde_loop_stop(world->loop);
    else
        assert_int_equal(close(world->sockets[1]), 0);
}
static void watch_tells_readable_writable_and_hang_up(void **state) {
    (void)state;
    struct world world;
    open_world(&world);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, world.sockets), 0);
    assert_int_equal(
        sonde_watch_create(world.loop, world.sockets[0], SONDE_WATCH_WRITE, on_watch, &world, &world.watch), 0);
    assert_int_equal(write(world.sockets[1], "x", 1), 1);
    sonde_loop_run(world.loop);
    assert_int_equal(world.seen, SONDE_WATCH_READ | SONDE_WATCH_WRITE);
    sonde_watch_destroy(world.watch);
    close(world.sockets[0]);
    close_world(&world);
}

static void before_sleep(void *user) {
    ((struct world *)user)->slept++;
}
static void after_sleep(void *user) {
    struct world *world = user;
    world->woke++;
    assert_int_equal(world->slept, world->woke);
}
static void pool_work(void *job) {
    ((struct world *)job)->worked++;
}
static void pool_done(void *job) {
    struct world *world = job;
    world->done++;
    sonde_loop_stop(world->loop);
}
static void pool_returns_to_the_loop_and_sleep_is_told(void **state) {
    (void)state;
    struct world world;
    open_world(&world);
    sonde_loop_on_sleep(world.loop, before_sleep, after_sleep, &world);
    struct sonde_pool pool = sonde_loop_pool(world.loop);
    assert_int_equal(pool.submit(pool.self, pool_work, pool_done, &world), 0);
    assert_int_equal(world.done, 0);
    sonde_loop_run(world.loop);
    assert_int_equal(world.worked, 1);
    assert_int_equal(world.done, 1);
    assert_true(world.woke >= 1);
    sonde_loop_on_sleep(world.loop, NULL, NULL, NULL);
    close_world(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timer_fires_from_the_loop_only),
        cmocka_unit_test(watch_tells_readable_writable_and_hang_up),
        cmocka_unit_test(pool_returns_to_the_loop_and_sleep_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
