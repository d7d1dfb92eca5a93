/*
 * hiredis.c
 *		The calls to hiredis that the extension makes and that can fail, each as hiredis itself fails.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "faults.h"

static const char refusal[] = "-ERR injected\r\n";

/* The function of that name behind ours. */
static void *
hiredis_find(const char *name)
{
	void *function = dlsym(RTLD_NEXT, name);

	if (function == NULL)
		abort();
	return function;
}

#define REAL(name) ((__typeof__(&(name))) hiredis_find(#name))

static int
hiredis_break(redisContext *c, int error, const char *text)
{
	c->err = error;
	snprintf(c->errstr, sizeof(c->errstr), "%s", text);
	return REDIS_ERR;
}

static redisContext *
hiredis_connected(redisContext *c)
{
	fault_in_hiredis = false;
	if (c != NULL && c->err == 0 && fault_hits(FAULT_CALL))
		(void) hiredis_break(c, REDIS_ERR_IO, "Connection refused");
	return c;
}

EXPORT redisContext *
redisConnectNonBlock(const char *host, int port)
{
	fault_in_hiredis = true;
	return hiredis_connected(REAL(redisConnectNonBlock)(host, port));
}

EXPORT redisContext *
redisConnectUnixNonBlock(const char *path)
{
	fault_in_hiredis = true;
	return hiredis_connected(REAL(redisConnectUnixNonBlock)(path));
}

EXPORT redisContext *
redisConnectFd(int fd)
{
	redisContext *c;

	if (fault_hits(FAULT_CALL))
		return NULL;
	fault_in_hiredis = true;
	c = REAL(redisConnectFd)(fd);
	fault_in_hiredis = false;
	return c;
}

EXPORT int
redisAppendCommandArgv(redisContext *c, int argc, const char **argv, const size_t *length)
{
	int status;

	if (fault_hits(FAULT_CALL))
		return hiredis_break(c, REDIS_ERR_OOM, "Out of memory");
	fault_in_hiredis = true;
	status = REAL(redisAppendCommandArgv)(c, argc, argv, length);
	fault_in_hiredis = false;
	return status;
}

/* The connection breaks before anything is sent. */
EXPORT int
redisBufferWrite(redisContext *c, int *done)
{
	int status;

	if (fault_hits(FAULT_CALL))
		return hiredis_break(c, REDIS_ERR_IO, "Broken pipe");
	fault_in_hiredis = true;
	status = REAL(redisBufferWrite)(c, done);
	fault_in_hiredis = false;
	return status;
}

/* The connection breaks before anything is received: whatever was sent is done. */
EXPORT int
redisBufferRead(redisContext *c)
{
	int status;

	if (fault_hits(FAULT_CALL))
		return hiredis_break(c, REDIS_ERR_EOF, "Server closed the connection");
	fault_in_hiredis = true;
	status = REAL(redisBufferRead)(c);
	fault_in_hiredis = false;
	return status;
}

/* Puts an error in the place of an answer. */
static void
hiredis_refuse(void **reply)
{
	redisReader *reader = redisReaderCreate();

	freeReplyObject(*reply);
	*reply = NULL;
	if (reader == NULL || redisReaderFeed(reader, refusal, strlen(refusal)) != REDIS_OK ||
		redisReaderGetReply(reader, reply) != REDIS_OK)
		abort();
	redisReaderFree(reader);
}

EXPORT int
redisGetReplyFromReader(redisContext *c, void **reply)
{
	int status;

	if (fault_hits(FAULT_CALL))
		return hiredis_break(c, REDIS_ERR_PROTOCOL, "Protocol error");
	fault_in_hiredis = true;
	status = REAL(redisGetReplyFromReader)(c, reply);
	fault_in_hiredis = false;
	if (status == REDIS_OK && *reply != NULL && fault_hits(FAULT_ANSWER))
		hiredis_refuse(reply);
	return status;
}
