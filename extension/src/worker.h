/*
 * worker.h
 *		The launcher of background workers (launcher.c), and what each of them needs (worker.c).
 */
#ifndef HF_WORKER_H
#define HF_WORKER_H

/* How long a worker that has exited is left alone, at first. */
#define HF_WORKER_RETRY (2 * USECS_PER_SEC)

extern void hf_worker_register(void);
extern void hf_worker_away_register(void);
extern void hf_launcher_want_cache(void);
extern void hf_launcher_want_cache_at_commit(void);
extern void hf_worker_begin(Datum slot);
extern void hf_worker_stay_if_needed(void);
extern void hf_worker_begin_looking(void);
extern void hf_worker_leave(void) pg_attribute_noreturn();
extern void hf_worker_take_settings(void);
extern void hf_worker_wait(int64 milliseconds);

extern PGDLLEXPORT void hf_launcher_main(Datum arg);
extern PGDLLEXPORT void hf_reaper_main(Datum slot);
extern PGDLLEXPORT void hf_cache_main(Datum slot);

#endif
