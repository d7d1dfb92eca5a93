/*
 * frame.h
 *		The framing guard: what stands between the socket and Kore's parser.
 *
 * A listener gets it by the third word of its line: "bind 127.0.0.1 8080 hf_frame_connect".  A
 * guarded connection's hdlr_extra, read, disconnect and evt.handle are the guard's.  Whoever takes
 * one over for good, before it is answered, calls its disconnect and sets all four.
 *
 * The guard sends with shutdown(), which Kore's seccomp filter has to be told to allow.
 */
#ifndef HF_FRAME_H
#define HF_FRAME_H

#include <stddef.h>
#include <stdbool.h>

#define HF_FRAME_ID_MAX 32 /* characters of a request's id that we make */

struct connection;

/*
 * Writes the problem document of a request that no route saw, into so much room, and says how long
 * it is.  The detail is a sentence of ours that needs no escaping.
 */
typedef size_t (*HfFrameProblem)(char *document, size_t room, char id[HF_FRAME_ID_MAX + 1],
								 int status, const char *detail);

/*
 * How many bytes the body of a request may have, by method and path, which is as the client wrote
 * it, without a query.  0: no more than hf_config.body_max, as that of any request.
 */
typedef size_t (*HfFrameBodyMax)(const char *method, size_t method_length, const char *path,
								 size_t path_length);

extern void hf_frame_configure(HfFrameProblem problem, HfFrameBodyMax body_max);
extern void hf_frame_connect(struct connection *connection);
extern void hf_frame_responding(struct connection *connection, bool begins);

#endif
