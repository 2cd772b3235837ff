/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Identifiers of VMs and operations: 26 characters of [a-z2-7], 130 random
 * bits, safe in file names and URLs. Random from the first character on, so
 * that a prefix of four characters is usually unique.
 */
#ifndef VMD_ID_H
#define VMD_ID_H

#include "api/names.h"

enum {
	ID_LEN = API_ID_LEN
};

void id_new(char ret_id[static ID_LEN + 1]);

#endif
