/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/link/doorbell.h"

#include "instrumentation/ring/process.h"
#include <errno.h>
#include <fcntl.h>
#include <sonde/err.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct sonde__fd bell = {.fd = -1, .event_id = -1};
static struct sonde__control *_Atomic control; /* one address for the process's life; a new agent's page is put there */
static _Atomic bool listening;
static _Atomic uint64_t rung; /* the sleep we rang for last; sleeps are odd, so 0 is none */

void sonde__doorbell_ring(void) {
    if (!atomic_load_explicit(&listening, memory_order_acquire))
        return;
    /* The record's head must be out before we look whether the agent sleeps, as it looks at heads after it said so. */
    atomic_thread_fence(memory_order_seq_cst);
    struct sonde__control *page = atomic_load_explicit(&control, memory_order_relaxed);
    uint64_t sleep = atomic_load_explicit(&page->sleep_sequence, memory_order_acquire);
    uint64_t last = atomic_load_explicit(&rung, memory_order_relaxed);
    if (!(sleep & 1u) || sleep == last || !atomic_compare_exchange_strong(&rung, &last, sleep))
        return;
    const int saved_errno = errno;
    const uint64_t one = 1;
    if (sonde__fd_is_ours(&bell) && write(bell.fd, &one, sizeof one) == (ssize_t)sizeof one) {
        struct sonde__process *process = atomic_load_explicit(&sonde__process_page, memory_order_acquire);
        if (process)
            atomic_fetch_add_explicit(&process->doorbells, 1, memory_order_relaxed);
    }
    errno = saved_errno;
}

int sonde__doorbell_fd(void) {
    if (!sonde__fd_is_ours(&bell))
        bell = sonde__fd_take(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    return bell.fd;
}

int sonde__doorbell_connect(int control_fd) {
    const int needed = F_SEAL_SHRINK | F_SEAL_GROW; /* so that it cannot shrink under our feet (SIGBUS) */
    struct stat st;
    int seals = fcntl(control_fd, F_GET_SEALS);
    if (seals < 0 || (seals & needed) != needed || fstat(control_fd, &st))
        return SONDE_EMALFORMED;
    if (st.st_size < (off_t)sizeof(struct sonde__control))
        return SONDE_EMALFORMED;
    struct sonde__control *place = atomic_load_explicit(&control, memory_order_relaxed);
    /* over the old page in one step, so that a reader meets one or the other */
    void *at = mmap(place, SONDE__PAGE, PROT_READ, MAP_SHARED | (place ? MAP_FIXED : 0), control_fd, 0);
    if (at == MAP_FAILED)
        return -errno;
    atomic_store_explicit(&control, at, memory_order_relaxed);
    struct sonde__control *page = at;
    if (atomic_load_explicit(&page->magic, memory_order_acquire) != SONDE__MAGIC)
        return SONDE_EMALFORMED;
    if (page->layout_major != SONDE__LAYOUT_MAJOR)
        return SONDE_EVERSION;
    atomic_store_explicit(&rung, 0, memory_order_relaxed);
    atomic_store_explicit(&listening, true, memory_order_release);
    return 0;
}

void sonde__doorbell_disconnect(void) {
    atomic_store_explicit(&listening, false, memory_order_release);
}

void sonde__doorbell_forget(void) {
    sonde__doorbell_disconnect();
    sonde__fd_close(&bell);
}
