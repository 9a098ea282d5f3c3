/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SONDE_RESOURCE_REPORT_H
#define SONDE_RESOURCE_REPORT_H

#include "instrumentation/resource/settings.h"

/* OTEL_LOG_LEVEL; the default is 0. Nothing that the library meets is an error to it: it goes on. */
enum sonde__level {
    SONDE__LEVEL_INFO = 0,
    SONDE__LEVEL_NONE,
    SONDE__LEVEL_ERROR,
    SONDE__LEVEL_WARN,
    SONDE__LEVEL_DEBUG
};

/** Sets the hook that reports go to. report may be NULL; user is kept. */
void sonde__report_to(sonde_report_fn report, void *user);
/** Sets what is reported (enum sonde__level). to_stderr: somebody asked for it, so that without a hook it is printed.
 */
void sonde__report_level(uint32_t level, bool to_stderr);

#endif
