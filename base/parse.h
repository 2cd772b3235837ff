/* SPDX-License-Identifier: Apache-2.0 */
/* Text to numbers, strictly: whole string, bounds checked, nothing guessed. */
#ifndef BASE_PARSE_H
#define BASE_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Decimal, no sign, no blanks, min..max inclusive. `what` names it in errors. */
int parse_u64(const char *text, uint64_t min, uint64_t max, const char *what,
	      uint64_t *ret_value, struct err *e);

/* "512", "64K", "512M", "512MiB", "2G", "1T": binary units, in bytes. */
int parse_size(const char *text, const char *what, uint64_t *ret_bytes,
	       struct err *e);

/* "250ms", "90", "90s", "10m", "2h", "1d", "1h30m": plain numbers are seconds. */
int parse_duration_ms(const char *text, const char *what, uint64_t *ret_ms,
		      struct err *e);

/* The value of a hexadecimal digit in either case, -1 for anything else. */
int parse_hex_digit(char c);

/* "aa:bb:cc:dd:ee:ff" to six bytes; refuses multicast and all-zero. */
int parse_mac(const char *text, uint8_t ret_mac[6], struct err *e);

/*
 * A name a person gives to a VM or an image: 1..63 characters, [a-z0-9] first,
 * then [a-z0-9._-]. Safe as a file name and in a URL.
 */
bool parse_name_ok(const char *name);

/* Prints bytes as "512 MiB", "1.5 GiB" into buf; returns buf. */
char *format_size(uint64_t bytes, char buf[static 24]);

#endif
