"""One run on many machines: partitions of its images, carried out apart and gathered into one run again.

A partition is a contiguous range of image hashes, carried out as a run of its own by one process at a time, which
publishes what it has in pieces that another can go on from. Tables are ordered by image hash everywhere, so
gathering is concatenation; only the sets are composed after it, over all images.
"""
