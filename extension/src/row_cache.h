/*
 * row_cache.h
 *		What a session knows of the extension's tables.
 */
#ifndef HF_ROW_CACHE_H
#define HF_ROW_CACHE_H

#include "nodes/execnodes.h"
#include "storage/lockdefs.h"
#include "utils/rel.h"

typedef enum HfTableId
{
	HF_LANE,
	HF_LANE_FLOOR,
	HF_HOLD,
	HF_MOVEMENT,
	HF_KEY_0,
	HF_KEY_1,
	HF_KEY_TURN,
	HF_PAYMENT,
	HF_PAYMENT_EVENT,
	HF_LEDGER,
	HF_CALL,
	HF_PROVIDER,
	HF_PROVIDER_EVENT,
	HF_CACHE_PREPARED,
} HfTableId;
#define HF_TABLES (HF_CACHE_PREPARED + 1)

/* What is known of a table, until the relcache says otherwise. */
typedef struct HfKnown
{
	const char *name;
	const char *second_name; /* the index beside the primary key, or NULL */
	int columns;			 /* as the library knows the table */
	bool valid;
	Oid relid;
	Oid primary;
	Oid second;
	MemoryContext context; /* holds all that follows */
	ExprState **checks;
	int nindexes;
	Oid *index;
	ExprState **predicate;	/* of each index, or NULL */
	IndexInfo **index_info; /* of each plain B-tree; NULL: to be built at each opening */
} HfKnown;

extern void hf_row_register(void);
extern bool hf_row_try_lock_table(HfTableId id, LOCKMODE lockmode);
extern HfKnown *hf_row_open(HfTableId id, LOCKMODE lockmode, Relation *rel);

#endif
