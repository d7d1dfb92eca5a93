/*
 * log.h
 *		The log: a JSON object a line, to standard error, with the members of the application's.
 *
 * Nothing secret is logged: no body, no answer of a provider, no secret, no parameter.
 */
#ifndef HF_LOG_H
#define HF_LOG_H

typedef enum HfLogLevel
{
	HF_LOG_ERROR,
	HF_LOG_WARNING,
	HF_LOG_INFO
} HfLogLevel;

extern void hf_log_begin(unsigned worker);
extern void hf_log(HfLogLevel level, const char *event, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
