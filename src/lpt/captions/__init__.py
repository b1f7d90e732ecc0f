"""Where captioned images come from, one file a source, and how an image is made ready to be sent.

```
docci, folder, jsonl, scenes    a source: (settings, base) → rows, and what could not be one
intake                          rows → captions and drops: every file is read, hashed and decoded once
prepare                         an image file → what is sent: upright, RGB, downsized, JPEG
base, paths, lines, pixels      what they share
```
"""
