/*
 * errors.h
 *		SQLSTATEs of class HF: business refusals. Callers act on these, never on text.
 *
 * Everything else is raised with PostgreSQL's own codes: 22003, 22004 and 22023 for arguments,
 * 25006 for read-only transactions and standbys, 40001 and 40P01 (try again), 55P03 (lock_timeout),
 * 55000 (a prerequisite is missing).  The table in extension/README.md lists both.
 */
#ifndef HF_ERRORS_H
#define HF_ERRORS_H

#define ERRCODE_HF_INSUFFICIENT_STOCK MAKE_SQLSTATE('H', 'F', '0', '0', '1')
#define ERRCODE_HF_UNKNOWN_SKU		  MAKE_SQLSTATE('H', 'F', '0', '0', '2')
#define ERRCODE_HF_INVALID_QUANTITY	  MAKE_SQLSTATE('H', 'F', '0', '0', '3')
#define ERRCODE_HF_INVALID_TTL		  MAKE_SQLSTATE('H', 'F', '0', '0', '4')
#define ERRCODE_HF_INVALID_LINES	  MAKE_SQLSTATE('H', 'F', '0', '0', '5')
#define ERRCODE_HF_UNKNOWN_HOLD		  MAKE_SQLSTATE('H', 'F', '0', '0', '6')
#define ERRCODE_HF_HOLD_CONFIRMED	  MAKE_SQLSTATE('H', 'F', '0', '0', '7')
#define ERRCODE_HF_HOLD_RELEASED	  MAKE_SQLSTATE('H', 'F', '0', '0', '8')
#define ERRCODE_HF_HOLD_EXPIRED		  MAKE_SQLSTATE('H', 'F', '0', '0', '9')
#define ERRCODE_HF_EXCEEDS_HOLD		  MAKE_SQLSTATE('H', 'F', '0', '1', '0')
#define ERRCODE_HF_EXCEEDS_SOLD		  MAKE_SQLSTATE('H', 'F', '0', '1', '1')
#define ERRCODE_HF_STOCK_BELOW_ZERO	  MAKE_SQLSTATE('H', 'F', '0', '1', '2')
#define ERRCODE_HF_INVALID_LANES	  MAKE_SQLSTATE('H', 'F', '0', '1', '3')
#define ERRCODE_HF_LIFETIME_EXCEEDED  MAKE_SQLSTATE('H', 'F', '0', '1', '4')
/* Verdicts of reserve_batch() only: the line itself was good. */
#define ERRCODE_HF_REFUSED_WITH_OWNER MAKE_SQLSTATE('H', 'F', '0', '1', '5')
#define ERRCODE_HF_REFUSED_WITH_BATCH MAKE_SQLSTATE('H', 'F', '0', '1', '6')
#define ERRCODE_HF_NOT_CONFIRMED	  MAKE_SQLSTATE('H', 'F', '0', '1', '7')
#define ERRCODE_HF_APPEND_ONLY		  MAKE_SQLSTATE('H', 'F', '0', '1', '8')
/* Idempotency keys and payments. */
#define ERRCODE_HF_INVALID_KEY		   MAKE_SQLSTATE('H', 'F', '0', '1', '9')
#define ERRCODE_HF_INVALID_FINGERPRINT MAKE_SQLSTATE('H', 'F', '0', '2', '0')
#define ERRCODE_HF_KEY_REUSED		   MAKE_SQLSTATE('H', 'F', '0', '2', '1')
#define ERRCODE_HF_KEY_IN_FLIGHT	   MAKE_SQLSTATE('H', 'F', '0', '2', '2')
#define ERRCODE_HF_KEY_NOT_OPEN		   MAKE_SQLSTATE('H', 'F', '0', '2', '3')
#define ERRCODE_HF_INVALID_AMOUNT	   MAKE_SQLSTATE('H', 'F', '0', '2', '4')
#define ERRCODE_HF_UNKNOWN_CURRENCY	   MAKE_SQLSTATE('H', 'F', '0', '2', '5')
#define ERRCODE_HF_CURRENCY_MISMATCH   MAKE_SQLSTATE('H', 'F', '0', '2', '6')
#define ERRCODE_HF_UNKNOWN_PAYMENT	   MAKE_SQLSTATE('H', 'F', '0', '2', '7')
#define ERRCODE_HF_ILLEGAL_TRANSITION  MAKE_SQLSTATE('H', 'F', '0', '2', '8')
#define ERRCODE_HF_EXCEEDS_AUTHORIZED  MAKE_SQLSTATE('H', 'F', '0', '2', '9')
#define ERRCODE_HF_EXCEEDS_CAPTURED	   MAKE_SQLSTATE('H', 'F', '0', '3', '0')
#define ERRCODE_HF_OWNER_HAS_PAYMENT   MAKE_SQLSTATE('H', 'F', '0', '3', '1')
#define ERRCODE_HF_UNKNOWN_PROVIDER	   MAKE_SQLSTATE('H', 'F', '0', '3', '2')
#define ERRCODE_HF_INVALID_METHOD	   MAKE_SQLSTATE('H', 'F', '0', '3', '3')
#define ERRCODE_HF_PAYMENT_EXISTS	   MAKE_SQLSTATE('H', 'F', '0', '3', '4')
#define ERRCODE_HF_UNKNOWN_CALL		   MAKE_SQLSTATE('H', 'F', '0', '3', '5')
#define ERRCODE_HF_SIGNATURE_MALFORMED MAKE_SQLSTATE('H', 'F', '0', '3', '6')
#define ERRCODE_HF_SIGNATURE_MISMATCH  MAKE_SQLSTATE('H', 'F', '0', '3', '7')
#define ERRCODE_HF_SIGNATURE_STALE	   MAKE_SQLSTATE('H', 'F', '0', '3', '8')
#define ERRCODE_HF_MALFORMED_EVENT	   MAKE_SQLSTATE('H', 'F', '0', '3', '9')
#define ERRCODE_HF_LEDGER_UNBALANCED   MAKE_SQLSTATE('H', 'F', '0', '4', '0')
#define ERRCODE_HF_CART_CHANGED		   MAKE_SQLSTATE('H', 'F', '0', '4', '2')
/* The cache. */
#define ERRCODE_HF_INVALID_TEMPLATE MAKE_SQLSTATE('H', 'F', '0', '4', '3')
#define ERRCODE_HF_NOT_WATCHED		MAKE_SQLSTATE('H', 'F', '0', '4', '4')
#define ERRCODE_HF_CACHE_BEHIND		MAKE_SQLSTATE('H', 'F', '0', '4', '5')
#define ERRCODE_HF_CANNOT_WATCH		MAKE_SQLSTATE('H', 'F', '0', '4', '6')
/* Raised by provider_work.sql. */
#define ERRCODE_HF_MISSING_SECRET MAKE_SQLSTATE('H', 'F', '0', '4', '1')

#endif
