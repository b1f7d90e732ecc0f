"""The miniature's world: boards of colored arrows, small enough for a student of a million parameters.

```
board   what is where                    ─ picture → pixels
        ─ talk.caption → words           ─ talk.read → the board again
asking  questions, options, who solves them
saying  what a glance says, and what a second look goes through, cell by cell
slips   a second look that goes wrong at one place
roles   the asker and the reasoner that `lpt sim` serves for boards
```

A question here can be too long for one look (follow four arrows) and still be made of steps that anybody can take
who reads one cell: what a long thought is for.
"""
