/*
 * main.c
 *		The image program: makes sizes of pictures, one after the other, for the worker.
 *
 *		image SOURCE DIRECTORY PIXELS MEMORY
 *
 * It is a process of its own because pictures come from strangers, and decoders have bugs: it may
 * crash, hang or run out of memory, and costs no more than the picture then.  The worker starts it
 * with limits, without privileges and with one socket, which is its input and output: a line of
 * JSON is a request, a line the answer.  It ends when the socket does.
 * Before all answers it says that it is ready.
 *
 *		{"original": NAME, "shape": "product" or "avatar"}		{"sizes": […]}
 *		{"sweep": BEGINNING, "wanted": […]}						{"swept": N}
 *
 * Other answers are {"refused": REASON}, {"failed": REASON} and {"away": REASON} (work.h).
 */
#include "picture.h"
#include "store.h"
#include "sweep.h"
#include "work.h"

#include <glib.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Ends the work otherwise than good, with a sentence; returns false. */
bool
hf_work_end(HfWork *work, HfWorkEnd end, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(work->reason, sizeof(work->reason), format, args);
	va_end(args);
	work->end = end;
	return false;
}

static void
make_sizes(HfWork *work, const json_t *request, const HfLimits *limits)
{
	const char *name = json_string_value(json_object_get(request, "original"));
	const char *shape = json_string_value(json_object_get(request, "shape"));
	HfBytes bytes = {0};

	if (name == NULL || shape == NULL)
		(void) hf_work_end(work, HF_WORK_FAILED, "not a request");
	else if (hf_store_read(work, name, &bytes))
		(void) hf_picture_make(work, name, &bytes, strcmp(shape, "avatar") == 0, limits);
	free(bytes.data);
}

/* Does what a request wants; the answer is to be freed. */
static char *
answer(const char *line, size_t length, const HfLimits *limits)
{
	static const char *const names[] = {"", "refused", "failed", "away"};
	json_t *request = json_loadb(line, length, 0, NULL);
	const char *beginning = json_string_value(json_object_get(request, "sweep"));
	HfWork work = {0};
	char *text;

	if (beginning != NULL)
		(void) hf_sweep(&work, beginning, json_object_get(request, "wanted"));
	else
		make_sizes(&work, request, limits);
	if (work.end != HF_WORK_GOOD)
	{
		json_decref(work.answer);
		work.answer = json_pack("{s:s}", names[work.end], work.reason);
	}
	text = json_dumps(work.answer, JSON_COMPACT);
	json_decref(work.answer);
	json_decref(request);
	return text;
}

/* What libraries have to say is about pictures of strangers. */
static void
say_nothing(const gchar *domain, GLogLevelFlags level, const gchar *message, gpointer data)
{
	(void) domain;
	(void) level;
	(void) message;
	(void) data;
}

int
main(int argc, char **argv)
{
	HfLimits limits;
	char error[256], *line = NULL;
	size_t room = 0;
	ssize_t length;

	if (argc != 5)
	{
		fprintf(stderr, "usage: image SOURCE DIRECTORY PIXELS MEMORY\n");
		return 2;
	}
	limits =
		(HfLimits){.pixels = strtoull(argv[3], NULL, 10), .memory = strtoull(argv[4], NULL, 10)};
	g_log_set_default_handler(say_nothing, NULL);
	if (!hf_store_open(argv[1], argv[2], error, sizeof(error)) || !hf_picture_begin(argv[0]))
	{
		fprintf(stderr, "image: not started\n");
		return 1;
	}
	printf("{\"ready\":true}\n");
	fflush(stdout);
	while ((length = getline(&line, &room, stdin)) > 0)
	{
		char *text = answer(line, (size_t) length, &limits);
		bool good = text != NULL && printf("%s\n", text) > 0 && fflush(stdout) == 0;

		free(text);
		if (!good)
			break;
	}
	free(line);
	return 0;
}
