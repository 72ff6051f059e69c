"""A page on which a person judges what a tagging job has found.

found.py       which events are shown, where their files are now, what is true, which model found them
recordings.py  one pass over a recording: mel, switch, scores, and the samples of the shown events
views.py       what the page shows of each event and recording
pictures.py    mel and film as small WebP pictures
page.py        one HTML file with all of it, of bounded size
page.css, page.js: how it looks, what it does
"""

from .found import ORDERS, Choice, choose_events, find_media, find_model, read_truth
from .page import Clip, EventView, RecordingView, Written, write_page
from .views import Viewer, Views

__all__ = [
    "ORDERS",
    "Choice",
    "Clip",
    "EventView",
    "RecordingView",
    "Viewer",
    "Views",
    "Written",
    "choose_events",
    "find_media",
    "find_model",
    "read_truth",
    "write_page",
]
