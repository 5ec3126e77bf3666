# Monty 1.4 takes and gives 100,000 levels (1,000 in a key), so Python 3.11's 1,000 frames decide:
# a level takes `encode` up to 4 of them and json, reading, up to 5. 100 leave half to the caller.
MAX_DEPTH = 100
MAX_BYTES = 16 * 2**20  # where the caller names no limit
MAX_INT_BITS = 1_000_000
MAX_DIGITS = 4_300  # of an int in decimal, and of a Decimal: Monty refuses one of 4,301
