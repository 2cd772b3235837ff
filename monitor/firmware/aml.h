/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Just enough of ACPI's byte code to describe our few devices. Terms are
 * appended to a fixed buffer; too much sets `failed`, checked once at the end.
 * Source: ACPI 6.5, chapter 20 (AML) and 6.4 (resource descriptors).
 */
#ifndef MONITOR_AML_H
#define MONITOR_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	AML_MAX = 16 * 1024
};

struct aml {
	uint8_t bytes[AML_MAX];
	size_t len;
	bool failed;
};

/* Blocks return where they began; aml_end() takes that. name: four letters. */
size_t aml_scope(struct aml *a, const char *path);
size_t aml_device(struct aml *a, const char *name);
size_t aml_method(struct aml *a, const char *name, unsigned arg_count);
void aml_end(struct aml *a, size_t block);

/* Name (name, value) */
void aml_name_int(struct aml *a, const char *name, uint64_t value);
void aml_name_string(struct aml *a, const char *name, const char *value);
/* id like "PNP0501", compressed (19.3.4) */
void aml_name_eisa(struct aml *a, const char *name, const char *id);
/* Name (name, Package () { values... }) */
void aml_name_package(struct aml *a, const char *name, const uint64_t *values,
		      uint8_t count);

/* If (LEqual (ArgN, value)) { ... }, ended by aml_end(). arg: 0 to 6. */
size_t aml_if_arg_equal(struct aml *a, unsigned arg, uint64_t value);

/* Notify (path, value); path is four letters in the same scope or above. */
void aml_notify(struct aml *a, const char *path, uint8_t value);

/* Name (_CRS, ResourceTemplate () { ... }) */
size_t aml_resources(struct aml *a);
void aml_io(struct aml *a, uint16_t port, uint8_t len);
void aml_memory(struct aml *a, uint32_t gpa, uint32_t len);
/* Edge-triggered, active high, exclusive. */
void aml_interrupt(struct aml *a, uint32_t gsi);
void aml_resources_end(struct aml *a, size_t block);

#endif
