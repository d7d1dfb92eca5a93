/*
 * options.c
 *		The command line.
 */
#include "options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

HfOptions hf_options = {
	.connections = 64,
	.method = "POST",
	.quantity = 1,
	.payment = "test_approve",
	.timeout = 30 * UINT64_C(1000000000),
	.grace = 5 * UINT64_C(1000000000),
	.pay_timeout = 30 * UINT64_C(1000000000),
	.poll = 500 * UINT64_C(1000000),
	.interval = UINT64_C(1000000000),
};

static const char usage[] =
	"Usage: crowd --url URL --mode MODE [option]...\n"
	"\n"
	"Plays the buyers of a sale: many connections, each with one request at a time.\n"
	"\n"
	"  --url URL            http://ADDRESS:PORT, or unix:PATH\n"
	"  --connections N      at most; default 64\n"
	"  --from ADDRESS/BITS  connections come from the addresses of this network in turn, such as\n"
	"                       127.1.0.0/16\n"
	"  --mode MODE          post: one path and body (--path, --body)\n"
	"                       ticket: draws tickets\n"
	"                       purchase: draws a ticket, unless --tickets has it, and buys with it\n"
	"                       sold_out: buys with the tickets of --tickets\n"
	"                       whole: draws a ticket, buys, pays, and asks until the order is paid\n"
	"  --method M --path P --body TEXT --header 'NAME: VALUE' --keys\n"
	"                       of mode post; --keys: each has an Idempotency-Key of its own\n"
	"  --sale ID            --quantity N, default 1; --payment METHOD, default test_approve\n"
	"  --buyers FILE        lines of ACCOUNT TOKEN; taken in turn, each by one connection at once\n"
	"  --tickets FILE       lines of ACCOUNT TICKET; --write-tickets FILE writes such a file\n"
	"\n"
	"  --seconds S          how long; --requests N: how many (tickets, payments not counted);\n"
	"                       --once: each buyer comes once\n"
	"  --rate R             so many come each second, whether or not answers do; what they wait\n"
	"                       for a connection is counted\n"
	"  --timeout S          for an answer, default 30; --grace S: for answers after --seconds,\n"
	"                       default 5; --pay-timeout S, default 30; --poll MS, default 500\n"
	"  --retry N            after a lost connection, and when told to by 503 or Retry-After:\n"
	"                       again with the same Idempotency-Key, up to N times\n"
	"  --abandon SHARE      of the buyers of mode whole never pay; --leave SHARE hang up before\n"
	"                       the answer to a purchase, and ask again; --twice SHARE ask after it\n"
	"  --seed N             of keys and shares\n"
	"\n"
	"  --journal FILE       a line for each finished request of the mode, not those beside it:\n"
	"                       time_us account key status code order_id latency_us, - for none;\n"
	"                       status 0: no answer, and the code says why\n"
	"  --json               one JSON object in the end; --progress: a smaller one each second as\n"
	"                       well, or each --interval MS, and before it\n";

void
hf_die(const char *format, ...)
{
	va_list args;

	fputs("crowd: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(2);
}

/* A number of an option, least to most. */
static double
number(const char *name, const char *text, double least, double most)
{
	char *end;
	double value;

	errno = 0;
	value = strtod(text, &end);
	if (errno != 0 || end == text || *end != '\0' || !(value >= least && value <= most))
		hf_die("--%s: wanted: %g to %g", name, least, most);
	return value;
}

static void
read_unix(const char *path)
{
	struct sockaddr_un *address = (struct sockaddr_un *) &hf_options.address;

	if (strlen(path) >= sizeof(address->sun_path))
		hf_die("--url: the path is too long");
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path, path, strlen(path) + 1);
	hf_options.address_length = sizeof(*address);
	snprintf(hf_options.host, sizeof(hf_options.host), "localhost");
}

static void
read_url(const char *text)
{
	struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
	char name[sizeof(hf_options.host)], *port;
	int error;

	if (strncmp(text, "unix:", 5) == 0)
	{
		read_unix(text + 5);
		return;
	}
	if (strncmp(text, "http://", 7) != 0 || strlen(text + 7) >= sizeof(name))
		hf_die("--url: wanted: http://ADDRESS:PORT or unix:PATH");
	memcpy(name, text + 7, strlen(text + 7) + 1);
	name[strcspn(name, "/")] = '\0';
	snprintf(hf_options.host, sizeof(hf_options.host), "%s", name);
	port = strchr(name, ':');
	if (port != NULL)
		*port++ = '\0';
	error = getaddrinfo(name, port != NULL ? port : "80", &hints, &found);
	if (error != 0)
		hf_die("--url: %s: %s", name, gai_strerror(error));
	memcpy(&hf_options.address, found->ai_addr, found->ai_addrlen);
	hf_options.address_length = found->ai_addrlen;
	freeaddrinfo(found);
}

static void
read_from(const char *text)
{
	char name[32];
	const char *slash = strchr(text, '/');
	struct in_addr address;
	unsigned bits;

	if (slash == NULL || (size_t) (slash - text) >= sizeof(name))
		hf_die("--from: wanted: ADDRESS/BITS");
	memcpy(name, text, (size_t) (slash - text));
	name[slash - text] = '\0';
	bits = (unsigned) number("from", slash + 1, 8, 30);
	if (inet_pton(AF_INET, name, &address) != 1)
		hf_die("--from: %s is no address", name);
	/* Without the first, which names the network, and the last, which is everybody's. */
	hf_options.from_count = (UINT32_C(1) << (32 - bits)) - 2;
	hf_options.from = (ntohl(address.s_addr) & ~((UINT32_C(1) << (32 - bits)) - 1)) + 1;
}

static HfMode
read_mode(const char *text)
{
	static const char *const names[] = {"post", "ticket", "purchase", "sold_out", "whole"};

	for (int i = 0; i <= HF_MODE_WHOLE; i++)
		if (strcmp(text, names[i]) == 0)
			return (HfMode) i;
	hf_die("--mode: there is no mode %s", text);
}

static void
add_header(const char *line)
{
	size_t used = strlen(hf_options.headers);

	if (strchr(line, ':') == NULL || used + strlen(line) + 3 > sizeof(hf_options.headers))
		hf_die("--header: wanted: NAME: VALUE, not too much of it");
	sprintf(hf_options.headers + used, "%s\r\n", line);
}

/* Whether what is asked for fits together. */
static void
check(void)
{
	const HfOptions *o = &hf_options;

	if (o->address_length == 0)
		hf_die("--url is missing; --help tells more");
	if (o->mode == HF_MODE_POST && o->path == NULL)
		hf_die("--path is missing");
	if (o->mode != HF_MODE_POST && (o->sale == NULL || o->buyers == NULL))
		hf_die("--sale and --buyers are needed");
	if (o->mode == HF_MODE_SOLD_OUT && o->tickets == NULL)
		hf_die("--tickets is needed");
	if (o->once && o->buyers == NULL)
		hf_die("--once is about buyers");
	if (o->duration == 0 && o->requests == 0 && !o->once)
		hf_die("--seconds, --requests or --once is missing");
}

/* Takes an option that is a text; false if this is none. */
static bool
read_text(const char *name, const char *value)
{
	const struct
	{
		const char *name;
		const char **text;
	} texts[] = {{"method", &hf_options.method},
				 {"path", &hf_options.path},
				 {"body", &hf_options.body},
				 {"sale", &hf_options.sale},
				 {"payment", &hf_options.payment},
				 {"buyers", &hf_options.buyers},
				 {"tickets", &hf_options.tickets},
				 {"journal", &hf_options.journal},
				 {"write-tickets", &hf_options.write_tickets}};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (strcmp(name, texts[i].name) == 0)
		{
			*texts[i].text = value;
			return true;
		}
	return false;
}

/* Takes an option that is a time, in seconds or milliseconds; false if this is none. */
static bool
read_time(const char *name, const char *value)
{
	const struct
	{
		const char *name;
		uint64_t *time;
		double unit, least;
	} times[] = {{"seconds", &hf_options.duration, 1e9, 0.001},
				 {"timeout", &hf_options.timeout, 1e9, 0.01},
				 {"grace", &hf_options.grace, 1e9, 0},
				 {"pay-timeout", &hf_options.pay_timeout, 1e9, 0},
				 {"poll", &hf_options.poll, 1e6, 1},
				 {"interval", &hf_options.interval, 1e6, 10}};

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		if (strcmp(name, times[i].name) == 0)
		{
			*times[i].time =
				(uint64_t) (number(name, value, times[i].least, 86400) * times[i].unit);
			return true;
		}
	return false;
}

static void
read_option(const char *name, const char *value)
{
	HfOptions *o = &hf_options;

	if (read_text(name, value) || read_time(name, value))
		return;
	if (strcmp(name, "url") == 0)
		read_url(value);
	else if (strcmp(name, "from") == 0)
		read_from(value);
	else if (strcmp(name, "mode") == 0)
		o->mode = read_mode(value);
	else if (strcmp(name, "header") == 0)
		add_header(value);
	else if (strcmp(name, "connections") == 0)
		o->connections = (unsigned) number(name, value, 1, 60000);
	else if (strcmp(name, "quantity") == 0)
		o->quantity = (unsigned) number(name, value, 0, 1e9);
	else if (strcmp(name, "requests") == 0)
		o->requests = (uint64_t) number(name, value, 1, 1e15);
	else if (strcmp(name, "rate") == 0)
		o->rate = number(name, value, 0.001, 1e7);
	else if (strcmp(name, "retry") == 0)
		o->retries = (unsigned) number(name, value, 0, 1e6);
	else if (strcmp(name, "abandon") == 0)
		o->abandon = number(name, value, 0, 1);
	else if (strcmp(name, "leave") == 0)
		o->leave = number(name, value, 0, 1);
	else if (strcmp(name, "twice") == 0)
		o->twice = number(name, value, 0, 1);
	else if (strcmp(name, "seed") == 0)
		o->seed = (uint64_t) number(name, value, 0, 9e15);
	else if (strcmp(name, "once") == 0)
		o->once = true;
	else if (strcmp(name, "keys") == 0)
		o->keys = true;
	else if (strcmp(name, "json") == 0)
		o->json = true;
	else if (strcmp(name, "progress") == 0)
		o->progress = true;
	else
	{
		fputs(usage, stdout);
		exit(0);
	}
}

void
hf_options_read(int argc, char **argv)
{
#define VALUE(name)      \
	{                    \
		name, 1, NULL, 0 \
	}
#define FLAG(name)       \
	{                    \
		name, 0, NULL, 0 \
	}
	static const struct option known[] =
		{VALUE("url"),		VALUE("from"),			VALUE("mode"),
		 VALUE("header"),	VALUE("method"),		VALUE("path"),
		 VALUE("body"),		VALUE("sale"),			VALUE("payment"),
		 VALUE("buyers"),	VALUE("tickets"),		VALUE("journal"),
		 VALUE("seconds"),	VALUE("write-tickets"), VALUE("timeout"),
		 VALUE("grace"),	VALUE("poll"),			VALUE("pay-timeout"),
		 VALUE("interval"), VALUE("connections"),	VALUE("quantity"),
		 VALUE("requests"), VALUE("rate"),			VALUE("retry"),
		 VALUE("abandon"),	VALUE("leave"),			VALUE("twice"),
		 VALUE("seed"),		FLAG("once"),			FLAG("keys"),
		 FLAG("json"),		FLAG("progress"),		FLAG("help"),
		 FLAG(NULL)};
	struct timespec t;
	int index, said;

	clock_gettime(CLOCK_REALTIME, &t);
	hf_options.seed = (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
	while ((said = getopt_long(argc, argv, "", known, &index)) == 0)
		read_option(known[index].name, optarg);
	if (said != -1)
		exit(2);
	if (optind < argc)
		hf_die("%s is no option; --help tells more", argv[optind]);
	check();
}
