/*
 * main.c
 *		Plays the buyers of a sale: one thread, many connections.
 *
 * A visit is what a buyer does from his first request to his last.  Visits begin whenever somebody
 * is idle (closed loop), or at times that are fixed beforehand, the nth at n / rate (open loop);
 * one whose time has come waits for a connection and for a buyer, and is as late as that.  Buyers
 * who have paused come before new ones.
 */
#include "connection.h"
#include "options.h"

#include <signal.h>
#include <stdlib.h>

#define NEVER UINT64_MAX
#define SWEEP UINT64_C(50000000)
#define REST  UINT64_C(100000000)

/* Connections in order. */
typedef struct Ring
{
	unsigned *of;
	unsigned first;
	unsigned n;
} Ring;

static Ring unused;		 /* the one that has been so for longest first */
static Ring resting;	 /* those that could not be opened */
static uint64_t *rested; /* by connection: when it may be tried again */
static uint64_t start, visits, active;
static bool stopped;
static volatile sig_atomic_t interrupted;

static void
append(Ring *ring, unsigned connection)
{
	ring->of[(ring->first + ring->n++) % hf_options.connections] = connection;
}

static unsigned
take_first(Ring *ring)
{
	unsigned connection = ring->of[ring->first];

	ring->first = (ring->first + 1) % hf_options.connections;
	ring->n--;
	return connection;
}

static void
on_signal(int number)
{
	(void) number;
	interrupted = 1;
}

/* When the next visit is to begin. */
static uint64_t
next_visit(void)
{
	uint64_t limit = hf_options.once ? hf_buyers_count() : hf_options.requests;

	if (stopped || (limit > 0 && visits >= limit))
		return NEVER;
	return hf_options.rate > 0 ? start + (uint64_t) ((double) visits * 1e9 / hf_options.rate)
							   : start;
}

/* The buyer who is to go on, or to begin, now; NULL: nobody. */
static HfBuyer *
next_buyer(uint64_t now)
{
	HfBuyer *buyer = hf_buyers_first_asleep();
	uint64_t due = next_visit();

	if (buyer != NULL && buyer->wake <= now)
		return hf_buyers_wake();
	if (due > now || (buyer = hf_buyers_take()) == NULL)
		return NULL;
	visits++;
	active++;
	hf_script_begin(buyer, now, hf_options.rate > 0 ? now - due : 0);
	return buyer;
}

/*
 * A connection is free.  Who has more to ask goes on with it; all others get their turn from the
 * loop, so that one connection that fails again and again keeps nobody.
 */
static void
on_free(unsigned connection, HfBuyer *buyer, HfNext next, uint64_t now)
{
	if (next == HF_NEXT_GO)
	{
		hf_connection_run(connection, buyer, now);
		return;
	}
	if (next == HF_NEXT_PAUSE)
		hf_buyers_pause(buyer);
	else
	{
		active--;
		hf_buyers_give_back(buyer);
	}
	if (hf_connection_failed(connection))
	{
		rested[connection] = now + REST;
		append(&resting, connection);
	}
	else
		append(&unused, connection);
}

/* Puts unused connections to work; those that a request has left meanwhile get their turn later. */
static void
serve(uint64_t now)
{
	unsigned n;
	HfBuyer *buyer;

	while (resting.n > 0 && rested[resting.of[resting.first]] <= now)
		append(&unused, take_first(&resting));
	n = unused.n;
	while (n-- > 0 && (buyer = next_buyer(now)) != NULL)
	{
		hf_connection_run(take_first(&unused), buyer, now);
		now = hf_now();
	}
}

/* When the loop has to look again, if nothing happens. */
static uint64_t
next_time(uint64_t sweep)
{
	const HfBuyer *asleep = hf_buyers_first_asleep();
	uint64_t time = sweep, visit = next_visit();

	if (resting.n > 0 && rested[resting.of[resting.first]] < time)
		time = rested[resting.of[resting.first]];
	if (unused.n > 0 && hf_buyers_any_idle() && visit < time)
		time = visit;
	if (unused.n > 0 && asleep != NULL && asleep->wake < time)
		time = asleep->wake;
	return time;
}

/* No visit begins any more once the time is over, or everything has been asked for. */
static void
stop_if_due(uint64_t now)
{
	bool over = hf_options.duration > 0 && now - start >= hf_options.duration;

	if (!stopped && (over || interrupted || next_visit() == NEVER))
	{
		stopped = true;
		hf_report_stop(now);
	}
}

/* How many visits of an open loop should have begun before its end, and have not. */
static uint64_t
not_begun(void)
{
	double due = (double) hf_options.duration / 1e9 * hf_options.rate;
	uint64_t whole = (uint64_t) due + ((double) (uint64_t) due < due);

	if (hf_options.requests > 0 && whole > hf_options.requests)
		whole = hf_options.requests;
	return whole > visits ? whole - visits : 0;
}

/* Runs until everything is answered, or the time for that is over too. */
static void
run(void)
{
	uint64_t now = start, sweep = start + SWEEP, line = start + hf_options.interval, end = NEVER;

	while (!stopped || (active > 0 && now < end))
	{
		serve(now);
		hf_connections_wait(now, next_time(sweep));
		now = hf_now();
		if (now >= sweep)
		{
			hf_connections_sweep(now);
			sweep = now + SWEEP;
		}
		if (hf_options.progress && now >= line)
		{
			hf_report_progress(now);
			line += hf_options.interval;
		}
		stop_if_due(now);
		if (stopped && end == NEVER && (hf_options.duration > 0 || interrupted))
			end = now + hf_options.grace;
	}
}

int
main(int argc, char **argv)
{
	hf_options_read(argc, argv);
	hf_buyers_load();
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGPIPE, SIG_IGN);
	unused.of = calloc(hf_options.connections, sizeof(unsigned));
	resting.of = calloc(hf_options.connections, sizeof(unsigned));
	rested = calloc(hf_options.connections, sizeof(*rested));
	if (unused.of == NULL || resting.of == NULL || rested == NULL)
		hf_die("out of memory");
	for (unsigned i = 0; i < hf_options.connections; i++)
		append(&unused, i);
	hf_report_prepare(hf_script_prepare());
	hf_connections_prepare(on_free);
	if (!hf_connections_open(UINT64_C(5000000000)))
		hf_die("nobody listens there");
	start = hf_now();
	hf_report_begin(start);
	run();
	hf_report_end(hf_now(), active, not_begun());
	return 0;
}
