/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the sagas.
 *   saga.c        begin, steps, end: spans, log records, measurements
 *   saga_state.c  what travels and what is kept: baggage, and a saga written down */
#ifndef SONDE_RESILIENCE_SAGA_INTERNAL_H
#define SONDE_RESILIENCE_SAGA_INTERNAL_H

#include <sonde/resilience/saga.h>

#define SONDE__SAGA_SHORT_NS UINT64_C(60000000000)

enum { /* flags; written down */
       SONDE__SAGA_ENDED = 1,
       SONDE__SAGA_FORGOT = 2,  /* a step that may need to be undone */
       SONDE__SAGA_PARTIAL = 4, /* others made steps that are not known here */
       SONDE__SAGA_FLAGS = 7,
};

/* state of a step; numbers are written down */
enum sonde__saga_step_state {
    SONDE__STEP_OPEN = 1,
    SONDE__STEP_SUCCEEDED,
    SONDE__STEP_FAILED,
    SONDE__STEP_UNDOING,
    SONDE__STEP_UNDO_FAILED,
    SONDE__STEP_UNDONE,
    SONDE__STEP_UNKNOWN,  /* may have taken effect */
    SONDE__STEP_DOUBTFUL, /* another attempt of such a one is under way */
    SONDE__STEP_STATE_MAX = SONDE__STEP_DOUBTFUL,
};

/** Copies text, cut at 63 bytes and a character's end. */
void sonde__saga_text(char ret_text[SONDE_SAGA_TEXT_SIZE_MAX + 1u], const char *text, size_t size);
/** Reads what sonde_saga_save() wrote over a saga that is all zero. Returns 0, SONDE_EMALFORMED. */
int sonde__saga_load(struct sonde_saga *saga, struct sonde_string state);

#endif
