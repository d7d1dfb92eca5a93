/*
 * post.c
 *		Mails on their way to the server, all at once.
 *
 * Each mail that is under way has a thread, because libcurl waits for the server's last word about
 * a mail, and while it does, nothing else goes on in its thread.  A thread keeps its connection for
 * the next mail.  There are as many threads as were needed at once, at most mail_jobs.
 *
 * Invariants: `done` is called in the main thread, exactly once for each mail, unless it is given
 * up.  Threads know of nothing but their mail.
 *
 * Locks: `lock` is for the lists, `idle`, `ending` and `is_given_up`.  All else of a mail is its
 * thread's from the moment it is taken out of `waiting` until it is put into `ended`, and the main
 * thread's otherwise.
 */
#include "post.h"

#include "config.h"
#include "smtp.h"

#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STACK 524288

struct HfSending
{
	HfEnvelope envelope; /* first */
	struct HfSending *next;
	HfSendingDone done;
	void *context;
	bool is_given_up; /* nobody wants to know */
	HfJobEnd end;
	char reason[HF_SMTP_REASON_MAX];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wanted = PTHREAD_COND_INITIALIZER;
static HfSending *waiting, *last_waiting, *ended;
static unsigned idle; /* threads that wait for a mail */
static bool ending;

static pthread_t *threads;
static unsigned thread_count;
static int bell = -1; /* rings when there is something in `ended` */

/* The next mail, when there is one; NULL in the end. */
static HfSending *
take_waiting(void)
{
	HfSending *sending = NULL;

	pthread_mutex_lock(&lock);
	idle++;
	while (waiting == NULL && !ending)
		pthread_cond_wait(&wanted, &lock);
	idle--;
	if (!ending)
	{
		sending = waiting;
		waiting = sending->next;
	}
	pthread_mutex_unlock(&lock);
	return sending;
}

static void
put_ended(HfSending *sending)
{
	const uint64_t one = 1;

	pthread_mutex_lock(&lock);
	sending->next = ended;
	ended = sending;
	pthread_mutex_unlock(&lock);
	(void) !write(bell, &one, sizeof(one));
}

/* The life of a thread. */
static void *
work(void *unused)
{
	HfSmtp *smtp = hf_smtp_open();
	HfSending *sending;

	while ((sending = take_waiting()) != NULL)
	{
		if (smtp != NULL)
			sending->end = hf_smtp_send(smtp, &sending->envelope, sending->reason);
		put_ended(sending);
	}
	if (smtp != NULL)
		hf_smtp_close(smtp);
	return unused;
}

static bool
is_given_up(const HfEnvelope *envelope)
{
	const HfSending *sending = (const HfSending *) envelope;
	bool given_up;

	pthread_mutex_lock(&lock);
	given_up = ending || sending->is_given_up;
	pthread_mutex_unlock(&lock);
	return given_up;
}

/* Begins a thread more, if more are allowed. False if there is none at all. */
static bool
add_thread(void)
{
	pthread_attr_t attributes;

	if (thread_count == hf_config.mail_jobs)
		return true;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK);
	if (pthread_create(&threads[thread_count], &attributes, work, NULL) == 0)
		thread_count++;
	pthread_attr_destroy(&attributes);
	return thread_count > 0;
}

static void
free_sending(HfSending *sending)
{
	free(sending->envelope.text);
	free(sending);
}

/*
 * Begins to send a mail, from one address to another.  The text is ours from now on.  NULL if there
 * is no memory: then nothing was begun, and the text is the caller's.
 */
HfSending *
hf_post_send(const char *from, const char *to, char *text, size_t length, HfSendingDone done,
			 void *context)
{
	HfSending *sending = calloc(1, sizeof(HfSending));
	bool is_short;

	pthread_mutex_lock(&lock);
	is_short = idle == 0 || waiting != NULL;
	pthread_mutex_unlock(&lock);
	if (sending == NULL || (is_short && !add_thread()))
	{
		free(sending);
		return NULL;
	}
	snprintf(sending->envelope.from, sizeof(sending->envelope.from), "<%s>", from);
	snprintf(sending->envelope.to, sizeof(sending->envelope.to), "<%s>", to);
	sending->envelope.text = text;
	sending->envelope.length = length;
	sending->envelope.is_given_up = is_given_up;
	sending->end = HF_JOB_FAILED;
	snprintf(sending->reason, sizeof(sending->reason), "out of memory");
	sending->done = done;
	sending->context = context;
	pthread_mutex_lock(&lock);
	if (waiting == NULL)
		waiting = sending;
	else
		last_waiting->next = sending;
	last_waiting = sending;
	pthread_cond_signal(&wanted);
	pthread_mutex_unlock(&lock);
	return sending;
}

/* Gives a mail up: nobody is told, and the server may have taken it. */
void
hf_post_cancel(HfSending *sending)
{
	HfSending **place = &waiting, *previous = NULL;

	assert(sending != NULL);
	pthread_mutex_lock(&lock);
	while (*place != NULL && *place != sending)
	{
		previous = *place;
		place = &previous->next;
	}
	if (*place == sending)
	{
		*place = sending->next;
		if (last_waiting == sending)
			last_waiting = previous;
	}
	else
	{
		sending->is_given_up = true;
		sending = NULL;
	}
	pthread_mutex_unlock(&lock);
	if (sending != NULL)
		free_sending(sending);
}

static void
post_step(int64_t now)
{
	HfSending *list, *next;
	uint64_t rung;

	(void) now;
	if (bell < 0 || read(bell, &rung, sizeof(rung)) != sizeof(rung))
		return;
	pthread_mutex_lock(&lock);
	list = ended;
	ended = NULL;
	pthread_mutex_unlock(&lock);
	for (; list != NULL; list = next)
	{
		next = list->next;
		if (!list->is_given_up)
			list->done(list->context, list->end, list->reason);
		free_sending(list);
	}
}

static bool
post_begin(void)
{
	if (*hf_config.mail_server == '\0' || !hf_config.jobs)
		return true;
	threads = calloc(hf_config.mail_jobs, sizeof(pthread_t));
	bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return threads != NULL && bell >= 0;
}

static int
post_watch(struct pollfd *sockets, int room)
{
	if (bell < 0 || room < 1)
		return 0;
	*sockets = (struct pollfd){.fd = bell, .events = POLLIN};
	return 1;
}

/* Ends all threads; a mail that is under way is given up within a second or so. */
static void
post_end(void)
{
	pthread_mutex_lock(&lock);
	ending = true;
	pthread_cond_broadcast(&wanted);
	pthread_mutex_unlock(&lock);
	for (unsigned i = 0; i < thread_count; i++)
		pthread_join(threads[i], NULL);
	free(threads);
}

const HfPart hf_post_part = {.begin = post_begin,
							 .step = post_step,
							 .watch = post_watch,
							 .end = post_end};
