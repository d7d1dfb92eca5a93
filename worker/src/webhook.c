#include "webhook.h"

bool
hf_webhook_load(char *error, size_t room)
{
	(void) error;
	(void) room;
	return true;
}
