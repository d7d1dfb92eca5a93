/*
 * log.h
 *		The log: a JSON object a line, to standard error.
 *
 * Nothing secret is logged: no body, no header but the request's id, no query, no parameter.
 */
#ifndef HF_LOG_H
#define HF_LOG_H

typedef enum HfLogLevel
{
	HF_LOG_ERROR,
	HF_LOG_WARNING,
	HF_LOG_INFO
} HfLogLevel;

/* One request that was answered. Text that is NULL is left out. */
typedef struct HfLogRequest
{
	const char *id;
	const char *method;
	const char *route; /* the pattern, not the path: paths hold tokens */
	const char *address;
	const char *code;  /* of the problem */
	long long account; /* 0: nobody */
	int status;
	unsigned long microseconds;
	unsigned long bytes;
} HfLogRequest;

extern void hf_log_begin(unsigned worker);
extern void hf_log(HfLogLevel level, const char *event, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
extern void hf_log_request(const HfLogRequest *request);
extern void hf_log_flush(void);

#endif
