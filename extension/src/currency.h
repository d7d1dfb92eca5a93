/*
 * currency.h
 *		The currencies that money is counted in.
 */
#ifndef HF_CURRENCY_H
#define HF_CURRENCY_H

extern int hf_currency_exponent(const char *code);
extern void hf_currency_check(const char *code, int length);

#endif
