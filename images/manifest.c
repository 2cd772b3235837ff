/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifest <-> struct image. A manifest is read by a daemon that may run as
 * root, and it may come from another host or a damaged disk: every field is
 * bounded, unknown and duplicate fields are refused, and digests become file
 * names only after they were checked to be 64 hex digits.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/parse.h"
#include "base/text.h"
#include "images/digest.h"
#include "images/store_internal.h"

static const char *const init_names[] = {
	[IMAGE_INIT_AGENT] = "agent",
	[IMAGE_INIT_SYSTEM] = "system",
};

/* Printable ASCII: these texts end up on command lines and terminals. */
static bool text_ok(const char *text)
{
	for (; *text; text++) {
		if (!text_printable(*text))
			return false;
	}
	return true;
}

static int get_text(const json_t *j, const char *field, bool required,
		    char *buf, size_t size, struct err *e)
{
	const char *text = "";
	int rc = json_get_string(j, "manifest", field, required, size - 1,
				 &text, e);

	if (rc < 0)
		return rc;
	if (!text_ok(text) || (required && !*text))
		return err_set(e, ERR_INVALID, "manifest_invalid", 0,
			       "manifest.%s is empty or has a character that "
			       "is not printable ASCII",
			       field);
	memcpy(buf, text, strlen(text) + 1);
	return 0;
}

static int get_choice(const json_t *j, const char *field,
		      const char *const *names, size_t count, size_t *ret,
		      struct err *e)
{
	char text[16];
	int rc = get_text(j, field, true, text, sizeof(text), e);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(names[i], text) == 0) {
			*ret = i;
			return 0;
		}
	}
	return err_set(e, ERR_INVALID, "manifest_invalid", 0,
		       "manifest.%s is '%s', which this version does not know",
		       field, text);
}

static int get_blob(const json_t *j, const char *field, bool required,
		    struct image_blob *ret, struct err *e)
{
	static const char *const allowed[] = { "digest", "size_bytes", NULL };
	const json_t *object = NULL;
	const char *hex = NULL;
	int rc = json_get_object(j, "manifest", field, required, &object, e);

	if (rc < 0 || !object)
		return rc;
	rc = json_only_fields(object, field, allowed, e);
	if (!rc)
		rc = json_get_string(object, field, "digest", true,
				     IMAGE_DIGEST_LEN, &hex, e);
	if (!rc)
		rc = json_get_u64(object, field, "size_bytes", true, 1,
				  INT64_MAX, &ret->size_bytes, e);
	if (rc)
		return rc;
	if (!digest_hex_ok(hex))
		return err_set(e, ERR_INVALID, "manifest_invalid", 0,
			       "manifest.%s.digest is not 64 hex digits",
			       field);
	memcpy(ret->digest, hex, sizeof(ret->digest));
	return 0;
}

static int get_texts(const json_t *j, struct image *img, struct err *e)
{
	int rc = get_text(j, "name", true, img->name, sizeof(img->name), e);

	if (!rc)
		rc = get_text(j, "recipe", true, img->recipe,
			      sizeof(img->recipe), e);
	if (!rc)
		rc = get_text(j, "arch", true, img->arch, sizeof(img->arch), e);
	if (!rc)
		rc = get_text(j, "created", true, img->created,
			      sizeof(img->created), e);
	if (!rc)
		rc = get_text(j, "kernel_release", true, img->kernel_release,
			      sizeof(img->kernel_release), e);
	if (!rc)
		rc = get_text(j, "cmdline", false, img->cmdline,
			      sizeof(img->cmdline), e);
	if (!rc)
		rc = get_text(j, "command", false, img->command,
			      sizeof(img->command), e);
	if (!rc && (!parse_name_ok(img->name) || !parse_name_ok(img->recipe)))
		rc = err_set(
			e, ERR_INVALID, "manifest_invalid", 0,
			"manifest: name and recipe are lower-case letters, "
			"digits, '.', '_' and '-'");
	return rc;
}

static int get_choices(const json_t *j, struct image *img, struct err *e)
{
	static const char *const formats[] = { "elf", "bzimage" };
	size_t init = 0, format = 0;
	int rc = get_choice(j, "kernel_format", formats, 2, &format, e);

	if (!rc)
		rc = get_choice(j, "init", init_names, 2, &init, e);
	if (rc < 0)
		return rc;
	img->init = (enum image_init)init;
	(void)snprintf(img->kernel_format, sizeof(img->kernel_format), "%s",
		       formats[format]);
	return 0;
}

static int get_disk(const json_t *j, struct image *img, struct err *e)
{
	int rc = get_blob(j, "root", false, &img->root, e);

	if (rc < 0)
		return rc;
	if (!img->root.digest[0]) {
		if (json_object_get(j, "disk_bytes"))
			return err_set(e, ERR_INVALID, "manifest_invalid", 0,
				       "manifest.disk_bytes without root");
		return 0;
	}
	return json_get_u64(j, "manifest", "disk_bytes", true,
			    img->root.size_bytes, INT64_MAX, &img->disk_bytes,
			    e);
}

static int set_id(struct image *img, struct err *e)
{
	AUTO(json) json_t *canonical = image_to_json(img);
	AUTO(free) char *text = NULL;

	if (canonical)
		text = json_dumps(canonical, JSON_COMPACT | JSON_SORT_KEYS);
	if (!text)
		return err_sys(e, ENOMEM, "manifest");
	digest_text(text, strlen(text), img->id);
	return 0;
}

int image_from_json(const json_t *manifest, struct image *ret, struct err *e)
{
	static const char *const allowed[] = {
		"format",
		"name",
		"recipe",
		"arch",
		"created",
		"kernel_release",
		"kernel_format",
		"init",
		"kernel",
		"initrd",
		"root",
		"disk_bytes",
		"cmdline",
		"command",
		"min_memory_bytes",
		NULL,
	};
	struct image img = { .name = "" };
	uint64_t format = 0;
	int rc;

	if (!json_is_object(manifest))
		return err_set(e, ERR_INVALID, "manifest_invalid", 0,
			       "manifest: not a JSON object");
	rc = json_get_u64(manifest, "manifest", "format", true, 1, INT64_MAX,
			  &format, e);
	if (rc < 0)
		return rc;
	if (format != MANIFEST_FORMAT)
		return err_set(e, ERR_UNSUPPORTED, "manifest_too_new", 0,
			       "manifest: format %llu was written by a newer "
			       "version; this one reads format %d",
			       (unsigned long long)format, MANIFEST_FORMAT);
	rc = json_only_fields(manifest, "manifest", allowed, e);
	if (!rc)
		rc = get_texts(manifest, &img, e);
	if (!rc)
		rc = get_choices(manifest, &img, e);
	if (!rc)
		rc = get_blob(manifest, "kernel", true, &img.kernel, e);
	if (!rc)
		rc = get_blob(manifest, "initrd", false, &img.initrd, e);
	if (!rc)
		rc = get_disk(manifest, &img, e);
	if (!rc)
		rc = json_get_u64(manifest, "manifest", "min_memory_bytes",
				  false, 0, INT64_MAX, &img.min_memory_bytes,
				  e);
	if (!rc)
		rc = set_id(&img, e);
	if (rc < 0)
		return rc;
	*ret = img;
	return 0;
}

static void put_blob(json_t *j, const char *field,
		     const struct image_blob *blob)
{
	if (blob->digest[0])
		(void)json_object_set_new(
			j, field,
			json_pack("{s:s, s:I}", "digest", blob->digest,
				  "size_bytes", (json_int_t)blob->size_bytes));
}

json_t *image_to_json(const struct image *img)
{
	json_t *j = json_pack(
		"{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I}",
		"format", MANIFEST_FORMAT, "name", img->name, "recipe",
		img->recipe, "arch", img->arch, "created", img->created,
		"kernel_release", img->kernel_release, "kernel_format",
		img->kernel_format, "init", init_names[img->init], "cmdline",
		img->cmdline, "command", img->command, "min_memory_bytes",
		(json_int_t)img->min_memory_bytes);

	if (!j)
		return NULL;
	put_blob(j, "kernel", &img->kernel);
	put_blob(j, "initrd", &img->initrd);
	put_blob(j, "root", &img->root);
	if (img->root.digest[0])
		(void)json_object_set_new(
			j, "disk_bytes",
			json_integer((json_int_t)img->disk_bytes));
	return j;
}
