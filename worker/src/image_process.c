/*
 * image_process.c
 *		Processes of the image program, which stands beside ours: each does one thing at a time.
 *
 * They read what strangers have sent, so they are kept small: with limits of memory and of files,
 * no privileges to be gained, no descriptors but one socket, and an end with ours.  One that
 * crashes, says too much, or takes too long is killed, and costs no more than what it was about.
 * After a number of pictures each is replaced, so that leaks do not add up.
 *
 * Invariants: nothing here waits.  What was asked ends with exactly one call of `done`, unless it
 * is dropped; `done` may ask again.
 */
#include "image_process.h"

#include "clock.h"
#include "config.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES_MAX (2 * (64 + 1)) /* with those that are about to be gone */
#define REQUESTS_MAX  200			 /* of a process */
#define ANSWER_MAX	  65536
#define FILE_SIZE_MAX (64 * 1024 * 1024)
#define REAP_PAUSE	  20 /* milliseconds */
#define STARTS_MAX	  3	 /* that fail in a row before it is said to be absent */

typedef struct Process
{
	pid_t pid;	/* 0: there is none */
	int socket; /* -1: it is to be gone */
	bool is_ready;
	void *context; /* of what it is about; NULL: nothing */
	int64_t until;
	unsigned requests;
	char *request; /* what it is asked: sent so far ... */
	size_t sent, length;
	char *answer; /* ... and what has come of the answer */
	size_t used;
} Process;

static Process processes[PROCESSES_MAX];
static unsigned failed_starts; /* in a row */
static HfImageDone when_done;
static char program[PATH_MAX];
static char pixels[32], memory[32];

/* Finds the program; false with a message if it is not there. */
bool
hf_image_process_load(HfImageDone done, char *error, size_t room)
{
	ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - sizeof("image"));
	char *name;

	program[length > 0 ? length : 0] = '\0';
	name = strrchr(program, '/');
	name = name != NULL ? name + 1 : program;
	snprintf(name, sizeof(program) - (size_t) (name - program), "image");
	when_done = done;
	snprintf(pixels, sizeof(pixels), "%u000000", hf_config.image_pixels);
	snprintf(memory, sizeof(memory), "%zu", hf_config.image_memory);
	if (access(program, X_OK) == 0)
		return true;
	snprintf(error, room, "cannot run %s: %s", program, strerror(errno));
	return false;
}

/* In the child: becomes the image program. */
static void
become(int socket, pid_t parent)
{
	const struct rlimit space = {hf_config.image_memory, hf_config.image_memory};
	const struct rlimit size = {FILE_SIZE_MAX, FILE_SIZE_MAX}, none = {0, 0};
	char *const words[] =
		{program, hf_config.image_source, hf_config.image_directory, pixels, memory, NULL};
	/* No modules with more loaders, and one arena, because address space is what is limited. */
	char *const environment[] = {"VIPSHOME=/nonexistent", "TMPDIR=/nonexistent", "LC_ALL=C",
								 "MALLOC_ARENA_MAX=1", NULL};
	sigset_t no_signals;
	int nothing = open("/dev/null", O_WRONLY);

	sigemptyset(&no_signals);
	if (nothing < 0 || dup2(socket, STDIN_FILENO) < 0 || dup2(socket, STDOUT_FILENO) < 0 ||
		dup2(nothing, STDERR_FILENO) < 0 || close_range(3, ~0U, 0) != 0 || setsid() < 0 ||
		prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent ||
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || setrlimit(RLIMIT_AS, &space) != 0 ||
		setrlimit(RLIMIT_FSIZE, &size) != 0 || setrlimit(RLIMIT_CORE, &none) != 0 ||
		sigprocmask(SIG_SETMASK, &no_signals, NULL) != 0)
		_exit(127);
	execve(program, words, environment);
	_exit(127);
}

/* Starts a process in a free place; NULL if that cannot be. */
static Process *
start(void)
{
	pid_t parent = getpid();
	Process *process = NULL;
	int sockets[2];

	for (size_t i = 0; i < PROCESSES_MAX && process == NULL; i++)
		if (processes[i].pid == 0)
			process = &processes[i];
	if (process == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
		return NULL;
	*process = (Process){.pid = fork(), .socket = sockets[0], .answer = malloc(ANSWER_MAX)};
	if (process->pid == 0)
		become(sockets[1], parent);
	close(sockets[1]);
	if (process->pid > 0 && process->answer != NULL)
		return process;
	close(sockets[0]);
	free(process->answer);
	process->answer = NULL;
	process->socket = -1;
	if (process->pid > 0)
		kill(process->pid, SIGKILL);
	else
		process->pid = 0;
	return NULL;
}

/* Lets a process go; what it was about is nobody's any more. */
static void
let_go(Process *process)
{
	kill(process->pid, SIGKILL);
	close(process->socket);
	free(process->request);
	free(process->answer);
	*process = (Process){.pid = process->pid, .socket = -1};
}

static void
send_more(Process *process)
{
	while (process->sent < process->length)
	{
		ssize_t n = send(process->socket, process->request + process->sent,
						 process->length - process->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		/* That it is gone shows when its answer is read. */
		if (n < 0)
			return;
		process->sent += (size_t) n;
	}
}

/* Tries another process in place of one that has ended before it was ready; false: enough. */
static bool
start_again(Process *process)
{
	Process *other = ++failed_starts < STARTS_MAX ? start() : NULL;

	if (other == NULL)
		return false;
	other->request = process->request;
	other->length = process->length;
	other->context = process->context;
	other->until = process->until;
	other->requests = 1;
	process->request = NULL;
	let_go(process);
	send_more(other);
	return true;
}

/* A process has failed. */
static void
fail(Process *process, const char *reason)
{
	HfImageEnd end = process->is_ready ? HF_IMAGE_CRASHED : HF_IMAGE_ABSENT;
	void *context = process->context;

	if (end == HF_IMAGE_ABSENT && start_again(process))
		return;
	let_go(process);
	if (context != NULL)
		when_done(context, end, NULL,
				  end == HF_IMAGE_CRASHED ? reason : "the image program does not start");
}

/*
 * Asks a process: one that has nothing to do, or a new one.  False if there is none.
 */
bool
hf_image_process_ask(const json_t *request, unsigned timeout, void *context)
{
	char *text = json_dumps(request, JSON_COMPACT);
	Process *process = NULL;

	for (size_t i = 0; i < PROCESSES_MAX && process == NULL; i++)
		if (processes[i].pid > 0 && processes[i].socket >= 0 && processes[i].context == NULL)
			process = &processes[i];
	if (process == NULL && text != NULL)
		process = start();
	if (process == NULL || text == NULL)
	{
		free(text);
		return false;
	}
	process->length = strlen(text);
	text[process->length++] = '\n'; /* in place of its end */
	process->request = text;
	process->sent = 0;
	process->context = context;
	process->until = hf_clock() + timeout;
	process->requests++;
	send_more(process);
	return true;
}

/* Gives up what a process is about: nobody is told. */
void
hf_image_process_drop(const void *context)
{
	for (size_t i = 0; i < PROCESSES_MAX; i++)
		if (processes[i].context == context && processes[i].pid > 0)
			let_go(&processes[i]);
}

/* A line has come: that the process is ready, or an answer. */
static void
take_line(Process *process, size_t length)
{
	void *context = process->context;
	json_t *answer;

	if (!process->is_ready)
	{
		process->is_ready = true;
		failed_starts = 0;
		return;
	}
	answer = json_loadb(process->answer, length, 0, NULL);
	if (context == NULL || answer == NULL)
	{
		fail(process, "the image program has answered nonsense");
		json_decref(answer);
		return;
	}
	process->context = NULL;
	free(process->request);
	process->request = NULL;
	process->sent = process->length = 0;
	if (process->requests >= REQUESTS_MAX)
		let_go(process);
	when_done(context, HF_IMAGE_ANSWERED, answer, NULL);
	json_decref(answer);
}

/* Reads what a process says. */
static void
read_more(Process *process)
{
	char *end;
	ssize_t n = recv(process->socket, process->answer + process->used, ANSWER_MAX - process->used,
					 MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
	{
		fail(process, "the image program has crashed");
		return;
	}
	process->used += (size_t) n;
	while (process->socket >= 0 && (end = memchr(process->answer, '\n', process->used)) != NULL)
	{
		size_t length = (size_t) (end - process->answer);

		take_line(process, length);
		if (process->socket < 0)
			return;
		process->used -= length + 1;
		memmove(process->answer, process->answer + length + 1, process->used);
	}
	if (process->used == ANSWER_MAX)
		fail(process, "the image program has said too much");
}

/* Takes note of a process that is gone. */
static void
reap(Process *process)
{
	int status;

	if (waitpid(process->pid, &status, WNOHANG) != process->pid)
		return;
	if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
		hf_log(HF_LOG_WARNING, "image_died", "process %ld was ended by signal %d",
			   (long) process->pid, WTERMSIG(status));
	process->pid = 0;
}

/* Does what can be done without waiting. */
void
hf_image_process_step(int64_t now)
{
	for (size_t i = 0; i < PROCESSES_MAX; i++)
	{
		Process *process = &processes[i];

		if (process->pid == 0)
			continue;
		if (process->socket >= 0)
			send_more(process);
		if (process->socket >= 0)
			read_more(process);
		if (process->socket >= 0 && process->context != NULL && process->until <= now)
			fail(process, "it takes too long");
		if (process->socket < 0)
			reap(process);
	}
}

/* When there is something to do again. */
int64_t
hf_image_process_deadline(void)
{
	int64_t next = HF_NEVER;

	for (size_t i = 0; i < PROCESSES_MAX; i++)
	{
		const Process *process = &processes[i];
		int64_t due = process->pid == 0 ? HF_NEVER
			: process->socket < 0		? hf_clock() + REAP_PAUSE
			: process->context != NULL	? process->until
										: HF_NEVER;

		if (due < next)
			next = due;
	}
	return next;
}

/* Names the sockets to wait for. */
int
hf_image_process_watch(struct pollfd *sockets, int room)
{
	int n = 0;

	for (size_t i = 0; i < PROCESSES_MAX && n < room; i++)
		if (processes[i].pid > 0 && processes[i].socket >= 0)
			sockets[n++] =
				(struct pollfd){.fd = processes[i].socket,
								.events =
									(short) (POLLIN |
											 (processes[i].sent < processes[i].length ? POLLOUT
																					  : 0))};
	return n;
}

/* Ends all of them. */
void
hf_image_process_end(void)
{
	for (size_t i = 0; i < PROCESSES_MAX; i++)
		if (processes[i].pid > 0 && processes[i].socket >= 0)
			let_go(&processes[i]);
}
