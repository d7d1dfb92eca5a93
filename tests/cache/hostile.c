/*
 * hostile.c
 *		What only looks like a Redis: it sends garbage, too much, too little, too slowly.
 *
 * A thread takes one connection after the other and answers each with its lines, one to a command.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "reader.h"

#define TIMEOUT 200	  /* milliseconds, of a reader that is to give up */
#define PATIENT 20000 /* of one that is to be answered, whoever stands still meanwhile */
#define LINES	3

/* What a connection gets; a line of NULL is the last, and behind it the connection is kept. */
typedef struct Hostile
{
	const char *line[LINES];
	size_t length[LINES]; /* 0: to the NUL */
	bool late;			  /* not before there is another command, or nobody any more */
	bool slow;			  /* byte by byte */
	bool flood;			  /* the last line again and again */
	bool close;			  /* behind the last line, or at once */
} Hostile;

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static int listener;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Hostile hostile; /* of the next connection; under the lock, as is the next */
static int connections;

static void
behave(const Hostile *next)
{
	pthread_mutex_lock(&lock);
	hostile = *next;
	connections = 0;
	pthread_mutex_unlock(&lock);
}

static int
count_connections(void)
{
	int n;

	pthread_mutex_lock(&lock);
	n = connections;
	pthread_mutex_unlock(&lock);
	return n;
}

/* Sends a line; false if nobody wants it any more. */
static bool
send_line(int fd, const char *line, size_t length, bool slow)
{
	size_t step = slow ? 1 : length;

	for (size_t at = 0; at < length; at += step)
	{
		if (send(fd, line + at, step, MSG_NOSIGNAL) < 0)
			return false;
		if (slow)
			usleep(TIMEOUT / 2 * 1000);
	}
	return true;
}

static void
serve(int fd, const Hostile *is)
{
	char command[65536];

	for (int i = 0; i < LINES && is->line[i] != NULL; i++)
	{
		size_t length = is->length[i] > 0 ? is->length[i] : strlen(is->line[i]);

		do
		{
			if (!is->flood && recv(fd, command, sizeof(command), 0) <= 0)
				return;
			if (is->late && recv(fd, command, sizeof(command), 0) <= 0)
				return;
			if (!send_line(fd, is->line[i], length, is->slow))
				return;
		} while (is->flood && (i + 1 == LINES || is->line[i + 1] == NULL));
	}
	while (!is->close && recv(fd, command, sizeof(command), 0) > 0)
		;
}

static void *
run(void *unused)
{
	(void) unused;
	for (;;)
	{
		int fd = accept(listener, NULL, NULL);
		Hostile is;

		if (fd < 0)
			return NULL;
		pthread_mutex_lock(&lock);
		connections++;
		is = hostile;
		pthread_mutex_unlock(&lock);
		serve(fd, &is);
		close(fd);
	}
}

/*
 * Reads from such a Redis, and fills if it says so; what came of the last of both.  The heartbeat
 * has to be 0, for a reader that has seen none.
 */
static HfCacheAnswer
meet(const Hostile *next, int timeout)
{
	HfCacheAddress where = {.path = address.sun_path, .timeout = timeout};
	HfCacheReader *reader;
	HfCacheEntry item = entry_of("item:1");
	HfText payload;
	HfCacheLease lease;
	HfCacheAnswer answer;
	Usec begun = now(), bound = timeout * 1000 + 20 * SECOND;

	behave(next);
	reader = hf_cache_reader_open(&where, PREFIX);
	answer = get(reader, &item, &payload, &lease);
	check(now() - begun < bound, "%s takes %ld us", next->line[0], (long) (now() - begun));
	begun = now();
	if (answer == HF_CACHE_LEASED)
		answer = hf_cache_reader_fill(reader, &lease, &(HfText){"x", 1}, 60000);
	check(now() - begun < bound, "%s takes %ld us", next->line[0], (long) (now() - begun));
	hf_cache_reader_close(reader);
	return answer;
}

#define MISS   "*2\r\n$1\r\n0\r\n$-1\r\n"
#define LEASED "*0\r\n"

static void
expect_all(const Hostile *list, size_t n, int line, HfCacheAnswer expected)
{
	for (size_t i = 0; i < n; i++)
		expect(meet(&list[i], expected == HF_CACHE_BROKEN ? TIMEOUT : PATIENT), expected,
			   list[i].line[line]);
}

static void
test_asking(void)
{
	static const Hostile broken[] = {
		{.line = {""}, .close = true},
		{.line = {"\r\n"}},
		{.line = {"HTTP/1.1 400 Bad Request\r\n\r\n"}},
		{.line = {"+OK\r\n"}},
		{.line = {":1\r\n"}},
		{.line = {"$-1\r\n"}},
		{.line = {"$1\r\n0\r\n"}},
		{.line = {"*0\r\n"}},
		{.line = {"*-1\r\n"}},
		{.line = {"*-5\r\n"}},
		{.line = {"*1\r\n$1\r\n0\r\n"}},
		{.line = {"*3\r\n$1\r\n0\r\n$2\r\n\nx\r\n$-1\r\n"}},
		{.line = {"*2\r\n$1\r\n0\r\n"}},
		{.line = {"*2\r\n$1\r\n0\r\n"}, .close = true},
		{.line = {"*2\r\n$1\r\n0\r\n$2\r\n\nx"}},
		{.line = {"*2\r\n$1\r\n0\r\n$2\r\n\nx\r\n*2\r\n$1\r\n0\r\n$2\r\n\ny\r\n"}},
		{.line = {"*2147483647\r\n"}},
		{.line = {"*4294967298\r\n"}},
		{.line = {"*99999999999999999999\r\n"}},
		{.line = {"*x\r\n"}},
		{.line = {"$536870912\r\nx"}},
		{.line = {"$9223372036854775807\r\nx"}},
		{.line = {"$-2\r\n"}},
		{.line = {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n$1\r\n0\r\n"}},
		{.line = {"\0\0\0\0\0\0"}, .length = {6}},
		{.line = {"%1\r\n+a\r\n+b\r\n"}},
		{.line = {"_\r\n"}},
	};
	static const Hostile off[] = {
		{.line = {"-ERR unknown command\r\n"}},
		{.line = {"-NOAUTH Authentication required.\r\n"}},
		{.line = {"-LOADING Redis is loading the dataset in memory\r\n"}},
		{.line = {"-\r\n"}},
		{.line = {"*2\r\n:0\r\n$2\r\n\nx\r\n"}},
		{.line = {"*2\r\n+0\r\n$2\r\n\nx\r\n"}},
		{.line = {"*2\r\n-ERR\r\n$2\r\n\nx\r\n"}},
		{.line = {"*2\r\n*1\r\n$1\r\n0\r\n$2\r\n\nx\r\n"}},
		{.line = {"*2\r\n$3\r\n0\0x\r\n$2\r\n\nx\r\n"}, .length = {21}},
		{.line = {"*2\r\n$1\r\n7\r\n$-1\r\n", "*2\r\n$1\r\n8\r\n$-1\r\n",
				  "*2\r\n$1\r\n9\r\n$-1\r\n"}},
	};
	static const Hostile good = {.line = {"*2\r\n$1\r\n0\r\n$2\r\n\nx\r\n"}};

	expect_all(broken, sizeof(broken) / sizeof(broken[0]), 0, HF_CACHE_BROKEN);
	expect_all(off, sizeof(off) / sizeof(off[0]), 0, HF_CACHE_OFF);
	expect(meet(&good, PATIENT), HF_CACHE_HIT, "what is no garbage");
	claim("garbage in reply to a question is no hit, and no crash");
}

static void
test_leasing(void)
{
	static const Hostile broken[] = {
		{.line = {MISS, ""}, .close = true},
		{.line = {MISS, ":1\r\n"}},
		{.line = {MISS, "+OK\r\n"}},
		{.line = {MISS, "$1\r\n1\r\n"}},
		{.line = {MISS, "*1\r\n$1\r\n1\r\n"}},
		{.line = {MISS, "*1\r\n$1\r\n1"}},
		{.line = {MISS, "-NOSCRIPT No matching script.\r\n", ":1\r\n"}},
	};
	static const Hostile off[] = {
		{.line = {MISS, "-ERR\r\n"}},
		{.line = {MISS, "-NOSCRIP\r\n"}},
		{.line = {MISS, "-NOSCRIPT\r\n", "-NOSCRIPT\r\n"}},
		{.line = {MISS, "-READONLY You can't write against a read only replica.\r\n"}},
	};
	static const Hostile busy = {.line = {MISS, "$-1\r\n"}};

	expect_all(broken, sizeof(broken) / sizeof(broken[0]), 1, HF_CACHE_BROKEN);
	expect_all(off, sizeof(off) / sizeof(off[0]), 1, HF_CACHE_OFF);
	expect(meet(&busy, PATIENT), HF_CACHE_BUSY, "what is no garbage");
	claim("garbage in reply to a request for a lease is no lease");
}

static void
test_filling(void)
{
	static const Hostile broken[] = {
		{.line = {MISS, LEASED, ""}, .close = true}, {.line = {MISS, LEASED, "$1\r\n1\r\n"}},
		{.line = {MISS, LEASED, "+OK\r\n"}},		 {.line = {MISS, LEASED, "$-1\r\n"}},
		{.line = {MISS, LEASED, "*1\r\n:1\r\n"}},	 {.line = {MISS, LEASED, ":1"}},
	};
	static const Hostile refused[] = {
		{.line = {MISS, LEASED, ":0\r\n"}},
		{.line = {MISS, LEASED, ":-1\r\n"}},
		{.line = {MISS, LEASED, ":2\r\n"}},
	};
	static const Hostile off = {.line = {MISS, LEASED, "-OOM\r\n"}};
	static const Hostile stored = {.line = {MISS, LEASED, ":1\r\n"}};

	expect_all(broken, sizeof(broken) / sizeof(broken[0]), 2, HF_CACHE_BROKEN);
	expect_all(refused, sizeof(refused) / sizeof(refused[0]), 2, HF_CACHE_REFUSED);
	expect(meet(&off, PATIENT), HF_CACHE_OFF, "an error");
	expect(meet(&stored, PATIENT), HF_CACHE_STORED, "what is no garbage");
	claim("garbage in reply to a fill is no success");
}

static void
test_slow(void)
{
	Hostile slow = {.line = {"*2\r\n$1\r\n0\r\n$2\r\n\nx\r\n"}, .slow = true};

	expect(meet(&slow, TIMEOUT), HF_CACHE_BROKEN, "a reply that takes its time");
	claim("a reply that comes byte by byte is not waited for any longer");
}

/* However long it may take, no more than the longest value is taken in. */
static void
test_large(void)
{
	static char much[65536];
	Hostile list[] = {{.line = {"$536870912\r\n", much},
					   .length = {0, sizeof(much)},
					   .flood = true},
					  {.line = {"*2\r\n$1\r\n0\r\n$536870912\r\n", much},
					   .length = {0, sizeof(much)},
					   .flood = true},
					  {.line = {much}, .length = {sizeof(much)}, .flood = true}};
	HfCacheAddress where = {.path = address.sun_path, .timeout = 20000};
	HfCacheEntry item = entry_of("item:1");
	HfText payload;
	HfCacheLease lease;

	memset(much, 'x', sizeof(much));
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
	{
		HfCacheReader *reader = hf_cache_reader_open(&where, PREFIX);

		behave(&list[i]);
		expect(get(reader, &item, &payload, &lease), HF_CACHE_BROKEN, "a flood");
		check(i == 2 || strstr(hf_cache_reader_error(reader), "too large") != NULL,
			  "the reader says: %s", hf_cache_reader_error(reader));
		hf_cache_reader_close(reader);
	}
	claim("a reply without an end is not taken in");
}

/* What a connection sends after something was wrong with it would be a hit. */
static void
test_late(void)
{
	static const char old[] = "*2\r\n$1\r\n0\r\n$2\r\n\nx\r\n";
	Hostile list[] = {{.line = {":1\r\n", old, old}},
					  {.line = {old, old, old}, .late = true},
					  {.line = {"-NOSCRIPT\r\n*0\r\n", old, old}}};
	HfCacheAddress where = {.path = address.sun_path, .timeout = TIMEOUT};
	HfText payload;
	HfCacheLease lease;

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
	{
		HfCacheReader *reader = hf_cache_reader_open(&where, PREFIX);
		HfCacheEntry item = entry_of("item:1"), two = entry_of("item:2");
		Usec begun = now();

		behave(&list[i]);
		expect(get(reader, &item, &payload, &lease), HF_CACHE_BROKEN, "the first answer");
		while (now() - begun < 30 * SECOND && count_connections() < 2)
			expect(get(reader, &two, &payload, &lease), HF_CACHE_BROKEN, "the next question");
		check(count_connections() >= 2, "there are %d connections", count_connections());
		hf_cache_reader_close(reader);
	}
	claim("an answer that comes late, or twice, is not taken for that to the next question");
}

static void
test_pauses(void)
{
	HfCacheAddress where = {.path = address.sun_path, .timeout = TIMEOUT};
	HfCacheReader *reader = hf_cache_reader_open(&where, PREFIX);
	HfCacheEntry item = entry_of("item:1");
	HfText payload;
	HfCacheLease lease;
	Hostile list[] = {{.close = true}, {.line = {"+OK\r\n"}}};

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
	{
		Usec begun = now();

		behave(&list[i]);
		while (now() - begun < SECOND || (count_connections() == 0 && now() - begun < 30 * SECOND))
			expect(get(reader, &item, &payload, &lease), HF_CACHE_BROKEN, "from a closed door");
		check(count_connections() > 0 && count_connections() <= 8, "%d connections in a second",
			  count_connections());
	}
	hf_cache_reader_close(reader);
	claim("a reader does not connect again and again in a tight loop");
}

void
test_hostile(const char *directory)
{
	pthread_t thread;

	snprintf(address.sun_path, sizeof(address.sun_path), "%.90s/hostile.sock", directory);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *) &address, sizeof(address)) != 0 ||
		listen(listener, 10) != 0 || pthread_create(&thread, NULL, run, NULL) != 0)
		abort();
	test_asking();
	test_leasing();
	test_filling();
	test_slow();
	test_large();
	test_late();
	test_pauses();
	shutdown(listener, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(listener);
}
