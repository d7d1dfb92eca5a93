/*
 * buyer.c
 *		Buyers, and whose turn it is.
 *
 * Each is in one place: in the ring of those who are idle, in the heap of those who pause (the one
 * that wakes first is its root), or with the caller.  Both have room for all, so nothing is
 * allocated once they are loaded.
 */
#include "buyer.h"
#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static HfBuyer *buyers;
static uint64_t count;

static HfBuyer **ring;
static uint64_t first_idle, idle;

static HfBuyer **heap;
static uint64_t asleep;

/* Reads a file as a text, which is the caller's. */
static char *
read_file(const char *path)
{
	FILE *file = fopen(path, "r");
	size_t room = 1 << 16, used = 0, got;
	char *text = malloc(room);

	if (file == NULL)
		hf_die("cannot read %s", path);
	while (text != NULL && (got = fread(text + used, 1, room - used - 1, file)) > 0)
	{
		used += got;
		if (room - used == 1)
			text = realloc(text, room *= 2);
	}
	if (text == NULL || ferror(file))
		hf_die("cannot read %s", path);
	fclose(file);
	text[used] = '\0';
	return text;
}

/* Cuts the next line into its two words; false: there is no more. */
static bool
next_line(char **rest, const char *path, char **one, char **two)
{
	char *line, *words;

	do
	{
		line = strsep(rest, "\n");
		if (line == NULL)
			return false;
		line[strcspn(line, "\r")] = '\0';
	} while (line[0] == '\0' || line[0] == '#');
	*one = strtok_r(line, " \t", &words);
	*two = strtok_r(NULL, " \t", &words);
	if (*one == NULL || *two == NULL || strtok_r(NULL, " \t", &words) != NULL)
		hf_die("%s: wanted: lines of two words", path);
	return true;
}

static void
load_file(const char *path)
{
	char *rest = read_file(path), *account, *token;
	uint64_t room = 1;

	for (const char *at = rest; *at != '\0'; at++)
		room += *at == '\n';
	buyers = calloc(room, sizeof(HfBuyer));
	if (buyers == NULL)
		hf_die("out of memory");
	while (next_line(&rest, path, &account, &token))
	{
		if (strlen(token) > 4000 || strlen(account) > 64)
			hf_die("%s: a word is too long", path);
		buyers[count].account = account;
		buyers[count].token = token;
		buyers[count++].token_length = (unsigned) strlen(token);
	}
	if (count == 0)
		hf_die("%s: there is nobody", path);
}

static int
compare(const void *one, const void *other)
{
	return strcmp((*(HfBuyer *const *) one)->account, (*(HfBuyer *const *) other)->account);
}

/* Gives each account its ticket.  Those of accounts that are not here are left aside. */
static void
load_tickets(const char *path)
{
	char *text = read_file(path), *rest = text, *account, *ticket;
	HfBuyer **sorted = malloc(count * sizeof(HfBuyer *));
	HfBuyer one, *wanted = &one, **found;

	if (sorted == NULL)
		hf_die("out of memory");
	for (uint64_t i = 0; i < count; i++)
		sorted[i] = &buyers[i];
	qsort(sorted, count, sizeof(HfBuyer *), compare);
	while (next_line(&rest, path, &account, &ticket))
	{
		one.account = account;
		found = bsearch(&wanted, sorted, count, sizeof(HfBuyer *), compare);
		if (strlen(ticket) >= HF_TICKET_ROOM)
			hf_die("%s: a ticket is too long", path);
		if (found == NULL)
			continue;
		memcpy((*found)->ticket, ticket, strlen(ticket) + 1);
		(*found)->has_ticket = true;
	}
	free(sorted);
	free(text);
}

/* Loads buyers and tickets; without a file there are as many as connections, who have no token. */
void
hf_buyers_load(void)
{
	if (hf_options.buyers != NULL)
		load_file(hf_options.buyers);
	else
	{
		count = hf_options.connections;
		buyers = calloc(count, sizeof(HfBuyer));
	}
	ring = calloc(count, sizeof(HfBuyer *));
	heap = calloc(count, sizeof(HfBuyer *));
	if (buyers == NULL || ring == NULL || heap == NULL)
		hf_die("out of memory");
	if (hf_options.tickets != NULL)
		load_tickets(hf_options.tickets);
	for (uint64_t i = 0; i < count; i++)
		hf_buyers_give_back(&buyers[i]);
}

uint64_t
hf_buyers_count(void)
{
	return count;
}

bool
hf_buyers_any_idle(void)
{
	return idle > 0;
}

HfBuyer *
hf_buyers_take(void)
{
	HfBuyer *buyer;

	if (idle == 0)
		return NULL;
	buyer = ring[first_idle];
	first_idle = first_idle + 1 == count ? 0 : first_idle + 1;
	idle--;
	return buyer;
}

void
hf_buyers_give_back(HfBuyer *buyer)
{
	uint64_t at = first_idle + idle++;

	ring[at >= count ? at - count : at] = buyer;
}

void
hf_buyers_pause(HfBuyer *buyer)
{
	uint64_t at = asleep++;

	while (at > 0 && heap[(at - 1) / 2]->wake > buyer->wake)
	{
		heap[at] = heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	heap[at] = buyer;
}

HfBuyer *
hf_buyers_first_asleep(void)
{
	return asleep > 0 ? heap[0] : NULL;
}

HfBuyer *
hf_buyers_wake(void)
{
	HfBuyer *woken = heap[0], *last = heap[--asleep];
	uint64_t at = 0, child;

	while ((child = 2 * at + 1) < asleep)
	{
		if (child + 1 < asleep && heap[child + 1]->wake < heap[child]->wake)
			child++;
		if (last->wake <= heap[child]->wake)
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = last;
	return woken;
}
