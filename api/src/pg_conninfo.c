/*
 * pg_conninfo.c
 *		Where the database is, and how sessions there begin.
 *
 * The parent, which may wait, turns the names of hosts into addresses and takes what is missing
 * from the environment and libpq's defaults; a worker, which may not, only takes the result apart.
 *
 * Invariants: what hf_pg_resolve() returns names no host by name alone, so libpq asks no resolver,
 * and turns GSSAPI off, which would read files and wait for its servers.  Of several addresses one
 * connection attempt knows one: libpq would stay with the first that is silent, a caller goes on
 * to the next.  Neither a conninfo nor an error of the parser, which quotes it, is ever shown.
 */
#include "pg_internal.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYWORDS_MAX 80

/* What is added to a conninfo that does not say otherwise. The times are seconds, the last ms. */
static const struct
{
	const char *keyword, *value;
} additions[] = {
	{"application_name", "holdfast_api"},
	{"target_session_attrs", "read-write"},
	{"keepalives_idle", "5"},
	{"keepalives_interval", "2"},
	{"keepalives_count", "3"},
	{"tcp_user_timeout", "5000"},
};

/* The lists of endpoints, of the same length each. */
typedef struct Endpoints
{
	FILE *host, *hostaddr, *port;
	unsigned n;
} Endpoints;

static PQconninfoOption *settings; /* of the worker */
static unsigned endpoints;

static PQconninfoOption *
find(PQconninfoOption *options, const char *keyword)
{
	while (options->keyword != NULL && strcmp(options->keyword, keyword) != 0)
		options++;
	return options->keyword != NULL ? options : NULL;
}

/* The value of a setting, empty if it has none. */
static const char *
get(PQconninfoOption *options, const char *keyword)
{
	const PQconninfoOption *option = find(options, keyword);

	return option != NULL && option->val != NULL ? option->val : "";
}

/* Gives a setting a value, which libpq frees. */
static void
set(PQconninfoOption *options, const char *keyword, char *value)
{
	PQconninfoOption *option = find(options, keyword);

	if (option == NULL)
	{
		free(value);
		return;
	}
	free(option->val);
	option->val = value;
}

/* The number of items of a list with commas; an empty list has one, which is empty. */
static unsigned
count_items(const char *list)
{
	unsigned n = 1;

	for (; *list != '\0'; list++)
		n += *list == ',';
	return n;
}

/* A copy of an item of a list; of one that is too short, the last. */
static char *
copy_item(const char *list, unsigned i)
{
	const char *comma;

	while (i-- > 0 && (comma = strchr(list, ',')) != NULL)
		list = comma + 1;
	return strndup(list, strcspn(list, ","));
}

static void
add_endpoint(Endpoints *list, const char *host, const char *hostaddr, const char *port)
{
	const char *comma = list->n++ > 0 ? "," : "";

	fprintf(list->host, "%s%s", comma, host);
	fprintf(list->hostaddr, "%s%s", comma, hostaddr);
	fprintf(list->port, "%s%s", comma, port);
}

/* Adds an endpoint for each address of a host; false if there is none. */
static bool
add_addresses(Endpoints *list, const char *host, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *addresses = NULL;

	if (getaddrinfo(host, NULL, &hints, &addresses) != 0)
		return false;
	for (const struct addrinfo *a = addresses; a != NULL; a = a->ai_next)
	{
		char text[NI_MAXHOST];

		if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) ==
			0)
			add_endpoint(list, host, text, port);
	}
	freeaddrinfo(addresses);
	return list->n > 0;
}

/* Adds the endpoints of an item of the lists; NULL, or the host that has no address. */
static char *
add_item(Endpoints *list, PQconninfoOption *options, unsigned i)
{
	char *host = copy_item(get(options, "host"), i);
	char *hostaddr = copy_item(get(options, "hostaddr"), i);
	char *port = copy_item(get(options, "port"), i);
	bool named = hostaddr[0] == '\0' && host[0] != '\0' && host[0] != '/' && host[0] != '@';
	bool found = true;

	if (named)
		found = add_addresses(list, host, port);
	else
		add_endpoint(list, host, hostaddr, port);
	free(hostaddr);
	free(port);
	if (found)
		free(host);
	return found ? NULL : host;
}

/* Replaces hosts by their addresses; NULL, or the host that has none. */
static char *
resolve_hosts(PQconninfoOption *options)
{
	unsigned hosts = count_items(get(options, "host"));
	unsigned addresses = count_items(get(options, "hostaddr"));
	char *text[3], *failed = NULL;
	size_t length;
	Endpoints list = {open_memstream(&text[0], &length), open_memstream(&text[1], &length),
					  open_memstream(&text[2], &length), 0};

	for (unsigned i = 0; failed == NULL && i < (hosts > addresses ? hosts : addresses); i++)
		failed = add_item(&list, options, i);
	fclose(list.host);
	fclose(list.hostaddr);
	fclose(list.port);
	set(options, "host", text[0]);
	set(options, "hostaddr", text[1]);
	set(options, "port", text[2]);
	return failed;
}

/* Makes settings what a worker needs; those of the environment and of libpq come last. */
static void
complete(PQconninfoOption *options)
{
	PQconninfoOption *defaults = PQconndefaults();

	for (size_t i = 0; i < sizeof(additions) / sizeof(additions[0]); i++)
		if (get(options, additions[i].keyword)[0] == '\0')
			set(options, additions[i].keyword, strdup(additions[i].value));
	for (const PQconninfoOption *d = defaults; d != NULL && d->keyword != NULL; d++)
		if (d->val != NULL && get(options, d->keyword)[0] == '\0')
			set(options, d->keyword, strdup(d->val));
	set(options, "gssencmode", strdup("disable"));
	PQconninfoFree(defaults);
}

/* Writes settings as a conninfo. */
static char *
write_conninfo(const PQconninfoOption *options)
{
	char *text;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	for (; options->keyword != NULL; options++)
	{
		if (options->val == NULL || strspn(options->val, ",") == strlen(options->val))
			continue;
		fprintf(out, "%s='", options->keyword);
		for (const char *p = options->val; *p != '\0'; p++)
			fprintf(out, *p == '\'' || *p == '\\' ? "\\%c" : "%c", *p);
		fputs("' ", out);
	}
	fclose(out);
	return text;
}

/*
 * Makes the conninfo that workers use, in the parent; it may wait for a resolver.  The caller
 * frees what it gets: the conninfo, or if false the error, which does not quote the conninfo.
 */
bool
hf_pg_resolve(const char *conninfo, char **resolved, char **error)
{
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
	char *failed;

	*resolved = *error = NULL;
	if (options == NULL)
	{
		*error = strdup("the conninfo cannot be parsed");
		return false;
	}
	complete(options);
	failed = resolve_hosts(options);
	if (failed == NULL)
		*resolved = write_conninfo(options);
	else if (asprintf(error, "host \"%s\" has no address", failed) < 0)
		*error = NULL;
	free(failed);
	PQconninfoFree(options);
	return *resolved != NULL;
}

/* The name of the database that a conninfo of hf_pg_resolve() leads to; the caller frees it. */
char *
hf_pg_database(const char *conninfo)
{
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
	char *name = NULL;

	if (options != NULL)
		name =
			strdup(*get(options, "dbname") != '\0' ? get(options, "dbname") : get(options, "user"));
	PQconninfoFree(options);
	return name;
}

/* Begins with a conninfo of hf_pg_resolve(); false if it is none. */
bool
hf_pg_conninfo_begin(const char *conninfo)
{
	unsigned hosts, addresses;

	settings = conninfo != NULL ? PQconninfoParse(conninfo, NULL) : NULL;
	if (settings == NULL)
		return false;
	hosts = count_items(get(settings, "host"));
	addresses = count_items(get(settings, "hostaddr"));
	endpoints = hosts > addresses ? hosts : addresses;
	return true;
}

unsigned
hf_pg_conninfo_endpoints(void)
{
	return endpoints;
}

/*
 * The server's options for sessions whose requests are answered within so many milliseconds: the
 * server gives up a little before, and waits for a lock half as long.
 */
char *
hf_pg_conninfo_options(unsigned milliseconds)
{
	char *text;

	if (asprintf(&text,
				 "%s -c statement_timeout=%u -c lock_timeout=%u"
				 " -c idle_in_transaction_session_timeout=%u",
				 get(settings, "options"), milliseconds - milliseconds / 10, milliseconds / 2,
				 milliseconds) < 0)
		fatal("out of memory");
	return text;
}

/* Starts to connect to one endpoint; the caller finishes what it gets, unless that is NULL. */
PGconn *
hf_pg_conninfo_connect(unsigned endpoint, const char *options)
{
	static const char *const own[] = {"host", "hostaddr", "port"};
	const char *keywords[KEYWORDS_MAX], *values[KEYWORDS_MAX];
	char *item[3];
	size_t n = 0;
	PGconn *pg;

	for (; n < 3; n++)
	{
		keywords[n] = own[n];
		values[n] = item[n] = copy_item(get(settings, own[n]), endpoint);
	}
	keywords[n] = "options";
	values[n++] = options;
	for (const PQconninfoOption *s = settings; s->keyword != NULL && n < KEYWORDS_MAX - 1; s++)
	{
		if (s->val == NULL || strcmp(s->keyword, "options") == 0 ||
			strcmp(s->keyword, "host") == 0 || strcmp(s->keyword, "hostaddr") == 0 ||
			strcmp(s->keyword, "port") == 0)
			continue;
		keywords[n] = s->keyword;
		values[n++] = s->val;
	}
	keywords[n] = NULL;
	pg = PQconnectStartParams(keywords, values, 0);
	for (size_t i = 0; i < 3; i++)
		free(item[i]);
	return pg;
}
