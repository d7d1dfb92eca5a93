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

#endif
