"""Commands that measure: real voices, what a learned switch is worth, speed. See README.md.

real_voices.py   a model on recordings of people it never heard
words.py         ... isolated words: which one was it?
streams.py       ... words in long audio: found, missed, false alarms
mistakes.py      ... the worst of them, on a page
digits.py        the recipe of the ten words, trained on digits, and judged
skipping.py      the learned switch beside its dense twin and simpler ways to skip
systems.py       ... each of them trained, tuned and tested
rivals.py        ... the simpler ways
paired.py        ... several seeds, one interval
speed.py         what a model takes from file to events, and what its switch costs
timing.py        ... walks to be timed, frames to be counted
archive.py       what an archive job costs beside decoders, dense taggers and another listener
parallel.py      ... workers beside decoders
listener.py      ... livekit-wakeword's own listener, fed with files
archive_torture.py  kills, full disks and damaged files: what a job survives
encoder.py       what recurrent layers cost beside torch's, by share of open frames
intervals.py     intervals for shares and rates
report.py        tables, results.json, the machine
"""
