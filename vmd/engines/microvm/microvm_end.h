/* SPDX-License-Identifier: Apache-2.0 */
/* How a vmd-monitor ended, by its own record: status.json in the run directory. */
#ifndef VMD_MICROVM_END_H
#define VMD_MICROVM_END_H

#include "vmd/engines/engine.h"

/* The monitor's own record of the end; false: there is none. It may be taken over
 * by its guest: texts are bounded and made printable. */
bool microvm_recorded_end(int dirfd, enum vm_end *ret_end, struct err *ret_err);

#endif
