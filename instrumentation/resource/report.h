/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SONDE_RESOURCE_REPORT_H
#define SONDE_RESOURCE_REPORT_H

#include "instrumentation/resource/settings.h"

/** Sets the hook that sonde__report() tells. report may be NULL; user is kept. */
void sonde__report_to(sonde_report_fn report, void *user);

#endif
