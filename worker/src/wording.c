/*
 * wording.c
 *		Numbers, money and times, as people write them in their languages.
 *
 * Languages are en and zh; any other is written as en.  The signs of currencies are those of the
 * CLDR, by language, because one country's yen is another's yuan; a currency without a sign has its
 * code.  Times are UTC, and say so.  Each function writes at most HF_WORDING_MAX bytes.
 */
#include "wording.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NO_BREAK "\xc2\xa0"

typedef struct Sign
{
	const char *currency, *english, *chinese;
} Sign;

static const Sign signs[] = {
	{"AUD", "A$", "AU$"}, {"BRL", "R$", "R$"}, {"CAD", "CA$", "CA$"}, {"CNY", "CN¥", "¥"},
	{"EUR", "€", "€"},	  {"GBP", "£", "£"},   {"HKD", "HK$", "HK$"}, {"INR", "₹", "₹"},
	{"JPY", "¥", "JP¥"},  {"KRW", "₩", "￦"},  {"TWD", "NT$", "NT$"}, {"USD", "$", "US$"},
};

static bool
is_chinese(const char *language)
{
	return strcmp(language, "zh") == 0;
}

/* Writes digits in groups of three. */
static void
group(char *room, uint64_t number)
{
	char digits[32];
	int n = snprintf(digits, sizeof(digits), "%llu", (unsigned long long) number);

	for (int i = 0; i < n; i++)
	{
		if (i > 0 && (n - i) % 3 == 0)
			*room++ = ',';
		*room++ = digits[i];
	}
	*room = '\0';
}

void
hf_wording_number(char *room, int64_t number)
{
	if (number < 0)
		*room++ = '-';
	group(room, number < 0 ? 0 - (uint64_t) number : (uint64_t) number);
}

/* Writes an amount of minor units, of which the currency has so many digits. */
void
hf_wording_money(char *room, const char *language, int64_t amount, const char *currency, int digits)
{
	const char *sign = NULL;
	char whole[48], fraction[24] = "";
	uint64_t size = amount < 0 ? 0 - (uint64_t) amount : (uint64_t) amount, unit = 1;

	for (int i = 0; i < digits && i < 9; i++)
		unit *= 10;
	for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++)
		if (strcmp(signs[i].currency, currency) == 0)
			sign = is_chinese(language) ? signs[i].chinese : signs[i].english;
	group(whole, size / unit);
	if (unit > 1)
		snprintf(fraction, sizeof(fraction), ".%0*llu", digits < 9 ? digits : 9,
				 (unsigned long long) (size % unit));
	snprintf(room, HF_WORDING_MAX, "%s%.8s%s%s%s", amount < 0 ? "-" : "",
			 sign != NULL ? sign : currency, sign != NULL ? "" : NO_BREAK, whole, fraction);
}

/* Writes a time, in seconds since 1970. */
void
hf_wording_time(char *room, const char *language, int64_t seconds)
{
	static const char *const months[] = {"January",	  "February", "March",	  "April",
										 "May",		  "June",	  "July",	  "August",
										 "September", "October",  "November", "December"};
	time_t at = (time_t) seconds;
	struct tm tm;

	*room = '\0';
	if (gmtime_r(&at, &tm) == NULL)
		return;
	if (is_chinese(language))
		snprintf(room, HF_WORDING_MAX, "%d年%d月%d日 %02d:%02d(UTC)", tm.tm_year + 1900,
				 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min);
	else
		snprintf(room, HF_WORDING_MAX, "%d %s %d, %02d:%02d UTC", tm.tm_mday, months[tm.tm_mon],
				 tm.tm_year + 1900, tm.tm_hour, tm.tm_min);
}
