/*
 * wording.h
 *		Numbers, money and times, as people write them in their languages.
 */
#ifndef HF_WORDING_H
#define HF_WORDING_H

#include <stddef.h>
#include <stdint.h>

#define HF_WORDING_MAX 96

extern void hf_wording_number(char *room, int64_t number);
extern void hf_wording_money(char *room, const char *language, int64_t amount, const char *currency,
							 int digits);
extern void hf_wording_time(char *room, const char *language, int64_t seconds);

#endif
