/*
 * database.h
 *		The connection to the database: one statement at a time, and nobody waits.
 */
#ifndef HF_DATABASE_H
#define HF_DATABASE_H

#include <stdbool.h>
#include <stdint.h>

/* The rows of a statement. */
typedef struct pg_result HfRows;

/*
 * How a statement has ended: with rows and no code; or without, with the SQLSTATE, which is "" if
 * nobody knows whether it was executed, because the connection was lost.
 */
typedef void (*HfDatabaseDone)(void *context, const HfRows *rows, const char *code,
							   const char *message);

extern void hf_database_begin(const char *conninfo, unsigned timeout);
extern bool hf_database_is_ready(void);
extern bool hf_database_is_busy(void);
extern void hf_database_send(const char *sql, int n, const char *const *values, HfDatabaseDone done,
							 void *context);
extern int hf_database_socket(short *events);
extern int64_t hf_database_deadline(void);
extern void hf_database_step(int64_t now, bool is_ready);
extern void hf_database_end(void);

extern int hf_rows_count(const HfRows *rows);
extern const char *hf_rows_value(const HfRows *rows, int row, int column);

#endif
