/*
 * token.c
 *		Good tokens, keys and their rotation, opaque secrets.
 */
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "forge.h"
#include "unit.h"

#define ACCOUNT INT64_C(7123456789012345678)

static char path[] = "/tmp/holdfast-token.XXXXXX";
static char refusal[300];

HfTokenVerdict
judge(const char *token)
{
	HfText text = {token, strlen(token)};
	int64_t account = -1;
	bool staff = false;
	HfTokenVerdict verdict = hf_token_check(&text, &account, &staff);

	check((verdict == HF_TOKEN_GOOD) == (account != -1), "an account of a token that is not good");
	return verdict;
}

static void
expect_good(const char *token, int64_t expected, bool expected_staff)
{
	HfText text = {token, strlen(token)};
	int64_t account = 0;
	bool staff = !expected_staff;

	check(hf_token_check(&text, &account, &staff) == HF_TOKEN_GOOD, "%s is not good", token);
	check(account == expected && staff == expected_staff, "%s is of %lld", token,
		  (long long) account);
}

/* Has a file of keys read. */
static bool
load(const char *content, mode_t mode)
{
	FILE *file = fopen(path, "w");

	if (file == NULL || fputs(content, file) < 0 || fclose(file) != 0 || chmod(path, mode) != 0)
		abort();
	refusal[0] = '\0';
	return hf_token_load_keys(path, refusal, sizeof(refusal));
}

static void
test_good(void)
{
	char token[HF_TOKEN_ACCESS_MAX + 1], another[HF_TOKEN_ACCESS_MAX + 1];

	check(hf_token_issue(token, ACCOUNT, false), "no token was issued");
	for (int i = 0; i < 3; i++)
		expect_good(token, ACCOUNT, false);
	check(hf_token_issue(another, 1, true), "no token was issued");
	for (int i = 0; i < 3; i++)
	{
		expect_good(another, 1, true);
		expect_good(token, ACCOUNT, false);
	}
	claim("a token that was issued is good, and of its account");
	check(hf_token_issue(another, ACCOUNT, false), "no token was issued");
	check(strcmp(token, another) != 0, "two tokens are equal");
	claim("no two tokens are equal");
	check(strlen(token) < 400, "it has %zu bytes", strlen(token));
	printf("# an access token has %zu bytes\n", strlen(token));
}

static void
test_expiry(void)
{
	char token[HF_TOKEN_ACCESS_MAX + 1];

	hf_config.token_ttl = 1000;
	check(hf_token_issue(token, ACCOUNT, false), "no token was issued");
	expect_good(token, ACCOUNT, false);
	for (Usec end = now() + 3 * SECOND; judge(token) == HF_TOKEN_GOOD && now() < end;)
		usleep(20000);
	check(judge(token) == HF_TOKEN_EXPIRED, "it never expires");
	check(judge(token) == HF_TOKEN_EXPIRED, "it is not expired any more");
	hf_config.token_ttl = 900 * 1000;
	claim("a token that was good expires in its second, however often it was seen");
}

static void
test_rotation(void)
{
	char before[HF_TOKEN_ACCESS_MAX + 1], after[HF_TOKEN_ACCESS_MAX + 1];

	check(load("old " OTHER OTHER "\n", 0600) && hf_token_issue(before, 1, false), "no key");
	check(load("new " SECRET SECRET "\nold " OTHER OTHER "\n", 0600) &&
			  hf_token_issue(after, 2, false),
		  "no keys");
	expect_good(before, 1, false);
	expect_good(after, 2, false);
	check(load("new " SECRET SECRET "\n", 0600), "no key");
	expect_good(after, 2, false);
	check(judge(before) == HF_TOKEN_BAD, "a removed key is good");
	check(load("new " OTHER OTHER "\n", 0600), "no key");
	check(judge(after) == HF_TOKEN_BAD, "another secret is good");
	claim("the first key signs, all of them verify, and those that were removed do not");
}

static void
refuse(const char *content, mode_t mode, const char *why)
{
	char token[HF_TOKEN_ACCESS_MAX + 1];

	check(!load(content, mode) && strstr(refusal, why) != NULL, "\"%s\" is: %s", content, refusal);
	check(strstr(refusal, SECRET) == NULL, "a secret is in: %s", refusal);
	check(!hf_token_issue(token, 1, false), "a token without a key");
}

static void
test_files(void)
{
	char many[4000] = "", *end = many;
	char *issuer = hf_config.token_issuer, longest[900];

	check(load("# keys\n\n  a\t" SECRET SECRET "  \n", 0640), "%s", refusal);
	check(load("a AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\nb_-9 " SECRET SECRET, 0400), "%s",
		  refusal);
	claim("a file of keys has ids, secrets in hex or base64url, comments");
	refuse("", 0600, "no key");
	refuse("# nothing\n", 0600, "no key");
	refuse("a\n", 0600, "line 1");
	refuse("\na " SECRET SECRET " x\n", 0600, "line 2");
	refuse("a 0123\n", 0600, "32 to 64 bytes");
	refuse("a " SECRET "\n", 0600, "32 to 64 bytes");
	refuse("a AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg\n", 0600, "32 to 64 bytes");
	refuse("a AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n", 0600, "32 to 64 bytes");
	refuse("a AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd+/8\n", 0600, "32 to 64 bytes");
	refuse("a " SECRET SECRET SECRET SECRET SECRET "\n", 0600, "32 to 64 bytes");
	refuse("../a " SECRET SECRET "\n", 0600, "an id is");
	refuse("a\" " SECRET SECRET "\n", 0600, "an id is");
	refuse("a " SECRET SECRET "\na " OTHER OTHER "\n", 0600, "another key a");
	for (int i = 0; i < 17; i++)
		end += sprintf(end, "k%d " SECRET SECRET "\n", i);
	refuse(many, 0600, "more than 16");
	memset(many, 'x', 1000);
	many[1000] = '\0';
	refuse(many, 0600, "too long");
	claim("a file that is something else is refused, with its line, and without its secret");
	refuse("a " SECRET SECRET "\n", 0604, "open to others");
	refuse("a " SECRET SECRET "\n", 0602, "open to others");
	check(!hf_token_load_keys("/nonexistent/keys", refusal, sizeof(refusal)) &&
			  strstr(refusal, "cannot open") != NULL,
		  "%s", refusal);
	check(!hf_token_load_keys("/tmp", refusal, sizeof(refusal)) &&
			  strstr(refusal, "is no file") != NULL,
		  "%s", refusal);
	claim("a file that others may read is refused, and so is one that is none");
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	hf_config.token_issuer = longest;
	refuse("a " SECRET SECRET "\n", 0600, "too long");
	hf_config.token_issuer = issuer;
	claim("names that would make tokens too long are refused at the start");
}

static void
test_opaque(void)
{
	static const char secret[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM-_01";
	static const char *const bad[] = {
		"",
		".%s",
		"1%s",
		"0.%s",
		"01.%s",
		"-1.%s",
		"+1.%s",
		" 1.%s",
		"1 .%s",
		"1.%s ",
		"1.%s=",
		"1.x%s",
		"1..%s",
		"1.%s.",
		"1a.%s",
		"0x1.%s",
		"9223372036854775808.%s",
		"18446744073709551617.%s",
		"99999999999999999999.%s",
		"1.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM-_0",
		"1.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM+_01",
		"1.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM/_01",
		"1.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM._01",
		"1.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM\xc3\xa4-1",
	};
	HfTokenOpaque made, read, another;
	unsigned char hash[32];
	char text[200];

	hf_token_new_opaque(&made, ACCOUNT);
	hf_token_new_opaque(&another, ACCOUNT);
	check(strncmp(made.text, "7123456789012345678.", 20) == 0 && strlen(made.text) == 20 + 43,
		  "it is %s", made.text);
	check(strcmp(made.text, another.text) != 0, "two secrets are equal");
	crypto_hash_sha256(hash, (unsigned char *) made.text + 20, 43);
	check(memcmp(hash, made.hash, 32) == 0, "its hash is another");
	check(hf_token_read_opaque(&read, &(HfText){made.text, strlen(made.text)}), "it is not read");
	check(read.account == ACCOUNT && memcmp(read.hash, made.hash, 32) == 0 &&
			  strcmp(read.text, made.text) == 0,
		  "it is read as another");
	claim("an opaque secret is an account and 32 random bytes, and is known by its SHA-256");
	snprintf(text, sizeof(text), "9223372036854775807.%s", secret);
	check(hf_token_read_opaque(&read, &(HfText){text, strlen(text)}), "the last account is none");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		snprintf(text, sizeof(text), bad[i], secret);
		check(!hf_token_read_opaque(&read, &(HfText){text, strlen(text)}), "%s is read", text);
	}
	snprintf(text, sizeof(text), "1.%s", secret);
	text[10] = '\0';
	check(!hf_token_read_opaque(&read, &(HfText){text, 2 + 43}), "one with a NUL is read");
	claim("nothing else is an opaque secret");
}

/* Nanoseconds of CPU of each check, of so many tokens in turn. */
static void
measure(int tokens, const char *which)
{
	int rounds = slow ? 100 : 200000;
	char(*token)[HF_TOKEN_ACCESS_MAX + 1] = malloc((size_t) tokens * sizeof(*token));
	double before;
	int64_t account;
	bool staff;

	if (token == NULL)
		abort();
	for (int i = 0; i < tokens; i++)
		hf_token_issue(token[i], i + 1, false);
	before = time_of_process();
	for (int i = 0; i < rounds; i++)
	{
		const char *one = token[i % tokens];

		hf_token_check(&(HfText){one, strlen(one)}, &account, &staff);
		check(account == i % tokens + 1, "the account of another");
	}
	printf("# %s: %.0f ns a check\n", which, (time_of_process() - before) * 1e9 / rounds);
	free(token);
}

int
main(int argc, char **argv)
{
	int file;

	begin(argc, argv);
	file = mkstemp(path);
	if (file < 0)
		return 2;
	close(file);
	check(load("new " SECRET SECRET "\nold " OTHER OTHER "\n", 0600), "%s", refusal);
	test_good();
	test_expiry();
	test_forged();
	measure(1, "one token");
	measure(64, "64 tokens");
	measure(20000, "20000 tokens, none of which is remembered");
	claim("many tokens at once are good");
	test_rotation();
	test_files();
	test_opaque();
	unlink(path);
	return end();
}
