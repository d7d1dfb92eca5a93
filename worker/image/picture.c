/*
 * picture.c
 *		What is made of pictures: sizes of products, round avatars.
 *
 * A picture is decoded once, with as much shrinking as the decoder itself can do, into memory: no
 * more than the largest size needs.  Everything else is made of that.  It is upright, of eight bits
 * and in sRGB then, and nothing but its pixels goes on: no metadata, no profile.
 *
 * Nobody knows who has sent it.  Before anything is decoded its first bytes have to fit its name,
 * libvips has to take it for the same, and its header to say no more pixels, and to need no more
 * memory, than we give.  No other loaders are there to be fooled into.  A picture that is not whole
 * is refused, so all of it is decoded, also what is cut off.
 */
#include "picture.h"

#include "strip.h"

#include <vips/vips.h>

#include <string.h>

#define TALLEST 5120 /* of the largest size; taller ones are narrower */
#define AVATAR	256

#define JPEG_QUALITY 82
#define WEBP_QUALITY 80

static const int product_widths[] = {160, 320, 640, 1280};
static const int avatar_widths[] = {64, 128, 256};

#define WIDEST 1280

/* What the application takes, by the name's ending. */
static const struct
{
	const char *extension, *magic;
	size_t at;
	const char *loader; /* how the name of libvips's loader begins */
} formats[] = {{"jpg", "\xff\xd8\xff", 0, "VipsForeignLoadJpeg"},
			   {"png", "\x89PNG\r\n\x1a\n", 0, "VipsForeignLoadPng"},
			   {"webp", "WEBP", 8, "VipsForeignLoadWebp"}};

#define FORMATS (sizeof(formats) / sizeof(formats[0]))

static const char damaged[] = "the picture is damaged or incomplete";

/* Begins to use libvips; false if that cannot be. */
bool
hf_picture_begin(const char *name)
{
	if (VIPS_INIT(name) != 0)
		return false;
	vips_concurrency_set(1);
	vips_cache_set_max(0);
	vips_block_untrusted_set(TRUE);
	vips_operation_block_set("VipsForeignLoad", TRUE);
	for (size_t i = 0; i < FORMATS; i++)
		vips_operation_block_set(formats[i].loader, FALSE);
	return true;
}

/* Is it what its name says, and what libvips takes it for? False if that has ended the work. */
static bool
check_format(HfWork *work, const char *name, const HfBytes *bytes)
{
	const char *extension = strrchr(name, '.'), *loader;

	for (size_t i = 0; i < FORMATS && extension != NULL; i++)
	{
		size_t length = strlen(formats[i].magic);

		if (strcmp(extension + 1, formats[i].extension) != 0)
			continue;
		if (bytes->length <= formats[i].at + length ||
			memcmp((const char *) bytes->data + formats[i].at, formats[i].magic, length) != 0)
			break;
		loader = vips_foreign_find_load_buffer(bytes->data, bytes->length);
		if (loader == NULL || strncmp(loader, formats[i].loader, strlen(formats[i].loader)) != 0)
			break;
		return true;
	}
	vips_error_clear();
	return hf_work_end(work, HF_WORK_REFUSED,
					   "the file is not a JPEG, PNG or WebP picture, or not the one that it is "
					   "said to be");
}

/* Do decoders that work line by line have to keep all of it? */
static bool
is_kept_whole(const VipsImage *header, const char *name)
{
	return strcmp(strrchr(name, '.'), ".webp") == 0 ||
		vips_image_get_typeof(header, "interlaced") != 0 ||
		vips_image_get_typeof(header, "jpeg-multiscan") != 0;
}

/* Is it of a size that we take? False if that has ended the work. */
static bool
check_header(HfWork *work, const char *name, const VipsImage *header, const HfLimits *limits)
{
	unsigned long long pixels =
		(unsigned long long) vips_image_get_width(header) * vips_image_get_height(header);
	unsigned long long depth = (unsigned long long) vips_image_get_bands(header) *
		(vips_image_get_format(header) == VIPS_FORMAT_UCHAR ? 2 : 4);

	if (pixels == 0)
		return hf_work_end(work, HF_WORK_REFUSED, "%s", damaged);
	if (pixels > limits->pixels)
		return hf_work_end(work, HF_WORK_REFUSED, "the picture has more than %llu million pixels",
						   limits->pixels / 1000000);
	if (is_kept_whole(header, name) && pixels * depth > limits->memory / 2)
		return hf_work_end(work, HF_WORK_REFUSED,
						   "the picture is too large for one that is progressive, interlaced or "
						   "WebP");
	return true;
}

/* The box that the picture, upright, is to be shrunk into. */
static void
choose_box(const VipsImage *header, bool is_avatar, int *width, int *height)
{
	bool is_turned = vips_image_get_orientation_swap((VipsImage *) header);
	bool is_wide = vips_image_get_width(header) > vips_image_get_height(header);

	*width = WIDEST;
	*height = TALLEST;
	if (is_avatar)
	{
		*width = is_wide == is_turned ? AVATAR : TALLEST;
		*height = is_wide == is_turned ? TALLEST : AVATAR;
	}
}

/* The picture in sRGB, by the profile that it came with. NULL: there is none that makes sense. */
static VipsImage *
apply_profile(VipsImage *image)
{
	bool is_cmyk = vips_image_get_interpretation(image) == VIPS_INTERPRETATION_CMYK;
	VipsImage *colour = NULL;

	if (is_cmyk || vips_image_get_typeof(image, VIPS_META_ICC_NAME) != 0)
		(void) vips_icc_transform(image, &colour, "srgb", "embedded", TRUE, "input_profile",
								  is_cmyk ? "cmyk" : "srgb", "intent", VIPS_INTENT_RELATIVE,
								  "black_point_compensation", TRUE, "depth", 8, NULL);
	return colour;
}

/* Takes away all that is said about the picture. */
static void
forget(VipsImage *image)
{
	gchar **fields = vips_image_get_fields(image);

	for (gchar **field = fields; fields != NULL && *field != NULL; field++)
		(void) vips_image_remove(image, *field);
	g_strfreev(fields);
}

/* The picture in eight bits and sRGB, with three bands or four. NULL: it is bad. */
static VipsImage *
normalise(VipsImage *image)
{
	VipsImage *memory = vips_image_copy_memory(image), *colour, *plain = NULL, *eight = NULL;
	VipsImage *kept = NULL;

	if (memory == NULL)
		return NULL;
	colour = apply_profile(memory);
	if (vips_colourspace(colour != NULL ? colour : memory, &plain, VIPS_INTERPRETATION_sRGB,
						 NULL) == 0 &&
		vips_cast(plain, &eight, VIPS_FORMAT_UCHAR, NULL) == 0)
		kept = vips_image_copy_memory(eight);
	g_object_unref(memory);
	g_clear_object(&colour);
	g_clear_object(&plain);
	g_clear_object(&eight);
	if (kept != NULL && vips_image_get_bands(kept) != 3 && vips_image_get_bands(kept) != 4)
		g_clear_object(&kept);
	if (kept != NULL)
		forget(kept);
	return kept;
}

/* Decodes the picture, shrunk into the box. NULL if that has ended the work. */
static VipsImage *
decode(HfWork *work, const HfBytes *bytes, int width, int height)
{
	VipsImage *thumbnail = NULL, *image = NULL;

	/* The option of libvips 8.14 itself counts for files alone. */
	if (vips_thumbnail_buffer(bytes->data, bytes->length, &thumbnail, width, "height", height,
							  "size", VIPS_SIZE_DOWN, "option_string", "[fail_on=error]",
							  NULL) == 0)
		image = normalise(thumbnail);
	g_clear_object(&thumbnail);
	vips_error_clear();
	if (image == NULL)
		(void) hf_work_end(work, HF_WORK_REFUSED, "%s", damaged);
	return image;
}

/* Looks at the header and decodes the picture. NULL if that has ended the work. */
static VipsImage *
load(HfWork *work, const char *name, const HfBytes *bytes, bool is_avatar, const HfLimits *limits)
{
	VipsImage *header;
	int width, height;
	bool good;

	if (!check_format(work, name, bytes))
		return NULL;
	header = vips_image_new_from_buffer(bytes->data, bytes->length, "", "access",
										VIPS_ACCESS_SEQUENTIAL, NULL);
	if (header == NULL)
	{
		vips_error_clear();
		(void) hf_work_end(work, HF_WORK_REFUSED, "%s", damaged);
		return NULL;
	}
	good = check_header(work, name, header, limits);
	choose_box(header, is_avatar, &width, &height);
	g_object_unref(header);
	return good ? decode(work, bytes, width, height) : NULL;
}

/* A size of the picture, which fits into the box. NULL: no memory. */
static VipsImage *
shrink(VipsImage *image, int width, int height, VipsSize size)
{
	VipsImage *thumbnail = NULL, *kept = NULL;

	if (vips_thumbnail_image(image, &thumbnail, width, "height", height, "size", size, NULL) == 0)
		kept = vips_image_copy_memory(thumbnail);
	g_clear_object(&thumbnail);
	return kept;
}

/* Keeps the file of a size, and adds it to the answer. False if that has ended the work. */
static bool
add_size(HfWork *work, const VipsImage *image, const HfBytes *bytes, const char *extension,
		 const char *type)
{
	int width = vips_image_get_width(image), height = vips_image_get_height(image);
	char file[HF_FILE_MAX], name[16];

	if (bytes->data == NULL)
		return hf_work_end(work, HF_WORK_FAILED, "cannot write the picture as %s", type);
	if (!hf_store_keep(work, bytes, extension, file))
		return false;
	snprintf(name, sizeof(name), "w%d", width);
	json_array_append_new(json_object_get(work->answer, "sizes"),
						  json_pack("{s:s, s:i, s:i, s:s, s:s}", "name", name, "width", width,
									"height", height, "type", type, "file", file));
	return true;
}

static bool
add_webp(HfWork *work, VipsImage *image)
{
	HfBytes bytes = {0};
	bool good;

	(void) vips_webpsave_buffer(image, &bytes.data, &bytes.length, "Q", WEBP_QUALITY, "strip", TRUE,
								NULL);
	if (bytes.data != NULL)
		hf_strip_webp(&bytes);
	good = add_size(work, image, &bytes, "webp", "image/webp");
	g_free(bytes.data);
	return good;
}

/* What is transparent is white in a JPEG. */
static bool
add_jpeg(HfWork *work, VipsImage *image)
{
	VipsArrayDouble *white = vips_array_double_newv(1, 255.0);
	VipsImage *flat = NULL;
	HfBytes bytes = {0};
	bool good;

	if (vips_image_get_bands(image) != 4)
		flat = g_object_ref(image);
	else
		(void) vips_flatten(image, &flat, "background", white, NULL);
	if (flat != NULL)
		(void) vips_jpegsave_buffer(flat, &bytes.data, &bytes.length, "Q", JPEG_QUALITY, "strip",
									TRUE, "optimize_coding", TRUE, "interlace", TRUE, NULL);
	good = add_size(work, image, &bytes, "jpg", "image/jpeg");
	g_free(bytes.data);
	g_clear_object(&flat);
	vips_area_unref(VIPS_AREA(white));
	return good;
}

static bool
add_png(HfWork *work, VipsImage *image)
{
	HfBytes bytes = {0};
	bool good;

	(void) vips_pngsave_buffer(image, &bytes.data, &bytes.length, "strip", TRUE, NULL);
	good = add_size(work, image, &bytes, "png", "image/png");
	g_free(bytes.data);
	return good;
}

/* All widths below that of the picture, and the picture itself: it is no wider than the widest. */
static bool
make_product(HfWork *work, VipsImage *image)
{
	int widest = vips_image_get_width(image);

	for (size_t i = 0; i < sizeof(product_widths) / sizeof(product_widths[0]); i++)
	{
		bool is_last = product_widths[i] >= widest || product_widths[i] == WIDEST;
		VipsImage *size = is_last ? g_object_ref(image)
								  : shrink(image, product_widths[i], TALLEST, VIPS_SIZE_DOWN);
		bool good = size == NULL ? hf_work_end(work, HF_WORK_FAILED, "out of memory")
								 : add_webp(work, size) && add_jpeg(work, size);

		g_clear_object(&size);
		if (!good || is_last)
			return good;
	}
	return true;
}

/* How much of a pixel is within a circle that fills the square, 0 to 255. */
static unsigned
cover(int x, int y, int side)
{
	double radius = side / 2.0, dx = x + 0.5 - radius, dy = y + 0.5 - radius;
	double inside = radius - sqrt(dx * dx + dy * dy) + 0.5;

	return inside <= 0 ? 0 : inside >= 1 ? 255 : (unsigned) (inside * 255 + 0.5);
}

/* The square as a circle, in four bands. NULL: no memory. */
static VipsImage *
make_round(VipsImage *square)
{
	static const unsigned char black[3];
	int side = vips_image_get_width(square), bands = vips_image_get_bands(square);
	size_t length;
	unsigned char *from = vips_image_write_to_memory(square, &length), *to;
	VipsImage *image, *named = NULL;

	if (from == NULL)
		return NULL;
	image = vips_image_new_memory();
	vips_image_init_fields(image, side, side, 4, VIPS_FORMAT_UCHAR, VIPS_CODING_NONE,
						   VIPS_INTERPRETATION_sRGB, 1.0, 1.0);
	if (vips_image_write_prepare(image) == 0)
		named = image;
	for (int y = 0; y < side && named != NULL; y++)
		for (int x = 0; x < side; x++)
		{
			const unsigned char *pixel = from + ((size_t) y * side + x) * bands;
			unsigned alpha = (bands == 4 ? pixel[3] : 255U) * cover(x, y, side) / 255;

			to = VIPS_IMAGE_ADDR(image, x, y);
			memcpy(to, alpha > 0 ? pixel : black, sizeof(black));
			to[3] = (unsigned char) alpha;
		}
	g_free(from);
	if (named == NULL)
		g_object_unref(image);
	return named;
}

/* A round size of the square. False if that has ended the work. */
static bool
add_round(HfWork *work, VipsImage *square, int width)
{
	VipsImage *size = shrink(square, width, width, VIPS_SIZE_BOTH), *round = NULL;
	bool good = false;

	if (size != NULL)
		round = make_round(size);
	if (round == NULL)
		(void) hf_work_end(work, HF_WORK_FAILED, "out of memory");
	else
		good = add_png(work, round);
	g_clear_object(&size);
	g_clear_object(&round);
	return good;
}

/* The middle of the picture, in a circle. */
static bool
make_avatar(HfWork *work, VipsImage *image)
{
	int width = vips_image_get_width(image), height = vips_image_get_height(image);
	int side = width < height ? width : height;
	VipsImage *square = NULL;
	bool good = vips_extract_area(image, &square, (width - side) / 2, (height - side) / 2, side,
								  side, NULL) == 0;

	if (!good)
		(void) hf_work_end(work, HF_WORK_FAILED, "out of memory");
	for (size_t i = 0; i < sizeof(avatar_widths) / sizeof(avatar_widths[0]) && good; i++)
		good = add_round(work, square, avatar_widths[i]);
	g_clear_object(&square);
	return good;
}

/*
 * Makes the sizes of a picture; the name is that of its upload.  False if that has ended the work
 * otherwise.
 */
bool
hf_picture_make(HfWork *work, const char *name, const HfBytes *bytes, bool is_avatar,
				const HfLimits *limits)
{
	VipsImage *image = load(work, name, bytes, is_avatar, limits);
	bool good;

	if (image == NULL)
		return false;
	work->answer = json_pack("{s:[]}", "sizes");
	good = is_avatar ? make_avatar(work, image) : make_product(work, image);
	g_object_unref(image);
	vips_error_clear();
	return good;
}
