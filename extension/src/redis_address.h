/*
 * redis_address.h
 *		Where a Redis is, and a socket to there.
 */
#ifndef HF_REDIS_ADDRESS_H
#define HF_REDIS_ADDRESS_H

typedef struct HfRedisAddress
{
	char host[256]; /* or path */
	int port;		/* 0: a Unix socket */
} HfRedisAddress;

extern bool hf_redis_address_parse(const char *text, Size length, HfRedisAddress *address);
extern int hf_redis_address_dial(const HfRedisAddress *address, const char **why);

#endif
