/*
 * beat.h
 *		Tells the database that this worker is there, and what it does.
 */
#ifndef HF_BEAT_H
#define HF_BEAT_H

#include "part.h"

extern const HfPart hf_beat_part;

#endif
