/*
 * address.c
 *		Which addresses are everybody's, and which are one's own network's.
 *
 * An address is judged as it is about to be connected to, so it does not matter how it was written
 * or what name it came from.  IPv4 is judged by the special-purpose registry (RFC 6890); of IPv6
 * only global unicast is public (RFC 4291), without what the registry takes out of it.  Where an
 * IPv6 address stands for an IPv4 address, that one counts.
 */
#include "address.h"

#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

#define V4(a, b, c, d) \
	((uint32_t) (a) << 24 | (uint32_t) (b) << 16 | (uint32_t) (c) << 8 | (uint32_t) (d))

typedef struct Network4
{
	uint32_t address;
	unsigned bits;
} Network4;

/* What is not public: this host, private, shared (RFC 6598), loopback, link-local, and the like. */
static const Network4 special4[] = {
	{V4(0, 0, 0, 0), 8},	  {V4(10, 0, 0, 0), 8},		{V4(100, 64, 0, 0), 10},
	{V4(127, 0, 0, 0), 8},	  {V4(169, 254, 0, 0), 16}, {V4(172, 16, 0, 0), 12},
	{V4(192, 0, 0, 0), 24},	  {V4(192, 0, 2, 0), 24},	{V4(192, 88, 99, 0), 24},
	{V4(192, 168, 0, 0), 16}, {V4(198, 18, 0, 0), 15},	{V4(198, 51, 100, 0), 24},
	{V4(203, 0, 113, 0), 24}, {V4(224, 0, 0, 0), 4},	{V4(240, 0, 0, 0), 4},
};

static bool
is_public4(uint32_t address)
{
	for (size_t i = 0; i < sizeof(special4) / sizeof(special4[0]); i++)
		if ((address ^ special4[i].address) >> (32 - special4[i].bits) == 0)
			return false;
	return true;
}

/* The four bytes as an IPv4 address. */
static uint32_t
embedded(const uint8_t *bytes)
{
	return V4(bytes[0], bytes[1], bytes[2], bytes[3]);
}

static bool
is_public6(const uint8_t *bytes)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};	  /* ::ffff:0:0/96 */
	static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};		  /* 64:ff9b::/96 */
	static const uint8_t documentation[4] = {0x20, 0x01, 0x0d, 0xb8}; /* 2001:db8::/32 */

	if (memcmp(bytes, mapped, sizeof(mapped)) == 0 || memcmp(bytes, nat64, sizeof(nat64)) == 0)
		return is_public4(embedded(bytes + 12));
	if (bytes[0] == 0x20 && bytes[1] == 0x02) /* 6to4, RFC 3056 */
		return is_public4(embedded(bytes + 2));
	if (bytes[0] == 0x20 && bytes[1] == 0x01 && bytes[2] < 0x02) /* 2001::/23: Teredo and others */
		return false;
	if (memcmp(bytes, documentation, sizeof(documentation)) == 0)
		return false;
	return bytes[0] >> 5 == 1; /* 2000::/3 */
}

/* Is this an address of the Internet at large? What is of neither family is not. */
bool
hf_address_is_public(const struct sockaddr *address)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (address->sa_family == AF_INET)
	{
		memcpy(&in, address, sizeof(in));
		return is_public4(ntohl(in.sin_addr.s_addr));
	}
	if (address->sa_family != AF_INET6)
		return false;
	memcpy(&in6, address, sizeof(in6));
	return is_public6(in6.sin6_addr.s6_addr);
}
