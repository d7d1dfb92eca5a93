/*
 * flow.h
 *		The way of a request, from Kore to its handler and back.
 */
#ifndef HF_FLOW_H
#define HF_FLOW_H

struct http_request;

extern void hf_flow_start(void);
extern int hf_dispatch(struct http_request *http);

#endif
