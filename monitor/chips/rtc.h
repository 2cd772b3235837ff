/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clock of a PC (MC146818): what a guest without kvmclock, or without an
 * agent that tells it, reads the date from when it boots. It is the host's
 * clock, in UTC, plus what the guest has set it forward or back. It makes no
 * interrupts: no alarm, no periodic and no update-ended ones.
 *
 * Source: Motorola MC146818A data sheet; the century in register 32h as PCs
 * have it. Everything written comes from the guest.
 */
#ifndef MONITOR_RTC_H
#define MONITOR_RTC_H

#include "base/err.h"
#include "base/state.h"
#include "monitor/bus.h"

enum {
	RTC_PORTS = 2, /* index, data */
	RTC_REGISTERS = 128
};

struct rtc {
	int64_t (*now_ns)(void); /* since 1970, UTC */
	int64_t offset_s; /* the guest's clock less the host's */
	uint8_t index;
	uint8_t reg_a, reg_b;
	/* Alarms and memory; the time too while the guest sets it. */
	uint8_t regs[RTC_REGISTERS];
};

/* now_ns NULL: the host's clock. */
void rtc_init(struct rtc *rtc, int64_t (*now_ns)(void));

/* bus_fn; the device is a struct rtc. */
void rtc_read(void *rtc, const struct bus_access *access);
void rtc_write(void *rtc, const struct bus_access *access);

/* Section "rtc". */
void rtc_save(const struct rtc *rtc, struct state_writer *w);
int rtc_load(struct rtc *rtc, struct state_reader *r, struct err *e);

#endif
