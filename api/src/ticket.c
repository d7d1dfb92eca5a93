/*
 * ticket.c
 *		Tickets of sales: how they are signed, and checked.
 *
 * A ticket is 24 bytes in base64url (RFC 4648), 32 characters of which every bit counts:
 *
 *		 2 bytes	which key has signed it
 *		 6 bytes	when it expires, in milliseconds since 1970
 *		16 bytes	keyed BLAKE2b (RFC 7693) of account, sale and that time
 *
 * Whose it is, and for what, does not stand in it.  Whoever shows it says that by his access token
 * and the path, and it is good only if just that was signed: a ticket of somebody else's is as bad
 * as a forged one.  Each key of hf_config.token_keys has a key for tickets made of it; the first
 * one signs, all of them verify.
 *
 * A ticket has no state: the same account, sale and time make the same ticket, whichever process
 * signs it.  It expires by the clock of the machine that looks at it.  A machine whose clock is
 * wrong takes it so much longer or shorter, and no harm comes of that: a purchase is judged by the
 * database, with its own clock.
 */
#include "ticket.h"
#include "token.h"

#include <sodium.h>
#include <string.h>
#include <time.h>

#define PURPOSE		  "holdfast: tickets of sales"
#define KEYS_MAX	  16 /* as many as there may be for tokens */
#define KEY_BYTES	  32
#define ID_BYTES	  2
#define EXPIRES_BYTES 6
#define MARK_BYTES	  16
#define BYTES		  (ID_BYTES + EXPIRES_BYTES + MARK_BYTES)
#define BASE64URL	  sodium_base64_VARIANT_URLSAFE_NO_PADDING

_Static_assert(sodium_base64_ENCODED_LEN(BYTES, BASE64URL) == HF_TICKET_MAX + 1, "HF_TICKET_MAX");
_Static_assert(BYTES % 3 == 0, "no bit of the last character may be without a meaning");

/* What is made of a key: the two together, so that an id says nothing of the rest. */
typedef struct Key
{
	unsigned char key[KEY_BYTES];
	unsigned char id[ID_BYTES];
} Key;

static Key key[KEYS_MAX];
static size_t keys;

void
hf_ticket_prepare(void)
{
	keys = 0;
	while (keys < KEYS_MAX &&
		   hf_token_derive(keys, PURPOSE, (unsigned char *) &key[keys], sizeof(Key)))
		keys++;
}

int64_t
hf_ticket_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Writes the last bytes of a number, the highest first. */
static void
write_number(unsigned char *to, int64_t number, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		to[i] = (unsigned char) ((uint64_t) number >> 8 * (bytes - 1 - i));
}

static int64_t
read_number(const unsigned char *from, size_t bytes)
{
	int64_t number = 0;

	for (size_t i = 0; i < bytes; i++)
		number = number << 8 | from[i];
	return number;
}

static void
write_ticket(char ticket[HF_TICKET_MAX + 1], const Key *with, int64_t account, int64_t sale,
			 int64_t expires)
{
	unsigned char text[8 + 8 + EXPIRES_BYTES], bytes[BYTES];

	write_number(text, account, 8);
	write_number(text + 8, sale, 8);
	write_number(text + 16, expires, EXPIRES_BYTES);
	memcpy(bytes, with->id, ID_BYTES);
	write_number(bytes + ID_BYTES, expires, EXPIRES_BYTES);
	crypto_generichash(bytes + ID_BYTES + EXPIRES_BYTES, MARK_BYTES, text, sizeof(text), with->key,
					   KEY_BYTES);
	sodium_bin2base64(ticket, HF_TICKET_MAX + 1, bytes, BYTES, BASE64URL);
}

/* Writes the ticket of an account for a sale that expires then. */
void
hf_ticket_sign(char ticket[HF_TICKET_MAX + 1], int64_t account, int64_t sale, int64_t expires)
{
	write_ticket(ticket, &key[0], account, sale, expires);
}

/*
 * Judges a ticket that this account has shown for this sale: it must be, character by character,
 * the one that they would get.  Says that it has expired only of one that was theirs, and takes as
 * long for all that are of the same key.
 */
HfTicketVerdict
hf_ticket_check(const HfText *ticket, int64_t account, int64_t sale)
{
	unsigned char bytes[BYTES];
	char expected[HF_TICKET_MAX + 1];
	size_t length;
	int64_t expires;

	if (ticket->length != HF_TICKET_MAX ||
		sodium_base642bin(bytes, BYTES, ticket->data, ticket->length, NULL, &length, NULL,
						  BASE64URL) != 0 ||
		length != BYTES)
		return HF_TICKET_BAD;
	expires = read_number(bytes + ID_BYTES, EXPIRES_BYTES);
	for (size_t i = 0; i < keys; i++)
	{
		/* Two keys may have one id. */
		if (memcmp(bytes, key[i].id, ID_BYTES) != 0)
			continue;
		write_ticket(expected, &key[i], account, sale, expires);
		if (sodium_memcmp(expected, ticket->data, HF_TICKET_MAX) == 0)
			return expires > hf_ticket_now() ? HF_TICKET_GOOD : HF_TICKET_EXPIRED;
	}
	return HF_TICKET_BAD;
}
