/*
 * reader.c
 *		Readers that fill the cache, and readers who look at what was just changed.
 *
 * A reader asks for many entries at once, and fills those for which it gets the lease from one
 * read of the database.  Every fourth is slow: a lease may have ended, and the rows may have
 * changed many times, before it fills.
 *
 * The prober asks again and again for entries that have just changed, until nothing old is
 * served; that gives the time it took.  The lookers ask again a second and five seconds after
 * each change.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker.h"

#define PROBES	   64
#define PROBE_LIFE (10 * SECOND)
#define QUEUE	   (1 << 18)

/* How long a slow reader takes, at most, and how long one time in ten; a lease lives 2 s. */
#define SLOW	(300 * 1000)
#define SLOWEST (2500 * 1000)

/* A change that the prober watches. */
typedef struct Probe
{
	int id; /* 0: free */
	int64_t version;
	Usec until;
} Probe;

/* A key that is to be asked for again. */
typedef struct Look
{
	Usec due;
	int id;
} Look;

typedef struct Queue
{
	pthread_mutex_t lock;
	Usec delay;
	Look look[QUEUE];
	unsigned head, tail;
} Queue;

static pthread_mutex_t probe_lock = PTHREAD_MUTEX_INITIALIZER;
static Probe probes[PROBES];
static Queue queues[2] = {{.lock = PTHREAD_MUTEX_INITIALIZER, .delay = SECOND},
						  {.lock = PTHREAD_MUTEX_INITIALIZER, .delay = 5 * SECOND}};

/* The row's version in what was served, which names each of the entry's rows that is there. */
int64_t
reader_version(const Entry *entry, int id)
{
	const char *line = entry->payload;
	int found;
	int64_t version;
	int length;

	for (; sscanf(line, "%d %" SCNd64 "\n%n", &found, &version, &length) == 2; line += length)
		if (found == id)
			return version;
	return ABSENT;
}

/* Judges what was served. */
static void
reader_check(const Entry *entry, Usec asked)
{
	for (int id = entry->first; id < entry->first + entry->rows; id++)
		journal_served(id, reader_version(entry, id), asked, entry->key);
}

/* Asks and judges. Returns how many entries were served, -1 if the cache is off. */
static int
look_at(Cache *c, Entry *entry, int n)
{
	int hits = 0;

	if (!cache_ask(c, entry, n))
		return -1;
	for (int i = 0; i < n; i++)
	{
		if (entry[i].answer != HIT)
			continue;
		hits++;
		reader_check(&entry[i], c->asked);
	}
	return hits;
}

static bool
read_database(Session *s, Entry *entry, int n)
{
	char ids[BATCH * SHELF * 8] = "";
	size_t used = 0;

	for (int i = 0; i < n; i++)
	{
		if (entry[i].answer != LEASED)
			continue;
		entry[i].payload[0] = '\0';
		for (int id = entry[i].first; id < entry[i].first + entry[i].rows; id++)
			used += (size_t) snprintf(ids + used, sizeof(ids) - used, "%s%d", used ? "," : "", id);
	}
	if (used == 0 || !db_run(s, "SELECT id, version FROM item WHERE id = ANY ('{%s}')", ids))
		return false;
	for (int row = 0; row < PQntuples(s->result); row++)
		for (int i = 0; i < n; i++)
		{
			int id = (int) db_number(s, row, 0);
			size_t length = strlen(entry[i].payload);

			if (entry[i].answer == LEASED && id >= entry[i].first &&
				id < entry[i].first + entry[i].rows)
				snprintf(entry[i].payload + length, sizeof(entry[i].payload) - length, "%d %s\n",
						 id, PQgetvalue(s->result, row, 1));
		}
	return true;
}

/* Entries of one kind, some of them more than once. */
static void
choose(Cache *c, Entry *entry, int n)
{
	bool shelves = chance(&c->random, 30);

	for (int i = 0; i < n; i++)
	{
		int id = (int) rnd(&c->random, shelves ? options.keys / SHELF : options.keys);

		cache_name(&entry[i], shelves ? id * SHELF + 1 : id + 1, shelves);
	}
}

/* A reader's life. */
void *
reader_run(void *argument)
{
	int number = *(const int *) argument;
	bool slow = number % 4 == 0;
	Cache c = {.random = options.seed * 7919 + (uint64_t) number};
	Session s = {0};
	Entry *entry = calloc(BATCH, sizeof(Entry));

	if (entry == NULL)
		abort();
	(void) db_connect(&s, &stop_readers);
	while (!stop_readers)
	{
		int n = slow ? BATCH / 8 : BATCH;
		int hits;

		choose(&c, entry, n);
		hits = look_at(&c, entry, n);
		count(hits < 0 ? COUNT_OFF : COUNT_MISSES, n - (hits < 0 ? 0 : hits));
		count(COUNT_HITS, hits < 0 ? 0 : hits);
		if (hits < 0)
			nap(5000);
		else if (cache_lease(&c, entry, n) && read_database(&s, entry, n))
		{
			if (slow)
				nap((Usec) rnd(&c.random, chance(&c.random, 10) ? SLOWEST : SLOW));
			(void) cache_fill(&c, entry, n);
		}
		if (s.conn != NULL && PQstatus(s.conn) == CONNECTION_BAD)
			(void) db_connect(&s, &stop_readers);
		nap(1000);
	}
	cache_close(&c);
	db_close(&s);
	free(entry);
	return NULL;
}

/* Has the prober watch a change; false if he is busy. */
bool
prober_offer(int id, int64_t version)
{
	bool taken = false;

	pthread_mutex_lock(&probe_lock);
	for (int i = 0; i < PROBES && !taken; i++)
		if (probes[i].id == 0)
		{
			probes[i] = (Probe){.id = id, .version = version, .until = now() + PROBE_LIFE};
			taken = true;
		}
	pthread_mutex_unlock(&probe_lock);
	return taken;
}

/* The changes that are watched, as entries. Returns how many. */
static int
list_probes(Entry *entry, Probe *probe)
{
	int n = 0;

	pthread_mutex_lock(&probe_lock);
	for (int i = 0; i < PROBES; i++)
	{
		if (probes[i].id == 0)
			continue;
		cache_name(&entry[n], probes[i].id, false);
		probe[n++] = probes[i];
	}
	pthread_mutex_unlock(&probe_lock);
	return n;
}

static void
end_probe(const Probe *probe)
{
	pthread_mutex_lock(&probe_lock);
	for (int i = 0; i < PROBES; i++)
		if (probes[i].id == probe->id && probes[i].version == probe->version)
			probes[i].id = 0;
	pthread_mutex_unlock(&probe_lock);
}

/* Is something older still served? */
static bool
is_behind(const Probe *probe, const Entry *entry)
{
	int64_t version = reader_version(entry, probe->id);

	return entry->answer == HIT && version != ABSENT && version < probe->version &&
		now() < probe->until;
}

/* The prober's life. */
void *
prober_run(void *unused)
{
	Cache c = {.random = 1};
	static Entry entry[PROBES];
	static Probe probe[PROBES];

	(void) unused;
	while (!stop_readers)
	{
		int n = list_probes(entry, probe);
		bool on = n == 0 || look_at(&c, entry, n) >= 0;

		for (int i = 0; i < n; i++)
			if (!on || !is_behind(&probe[i], &entry[i]))
				end_probe(&probe[i]);
		nap(500);
	}
	cache_close(&c);
	return NULL;
}

/* The key is to be asked for again, by both lookers. */
void
looker_expect(int id, Usec acked)
{
	for (int i = 0; i < 2; i++)
	{
		Queue *q = &queues[i];

		pthread_mutex_lock(&q->lock);
		if (q->head - q->tail < QUEUE)
			q->look[q->head++ % QUEUE] = (Look){.due = acked + q->delay, .id = id};
		else
			violation("a queue is too short");
		pthread_mutex_unlock(&q->lock);
	}
}

/* Takes what is due. */
static int
take_looks(Queue *q, int *ids)
{
	int n = 0;
	Usec time = now();

	pthread_mutex_lock(&q->lock);
	while (n < BATCH && q->tail != q->head && q->look[q->tail % QUEUE].due <= time)
		ids[n++] = q->look[q->tail++ % QUEUE].id;
	pthread_mutex_unlock(&q->lock);
	return n;
}

/* The life of a looker: 0 is the one after a second, 1 the one after five. */
void *
looker_run(void *number)
{
	Queue *q = &queues[*(const int *) number];
	Cache c = {.random = 2};
	static _Thread_local Entry entry[BATCH];
	int ids[BATCH];
	int hits;

	while (!stop_readers)
	{
		int n = take_looks(q, ids);

		for (int i = 0; i < n; i++)
			cache_name(&entry[i], ids[i], false);
		hits = n > 0 ? look_at(&c, entry, n) : -1;
		count(COUNT_LOOKS, n);
		count(COUNT_SEEN, hits < 0 ? 0 : hits);
		if (hits < 0)
			nap(2000);
	}
	cache_close(&c);
	return NULL;
}
