/*
 * cache_utility.h
 *		What commands mean for the cache that neither triggers nor event triggers can tell.
 */
#ifndef HF_CACHE_UTILITY_H
#define HF_CACHE_UTILITY_H

/* What the command that runs does to partitions, besides whatever else. */
typedef enum HfPartitionChange
{
	HF_PARTITIONS_STAY,
	HF_PARTITION_COMES,
	HF_PARTITION_GOES
} HfPartitionChange;

extern HfPartitionChange hf_cache_partition_change;

extern void hf_cache_utility_register(void);

#endif
