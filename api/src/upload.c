/*
 * upload.c
 *		Pictures that clients send: kept in files, off the loop.
 *
 * A file is named after what is in it, so the same picture is kept once, and one that is there is
 * whole: it is written under another name, synced and renamed, and its name is synced before
 * anybody hears of it.  A file that nobody refers to in the end, because the statement failed,
 * costs its room and nothing else, until the worker sweeps it.
 */
#include "kore.h"

#include "body.h"
#include "log.h"
#include "pool.h"
#include "reply.h"
#include "upload.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>

#define THREADS 1
#define QUEUE	16 /* pictures in memory, of each worker */

typedef struct Upload
{
	HfRequest *request;
	void (*stored)(HfRequest *request, const char *name);
	int error; /* an errno */
	char name[2 * crypto_hash_sha256_BYTES + 8];
	size_t length;
	char bytes[];
} Upload;

static HfPool *pool;
static int directory = -1;

void
hf_upload_start(void)
{
	if (hf_config.upload_directory[0] == '\0')
		return;
	directory = open(hf_config.upload_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pool = hf_pool_make(THREADS, QUEUE);
}

void
hf_upload_stop(void)
{
	if (pool != NULL)
		hf_pool_stop(pool);
}

static bool
write_all(int file, const char *bytes, size_t length)
{
	while (length > 0)
	{
		ssize_t written = write(file, bytes, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return false;
		bytes += written;
		length -= (size_t) written;
	}
	return fsync(file) == 0;
}

/* In a thread: writes the file, unless it is there. */
static void
store(void *arg)
{
	Upload *upload = arg;
	char path[PATH_MAX], draft[PATH_MAX];
	unsigned char hash[crypto_hash_sha256_BYTES];
	int file;
	bool good;

	crypto_hash_sha256(hash, (const unsigned char *) upload->bytes, upload->length);
	/* The extension stands there already. */
	memmove(upload->name + 2 * sizeof(hash), upload->name, strlen(upload->name) + 1);
	for (size_t i = 0; i < sizeof(hash); i++)
	{
		static const char digits[] = "0123456789abcdef";

		upload->name[2 * i] = digits[hash[i] >> 4];
		upload->name[2 * i + 1] = digits[hash[i] & 15];
	}
	snprintf(path, sizeof(path), "%s/%s", hf_config.upload_directory, upload->name);
	/* One that is there becomes new, so that the sweep of the worker leaves it alone. */
	if (utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW) == 0)
		return;
	snprintf(draft, sizeof(draft), "%s/.%d.%p", hf_config.upload_directory, (int) getpid(),
			 (void *) upload);
	file = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	good = file >= 0 && write_all(file, upload->bytes, upload->length);
	upload->error = good ? 0 : errno;
	if (file >= 0)
		close(file);
	if (good && (rename(draft, path) != 0 || fsync(directory) != 0))
		upload->error = errno;
	if (upload->error != 0 && file >= 0)
		unlink(draft);
}

static void
finished(void *arg)
{
	Upload *upload = arg;

	if (upload->error != 0)
	{
		hf_log(HF_LOG_ERROR, "upload_failed", "cannot write into %s: %s",
			   hf_config.upload_directory, strerror(upload->error));
		hf_reply_problem(upload->request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
	}
	else if (hf_request_is_open(upload->request))
		upload->stored(upload->request, upload->name);
	hf_request_release(upload->request);
	free(upload);
}

/* Keeps the picture that is the request's body, and goes on with the name of its file. */
void
hf_upload(HfRequest *request, void (*stored)(HfRequest *request, const char *name))
{
	Upload *upload = NULL;

	if (hf_config.upload_directory[0] == '\0')
	{
		hf_reply_problem(request, HF_PROBLEM_NOT_IMPLEMENTED, NULL, "pictures are not kept here");
		return;
	}
	upload = pool != NULL ? malloc(sizeof(Upload) + request->body.length) : NULL;
	if (upload != NULL)
	{
		upload->request = request;
		upload->stored = stored;
		upload->error = 0;
		snprintf(upload->name, sizeof(upload->name), ".%s",
				 hf_body_picture_extension(&request->body));
		upload->length = request->body.length;
		memcpy(upload->bytes, request->body.data, request->body.length);
		hf_request_hold(request);
		if (hf_pool_run(pool, store, finished, upload))
			return;
		hf_request_release(request);
		free(upload);
	}
	hf_reply_problem(request, HF_PROBLEM_UNAVAILABLE, NULL, NULL);
}
