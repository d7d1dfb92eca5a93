/*
 * body.c
 *		Bodies of requests: what they have to be for a route.
 *
 * JSON is read strictly: one object, UTF-8, no name twice, no deeper and of no more values than is
 * ever needed.  What has passed here goes to the database as it came; which fields it must have is
 * said there.
 */
#include "kore.h"

#include "body.h"
#include "reply.h"

#define DEPTH_MAX  16
#define VALUES_MAX 100000 /* a batch of 10,000 lines has a third of that */

/*
 * Is a media type this one, whatever parameters follow? A charset other than UTF-8 is none of
 * ours.
 */
static bool
is_type(const char *header, const char *type)
{
	size_t length = strlen(type);
	const char *charset;

	if (strncasecmp(header, type, length) != 0)
		return false;
	header += length + strspn(header + length, " ");
	if (*header != '\0' && *header != ';')
		return false;
	charset = strcasestr(header, "charset=");
	if (charset == NULL)
		return true;
	charset += strlen("charset=");
	charset += *charset == '"';
	return strncasecmp(charset, "utf-8", 5) == 0 && strchr("\"; ", charset[5]) != NULL;
}

static bool
is_json(const HfRoute *route, const char *header)
{
	return is_type(header, "application/json") ||
		(route->method == HF_PATCH && is_type(header, "application/merge-patch+json"));
}

static const struct
{
	const char *type, *extension, *magic;
	size_t at, length;
} pictures[] = {{"image/png", "png", "\x89PNG\r\n\x1a\n", 0, 8},
				{"image/jpeg", "jpg", "\xff\xd8\xff", 0, 3},
				{"image/webp", "webp", "WEBP", 8, 4}};

#define PICTURES (sizeof(pictures) / sizeof(pictures[0]))

/* The extension of a picture's file by how the picture begins; NULL if it is none that we know. */
const char *
hf_body_picture_extension(const HfText *body)
{
	for (size_t i = 0; i < PICTURES; i++)
		if (body->length > pictures[i].at + pictures[i].length &&
			memcmp(body->data + pictures[i].at, pictures[i].magic, pictures[i].length) == 0 &&
			(pictures[i].at == 0 || memcmp(body->data, "RIFF", 4) == 0))
			return pictures[i].extension;
	return NULL;
}

/* A picture is of one of the types we know, and what it is said to be. */
static bool
read_picture(HfRequest *request, const char *header)
{
	const char *extension = hf_body_picture_extension(&request->body);

	for (size_t i = 0; i < PICTURES; i++)
		if (is_type(header, pictures[i].type))
		{
			if (extension != NULL && strcmp(extension, pictures[i].extension) == 0)
				return true;
			hf_reply_problem(request, HF_PROBLEM_INVALID_PICTURE, NULL, NULL);
			return false;
		}
	hf_reply_problem(request, HF_PROBLEM_MEDIA_TYPE, NULL,
					 "wanted: image/png, image/jpeg or image/webp");
	return false;
}

/*
 * What is too much in a text for it to be read as JSON, or NULL.  Whether it is JSON at all, others
 * say.  Read, a value takes a hundred times the two or three bytes that it may take in the text.
 */
static const char *
find_excess(const HfText *text)
{
	bool in_string = false;
	int depth = 0, values = 0;

	for (size_t i = 0; i < text->length; i++)
	{
		switch (text->data[i])
		{
			case '"':
				in_string = !in_string;
				break;
			case '\\':
				i += in_string;
				break;
			case '{':
			case '[':
				depth += !in_string;
				values += !in_string;
				break;
			case ',':
				values += !in_string;
				break;
			case '}':
			case ']':
				depth -= !in_string;
				break;
			default:
				break;
		}
		if (depth > DEPTH_MAX)
			return "nested too deep";
		if (values > VALUES_MAX)
			return "too many values";
	}
	return NULL;
}

/* What is wrong with a body that is no object of JSON, for whoever wrote it. */
static const char *
explain(const HfRequest *request, const json_error_t *error)
{
	if (request->body.length == 0)
		return "there is none";
	if (request->json != NULL)
		return "it is JSON, but no object";
	return json_error_code(error) == json_error_null_character ? "\\u0000 is not allowed"
															   : error->text;
}

static bool
read_json(HfRequest *request, const char *header)
{
	bool is_empty = request->route->body == HF_EMPTY;
	json_error_t error;
	const char *excess;

	if (request->body.length == 0 && (is_empty || request->route->body == HF_JSON_OPTIONAL))
		return true;
	if (!is_json(request->route, header))
	{
		hf_reply_problem(request, HF_PROBLEM_MEDIA_TYPE, NULL, "wanted: application/json");
		return false;
	}
	if ((excess = find_excess(&request->body)) != NULL)
	{
		hf_reply_problem(request, HF_PROBLEM_INVALID_BODY, NULL, excess);
		return false;
	}
	/* Numbers are judged by the database, which gets the text; here they need only be some. */
	request->json =
		json_loadb(request->body.data, request->body.length,
				   JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL | JSON_DECODE_ANY, &error);
	if (is_empty && json_object_size(request->json) > 0)
	{
		hf_reply_problem(request, HF_PROBLEM_UNKNOWN_FIELD, NULL, "wanted: no fields");
		return false;
	}
	if (!json_is_object(request->json))
	{
		hf_reply_problem(request, HF_PROBLEM_INVALID_BODY, NULL, explain(request, &error));
		return false;
	}
	/* The database gets the text; nobody else needs more of it than that it was good. */
	if (request->route->handler == NULL)
	{
		json_decref(request->json);
		request->json = NULL;
	}
	return true;
}

static bool
read_form(HfRequest *request, const char *header)
{
	if (!is_type(header, "application/x-www-form-urlencoded"))
	{
		hf_reply_problem(request, HF_PROBLEM_MEDIA_TYPE, NULL,
						 "wanted: application/x-www-form-urlencoded");
		return false;
	}
	if (hf_parameters_read(&request->form, request->body.data, request->body.length))
		return true;
	hf_reply_problem(request, HF_PROBLEM_MALFORMED, NULL,
					 "wanted: a form in UTF-8, with each parameter once");
	return false;
}

/* Reads the body as the route has it; false if that was answered with a problem. */
bool
hf_body_read(HfRequest *request)
{
	const char *header = hf_request_header(request, "content-type");

	if (request->http->http_body != NULL)
		request->body = (HfText){(const char *) request->http->http_body->data,
								 request->http->http_body_length};
	if (header == NULL)
		header = "";
	if (hf_request_header(request, "content-encoding") != NULL)
	{
		hf_reply_problem(request, HF_PROBLEM_MEDIA_TYPE, NULL,
						 "a Content-Encoding is not read here");
		return false;
	}
	switch (request->route->body)
	{
		case HF_EMPTY:
		case HF_JSON:
		case HF_JSON_OPTIONAL:
		case HF_BATCH:
			return read_json(request, header);
		case HF_FORM:
			return read_form(request, header);
		case HF_PICTURE:
			return read_picture(request, header);
		default:
			return true;
	}
}

/* Has the body no fields but these? False if that was answered with a problem. */
bool
hf_body_only(HfRequest *request, const char *first, const char *second)
{
	const char *name;
	json_t *value;
	char pointer[64];

	json_object_foreach(request->json, name, value)
	{
		bool fits;

		if (strcmp(name, first) == 0 || (second != NULL && strcmp(name, second) == 0))
			continue;
		fits = snprintf(pointer, sizeof(pointer), "/%s", name) < (int) sizeof(pointer) &&
			strpbrk(name, "~/") == NULL;
		hf_reply_problem(request, HF_PROBLEM_UNKNOWN_FIELD, fits ? pointer : NULL, NULL);
		return false;
	}
	return true;
}
