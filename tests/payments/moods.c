/*
 * moods.c
 *		How the provider behaves, and what he has yet to do: settle, change his mind, send webhooks.
 *
 * Moods depend on the seed and on the method, which is the buyer's random number; so a seed repeats
 * them however the threads meet.  All of it is guarded by the provider's lock.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "payments.h"

typedef struct Item
{
	Usec due;
	Due what;
	int index;
} Item;

static Item *heap;
static int items, item_room;
static Event **event;
static int events, event_room;

/* A number below n that is always the same for the charge and the question. */
static uint64_t
dice(const Charge *charge, const char *question, uint64_t n)
{
	uint64_t h = options.seed ^ UINT64_C(0x9e3779b97f4a7c15);

	for (const char *p = charge->method; *p; p++)
		h = mix(h ^ (unsigned char) *p);
	for (const char *p = question; *p; p++)
		h = mix(h ^ (unsigned char) *p);
	return mix(h ^ ((uint64_t) charge->call << 8) ^ (unsigned char) charge->kind) % n;
}

Mood
mood_of(const Charge *charge, int attempt)
{
	char question[24];
	uint64_t pick;

	snprintf(question, sizeof(question), "attempt %d", attempt);
	pick = dice(charge, question, 100);
	return pick < 10 ? NEVER_ARRIVES : pick < 20 ? NO_ANSWER : pick < 28 ? LATE : PROMPT;
}

bool
mood_declines(const Charge *charge)
{
	uint64_t percent = charge->kind == 'v' ? 0
		: charge->kind == 'k'			   ? 6
		: charge->kind == 'r'			   ? 20
										   : 12;

	return !honest && dice(charge, "decline", 100) < percent;
}

bool
mood_hesitates(const Charge *charge)
{
	return dice(charge, "hesitate", 100) < 10;
}

bool
mood_flips(const Charge *charge)
{
	return dice(charge, "flip", 100) < (charge->kind == 'r' ? 60 : 25);
}

Usec
mood_delay(const Charge *charge, const char *what, Usec most)
{
	return (Usec) dice(charge, what, (uint64_t) most);
}

void
mood_push(Usec due, Due what, int index)
{
	int i = items;

	heap = grow(heap, items++, &item_room, sizeof(Item));
	for (; i > 0 && heap[(i - 1) / 2].due > due; i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = (Item){due, what, index};
}

/* Takes what is due; whoever is honest hurries. */
bool
mood_pop(Due *what, int *index)
{
	Item last;
	int i = 0;

	if (items == 0 || (heap[0].due > now() && !honest))
		return false;
	*what = heap[0].what;
	*index = heap[0].index;
	last = heap[--items];
	for (;;)
	{
		int child = 2 * i + 1;

		if (child + 1 < items && heap[child + 1].due < heap[child].due)
			child++;
		if (child >= items || heap[child].due >= last.due)
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = last;
	return true;
}

int
mood_pending(void)
{
	return items;
}

Event *
mood_event(int i)
{
	return event[i];
}

int
mood_events(void)
{
	return events;
}

/* A webhook to be sent after a while, `times` times. */
static void
hook(int i, const char *type, int64_t amount, const char *question, int times)
{
	const Charge *charge = provider_charge(i);
	char again[32];
	Event *e = calloc(1, sizeof(Event));

	event = grow(event, events, &event_room, sizeof(Event *));
	if (e == NULL)
		abort();
	snprintf(e->id, sizeof(e->id), "evt_%d_%s", events, charge->method);
	e->charge = i;
	e->type = type;
	e->amount = amount;
	for (int n = 0; n < times; n++)
	{
		snprintf(again, sizeof(again), "%s %s %d", question, type, n);
		mood_push(now() + mood_delay(charge, again, n == 0 ? SECOND * 2 / 5 : SECOND / 20), HOOK,
				  events);
	}
	event[events++] = e;
}

/* The webhooks about a charge that has been settled: none, one or several. */
void
mood_hooks(int i, const char *type, bool certain)
{
	const Charge *charge = provider_charge(i);
	uint64_t pick = dice(charge, type, 100);

	if (dice(charge, "pending", 100) < 8)
		hook(i, "call.pending", charge->amount, "a", 1);
	if (dice(charge, "mismatch", 1000) < 15)
	{
		hook(i, type, charge->amount + 1, "b", 1);
		certain = true;
	}
	if (pick < 20 && !certain)
		return;
	hook(i, type, charge->amount, "c", pick < 35 ? 2 : pick < 40 ? 3 : 1);
	if (pick > 90)
		hook(i, type, charge->amount, "d", 1);
}
