/*
 * script.c
 *		What a buyer does.
 *
 * A visit is a walk over steps, each a request.  A step is entered once and tried perhaps several
 * times, always with the same Idempotency-Key; it is reported when it is finished, so once.
 */
#include "script.h"
#include "options.h"

#include <stdio.h>
#include <string.h>

#define HEAD_ROOM 2048
#define PAUSE	  UINT64_C(100000000) /* before the next try, if nobody says how long */

/* What a request says before and behind the order's id, if any, up to its last headers. */
typedef struct Template
{
	char before[HEAD_ROOM];
	char after[HEAD_ROOM];
	size_t before_length;
	size_t after_length;
	bool has_key;
} Template;

static Template template[HF_STEPS];
static HfStep main_step;
static uint64_t state;

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t
random_number(void)
{
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static bool
happens(double share)
{
	return share > 0 && (double) (random_number() >> 11) * 0x1p-53 < share;
}

/* A new key, in the form of a UUID (RFC 9562, version 4). */
static void
new_key(char *key)
{
	static const char digits[] = "0123456789abcdef";
	uint64_t bits = 0;

	for (int i = 0; i < 36; i++)
	{
		if (i == 0 || i == 19)
			bits = random_number();
		if (i == 8 || i == 13 || i == 18 || i == 23)
			key[i] = '-';
		else if (i == 14)
			key[i] = '4';
		else if (i == 19)
			key[i] = digits[8 + (bits & 3)];
		else
			key[i] = digits[bits & 15];
		bits >>= i == 8 || i == 13 || i == 18 || i == 23 ? 0 : 4;
	}
	key[36] = '\0';
}

static void
prepare(HfStep step, const char *method, const char *before, const char *after, bool has_body)
{
	Template *of = &template[step];
	int length = snprintf(of->before, HEAD_ROOM, "%s %s", method, before);
	int more =
		snprintf(of->after, HEAD_ROOM, "%s HTTP/1.1\r\nHost: %s\r\n%s%s", after, hf_options.host,
				 hf_options.headers, has_body ? "Content-Type: application/json\r\n" : "");

	if (length >= HEAD_ROOM || more >= HEAD_ROOM)
		hf_die("the path or the headers are too long");
	of->before_length = (size_t) length;
	of->after_length = (size_t) more;
}

HfStep
hf_script_prepare(void)
{
	const HfOptions *o = &hf_options;
	const char *sale = o->sale != NULL ? o->sale : "";
	char path[256];

	state = o->seed;
	if (o->path != NULL)
		prepare(HF_STEP_POST, o->method, o->path, "", o->body != NULL);
	template[HF_STEP_POST].has_key = o->keys;
	snprintf(path, sizeof(path), "/v1/sales/%.128s/tickets", sale);
	prepare(HF_STEP_TICKET, "POST", path, "", false);
	snprintf(path, sizeof(path), "/v1/sales/%.128s/purchases", sale);
	prepare(HF_STEP_PURCHASE, "POST", path, "", true);
	prepare(HF_STEP_AGAIN, "POST", path, "", true);
	prepare(HF_STEP_PAYMENT, "POST", "/v1/orders/", "/payments", true);
	prepare(HF_STEP_ORDER, "GET", "/v1/orders/", "", false);
	template[HF_STEP_PURCHASE].has_key = template[HF_STEP_AGAIN].has_key = true;
	template[HF_STEP_PAYMENT].has_key = true;
	main_step = o->mode == HF_MODE_POST ? HF_STEP_POST
		: o->mode == HF_MODE_TICKET		? HF_STEP_TICKET
										: HF_STEP_PURCHASE;
	return main_step;
}

size_t
hf_script_room(void)
{
	size_t body = hf_options.body != NULL ? strlen(hf_options.body) : 0;

	/* Heads, token, and what is small. */
	return 2 * HEAD_ROOM + 4096 + HF_TICKET_ROOM + strlen(hf_options.payment) + 512 + body;
}

static char *
put(char *at, const char *text, size_t length)
{
	memcpy(at, text, length);
	return at + length;
}

#define PUT(at, text) put(at, text, sizeof(text) - 1)

/* The body of a step; room is for those that are made here. */
static HfPiece
body_of(const HfBuyer *buyer, char *room, size_t size)
{
	int length = 0;

	if (buyer->step == HF_STEP_POST && hf_options.body != NULL)
		return (HfPiece){hf_options.body, strlen(hf_options.body)};
	if (buyer->step == HF_STEP_PURCHASE || buyer->step == HF_STEP_AGAIN)
		length = snprintf(room, size, "{\"ticket\":\"%s\",\"quantity\":%u}", buyer->ticket,
						  hf_options.quantity);
	else if (buyer->step == HF_STEP_PAYMENT)
		length = snprintf(room, size, "{\"provider\":\"simulated\",\"method\":\"%s\"}",
						  hf_options.payment);
	return (HfPiece){room, (size_t) length};
}

size_t
hf_script_write(const HfBuyer *buyer, char *out)
{
	const Template *of = &template[buyer->step];
	char room[HF_TICKET_ROOM + 256], length[32];
	HfPiece body = body_of(buyer, room, sizeof(room));
	char *at = put(out, of->before, of->before_length);

	if (buyer->step == HF_STEP_PAYMENT || buyer->step == HF_STEP_ORDER)
		at = put(at, buyer->order, strlen(buyer->order));
	at = put(at, of->after, of->after_length);
	if (buyer->token != NULL)
	{
		at = PUT(at, "Authorization: Bearer ");
		at = put(at, buyer->token, buyer->token_length);
		at = PUT(at, "\r\n");
	}
	if (of->has_key)
	{
		at = PUT(at, "Idempotency-Key: ");
		at = put(at, buyer->key, strlen(buyer->key));
		at = PUT(at, "\r\n");
	}
	/* GET has no body, and then no length. */
	if (of->before[0] != 'G' || body.length > 0)
		at = put(at, length,
				 (size_t) snprintf(length, sizeof(length), "Content-Length: %zu\r\n", body.length));
	at = PUT(at, "\r\n");
	return (size_t) (put(at, body.data, body.length) - out);
}

/* The buyer turns to a step, which begins, or is to begin, at this time. */
static HfNext
enter(HfBuyer *buyer, HfStep step, uint64_t begun)
{
	buyer->step = step;
	buyer->begun = begun;
	buyer->tries = 0;
	buyer->left = false;
	if (step != HF_STEP_AGAIN && template[step].has_key)
		new_key(buyer->key);
	else if (step != HF_STEP_AGAIN)
		buyer->key[0] = '\0';
	return HF_NEXT_GO;
}

void
hf_script_begin(HfBuyer *buyer, uint64_t now, uint64_t late)
{
	bool draws = main_step == HF_STEP_PURCHASE && !buyer->has_ticket;

	buyer->late = late;
	buyer->order[0] = '\0';
	if (draws && hf_options.mode == HF_MODE_SOLD_OUT)
		hf_die("account %s has no ticket", buyer->account);
	enter(buyer, draws ? HF_STEP_TICKET : main_step, now);
}

bool
hf_script_leaves(HfBuyer *buyer)
{
	return buyer->step == HF_STEP_PURCHASE && !buyer->left && happens(hf_options.leave);
}

static HfNext
pause_until(HfBuyer *buyer, uint64_t time)
{
	buyer->wake = time;
	return HF_NEXT_PAUSE;
}

/* Asks again whether the order is paid, later, or gives up. */
static HfNext
ask_later(HfBuyer *buyer, uint64_t now)
{
	if (now - buyer->paying >= hf_options.pay_timeout)
	{
		hf_report_fate(HF_FATE_UNPAID);
		return HF_NEXT_END;
	}
	enter(buyer, HF_STEP_ORDER, now + hf_options.poll);
	return pause_until(buyer, now + hf_options.poll);
}

/* The buyer has the order: pays, or not. */
static HfNext
bought(HfBuyer *buyer, uint64_t now)
{
	if (hf_options.mode != HF_MODE_WHOLE)
		return HF_NEXT_END;
	if (happens(hf_options.abandon))
	{
		hf_report_fate(HF_FATE_ABANDONED);
		return HF_NEXT_END;
	}
	buyer->paying = now;
	return enter(buyer, HF_STEP_PAYMENT, now);
}

/* Copies a value that has room; false if it has not, or is none. */
static bool
copy(char *into, size_t room, HfPiece value)
{
	if (value.data == NULL || value.length == 0 || value.length >= room)
		return false;
	memcpy(into, value.data, value.length);
	into[value.length] = '\0';
	return true;
}

static bool
equals(HfPiece piece, const char *text)
{
	return piece.data != NULL && piece.length == strlen(text) &&
		memcmp(piece.data, text, piece.length) == 0;
}

/* What follows a step that was answered as it should be. */
static HfNext
succeeded(HfBuyer *buyer, const HfAnswer *answer, uint64_t now)
{
	HfPiece status;

	switch (buyer->step)
	{
		case HF_STEP_TICKET:
			return main_step == HF_STEP_TICKET ? HF_NEXT_END : enter(buyer, HF_STEP_PURCHASE, now);
		case HF_STEP_PURCHASE:
			return happens(hf_options.twice) ? enter(buyer, HF_STEP_AGAIN, now)
											 : bought(buyer, now);
		case HF_STEP_AGAIN:
			if (!equals(hf_answer_field(answer, "id"), buyer->order))
				hf_report_fate(HF_FATE_DIFFERENT);
			else
				hf_report_fate(HF_FATE_SAME);
			return bought(buyer, now);
		case HF_STEP_PAYMENT:
			return ask_later(buyer, now);
		case HF_STEP_ORDER:
			status = hf_answer_field(answer, "status");
			if (equals(status, "pending_payment"))
				return ask_later(buyer, now);
			hf_report_fate(equals(status, "paid") ? HF_FATE_PAID : HF_FATE_UNPAID);
			return HF_NEXT_END;
		default:
			return HF_NEXT_END;
	}
}

/* What follows a step that was refused, or never answered. */
static HfNext
failed(HfBuyer *buyer, uint64_t now)
{
	if (buyer->step == HF_STEP_ORDER)
		return ask_later(buyer, now);
	if (buyer->step == HF_STEP_PAYMENT)
		hf_report_fate(HF_FATE_UNPAID);
	if (buyer->step == HF_STEP_AGAIN)
		hf_report_fate(HF_FATE_DIFFERENT);
	return HF_NEXT_END;
}

static HfNext
try_again(HfBuyer *buyer, HfPiece why, uint64_t at)
{
	buyer->tries++;
	hf_report_retry(why);
	return pause_until(buyer, at);
}

HfNext
hf_script_answered(HfBuyer *buyer, const HfAnswer *answer, uint64_t now)
{
	HfPiece code = {NULL, 0}, order = {NULL, 0};

	if (answer->status >= 400)
	{
		code = hf_answer_field(answer, "code");
		if ((answer->status == 503 || answer->retry_after > 0) && buyer->tries < hf_options.retries)
			return try_again(buyer, code.data != NULL ? code : (HfPiece){"503", 3},
							 now +
								 (answer->retry_after > 0
									  ? answer->retry_after * UINT64_C(1000000000)
									  : PAUSE));
	}
	else if (buyer->step == HF_STEP_TICKET)
		copy(buyer->ticket, sizeof(buyer->ticket), hf_answer_field(answer, "ticket"));
	else if (buyer->step == HF_STEP_PURCHASE || hf_options.journal != NULL)
	{
		order = hf_answer_field(answer, "id");
		if (buyer->step == HF_STEP_PURCHASE)
			copy(buyer->order, sizeof(buyer->order), order);
	}
	hf_report_finished(buyer, answer->status, code, order, now);
	return answer->status < 300 ? succeeded(buyer, answer, now) : failed(buyer, now);
}

HfNext
hf_script_lost(HfBuyer *buyer, HfTrouble why, uint64_t now)
{
	const char *name = hf_report_name_trouble(why);
	HfPiece piece = {name, strlen(name)};

	hf_report_trouble(why);
	if (why == HF_TROUBLE_LEFT)
	{
		buyer->left = true;
		return pause_until(buyer, now + PAUSE);
	}
	if (buyer->tries < hf_options.retries)
		return try_again(buyer, piece, now + PAUSE);
	hf_report_finished(buyer, 0, piece, (HfPiece){NULL, 0}, now);
	return failed(buyer, now);
}
