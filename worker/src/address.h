/*
 * address.h
 *		Which addresses are everybody's, and which are one's own network's.
 */
#ifndef HF_ADDRESS_H
#define HF_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

extern bool hf_address_is_public(const struct sockaddr *address);

#endif
