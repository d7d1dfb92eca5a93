/*
 * letter.h
 *		What mails say: templates, and the values that go into them.
 */
#ifndef HF_LETTER_H
#define HF_LETTER_H

#include <jansson.h>

#include <stdbool.h>
#include <stddef.h>

/* Texts are UTF-8, and to be freed by hf_letter_free(). */
typedef struct HfLetter
{
	const char *language;
	const char *name; /* of who gets it; NULL: not to be used. Part of the details. */
	char *subject, *text, *html;
} HfLetter;

extern bool hf_letter_load(const char *directory, const char *link, const char *shop, char *error,
						   size_t room);
extern bool hf_letter_write(HfLetter *letter, const json_t *details, const char **reason);
extern void hf_letter_free(HfLetter *letter);

#endif
