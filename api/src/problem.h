/*
 * problem.h
 *		Problem documents (RFC 9457), and what each SQLSTATE means over HTTP.
 */
#ifndef HF_PROBLEM_H
#define HF_PROBLEM_H

#include "text.h"

#include <stdbool.h>

/* The refusals that the database knows nothing of. */
typedef enum HfProblemCode
{
	HF_PROBLEM_MALFORMED,
	HF_PROBLEM_INVALID_BODY,
	HF_PROBLEM_INVALID_GRANT,
	HF_PROBLEM_GRANT_TYPE,
	HF_PROBLEM_INVALID_TOKEN,
	HF_PROBLEM_UNAUTHENTICATED,
	HF_PROBLEM_INVALID_TICKET,
	HF_PROBLEM_NOT_FOUND,
	HF_PROBLEM_METHOD_NOT_ALLOWED,
	HF_PROBLEM_REQUEST_TIMEOUT,
	HF_PROBLEM_LENGTH_REQUIRED,
	HF_PROBLEM_TOO_LARGE,
	HF_PROBLEM_URI_TOO_LONG,
	HF_PROBLEM_MEDIA_TYPE,
	HF_PROBLEM_EXPECTATION,
	HF_PROBLEM_UNKNOWN_FIELD,
	HF_PROBLEM_MISSING_FIELD,
	HF_PROBLEM_WRONG_TYPE,
	HF_PROBLEM_INVALID_LENGTH,
	HF_PROBLEM_INVALID_PICTURE,
	HF_PROBLEM_WRONG_PASSWORD,
	HF_PROBLEM_TOO_MANY_REQUESTS,
	HF_PROBLEM_HEADERS_TOO_LARGE,
	HF_PROBLEM_INTERNAL,
	HF_PROBLEM_NOT_IMPLEMENTED,
	HF_PROBLEM_UNAVAILABLE,
	HF_PROBLEM_TIMED_OUT,
	HF_PROBLEM_HTTP_VERSION,
	HF_PROBLEMS
} HfProblemCode;

typedef struct HfProblem
{
	int status;
	const char *name;
	const char *title;
} HfProblem;

extern const HfProblem *hf_problem(HfProblemCode code);
extern const HfProblem *hf_problem_of_status(int status);
extern const HfProblem *hf_problem_of_sqlstate(const char *sqlstate);
extern const HfProblem *hf_problem_of_name(const char *name, size_t length);
extern bool hf_problem_load(const HfText *json);
extern bool hf_problem_loaded(void);
extern size_t hf_problem_write(char *document, size_t room, const HfProblem *problem,
							   const char *pointer, const char *detail, const char *request_id);
extern size_t hf_problem_write_oauth(char *document, size_t room, const char *error,
									 const char *description);

#endif
