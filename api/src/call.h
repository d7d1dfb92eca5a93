/*
 * call.h
 *		Calls of rest functions: arguments in, one row out.
 */
#ifndef HF_CALL_H
#define HF_CALL_H

#include "routes.h"

/* What a rest function answers. Valid during the step. */
typedef struct HfRow
{
	int status;
	HfText etag;
	HfText location;
	HfText body;
	bool replayed;
} HfRow;

/* What a request does with the row of its call. */
typedef void (*HfStep)(HfRequest *request, const HfRow *row);

/* Room for the text of a number. */
typedef struct HfNumber
{
	char text[21];
} HfNumber;

extern HfText hf_text(const char *text);
extern void hf_text_copy(char *to, size_t room, const HfText *from);
extern HfText hf_number(HfNumber *number, int64_t value);
extern bool hf_call_read_id(const HfText *text, int64_t *id);
extern HfText hf_bytea(char *text, const void *bytes, size_t length);
extern HfText hf_actor(const HfRequest *request, HfNumber *number);

extern void hf_call(HfRequest *request, const HfCall *call, const HfText *values, HfStep step);
extern void hf_call_route(HfRequest *request);
extern bool hf_call_read_query(HfRequest *request);
extern bool hf_call_row(const HfPgAnswer *answer, HfRow *row);
extern bool hf_call_arguments(HfRequest *request, bool as_nobody, HfText *values,
							  HfNumber *numbers);
extern void hf_call_reply(HfRequest *request, const HfRow *row);
extern const char *hf_call_detail(const HfProblem *problem, const char *detail);
extern void hf_call_unknown(HfRequest *request, HfProblemCode code);
extern void hf_call_refused(HfRequest *request, const char *function, const HfPgAnswer *answer);
extern size_t hf_call_next(const HfText *body, char *next, size_t room);
extern void hf_call_link(HfRequest *request, const char *next);

#endif
