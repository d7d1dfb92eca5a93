/*
 * guc.h
 *		Settings, all named holdfast.*; guc.c documents them.
 */
#ifndef HF_GUC_H
#define HF_GUC_H

/* What the storage can bear: lane numbers above it are taken by other locks (lane.h). */
#define HF_LANE_LIMIT 1024
/* Highest number of a server in ids, 10 bits. */
#define HF_NODE_MAX 1023

extern char *hf_cache_prefix;
extern int hf_cache_ring_kb;
extern int hf_key_retention;
extern int hf_key_wait;
extern int hf_lane_calm;
extern int hf_lane_max;
extern bool hf_lane_locking;
extern int hf_lifetime_max;
extern int hf_lock_timeout;
extern int hf_node;
extern int hf_reaper_batch;
extern int hf_reaper_interval;
extern char *hf_redis_address;
extern int hf_redis_database;
extern const char *hf_redis_password;
extern char *hf_redis_service;
extern int hf_redis_timeout;
extern char *hf_redis_user;
extern int hf_ttl_default;
extern int hf_ttl_max;
extern char *hf_worker_role;

extern void hf_guc_register(void);

#endif
