/*
 * template.h
 *		Texts with places for values, in a part of the language Mustache.
 */
#ifndef HF_TEMPLATE_H
#define HF_TEMPLATE_H

#include <jansson.h>

#include <stdbool.h>
#include <stddef.h>

typedef struct HfTemplate HfTemplate;

extern HfTemplate *hf_template_load(const char *directory, const char *name,
									const char *const *names, char *error, size_t room);
extern char *hf_template_fill(const HfTemplate *template, json_t *values, bool is_html);
extern void hf_template_free(HfTemplate *template);

#endif
