/* SPDX-License-Identifier: MIT
 *
 * The sysctls of this network namespace that an examination looks at.
 */
#ifndef BERTH_DOCTOR_SETTINGS_H
#define BERTH_DOCTOR_SETTINGS_H

#include "doctor/view.h"

struct doctor_settings doctor_settings_read(void);

#endif
