/*
 * redis.h
 *		A connection to Redis that never waits without a bound, and notices interrupts.
 */
#ifndef HF_REDIS_H
#define HF_REDIS_H

/* Longest message about what is wrong. */
#define HF_REDIS_ERROR_MAX 256

typedef struct HfRedis HfRedis;

typedef enum HfRedisType
{
	HF_REDIS_NIL,
	HF_REDIS_TEXT, /* a string or a status */
	HF_REDIS_INTEGER,
	HF_REDIS_ARRAY,
} HfRedisType;

/* An answer; valid until the next call. */
typedef struct HfRedisAnswer
{
	HfRedisType type;
	const char *text;
	Size length;
	int64 integer;
} HfRedisAnswer;

extern void hf_redis_prepare(void);
extern HfRedis *hf_redis_open(char *error);
extern void hf_redis_close(HfRedis *redis);
extern bool hf_redis_send(HfRedis *redis, int argc, const char **argv, const size_t *length);
extern bool hf_redis_receive(HfRedis *redis, HfRedisAnswer *answer);
extern bool hf_redis_element(HfRedis *redis, int index, HfRedisAnswer *answer);
extern const char *hf_redis_run_id(const HfRedis *redis);
extern const char *hf_redis_error(const HfRedis *redis);

#endif
