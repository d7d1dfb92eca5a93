/*
 * letter.c
 *		What mails say: templates, and the values that go into them.
 *
 * The directory of templates has one for each language.  A mail is three files of it: NAME.subject,
 * NAME.text and NAME.html.  Who wants a language that is not there gets English; of a language tag
 * only the language counts, so zh-TW gets zh.
 *
 * Invariants: all templates are loaded, or none.  A name that could be taken for an address of the
 * web or of mail is not used: anybody may give himself one, with anybody's address, and the mail
 * would be his message to a stranger.
 */
#include "letter.h"

#include "template.h"
#include "wording.h"

#include "../../api/src/refuse.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 200

static const char *const languages[] = {"en", "zh"};
static const char *const mails[] = {"order_expiring", "order_placed",	  "order_shipped",
									"password_reset", "payment_received", "payment_refunded"};
static const char *const forms[] = {"subject", "text", "html"};

/* All that templates may say. */
static const char *const names[] = {"amount",	"code",		  "lines",	 "link",   "merchant",
									"name",		"order_id",	  "pay_by",	 "placed", "quantity",
									"refunded", "shop",		  "subject", "title",  "token",
									"total",	"unit_price", NULL};

#define LANGUAGES (sizeof(languages) / sizeof(languages[0]))
#define MAILS	  (sizeof(mails) / sizeof(mails[0]))
#define FORMS	  (sizeof(forms) / sizeof(forms[0]))

static HfTemplate *templates[LANGUAGES][MAILS][FORMS];
static const char *shop_link, *shop_name;

/*
 * Loads the templates of a directory, for a shop of that name with its pages there; both texts
 * stay.  False with a message that has file and line if one is wrong.
 */
bool
hf_letter_load(const char *directory, const char *link, const char *shop, char *error, size_t room)
{
	shop_link = link;
	shop_name = shop;
	for (size_t l = 0; l < LANGUAGES; l++)
		for (size_t m = 0; m < MAILS; m++)
			for (size_t f = 0; f < FORMS; f++)
			{
				char home[4000], file[64];

				snprintf(home, sizeof(home), "%s/%s", directory, languages[l]);
				snprintf(file, sizeof(file), "%s.%s", mails[m], forms[f]);
				templates[l][m][f] = hf_template_load(home, file, names, error, room);
				if (templates[l][m][f] == NULL)
					return false;
			}
	return true;
}

/* The number of the language that a tag asks for. */
static size_t
find_language(const char *tag)
{
	for (size_t l = 0; l < LANGUAGES; l++)
	{
		size_t length = strlen(languages[l]);

		if (strncasecmp(tag, languages[l], length) == 0 &&
			(tag[length] == '\0' || tag[length] == '-' || tag[length] == '_'))
			return l;
	}
	return 0;
}

/* Is this how a person may be called? */
static bool
is_name(const char *name)
{
	if (*name == '\0' || strlen(name) > NAME_MAX_BYTES || strpbrk(name, "/@:<>") != NULL ||
		strcasestr(name, "www.") != NULL)
		return false;
	for (const char *dot = strchr(name, '.'); dot != NULL; dot = strchr(dot + 1, '.'))
		if (dot[1] != '\0' && dot[1] != ' ' && dot[1] != '.' && dot[1] != ',')
			return false;
	return true;
}

static const char *
text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

static int64_t
number_of(const json_t *object, const char *key)
{
	return (int64_t) json_integer_value(json_object_get(object, key));
}

static void
set_text(json_t *values, const char *key, const char *text)
{
	if (*text != '\0')
		json_object_set_new(values, key, json_string(text));
}

static void
set_money(json_t *values, const char *key, const json_t *of, const char *from, const char *language,
		  const json_t *order)
{
	char words[HF_WORDING_MAX];

	hf_wording_money(words, language, number_of(of, from), text_of(order, "currency"),
					 (int) number_of(order, "digits"));
	set_text(values, key, words);
}

static void
set_time(json_t *values, const char *key, const json_t *of, const char *from, const char *language)
{
	char words[HF_WORDING_MAX];

	if (json_object_get(of, from) == NULL)
		return;
	hf_wording_time(words, language, number_of(of, from));
	set_text(values, key, words);
}

static json_t *
new_line(const json_t *line, const char *language, const json_t *order)
{
	json_t *values = json_object();
	char words[HF_WORDING_MAX];

	set_text(values, "title", text_of(line, "title"));
	set_text(values, "code", text_of(line, "code"));
	hf_wording_number(words, number_of(line, "quantity"));
	set_text(values, "quantity", words);
	set_money(values, "unit_price", line, "unit_price", language, order);
	set_money(values, "amount", line, "amount", language, order);
	return values;
}

static void
set_order(json_t *values, const json_t *order, const char *language)
{
	json_t *lines = json_array();
	const json_t *line;
	size_t i;

	set_text(values, "order_id", text_of(order, "id"));
	set_text(values, "merchant", text_of(order, "merchant"));
	set_money(values, "total", order, "total", language, order);
	if (json_object_get(order, "refunded") != NULL)
		set_money(values, "refunded", order, "refunded", language, order);
	set_time(values, "placed", order, "placed_at", language);
	set_time(values, "pay_by", order, "pay_by", language);
	json_array_foreach(json_object_get(order, "lines"), i, line)
		json_array_append_new(lines, new_line(line, language, order));
	json_object_set_new(values, "lines", lines);
}

static json_t *
new_values(const HfLetter *letter, const json_t *details)
{
	json_t *values = json_object();

	set_text(values, "link", shop_link);
	set_text(values, "shop", shop_name);
	set_text(values, "name", letter->name != NULL ? letter->name : "");
	set_text(values, "token", text_of(details, "token"));
	if (json_object_get(details, "order") != NULL)
		set_order(values, json_object_get(details, "order"), letter->language);
	return values;
}

/*
 * Writes the letter that the details are about, which stay as long as it does.  False with the
 * reason if there is no such mail, or it has nothing to tell of.
 */
bool
hf_letter_write(HfLetter *letter, const json_t *details, const char **reason)
{
	size_t language = find_language(text_of(details, "locale")), mail = 0;
	json_t *values;

	memset(letter, 0, sizeof(*letter));
	while (mail < MAILS && strcmp(mails[mail], text_of(details, "template")) != 0)
		mail++;
	if (mail == MAILS ||
		(*text_of(details, "token") == '\0' && !json_is_object(json_object_get(details, "order"))))
	{
		*reason = "there is no such mail";
		return false;
	}
	letter->language = languages[language];
	letter->name = is_name(text_of(details, "name")) ? text_of(details, "name") : NULL;
	values = new_values(letter, details);
	letter->subject = hf_template_fill(templates[language][mail][0], values, false);
	if (letter->subject != NULL)
	{
		letter->subject[strcspn(letter->subject, "\n")] = '\0';
		set_text(values, "subject", letter->subject);
	}
	letter->text = hf_template_fill(templates[language][mail][1], values, false);
	letter->html = hf_template_fill(templates[language][mail][2], values, true);
	json_decref(values);
	if (letter->subject != NULL && letter->text != NULL && letter->html != NULL)
		return true;
	*reason = "out of memory";
	hf_letter_free(letter);
	return false;
}

void
hf_letter_free(HfLetter *letter)
{
	free(letter->subject);
	free(letter->text);
	free(letter->html);
	memset(letter, 0, sizeof(*letter));
}
