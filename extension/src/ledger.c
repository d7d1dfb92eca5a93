/*
 * ledger.c
 *		The ledger of money, _holdfast.ledger_entry: the check that it balances.
 *
 * A deferred constraint trigger: at commit, or at PREPARE TRANSACTION, the entries of every payment
 * that was written to sum to zero, whoever wrote them.  Entries are written by payment_row.c.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "commands/trigger.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"

#include "arguments.h"
#include "errors.h"
#include "row.h"

PG_FUNCTION_INFO_V1(holdfast_check_ledger);

/* Columns of _holdfast.ledger_entry, and of its key, as sql/payment.sql creates them. */
enum
{
	COL_ACCOUNT = 1,
	COL_PAYMENT,
	COL_EVENT,
	COL_BOOK,
	COL_AMOUNT,
	COL_BOOKED_AT,
	COL_CURRENCY
};

/* The sum of the entries, as far as a bigint goes; false if one is of another currency. */
static bool
hf_ledger_sum(HfStore *store, Datum account, Datum payment, Datum currency, int64 *sum)
{
	HfTable *table = hf_row_table(store, HF_LEDGER);
	ScanKeyData keys[2];
	HfScan scan;
	bool same = true;
	int128 total = 0;

	ScanKeyInit(&keys[0], COL_ACCOUNT, BTEqualStrategyNumber, F_INT8EQ, account);
	ScanKeyInit(&keys[1], COL_PAYMENT, BTEqualStrategyNumber, F_UUID_EQ, payment);
	hf_row_scan(&scan, table, table->primary, keys, 2, NULL);
	while (hf_row_next(&scan, ForwardScanDirection))
	{
		slot_getallattrs(table->found);
		total += DatumGetInt64(table->found->tts_values[COL_AMOUNT - 1]);
		same =
			same && datum_image_eq(table->found->tts_values[COL_CURRENCY - 1], currency, false, -1);
	}
	hf_row_stop(&scan);
	*sum = total > PG_INT64_MAX ? PG_INT64_MAX
		: total < PG_INT64_MIN	? PG_INT64_MIN
								: (int64) total;
	return same;
}

Datum
holdfast_check_ledger(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc descriptor;
	HfStore *store;
	Datum payment, currency;
	bool isnull, same;
	int64 sum;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("_holdfast.check_ledger() was not called by a trigger")));
	descriptor = RelationGetDescr(trigger->tg_relation);
	payment = heap_getattr(trigger->tg_trigtuple, COL_PAYMENT, descriptor, &isnull);
	currency = heap_getattr(trigger->tg_trigtuple, COL_CURRENCY, descriptor, &isnull);

	store = hf_row_begin_reading();
	same =
		hf_ledger_sum(store, heap_getattr(trigger->tg_trigtuple, COL_ACCOUNT, descriptor, &isnull),
					  payment, currency, &sum);
	hf_row_end(store);
	if (!same || sum != 0)
		ereport(ERROR,
				(errcode(ERRCODE_HF_LEDGER_UNBALANCED), errmsg("ledger does not balance"),
				 same ? errdetail("The entries of payment %s sum to %lld.",
								  hf_uuid_text(DatumGetUUIDP(payment)), (long long) sum)
					  : errdetail("The entries of payment %s are of several currencies.",
								  hf_uuid_text(DatumGetUUIDP(payment))),
				 errhint("Write both sides of an entry in one transaction.")));
	return PointerGetDatum(NULL);
}
