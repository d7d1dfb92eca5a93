SELECT holdfast.reserve(holdfast.uuid7(), 1, 1);
