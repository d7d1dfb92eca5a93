/*
 * report.h
 *		What came of it all: counts, latencies, the journal.
 */
#ifndef HF_CROWD_REPORT_H
#define HF_CROWD_REPORT_H

#include "answer.h"
#include "buyer.h"

/* What can go wrong with a connection. */
typedef enum HfTrouble
{
	HF_TROUBLE_CONNECT,
	HF_TROUBLE_CLOSED,
	HF_TROUBLE_RESET,
	HF_TROUBLE_TIMEOUT,
	HF_TROUBLE_BAD_ANSWER,
	HF_TROUBLE_NO_LENGTH,
	HF_TROUBLE_EXTRA_BYTES, /* behind an answer, or without a request */
	HF_TROUBLE_LEFT,		/* we hung up ourselves: not an error */
	HF_TROUBLES
} HfTrouble;

/* What became of buyers of mode whole, and of repeated purchases. */
typedef enum HfFate
{
	HF_FATE_PAID,
	HF_FATE_UNPAID, /* tried to pay, in vain */
	HF_FATE_ABANDONED,
	HF_FATE_SAME, /* the same answer again */
	HF_FATE_DIFFERENT,
	HF_FATES
} HfFate;

/* Opens the files. */
extern void hf_report_prepare(HfStep main);

/* The clock starts; what went wrong before does not count. */
extern void hf_report_begin(uint64_t now);

/* No visit begins any more. */
extern void hf_report_stop(uint64_t now);

extern void hf_report_trouble(HfTrouble trouble);
extern const char *hf_report_name_trouble(HfTrouble trouble);
extern void hf_report_fate(HfFate fate);

/* A request goes out again because of this. */
extern void hf_report_retry(HfPiece why);

/* A request is finished, in its last try; status 0: without an answer. */
extern void hf_report_finished(const HfBuyer *buyer, int status, HfPiece code, HfPiece order,
							   uint64_t now);

/* A line in between; and the last one, with the requests that were never finished. */
extern void hf_report_progress(uint64_t now);
extern void hf_report_end(uint64_t now, uint64_t unfinished, uint64_t not_begun);

#endif
