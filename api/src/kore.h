/*
 * kore.h
 *		Kore's own headers, in the order that they need.
 */
#ifndef HF_KORE_H
#define HF_KORE_H

#include <sys/types.h>
#include <sys/socket.h>

#include <kore/kore.h>
#include <kore/http.h>

/* Workers that serve, as a worker counts them: Kore's own count has two more, for keys. */
#define HF_WORKERS (worker_count > KORE_WORKER_BASE ? worker_count - KORE_WORKER_BASE : 1)

#endif
