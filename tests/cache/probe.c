/*
 * probe.c
 *		Measures how long an old value can be read after the commit that made it old.
 *
 * One row of its own is cached, then changed; from then on it is read without a pause, by the
 * protocol, until no hit is old.  There is one Redis, so what one reader does not get nobody gets.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "race.h"

#define SAMPLES_MAX 100000

static Usec sample[SAMPLES_MAX];
static int samples;

/* Reads until there is a hit, which is filled if need be. */
static bool
make_hit(Client *c, const HfCacheEntry *entry, const char *text)
{
	HfText payload;
	HfCacheLease lease;

	while (!stop)
	{
		HfCacheAnswer answer = hf_cache_reader_get(c->reader, entry, &payload, &lease);

		if (answer == HF_CACHE_HIT)
			return payload.length == strlen(text) &&
				memcmp(payload.data, text, payload.length) == 0;
		payload = (HfText){text, strlen(text)};
		if (answer == HF_CACHE_LEASED)
			(void) hf_cache_reader_fill(c->reader, &lease, &payload, VALUE_TTL);
		else
			usleep(1000);
	}
	return true;
}

/* The thread that measures. */
void *
probe_run(void *client)
{
	Client *c = client;
	HfCacheEntry entry = entry_of(0);
	char text[24] = "0";

	c->conn = session_open("cache race probe");
	c->reader = reader_open();
	while (!stop && samples < SAMPLES_MAX)
	{
		HfText payload;
		HfCacheLease lease;
		Usec committed;

		if (!check(make_hit(c, &entry, text), "the probe has read what it has not written"))
			break;
		snprintf(text, sizeof(text), "%" PRId64,
				 session_number(
					 c->conn,
					 "UPDATE item SET version = version + 1 WHERE id = $1 RETURNING version", 0));
		committed = now();
		while (hf_cache_reader_get(c->reader, &entry, &payload, &lease) == HF_CACHE_HIT && !stop)
			;
		sample[samples++] = now() - committed;
		session_sync(c->conn);
		payload = (HfText){text, strlen(text)};
		(void) hf_cache_reader_fill(c->reader, &lease, &payload, VALUE_TTL);
		usleep(2000);
	}
	PQfinish(c->conn);
	hf_cache_reader_close(c->reader);
	return NULL;
}

static int
by_size(const void *a, const void *b)
{
	const Usec *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* The sample that so many are not larger than, as a part of all. */
static double
milliseconds_at(double part)
{
	return (double) sample[(int) (part * (samples - 1))] / 1000;
}

void
probe_report(void)
{
	qsort(sample, (size_t) samples, sizeof(Usec), by_size);
	if (samples > 0)
		printf("# old values could be read after the commit for: median %.2f ms, p99 %.2f ms, "
			   "longest %.2f ms, in %d changes\n",
			   milliseconds_at(0.5), milliseconds_at(0.99), milliseconds_at(1), samples);
	check(samples > 0, "the probe has measured nothing");
}
