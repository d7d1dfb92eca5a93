/*
 * redis_reply.c
 *		Replies of Redis as hiredis parses them, for the cache protocol.
 *
 * Invariants: a parser that is bounded makes no room for what has not been sent, whatever length
 * Redis announces; what a reply holds points into hiredis's own, and lives as long as that.
 */
#include "redis_reply.h"

/* hiredis's own; the same for each parser. */
static void *(*default_create_array)(const redisReadTask *, int);
static redisReplyObjectFunctions bounded;

/* Refuses to make room for an array that no reply to us has: too long a one, or too deep. */
static void *
create_array(const redisReadTask *task, int elements)
{
	bool is_deep = task->parent != NULL && task->parent->parent != NULL;

	if (is_deep || elements > HF_CACHE_REPLY_ELEMENTS)
		return NULL;
	return default_create_array(task, elements);
}

/* Makes a parser allocate no more than Redis has sent. */
void
hf_redis_reader_bound(redisReader *reader)
{
	if (default_create_array == NULL)
	{
		bounded = *reader->fn;
		bounded.createArray = create_array;
		default_create_array = reader->fn->createArray;
	}
	reader->fn = &bounded;
}

/* What a reply is for the protocol, without its elements. */
static HfCacheReply
translate_one(const redisReply *from)
{
	HfCacheReply to = {.type = HF_CACHE_REPLY_OTHER};

	switch (from->type)
	{
		case REDIS_REPLY_NIL:
			to.type = HF_CACHE_REPLY_NIL;
			break;
		case REDIS_REPLY_INTEGER:
			to.type = HF_CACHE_REPLY_INTEGER;
			to.integer = from->integer;
			break;
		case REDIS_REPLY_STRING:
		case REDIS_REPLY_ERROR:
			to.type =
				from->type == REDIS_REPLY_STRING ? HF_CACHE_REPLY_STRING : HF_CACHE_REPLY_ERROR;
			to.text.data = from->str;
			to.text.length = from->len;
			break;
		default:
			break;
	}
	return to;
}

/* What a reply is for the protocol; its elements are put into the array. */
HfCacheReply
hf_redis_reply(const redisReply *from, HfCacheReply element[HF_CACHE_REPLY_ELEMENTS])
{
	HfCacheReply to = translate_one(from);

	if (from->type != REDIS_REPLY_ARRAY || from->elements > HF_CACHE_REPLY_ELEMENTS)
		return to;
	to.type = HF_CACHE_REPLY_ARRAY;
	to.elements = from->elements;
	to.element = element;
	for (size_t i = 0; i < from->elements; i++)
		element[i] = translate_one(from->element[i]);
	return to;
}
