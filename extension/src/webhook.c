/*
 * webhook.c
 *		SQL functions that sign and verify webhooks.
 *
 * For callers who have secrets of their own, and for holdfast.receive_webhook(), which has those of
 * the providers.  The body is taken as the bytes that came over the wire: it may be empty, and need
 * be no text.  Whether a webhook came before is not asked here; that is record_event()'s business,
 * within the transaction of the effect.
 *
 * No table is read and no lock is taken.  A statement that fails in here stays out of the server's
 * log, whatever it fails for: there may be a secret in it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "signature.h"

PG_FUNCTION_INFO_V1(holdfast_sign_webhook);
PG_FUNCTION_INFO_V1(holdfast_verify_webhook);

/* Reads p_scheme and p_body, which are the first and the third argument, and p_id. */
static HfWebhook
hf_webhook_argument(FunctionCallInfo fcinfo, int id)
{
	HfWebhook webhook = {0};
	bytea *body;

	hf_argument_not_null(fcinfo, 0, "p_scheme");
	hf_argument_not_null(fcinfo, 2, "p_body");
	webhook.scheme = hf_signature_scheme(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	body = PG_GETARG_BYTEA_PP(2);
	webhook.body = VARDATA_ANY(body);
	webhook.length = VARSIZE_ANY_EXHDR(body);
	if (webhook.scheme == HF_STANDARD)
	{
		hf_argument_not_null(fcinfo, id, "p_id");
		webhook.id = text_to_cstring(PG_GETARG_TEXT_PP(id));
	}
	return webhook;
}

/* Reads p_secrets, the second argument. */
static char **
hf_webhook_secrets(FunctionCallInfo fcinfo, int *n)
{
	HfArray array = hf_argument_array(fcinfo, 1, "p_secrets", TEXTOID);
	char **secrets = palloc(sizeof(char *) * array.n);

	hf_argument_array_without_nulls(&array, "p_secrets");
	for (int i = 0; i < array.n; i++)
		secrets[i] = TextDatumGetCString(array.value[i]);
	*n = array.n;
	return secrets;
}

static HfTimeWindow
hf_webhook_window(FunctionCallInfo fcinfo)
{
	HfTimeWindow window;
	const Interval *tolerance;

	hf_argument_not_null(fcinfo, 6, "p_tolerance");
	tolerance = PG_GETARG_INTERVAL_P(6);
	window.tolerance =
		(tolerance->month * (double) DAYS_PER_MONTH + tolerance->day) * USECS_PER_DAY +
		tolerance->time;
	if (window.tolerance <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("p_tolerance must be positive")));
	window.now = PG_ARGISNULL(7) ? GetCurrentTimestamp() : PG_GETARG_TIMESTAMPTZ(7);
	if (TIMESTAMP_NOT_FINITE(window.now))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("p_now must be finite")));
	return window;
}

static char *
hf_webhook_sign(FunctionCallInfo fcinfo)
{
	HfWebhook webhook = hf_webhook_argument(fcinfo, 3);
	int64 seconds;

	hf_argument_not_null(fcinfo, 1, "p_secret");
	hf_argument_not_null(fcinfo, 4, "p_timestamp");
	seconds = PG_GETARG_INT64(4);
	if (seconds < 0 || seconds > HF_WEBHOOK_SECONDS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("p_timestamp out of range"),
				 errdetail("It is %lld; seconds since 1970 are meant.", (long long) seconds)));
	webhook.timestamp = psprintf("%lld", (long long) seconds);
	return hf_signature_make(&webhook, text_to_cstring(PG_GETARG_TEXT_PP(1)));
}

static void
hf_webhook_verify(FunctionCallInfo fcinfo)
{
	HfWebhook webhook = hf_webhook_argument(fcinfo, 4);
	HfTimeWindow window;
	char **secrets;
	int nsecrets;

	secrets = hf_webhook_secrets(fcinfo, &nsecrets);
	hf_argument_not_null(fcinfo, 3, "p_signature");
	if (webhook.scheme == HF_STANDARD)
	{
		hf_argument_not_null(fcinfo, 5, "p_timestamp");
		webhook.timestamp = text_to_cstring(PG_GETARG_TEXT_PP(5));
	}
	window = hf_webhook_window(fcinfo);
	hf_signature_verify(&webhook, text_to_cstring(PG_GETARG_TEXT_PP(3)), secrets, nsecrets,
						&window);
}

/* Error context callback: the statement is not to be logged. */
static void
hf_webhook_hide_statement(void *arg)
{
	errhidestmt(true);
}

Datum
holdfast_sign_webhook(PG_FUNCTION_ARGS)
{
	ErrorContextCallback context = {.previous = error_context_stack,
									.callback = hf_webhook_hide_statement};
	char *header;

	error_context_stack = &context;
	header = hf_webhook_sign(fcinfo);
	error_context_stack = context.previous;
	PG_RETURN_TEXT_P(cstring_to_text(header));
}

Datum
holdfast_verify_webhook(PG_FUNCTION_ARGS)
{
	ErrorContextCallback context = {.previous = error_context_stack,
									.callback = hf_webhook_hide_statement};

	error_context_stack = &context;
	hf_webhook_verify(fcinfo);
	error_context_stack = context.previous;
	PG_RETURN_VOID();
}
