/* SPDX-License-Identifier: Apache-2.0 */
/* New ids: drawn by the library, or a generator's of the user. Inside enter/leave. */
#ifndef SONDE_TRACE_IDS_H
#define SONDE_TRACE_IDS_H

#include "instrumentation/trace/slot.h"

/** Never zero. ret_id: wire bytes, as loaded. Returns whether its last 7 bytes are random. */
bool sonde__trace_id_make(struct sonde__thread *thread, uint64_t ret_id[2]);
/** Never zero. */
uint64_t sonde__span_id_make(struct sonde__thread *thread);

#endif
