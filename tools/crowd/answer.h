/*
 * answer.h
 *		Answers of HTTP/1.1 as they come in, in pieces of any size.
 */
#ifndef HF_CROWD_ANSWER_H
#define HF_CROWD_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HF_ANSWER_ROOM 8192 /* for a head, and as much of the body as fits behind it */

typedef enum HfAnswerState
{
	HF_ANSWER_PART,		 /* more has to come */
	HF_ANSWER_WHOLE,	 /* it is there, and nothing else */
	HF_ANSWER_MORE,		 /* it is there, and bytes behind it that belong to nothing */
	HF_ANSWER_NO_LENGTH, /* one that only the end of the connection would end, or chunked */
	HF_ANSWER_BAD		 /* no answer of HTTP/1.x */
} HfAnswerState;

typedef struct HfAnswer
{
	uint64_t got;	 /* bytes, of which the first are in text */
	uint64_t length; /* of it all, once the head is there; else 0 */
	size_t head;	 /* bytes */
	int status;
	uint32_t retry_after; /* seconds; 0: not said */
	bool close;			  /* its connection ends with it */
	char text[HF_ANSWER_ROOM];
} HfAnswer;

/* A piece of text. */
typedef struct HfPiece
{
	const char *data;
	size_t length;
} HfPiece;

extern void hf_answer_begin(HfAnswer *answer);

/* Where the next bytes are to be put, and how many; never no room. */
extern char *hf_answer_room(HfAnswer *answer, size_t *room);

/* So many bytes were put there. */
extern HfAnswerState hf_answer_take(HfAnswer *answer, size_t bytes);

/* A text of the object that the body is: the value of a name, as it stands there; none: no data. */
extern HfPiece hf_answer_field(const HfAnswer *answer, const char *name);

#endif
