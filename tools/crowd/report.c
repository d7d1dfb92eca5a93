/*
 * report.c
 *		What came of it all.
 *
 * Each request is counted once, by what it is for, when it is finished: with an answer, or without
 * one after its last try.  The steady part of a run is what lies between its first and its last
 * twentieth, known to a hundredth of a second.
 */
#include "report.h"
#include "histogram.h"
#include "options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define SECOND	   UINT64_C(1000000000)
#define BIN		   (SECOND / 100)
#define BINS	   (24 * 3600 * 100)
#define NAMES	   48 /* more are counted as others */
#define NAME_ROOM  40
#define STATUS_MAX 599

/* Counts by name. */
typedef struct Names
{
	unsigned n;
	struct
	{
		char name[NAME_ROOM];
		uint64_t count;
	} of[NAMES + 1];
} Names;

/* What is known of the requests for one thing. */
typedef struct Kind
{
	HfHistogram all; /* microseconds, as are the others */
	HfHistogram accepted;
	HfHistogram refused;
	uint64_t status[STATUS_MAX + 1];
	Names codes;
} Kind;

static Kind kind[HF_STEPS];
static HfStep main_step;
static HfHistogram window;
static Names retried;
static uint64_t trouble_count[HF_TROUBLES];
static uint64_t fate_count[HF_FATES];
static uint32_t bins[BINS];
static uint64_t begun, stopped, last_finish, window_begun;
static int64_t to_wall; /* from our clock to the one on the wall */
static struct rusage usage_begun;
static FILE *journal, *ticket_file;

static FILE *
open_file(const char *path)
{
	FILE *file = path != NULL ? fopen(path, "w") : NULL;

	if (path != NULL && file == NULL)
		hf_die("cannot write %s: %s", path, strerror(errno));
	if (file != NULL)
		setvbuf(file, NULL, _IOFBF, 1 << 20);
	return file;
}

static void
close_file(FILE *file, const char *path)
{
	if (file != NULL && (fflush(file) != 0 || ferror(file)))
		hf_die("cannot write %s: %s", path, strerror(errno));
}

void
hf_report_prepare(HfStep main)
{
	main_step = main;
	journal = open_file(hf_options.journal);
	ticket_file = open_file(hf_options.write_tickets);
}

void
hf_report_begin(uint64_t now)
{
	struct timespec wall;

	begun = window_begun = last_finish = now;
	clock_gettime(CLOCK_REALTIME, &wall);
	to_wall = wall.tv_sec * (int64_t) SECOND + wall.tv_nsec - (int64_t) now;
	getrusage(RUSAGE_SELF, &usage_begun);
	memset(trouble_count, 0, sizeof(trouble_count));
}

void
hf_report_stop(uint64_t now)
{
	stopped = now;
}

static void
count_name(Names *names, HfPiece name)
{
	unsigned i = 0;

	if (name.length >= NAME_ROOM)
		name.length = NAME_ROOM - 1;
	while (i < names->n &&
		   (strncmp(names->of[i].name, name.data, name.length) != 0 ||
			names->of[i].name[name.length] != '\0'))
		i++;
	if (i == names->n && i == NAMES)
		strcpy(names->of[i].name, "others");
	else if (i == names->n)
	{
		memcpy(names->of[i].name, name.data, name.length);
		names->n++;
	}
	names->of[i].count++;
}

const char *
hf_report_name_trouble(HfTrouble trouble)
{
	static const char *const names[] = {"connect",	  "closed",	   "reset",		  "timeout",
										"bad_answer", "no_length", "extra_bytes", "left"};

	return names[trouble];
}

void
hf_report_trouble(HfTrouble trouble)
{
	trouble_count[trouble]++;
}

void
hf_report_fate(HfFate fate)
{
	fate_count[fate]++;
}

void
hf_report_retry(HfPiece why)
{
	count_name(&retried, why);
}

/* A word of a line of the journal, whatever it is made of. */
static void
write_word(HfPiece word)
{
	if (word.length == 0)
		putc_unlocked('-', journal);
	for (size_t i = 0; i < word.length; i++)
		putc_unlocked((unsigned char) word.data[i] > ' ' ? word.data[i] : '?', journal);
	putc_unlocked(' ', journal);
}

static HfPiece
piece(const char *text)
{
	return (HfPiece){text, text != NULL ? strlen(text) : 0};
}

static void
write_journal(const HfBuyer *buyer, int status, HfPiece code, HfPiece order, uint64_t now,
			  uint64_t micros)
{
	fprintf(journal, "%" PRId64 " ", ((int64_t) now + to_wall) / 1000);
	write_word(piece(buyer->account));
	write_word(piece(buyer->key));
	fprintf(journal, "%d ", status);
	write_word(code);
	write_word(order);
	fprintf(journal, "%" PRIu64 "\n", micros);
}

void
hf_report_finished(const HfBuyer *buyer, int status, HfPiece code, HfPiece order, uint64_t now)
{
	Kind *of = &kind[buyer->step];
	uint64_t micros = (now - buyer->begun) / 1000, bin = (now - begun) / BIN;

	if (buyer->step == main_step)
	{
		micros += buyer->late / 1000;
		hf_histogram_add(&window, micros);
		bins[bin < BINS ? bin : BINS - 1]++;
		last_finish = now;
	}
	of->status[status]++;
	hf_histogram_add(&of->all, micros);
	if (status >= 200 && status < 300)
		hf_histogram_add(&of->accepted, micros);
	else if (status >= 400)
		hf_histogram_add(&of->refused, micros);
	if (code.length > 0)
		count_name(&of->codes, code);
	if (ticket_file != NULL && buyer->step == HF_STEP_TICKET && status == 201)
		fprintf(ticket_file, "%s %s\n", buyer->account, buyer->ticket);
	if (journal != NULL && buyer->step == main_step)
		write_journal(buyer, status, code, order, now, micros);
}

static void
print_latency(const char *name, const HfHistogram *of)
{
	printf(",\"%s\":{\"count\":%" PRIu64 ",\"p50\":%" PRIu64 ",\"p90\":%" PRIu64 ",\"p99\":%" PRIu64
		   ",\"p99.9\":%" PRIu64 ",\"max\":%" PRIu64 ",\"mean\":%.1f}",
		   name, of->count, hf_histogram_at(of, 0.5), hf_histogram_at(of, 0.9),
		   hf_histogram_at(of, 0.99), hf_histogram_at(of, 0.999), of->most,
		   of->count > 0 ? (double) of->sum / (double) of->count : 0.0);
}

static void
print_names(const char *name, const Names *names)
{
	printf(",\"%s\":{", name);
	for (unsigned i = 0; i <= NAMES && names->of[i].count > 0; i++)
	{
		printf("%s\"", i > 0 ? "," : "");
		for (const char *at = names->of[i].name; *at != '\0'; at++)
			putchar((unsigned char) *at < ' ' || *at == '"' || *at == '\\' ? '?' : *at);
		printf("\":%" PRIu64, names->of[i].count);
	}
	putchar('}');
}

/* The status is that of the answers; "0" those that never came. */
static void
print_status(const Kind *of)
{
	const char *comma = "";

	printf(",\"status\":{");
	for (int i = 0; i <= STATUS_MAX; i++)
		if (of->status[i] > 0)
		{
			printf("%s\"%d\":%" PRIu64, comma, i, of->status[i]);
			comma = ",";
		}
	putchar('}');
}

static void
print_kind(const Kind *of)
{
	print_latency("latency_us", &of->all);
	print_latency("latency_accepted_us", &of->accepted);
	print_latency("latency_refused_us", &of->refused);
	print_status(of);
	print_names("codes", &of->codes);
}

static uint64_t
sold(void)
{
	return kind[HF_STEP_PURCHASE].status[201] * hf_options.quantity;
}

static void
print_connections(void)
{
	uint64_t errors = 0;

	for (int i = 0; i < HF_TROUBLE_LEFT; i++)
		errors += trouble_count[i];
	printf(",\"connection_errors\":%" PRIu64 ",\"errors\":{", errors);
	for (int i = 0; i < HF_TROUBLE_LEFT; i++)
		printf("%s\"%s\":%" PRIu64, i > 0 ? "," : "", hf_report_name_trouble((HfTrouble) i),
			   trouble_count[i]);
	printf("},\"left\":%" PRIu64, trouble_count[HF_TROUBLE_LEFT]);
	print_names("retried", &retried);
	printf(",\"paid\":%" PRIu64 ",\"unpaid\":%" PRIu64 ",\"abandoned\":%" PRIu64
		   ",\"same\":%" PRIu64 ",\"different\":%" PRIu64,
		   fate_count[HF_FATE_PAID], fate_count[HF_FATE_UNPAID], fate_count[HF_FATE_ABANDONED],
		   fate_count[HF_FATE_SAME], fate_count[HF_FATE_DIFFERENT]);
}

void
hf_report_progress(uint64_t now)
{
	const Kind *of = &kind[main_step];
	double passed = (double) (now - window_begun) / (double) SECOND;

	printf("{\"time\":%.3f,\"requests\":%" PRIu64 ",\"rate\":%.1f,\"sold\":%" PRIu64
		   ",\"tickets\":%" PRIu64,
		   (double) (now - begun) / (double) SECOND, of->all.count,
		   passed > 0 ? (double) window.count / passed : 0.0, sold(),
		   kind[HF_STEP_TICKET].status[201]);
	print_latency("latency_us", &window);
	print_status(of);
	print_names("codes", &of->codes);
	print_connections();
	printf("}\n");
	fflush(stdout);
	if (journal != NULL)
		fflush(journal);
	hf_histogram_clear(&window);
	window_begun = now;
}

/* How many were finished a second, without the first and the last twentieth. */
static double
steady_rate(uint64_t length)
{
	uint64_t first = (length / 20 + BIN - 1) / BIN, last = (length - length / 20) / BIN, sum = 0;

	if (last <= first || last > BINS)
		return (double) kind[main_step].all.count * (double) SECOND / (double) (length + 1);
	for (uint64_t i = first; i < last; i++)
		sum += bins[i];
	return (double) sum / ((double) (last - first) * (double) BIN / (double) SECOND);
}

static double
seconds(struct timeval since, struct timeval until)
{
	return (double) (until.tv_sec - since.tv_sec) + (double) (until.tv_usec - since.tv_usec) / 1e6;
}

void
hf_report_end(uint64_t now, uint64_t unfinished, uint64_t not_begun)
{
	static const char *const names[] = {"post", "ticket", "purchase", "again", "payment", "order"};
	uint64_t end = hf_options.duration > 0 ? stopped : last_finish;
	double passed = (double) (end - begun) / (double) SECOND;
	struct rusage usage;
	double cpu;

	getrusage(RUSAGE_SELF, &usage);
	cpu = seconds(usage_begun.ru_utime, usage.ru_utime) +
		seconds(usage_begun.ru_stime, usage.ru_stime);
	if (hf_options.progress)
		hf_report_progress(now);
	close_file(journal, hf_options.journal);
	close_file(ticket_file, hf_options.write_tickets);
	if (!hf_options.json)
		return;
	printf("{\"mode\":\"%s\",\"connections\":%u,\"seconds\":%.3f,\"requests\":%" PRIu64
		   ",\"rate\":%.1f,\"rate_all\":%.1f,\"offered\":%.1f",
		   hf_options.mode == HF_MODE_SOLD_OUT	  ? "sold_out"
			   : hf_options.mode == HF_MODE_WHOLE ? "whole"
												  : names[main_step],
		   hf_options.connections, passed, kind[main_step].all.count, steady_rate(end - begun),
		   passed > 0 ? (double) kind[main_step].all.count / passed : 0.0, hf_options.rate);
	print_kind(&kind[main_step]);
	printf(",\"sold\":%" PRIu64 ",\"tickets\":%" PRIu64, sold(), kind[HF_STEP_TICKET].status[201]);
	print_connections();
	printf(",\"unfinished\":%" PRIu64 ",\"not_begun\":%" PRIu64, unfinished, not_begun);
	printf(",\"cpu_seconds\":%.3f,\"cpu_share\":%.3f,\"kinds\":{", cpu,
		   cpu * (double) SECOND / (double) (now - begun + 1));
	for (int i = 0, n = 0; i < HF_STEPS; i++)
		if (kind[i].all.count > 0)
		{
			printf("%s\"%s\":{\"requests\":%" PRIu64, n++ > 0 ? "," : "", names[i],
				   kind[i].all.count);
			print_kind(&kind[i]);
			putchar('}');
		}
	printf("}}\n");
	fflush(stdout);
}
