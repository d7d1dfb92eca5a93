/*
 * config_check.c
 *		Reads a configuration as the application does, and says what is wrong with it.
 *
 * Prints what api/serve must know and cannot read as well: the bytes of the largest body of all.
 */
#include "config.h"

#include <stdio.h>

int
main(int argc, char **argv)
{
	char error[512];
	size_t most;

	if (argc != 2)
	{
		fprintf(stderr, "usage: config-check FILE\n");
		return 2;
	}
	if (!hf_config_load(argv[1], error, sizeof(error)))
	{
		fprintf(stderr, "%s: %s\n", argv[1], error);
		return 1;
	}
	most = hf_config.body_max;
	if (most < hf_config.batch_max)
		most = hf_config.batch_max;
	if (most < hf_config.upload_max)
		most = hf_config.upload_max;
	printf("%zu\n", most);
	return 0;
}
