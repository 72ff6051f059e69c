"""Commands that measure: real voices, what a learned switch is worth, speed. See README.md.

real_voices.py   a model on recordings of people it never heard
words.py         ... isolated words: which one was it?
streams.py       ... words in long audio: found, missed, false alarms
mistakes.py      ... the worst of them, on a page
digits.py        the recipe of the ten words, trained on digits, and judged
skipping.py      the learned switch beside its dense twin and simpler ways to skip, for words
sound_skipping.py  ... for sounds
contest.py       ... every system trained, tuned and tested, and gone on with
contest_table.py ... one table, and what it shows
systems.py       ... how a system comes about
rivals.py        ... the simpler ways
shrinking.py     ... a dense model that takes as long as the switch
yardsticks.py    ... what a task is judged by
paired.py        ... several seeds, one interval
action_skipping.py  the same for actions in video
video_rivals.py  ... the simpler ways
real_folders.py  words learned from people's own clips
dear_featurizer.py  what the switch saves before a transformer
video_decoding.py  what decoding by plan saves
video_speed.py   what a video model takes from file to events
video_material.py  ... videos to time
video_glance.py  ... what the packet glance sees
kernels*.py      surnn's loops beside torch and ONNX Runtime: inference, training, streams, exported
gpu_kernels.py   ... beside cuDNN
method*.py       sequence problems: docs/method.md
speed.py         what a model takes from file to events, and what its switch costs
timing.py        ... walks to be timed, frames to be counted
archive.py       what an archive job costs beside decoders, dense taggers and another listener
parallel.py      ... workers beside decoders
listener.py      ... livekit-wakeword's own listener, fed with files
archive_size.py  very many files, very long ones
archive_torture.py  kills, full disks and damaged files: what a job survives
encoder.py       what recurrent layers cost beside torch's, by share of open frames
intervals.py     intervals for shares and rates
report.py        tables, results.json, the machine
"""
