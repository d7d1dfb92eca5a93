#include "mail.h"

bool
hf_mail_load(char *error, size_t room)
{
	(void) error;
	(void) room;
	return true;
}
