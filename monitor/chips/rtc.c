/* SPDX-License-Identifier: Apache-2.0 */
/* The CMOS clock; see rtc.h. */
#include "monitor/chips/rtc.h"

#include <stddef.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "base/clock.h"

enum {
	REG_SECONDS = 0,
	REG_MINUTES = 2,
	REG_HOURS = 4,
	REG_WEEKDAY = 6,
	REG_DAY = 7,
	REG_MONTH = 8,
	REG_YEAR = 9,
	REG_A = 0x0a,
	REG_B = 0x0b,
	REG_C = 0x0c,
	REG_D = 0x0d,
	REG_CENTURY = 0x32,

	A_UPDATING = 0x80,
	A_DIVIDER = 0x26, /* 32.768 kHz, 1.024 kHz: as firmware leaves it */
	B_SET = 0x80, /* the time stands still and is being set */
	B_BINARY = 4,
	B_24_HOURS = 2,
	D_VALID = 0x80,
	HOURS_PM = 0x80,
};
#define DAY_S	     INT64_C(86400)
#define NS_PER_S     INT64_C(1000000000)
#define UPDATE_NS    INT64_C(244000) /* told before the second changes */
#define OFFSET_S_MAX (INT64_C(1) << 40)

static const uint8_t time_regs[] = { REG_SECONDS, REG_MINUTES, REG_HOURS,
				     REG_WEEKDAY, REG_DAY,     REG_MONTH,
				     REG_YEAR,	  REG_CENTURY };

static int64_t host_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * NS_PER_S + now.tv_nsec;
}

void rtc_init(struct rtc *rtc, int64_t (*now_ns)(void))
{
	*rtc = (struct rtc){ .now_ns = now_ns ? now_ns : host_ns,
			     .reg_a = A_DIVIDER,
			     .reg_b = B_24_HOURS };
}

static uint8_t encode(const struct rtc *rtc, int value)
{
	return (uint8_t)(rtc->reg_b & B_BINARY ? value
					       : value / 10 << 4 | value % 10);
}

static int decode(const struct rtc *rtc, uint8_t raw)
{
	return rtc->reg_b & B_BINARY ? raw : (raw >> 4) * 10 + (raw & 15);
}

static uint8_t encode_hours(const struct rtc *rtc, int hours)
{
	if (rtc->reg_b & B_24_HOURS)
		return encode(rtc, hours);
	return (uint8_t)(encode(rtc, (hours + 11) % 12 + 1) |
			 (hours >= 12 ? HOURS_PM : 0));
}

static int decode_hours(const struct rtc *rtc, uint8_t raw)
{
	if (rtc->reg_b & B_24_HOURS)
		return decode(rtc, raw);
	return decode(rtc, raw & (uint8_t)~HOURS_PM) % 12 +
	       (raw & HOURS_PM ? 12 : 0);
}

static int modulo(int64_t value, int64_t by)
{
	return (int)((value % by + by) % by);
}

/* The registers of the time say what it is now. */
static void latch(struct rtc *rtc)
{
	int year;
	struct tm tm;

	clock_utc(rtc->now_ns() / NS_PER_S + rtc->offset_s, &tm);
	year = tm.tm_year + 1900;
	rtc->regs[REG_SECONDS] = encode(rtc, tm.tm_sec);
	rtc->regs[REG_MINUTES] = encode(rtc, tm.tm_min);
	rtc->regs[REG_HOURS] = encode_hours(rtc, tm.tm_hour);
	rtc->regs[REG_WEEKDAY] = encode(rtc, tm.tm_wday + 1); /* 1: Sunday */
	rtc->regs[REG_DAY] = encode(rtc, tm.tm_mday);
	rtc->regs[REG_MONTH] = encode(rtc, tm.tm_mon + 1);
	rtc->regs[REG_YEAR] = encode(rtc, modulo(year, 100));
	rtc->regs[REG_CENTURY] =
		encode(rtc, modulo((year - modulo(year, 100)) / 100, 100));
}

/* What the registers say is the time from now on; odd values carry over. */
static void unlatch(struct rtc *rtc)
{
	const uint8_t *regs = rtc->regs;
	int64_t month = decode(rtc, regs[REG_MONTH]) - 1;
	int64_t year = decode(rtc, regs[REG_CENTURY]) * INT64_C(100) +
		       decode(rtc, regs[REG_YEAR]);
	int64_t days =
		clock_days(year + (month - modulo(month, 12)) / 12,
			   modulo(month, 12) + 1, decode(rtc, regs[REG_DAY]));
	int64_t seconds = decode_hours(rtc, regs[REG_HOURS]) * INT64_C(3600) +
			  decode(rtc, regs[REG_MINUTES]) * INT64_C(60) +
			  decode(rtc, regs[REG_SECONDS]);

	rtc->offset_s = days * DAY_S + seconds - rtc->now_ns() / NS_PER_S;
}

static bool is_time(uint8_t reg)
{
	return memchr(time_regs, reg, sizeof(time_regs)) != NULL;
}

static uint8_t read_register(struct rtc *rtc, uint8_t reg)
{
	bool updating = rtc->now_ns() % NS_PER_S >= NS_PER_S - UPDATE_NS;

	switch (reg) {
	case REG_A:
		return rtc->reg_a |
		       (updating && !(rtc->reg_b & B_SET) ? A_UPDATING : 0);
	case REG_B:
		return rtc->reg_b;
	case REG_C:
		return 0; /* no interrupt was caused */
	case REG_D:
		return D_VALID;
	default:
		if (is_time(reg) && !(rtc->reg_b & B_SET))
			latch(rtc);
		return rtc->regs[reg];
	}
}

static void write_b(struct rtc *rtc, uint8_t value)
{
	/* Before the format changes, and after it for what was set in it. */
	if ((value & B_SET) && !(rtc->reg_b & B_SET))
		latch(rtc);
	if (!(value & B_SET) && (rtc->reg_b & B_SET)) {
		rtc->reg_b = value;
		unlatch(rtc);
	}
	rtc->reg_b = value;
}

static void write_register(struct rtc *rtc, uint8_t reg, uint8_t value)
{
	switch (reg) {
	case REG_A:
		rtc->reg_a = value & (uint8_t)~A_UPDATING;
		break;
	case REG_B:
		write_b(rtc, value);
		break;
	case REG_C:
	case REG_D:
		break; /* read-only */
	default:
		if (is_time(reg) && !(rtc->reg_b & B_SET)) {
			latch(rtc);
			rtc->regs[reg] = value;
			unlatch(rtc);
		} else {
			rtc->regs[reg] = value;
		}
		break;
	}
}

void rtc_read(void *rtc, const struct bus_access *access)
{
	struct rtc *r = rtc;
	uint8_t *data = access->data;

	for (uint32_t i = 0; i < access->len; i++)
		data[i] = access->offset + i == 0 ? r->index
						  : read_register(r, r->index);
}

void rtc_write(void *rtc, const struct bus_access *access)
{
	struct rtc *r = rtc;
	const uint8_t *data = access->data;

	for (uint32_t i = 0; i < access->len; i++)
		if (access->offset + i == 0)
			r->index =
				data[i] % RTC_REGISTERS; /* bit 7: NMI mask */
		else
			write_register(r, r->index, data[i]);
}

void rtc_save(const struct rtc *rtc, struct state_writer *w)
{
	state_begin(w, "rtc", 1);
	state_put_u64(w, (uint64_t)rtc->offset_s);
	state_put_u8(w, rtc->index);
	state_put_u8(w, rtc->reg_a);
	state_put_u8(w, rtc->reg_b);
	state_put_bytes(w, rtc->regs, sizeof(rtc->regs));
	state_end(w);
}

int rtc_load(struct rtc *rtc, struct state_reader *r, struct err *e)
{
	struct rtc n = { .now_ns = rtc->now_ns };
	uint16_t version;
	int rc = state_open(r, "rtc", 1, &version, e);

	if (rc < 0)
		return rc;
	n.offset_s = (int64_t)state_get_u64(r);
	n.index = state_get_u8(r) % RTC_REGISTERS;
	n.reg_a = state_get_u8(r) & (uint8_t)~A_UPDATING;
	n.reg_b = state_get_u8(r);
	state_get_bytes(r, n.regs, sizeof(n.regs));
	rc = state_close(r, e);
	if (rc < 0)
		return rc;
	if (n.offset_s > OFFSET_S_MAX || n.offset_s < -OFFSET_S_MAX)
		return err_set(e, ERR_CORRUPT, "state_invalid", 0,
			       "the clock is %lld s off",
			       (long long)n.offset_s);
	*rtc = n;
	return 0;
}
