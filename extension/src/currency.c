/*
 * currency.c
 *		Currencies of ISO 4217 and the exponents of their minor units.
 *
 * An amount is an integer of minor units; the exponent says how many of its digits stand behind
 * the point, and is needed by nobody but those who show amounts to people.  The table is list one
 * of ISO 4217:2015 with its amendments to 180 (2026: the euro for BGN), less what nobody can be
 * charged in: funds and units of account (BOV, CHE, CHW, CLF, COU, MXV, USN, UYI, UYW, XAD, XDR,
 * XSU, XUA), bonds and precious metals (XAG, XAU, XBA to XBD, XPD, XPT), XTS for tests, and the
 * code of no currency.
 *
 * The table is constant: no locks, no memory.  A currency that is withdrawn leaves it; payments
 * that were made in it keep their code.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "currency.h"
#include "errors.h"

PG_FUNCTION_INFO_V1(holdfast_currencies);

#define HF_CURRENCY_LENGTH 3

typedef struct HfCurrency
{
	char code[HF_CURRENCY_LENGTH + 1];
	uint8 exponent;
} HfCurrency;

/* Sorted by code. */
static const HfCurrency currencies[] =
	{{"AED", 2}, {"AFN", 2}, {"ALL", 2}, {"AMD", 2}, {"AOA", 2}, {"ARS", 2}, {"AUD", 2}, {"AWG", 2},
	 {"AZN", 2}, {"BAM", 2}, {"BBD", 2}, {"BDT", 2}, {"BHD", 3}, {"BIF", 0}, {"BMD", 2}, {"BND", 2},
	 {"BOB", 2}, {"BRL", 2}, {"BSD", 2}, {"BTN", 2}, {"BWP", 2}, {"BYN", 2}, {"BZD", 2}, {"CAD", 2},
	 {"CDF", 2}, {"CHF", 2}, {"CLP", 0}, {"CNY", 2}, {"COP", 2}, {"CRC", 2}, {"CUP", 2}, {"CVE", 2},
	 {"CZK", 2}, {"DJF", 0}, {"DKK", 2}, {"DOP", 2}, {"DZD", 2}, {"EGP", 2}, {"ERN", 2}, {"ETB", 2},
	 {"EUR", 2}, {"FJD", 2}, {"FKP", 2}, {"GBP", 2}, {"GEL", 2}, {"GHS", 2}, {"GIP", 2}, {"GMD", 2},
	 {"GNF", 0}, {"GTQ", 2}, {"GYD", 2}, {"HKD", 2}, {"HNL", 2}, {"HTG", 2}, {"HUF", 2}, {"IDR", 2},
	 {"ILS", 2}, {"INR", 2}, {"IQD", 3}, {"IRR", 2}, {"ISK", 0}, {"JMD", 2}, {"JOD", 3}, {"JPY", 0},
	 {"KES", 2}, {"KGS", 2}, {"KHR", 2}, {"KMF", 0}, {"KPW", 2}, {"KRW", 0}, {"KWD", 3}, {"KYD", 2},
	 {"KZT", 2}, {"LAK", 2}, {"LBP", 2}, {"LKR", 2}, {"LRD", 2}, {"LSL", 2}, {"LYD", 3}, {"MAD", 2},
	 {"MDL", 2}, {"MGA", 2}, {"MKD", 2}, {"MMK", 2}, {"MNT", 2}, {"MOP", 2}, {"MRU", 2}, {"MUR", 2},
	 {"MVR", 2}, {"MWK", 2}, {"MXN", 2}, {"MYR", 2}, {"MZN", 2}, {"NAD", 2}, {"NGN", 2}, {"NIO", 2},
	 {"NOK", 2}, {"NPR", 2}, {"NZD", 2}, {"OMR", 3}, {"PAB", 2}, {"PEN", 2}, {"PGK", 2}, {"PHP", 2},
	 {"PKR", 2}, {"PLN", 2}, {"PYG", 0}, {"QAR", 2}, {"RON", 2}, {"RSD", 2}, {"RUB", 2}, {"RWF", 0},
	 {"SAR", 2}, {"SBD", 2}, {"SCR", 2}, {"SDG", 2}, {"SEK", 2}, {"SGD", 2}, {"SHP", 2}, {"SLE", 2},
	 {"SOS", 2}, {"SRD", 2}, {"SSP", 2}, {"STN", 2}, {"SVC", 2}, {"SYP", 2}, {"SZL", 2}, {"THB", 2},
	 {"TJS", 2}, {"TMT", 2}, {"TND", 3}, {"TOP", 2}, {"TRY", 2}, {"TTD", 2}, {"TWD", 2}, {"TZS", 2},
	 {"UAH", 2}, {"UGX", 0}, {"USD", 2}, {"UYU", 2}, {"UZS", 2}, {"VED", 2}, {"VES", 2}, {"VND", 0},
	 {"VUV", 0}, {"WST", 2}, {"XAF", 0}, {"XCD", 2}, {"XCG", 2}, {"XOF", 0}, {"XPF", 0}, {"YER", 2},
	 {"ZAR", 2}, {"ZMW", 2}, {"ZWG", 2}};

static int
hf_currency_compare(const void *code, const void *currency)
{
	return memcmp(code, ((const HfCurrency *) currency)->code, HF_CURRENCY_LENGTH);
}

/* code need not be terminated. */
static const HfCurrency *
hf_currency_find(const char *code, int length)
{
	if (length != HF_CURRENCY_LENGTH)
		return NULL;
	return bsearch(code, currencies, lengthof(currencies), sizeof(HfCurrency), hf_currency_compare);
}

/* The exponent of a currency's minor unit, or -1 if there is no such currency. */
int
hf_currency_exponent(const char *code)
{
	const HfCurrency *currency = hf_currency_find(code, strlen(code));

	return currency != NULL ? currency->exponent : -1;
}

/* Refuses with HF025 what is not a code of ISO 4217 in capitals.  code need not be terminated. */
void
hf_currency_check(const char *code, int length)
{
	if (hf_currency_find(code, length) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_HF_UNKNOWN_CURRENCY), errmsg("unknown currency"),
				 length == HF_CURRENCY_LENGTH
					 ? errdetail("It is \"%.*s\".", length, code)
					 : errdetail("It has %d bytes; a code has %d.", length, HF_CURRENCY_LENGTH),
				 errhint("Codes are those of holdfast.currencies(), in capitals.")));
}

Datum
holdfast_currencies(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (size_t i = 0; i < lengthof(currencies); i++)
	{
		Datum values[] = {CStringGetTextDatum(currencies[i].code),
						  Int32GetDatum(currencies[i].exponent)};
		bool nulls[lengthof(values)] = {false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
