"""Where captioned images come from, one file a source, and how an image is made ready to be sent.

```
docci, folder, jsonl, csv_,      a source: (settings, base) → rows, and what could not be one
parquet, hub, scenes
intake                           rows → captions and drops
questions                        rows of a question set → captions, questions and drops
examine                          what both do with a row: the file is read, hashed and decoded once
keep                             images that the run keeps, under their hash
prepare                          an image file → what is sent: upright, RGB, downsized, JPEG
base, listing, paths, lines,     what they share
pixels
```
"""
