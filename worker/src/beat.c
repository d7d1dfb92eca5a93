#include "beat.h"

const HfPart hf_beat_part = {0};
