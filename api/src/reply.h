/*
 * reply.h
 *		Answers: made as soon as they are known, sent when Kore runs the request again.
 */
#ifndef HF_REPLY_H
#define HF_REPLY_H

#include "request.h"

extern void hf_reply(HfRequest *request, int status, const HfText *json);
extern void hf_reply_packed(HfRequest *request, int status, const HfText *plain,
							const HfText *gzip);
extern void hf_reply_text(HfRequest *request, int status, const char *type, const HfText *text);
extern void hf_reply_stream(HfRequest *request, const char *type, HfReplyBegin begin);
extern void hf_reply_problem(HfRequest *request, HfProblemCode code, const char *pointer,
							 const char *detail);
extern void hf_reply_refusal(HfRequest *request, const HfProblem *problem, const char *pointer,
							 const char *detail);
extern void hf_reply_etag(char etag[HF_REPLY_ETAG_MAX + 1], const HfText *body);
extern void hf_reply_send(HfRequest *request);

#endif
