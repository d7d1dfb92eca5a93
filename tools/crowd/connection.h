/*
 * connection.h
 *		Connections, each with one request at a time.
 */
#ifndef HF_CROWD_CONNECTION_H
#define HF_CROWD_CONNECTION_H

#include "buyer.h"
#include "script.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Called when a request of a buyer has ended and the connection is free again; the one to call
 * hf_connection_run() next.
 */
typedef void (*HfConnectionFree)(unsigned connection, HfBuyer *buyer, HfNext next, uint64_t now);

/* Makes the connections, none of them open. */
extern void hf_connections_prepare(HfConnectionFree on_free);

/* Opens them all, so that the first requests do not wait for that; false: none could be opened. */
extern bool hf_connections_open(uint64_t timeout);

/* Whether it could not be opened when it was used last. */
extern bool hf_connection_failed(unsigned connection);

/* Sends what the buyer asks for; a connection that is not open is opened. */
extern void hf_connection_run(unsigned connection, HfBuyer *buyer, uint64_t now);

/* Waits for events until a time, and handles them. */
extern void hf_connections_wait(uint64_t now, uint64_t until);

/* Gives up requests that have waited too long. */
extern void hf_connections_sweep(uint64_t now);

/* Time now, in nanoseconds. */
extern uint64_t hf_now(void);

#endif
