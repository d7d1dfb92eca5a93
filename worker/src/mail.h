/*
 * mail.h
 *		Mails: jobs of kind mail.
 */
#ifndef HF_MAIL_H
#define HF_MAIL_H

#include <stdbool.h>
#include <stddef.h>

extern bool hf_mail_load(char *error, size_t room);

#endif
