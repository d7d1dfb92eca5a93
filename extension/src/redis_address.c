/*
 * redis_address.c
 *		Where a Redis is, and a socket to there.
 *
 * hiredis before 1.0 aborts where it cannot copy an address, so the socket is made here.  Names of
 * hosts are looked up by the resolver, which blocks: hf_redis_prepare() bounds it to a second or
 * two.  Addresses, and the names of Unix sockets, do without.
 */
#include "postgres.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "redis.h"
#include "redis_address.h"

#define DEFAULT_PORT 6379

/* To be called once in a process that is going to connect. */
void
hf_redis_prepare(void)
{
	(void) setenv("RES_OPTIONS", "timeout:1 attempts:1", 0);
}

/* Takes one address of the list apart; false if it is none. */
bool
hf_redis_address_parse(const char *text, Size length, HfRedisAddress *address)
{
	const char *colon;

	while (length > 0 && (*text == ' ' || *text == '['))
		text++, length--;
	while (length > 0 && text[length - 1] == ' ')
		length--;
	if (length == 0 || length >= sizeof(address->host))
		return false;
	memcpy(address->host, text, length);
	address->host[length] = '\0';
	address->port = 0;
	if (address->host[0] == '/')
		return true;
	address->port = DEFAULT_PORT;
	colon = strrchr(address->host, ':');
	if (colon != NULL && strchr(colon, ']') == NULL)
	{
		address->port = atoi(colon + 1);
		address->host[colon - address->host] = '\0';
	}
	address->host[strcspn(address->host, "]")] = '\0';
	return address->port > 0 && address->port <= 65535;
}

/* A socket that is being connected, or -1 and an error in errno. */
static int
hf_redis_dial(int family, const struct sockaddr *where, socklen_t length)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0)
		return -1;
	if (family != AF_UNIX)
		(void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, where, length) != 0 && errno != EINPROGRESS)
	{
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static int
hf_redis_dial_path(const char *path)
{
	struct sockaddr_un where = {.sun_family = AF_UNIX};

	if (strlcpy(where.sun_path, path, sizeof(where.sun_path)) >= sizeof(where.sun_path))
	{
		errno = ENAMETOOLONG;
		return -1;
	}
	return hf_redis_dial(AF_UNIX, (struct sockaddr *) &where, sizeof(where));
}

/* Tries what the name stands for, one after the other. */
static int
hf_redis_dial_first(const struct addrinfo *found)
{
	int fd = -1;

	for (; found != NULL && fd < 0; found = found->ai_next)
		fd = hf_redis_dial(found->ai_family, found->ai_addr, found->ai_addrlen);
	return fd;
}

/* A socket that is being connected to the address; or -1, and *why. */
int
hf_redis_address_dial(const HfRedisAddress *address, const char **why)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	char port[16];
	int fd;
	int error;

	if (address->port == 0)
		fd = hf_redis_dial_path(address->host);
	else
	{
		snprintf(port, sizeof(port), "%d", address->port);
		error = getaddrinfo(address->host, port, &hints, &found);
		if (error != 0)
		{
			*why = gai_strerror(error);
			return -1;
		}
		fd = hf_redis_dial_first(found);
		error = errno;
		freeaddrinfo(found);
		errno = error;
	}
	if (fd < 0)
		*why = strerror(errno);
	return fd;
}
