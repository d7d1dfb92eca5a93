/*
 * answer.h
 *		What a provider's answer means.
 */
#ifndef HF_ANSWER_H
#define HF_ANSWER_H

#include "call.h"

#include <stddef.h>

extern void hf_answer_read(HfCall *call, long status, const char *body, size_t length);
extern void hf_answer_set(HfCall *call, HfOutcome outcome, const char *reference,
						  const char *reason);
extern void hf_answer_none(HfCall *call, bool was_sent, const char *reason);

#endif
