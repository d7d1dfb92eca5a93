/*
 * purchase.c
 *		Purchases in sales: all that wait are one statement.
 *
 * A purchase is a line.  Lines that arrive while a batch is under way collect, in the order of
 * their arrival; the next batch takes them all.  There is no timer: a lone line goes with the next
 * pass of the loop, and the batches grow by themselves with the load.
 *
 * Lines do not depend on each other: what is wrong with one is its own verdict.  A batch that fails
 * as a whole is sent again by halves, so that in the end only the line fails that was to blame.  A
 * batch whose connection was lost is sent again, once, after PAUSE: its lines have idempotency
 * keys, so those that were bought are answered with their orders and the others are bought now.
 *
 * Invariants: lines of a worker are as many as purchase_queue at most, waiting or under way.  A
 * line holds its request and is answered once.  Nobody is sent whose client has left or was
 * answered meanwhile.  Nobody is let in behind a line that has waited for purchase_wait, so that
 * when there are more than can be served, those who are let in do not wait without end and the
 * others know at once.  Without a connection for PATIENCE whoever waits is told so.  A worker
 * that dies with lines leaves no more than what the database knows, which the key finds.
 */
#include "kore.h"

#include "call.h"
#include "live.h"
#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "purchase.h"
#include "reply.h"

#include <sys/queue.h>

#define KEY_MAX		 255
#define NUMBER_BYTES 20 /* of a bigint, with a comma */
#define KEY_BYTES	 (2 * KEY_MAX + 3)
#define PATIENCE	 1000 /* milliseconds */
#define TICK		 100
#define PAUSE		 50 /* milliseconds: by then it is known which other connections are lost */
#define LONG		 20 /* milliseconds: a batch that takes longer is not waited for */

typedef struct Line
{
	STAILQ_ENTRY(Line) link;
	HfRequest *request;
	uint64_t since; /* hf_loop_now() */
	int64_t sale;
	int64_t quantity;
	const char *refusal; /* of one that only asks; a SQLSTATE, or NULL */
	char key[KEY_MAX + 1];
} Line;

STAILQ_HEAD(LineList, Line);

typedef struct Batch
{
	STAILQ_ENTRY(Batch) link;
	struct LineList line;
	unsigned lines;
	bool lost; /* once already */
} Batch;

static struct LineList arrived = STAILQ_HEAD_INITIALIZER(arrived);
static STAILQ_HEAD(, Batch) again = STAILQ_HEAD_INITIALIZER(again); /* go before those */
static unsigned lines, batches; /* all lines; batches under way */
static uint64_t sent_at;		/* when the last of those was sent */
static unsigned waiting;		/* lines that have arrived and were not sent */
static uint64_t up_at;			/* when there was a connection last, as far as anybody has looked */
static bool alarmed;			/* wake() will be called */

static struct LineList spare = STAILQ_HEAD_INITIALIZER(spare);
static char *text; /* of the four arrays of a batch */

static void
free_line(Line *line)
{
	hf_request_release(line->request);
	STAILQ_INSERT_HEAD(&spare, line, link);
	lines--;
}

static Batch *
new_batch(void)
{
	Batch *batch = calloc(1, sizeof(*batch));

	if (batch != NULL)
		STAILQ_INIT(&batch->line);
	return batch;
}

/*
 * Moves up to n lines whose clients still wait into a batch; the others are let go.  How many have
 * left.
 */
static unsigned
move_lines(Batch *to, struct LineList *from, unsigned n)
{
	unsigned taken = 0;

	for (; to->lines < n && !STAILQ_EMPTY(from); taken++)
	{
		Line *line = STAILQ_FIRST(from);

		STAILQ_REMOVE_HEAD(from, link);
		if (!hf_request_is_open(line->request))
		{
			free_line(line);
			continue;
		}
		STAILQ_INSERT_TAIL(&to->line, line, link);
		to->lines++;
	}
	return taken;
}

/* Tells all lines of a batch that nothing is known of them, and frees it. */
static void
give_up(Batch *batch)
{
	Line *line;

	while ((line = STAILQ_FIRST(&batch->line)) != NULL)
	{
		STAILQ_REMOVE_HEAD(&batch->line, link);
		if (hf_request_is_open(line->request))
			hf_call_unknown(line->request, HF_PROBLEM_UNAVAILABLE);
		free_line(line);
	}
	free(batch);
}

/* Answers a line with its row: line, verdict, pointer, detail, etag, location, replayed, body. */
static void
answer_line(Line *line, const HfPgAnswer *answer, int row)
{
	HfRequest *request = line->request;
	HfText verdict = hf_pg_value(answer, row, 1), replayed = hf_pg_value(answer, row, 6);
	HfRow found = {.status = 201,
				   .etag = hf_pg_value(answer, row, 4),
				   .location = hf_pg_value(answer, row, 5),
				   .body = hf_pg_value(answer, row, 7),
				   .replayed = replayed.length == 1 && *replayed.data == 't'};
	const HfProblem *problem;

	if (verdict.length == 5 && memcmp(verdict.data, "HS403", 5) == 0)
		hf_live_sold_out(line->sale);
	if (!hf_request_is_open(request))
		return;
	if (verdict.length == 5 && memcmp(verdict.data, "00000", 5) == 0)
	{
		hf_call_reply(request, &found);
		return;
	}
	if (line->quantity < 0 && verdict.length == 5 && memcmp(verdict.data, "HF003", 5) == 0)
	{
		if (line->refusal != NULL)
			hf_reply_refusal(request, hf_problem_of_sqlstate(line->refusal), NULL, NULL);
		else
			hf_reply_problem(request, HF_PROBLEM_INVALID_TICKET, "/ticket",
							 "it has expired; draw a new one");
		return;
	}
	problem = verdict.length == 5 ? hf_problem_of_sqlstate(verdict.data) : NULL;
	if (problem == NULL)
	{
		hf_log(HF_LOG_ERROR, "statement_failed", "rest.sale_purchase_batch: verdict %.5s",
			   verdict.length == 5 ? verdict.data : "?");
		problem = hf_problem(HF_PROBLEM_INTERNAL);
	}
	hf_reply_refusal(request, problem, hf_pg_value(answer, row, 2).data,
					 hf_call_detail(problem, hf_pg_value(answer, row, 3).data));
}

/* The rows of a batch stand in the order of its lines. */
static void
answer_lines(Batch *batch, const HfPgAnswer *answer)
{
	Line *line;
	int row = 0;

	while ((line = STAILQ_FIRST(&batch->line)) != NULL)
	{
		STAILQ_REMOVE_HEAD(&batch->line, link);
		answer_line(line, answer, row++);
		free_line(line);
	}
	free(batch);
}

/* Is it no use to send what was refused in other company? */
static bool
is_hopeless(const char *sqlstate)
{
	static const char *const classes[] = {"08", "25", "53", "57P", "58"};

	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (strncmp(sqlstate, classes[i], strlen(classes[i])) == 0)
			return true;
	return false;
}

/* A batch failed as a whole: its halves go again, before all others. */
static void
split(Batch *batch, const HfPgAnswer *answer)
{
	Batch *first = new_batch();
	Line *line;

	if (batch->lines == 1 || first == NULL || is_hopeless(answer->sqlstate))
	{
		free(first);
		STAILQ_FOREACH(line, &batch->line, link)
		if (hf_request_is_open(line->request))
			hf_call_refused(line->request, hf_call_sale_purchase_batch.function, answer);
		give_up(batch);
		return;
	}
	hf_metrics_add(HF_METRIC_PURCHASE_SPLITS, 1);
	for (unsigned half = (batch->lines + 1) / 2; first->lines < half; first->lines++)
	{
		line = STAILQ_FIRST(&batch->line);
		STAILQ_REMOVE_HEAD(&batch->line, link);
		STAILQ_INSERT_TAIL(&first->line, line, link);
	}
	batch->lines -= first->lines;
	first->lost = batch->lost;
	STAILQ_INSERT_HEAD(&again, batch, link);
	STAILQ_INSERT_HEAD(&again, first, link);
}

/* A batch whose connection was lost goes again. */
static void
come_again(void *arg)
{
	Batch *batch = arg;

	STAILQ_INSERT_TAIL(&again, batch, link);
	hf_loop_ask();
}

static void
answered(void *arg, const HfPgAnswer *answer)
{
	Batch *batch = arg;

	batches--;
	if (answer->outcome == HF_PG_ROWS && answer->rows == (int) batch->lines)
		answer_lines(batch, answer);
	else if (answer->outcome == HF_PG_REFUSED)
		split(batch, answer);
	else if (answer->outcome == HF_PG_LOST && !batch->lost)
	{
		batch->lost = true;
		hf_loop_after(PAUSE, come_again, batch);
	}
	else
		give_up(batch);
	hf_loop_ask();
}

static size_t
write_key(char *to, const char *key)
{
	size_t used = 0;

	to[used++] = '"';
	for (; *key != '\0'; key++)
	{
		if (*key == '"' || *key == '\\')
			to[used++] = '\\';
		to[used++] = *key;
	}
	to[used++] = '"';
	to[used++] = ',';
	return used;
}

static size_t
write_number(char *to, int64_t number)
{
	return (size_t) sprintf(to, "%lld,", (long long) number);
}

/* Writes one of the arrays after `at`, which ends where the next may begin. */
static HfText
write_array(char **at, const Batch *batch, int column)
{
	HfText array = {*at, 0};
	const Line *line;

	*(*at)++ = '{';
	STAILQ_FOREACH(line, &batch->line, link)
	switch (column)
	{
		case 0:
			*at += write_number(*at, line->request->account);
			break;
		case 1:
			*at += write_key(*at, line->key);
			break;
		case 2:
			*at += write_number(*at, line->sale);
			break;
		default:
			*at += write_number(*at, line->quantity);
	}
	(*at)[-1] = '}';
	array.length = (size_t) (*at - array.data);
	return array;
}

/* Sends a batch; false if the lane does not take it. */
static bool
send_batch(Batch *batch)
{
	HfText values[4];
	char *at = text;

	for (int i = 0; i < 4; i++)
		values[i] = write_array(&at, batch, i);
	if (!hf_pg_send(hf_call_sale_purchase_batch.lane, hf_call_sale_purchase_batch.statement, values,
					4, answered, batch))
		return false;
	batches++;
	sent_at = hf_loop_now();
	hf_metrics_add(HF_METRIC_PURCHASE_BATCHES, 1);
	hf_metrics_add(HF_METRIC_PURCHASE_LINES, batch->lines);
	return true;
}

/* The next batch: what is to go again, or all that have arrived; NULL if nobody waits. */
static Batch *
next_batch(void)
{
	Batch *old = STAILQ_FIRST(&again), *batch;

	if (old == NULL && STAILQ_EMPTY(&arrived))
		return NULL;
	batch = new_batch();
	if (batch == NULL)
		return NULL;
	if (old != NULL)
	{
		STAILQ_REMOVE_HEAD(&again, link);
		batch->lost = old->lost;
		(void) move_lines(batch, &old->line, old->lines);
		free(old);
	}
	else
		waiting -= move_lines(batch, &arrived, hf_config.purchase_batch);
	return batch;
}

/*
 * Is it time for the next batch?  Few large ones cost the database less than many small ones, so
 * while one is under way another goes only if it is full, or that one takes long.
 */
static bool
is_time(void)
{
	HfPgState lane;

	hf_pg_state(hf_call_sale_purchase_batch.lane, &lane);
	return batches < lane.up &&
		(batches == 0 || !STAILQ_EMPTY(&again) || waiting >= hf_config.purchase_batch ||
		 hf_loop_now() - sent_at >= LONG);
}

static void
send_batches(void)
{
	Batch *batch;

	while (is_time() && (batch = next_batch()) != NULL)
	{
		if (batch->lines == 0)
			free(batch);
		else if (!send_batch(batch))
		{
			STAILQ_INSERT_HEAD(&again, batch, link);
			return;
		}
	}
}

/* Is there no connection, and not only for the moment that it takes to make one? */
static bool
is_down(void)
{
	HfPgState lane;

	hf_pg_state(hf_call_sale_purchase_batch.lane, &lane);
	if (lane.up > 0)
		up_at = hf_loop_now();
	return hf_loop_now() - up_at > PATIENCE;
}

/* Whoever waits for a connection in vain is told so. */
static void
watch(void)
{
	Batch *batch;

	hf_metrics_set(HF_METRIC_PURCHASES_WAITING, lines);
	if (is_down())
		while ((batch = next_batch()) != NULL)
			give_up(batch);
	send_batches();
}

bool
hf_purchase_start(void)
{
	size_t bytes = hf_config.purchase_batch * (3 * (NUMBER_BYTES + 1) + KEY_BYTES) + 4 * 2;
	Line *all = calloc(hf_config.purchase_queue, sizeof(Line));

	text = malloc(bytes);
	if (all == NULL || text == NULL)
	{
		free(all);
		return false;
	}
	for (unsigned i = 0; i < hf_config.purchase_queue; i++)
		STAILQ_INSERT_HEAD(&spare, &all[i], link);
	hf_loop_at_pass(send_batches);
	hf_loop_every(TICK, watch);
	return true;
}

static void wake(void *arg);

/* Whoever waits while a batch is young need not wait for it once it takes long. */
static void
set_alarm(void)
{
	if (alarmed || batches == 0 || waiting == 0)
		return;
	alarmed = true;
	hf_loop_after(LONG, wake, NULL);
}

static void
wake(void *arg)
{
	(void) arg;
	alarmed = false;
	send_batches();
	set_alarm();
}

/* Are there more than can be served?  Then who comes last is better told at once. */
static bool
is_full(void)
{
	const Line *first = STAILQ_FIRST(&arrived);

	return STAILQ_EMPTY(&spare) ||
		(first != NULL && hf_loop_now() - first->since > hf_config.purchase_wait);
}

void
hf_purchase(HfRequest *request, int64_t sale, const HfText *key, int64_t quantity,
			const char *refusal)
{
	Line *line;

	if (is_full() || is_down() || !hf_problem_loaded())
	{
		hf_metrics_add(HF_METRIC_PURCHASES_FULL, 1);
		hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
		return;
	}
	line = STAILQ_FIRST(&spare);
	STAILQ_REMOVE_HEAD(&spare, link);
	lines++;
	line->request = request;
	line->since = hf_loop_now();
	line->sale = sale;
	line->quantity = quantity;
	line->refusal = refusal;
	hf_text_copy(line->key, sizeof(line->key), key);
	hf_request_hold(request);
	STAILQ_INSERT_TAIL(&arrived, line, link);
	waiting++;
	hf_loop_ask();
	set_alarm();
}
