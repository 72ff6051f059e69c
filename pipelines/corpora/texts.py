"""What is said besides the keywords: running sentences and single words, confusable ones often, a keyword never."""

import re
from collections.abc import Sequence
from functools import cache

import numpy as np

from pipelines.corpora import words as english
from pipelines.corpora.espeak import ACCENTS, Synthesiser, Voice
from pipelines.errors import UserError

_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_STRESS = str.maketrans("", "", "ˈˌː")
_PLAIN_VARIANT = "m3"


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _split_by_comma(text: str) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in text.split(","))


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line for line in text.strip().splitlines())


CARRIERS = _lines(english.CARRIERS)
_DO = _split_by_comma(english.VERBS_WITH_OBJECT)
_MOVE = _split_by_comma(english.VERBS_WITHOUT_OBJECT)
_THINGS, _PEOPLE, _ANIMALS = _split(english.THINGS), _split(english.PEOPLE), _split(english.ANIMALS)
_NAMES, _PLACES = _split(english.NAMES), _split(english.PLACES)
_ADJECTIVES, _ADVERBS = _split(english.ADJECTIVES), _split(english.ADVERBS)
_TIMES, _WHERES, _PHRASES = _split_by_comma(english.TIMES), _split_by_comma(english.WHERES), _lines(english.PHRASES)
_NUMBERS = _split(english.NUMBERS)
_MODALS = ("will", "could", "should", "might", "must", "can")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return [word.lower() for word in _WORD.findall(text)]


def third_person(verb: str) -> str:
    """He, she or it of a verb: watch, watches; carry, carries; go, goes."""
    if verb.endswith(("s", "sh", "ch", "x", "z", "o")):
        return verb + "es"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + "s"


def ing(verb: str) -> str:
    """The -ing form of a verb: make, making; stop, stopping; tie, tying."""
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith("ee"):
        return verb[:-1] + "ing"
    if re.fullmatch(r"[^aeiou]*[aeiou][^aeiouwxy]", verb):
        return verb + verb[-1] + "ing"
    return verb + "ing"


@cache
def vocabulary() -> tuple[str, ...]:
    """Some 3,000 common English words, inflected forms included, in lower case, sorted."""
    found: set[str] = set()
    for entry in _DO + _MOVE:
        base, past = entry.split()
        found |= {base, past, third_person(base), ing(base)}
    for thing in _THINGS + _PEOPLE + _ANIMALS:
        found |= {thing, third_person(thing)}
    more = _split(english.SMALL_WORDS) + _split(english.SINGLE_WORDS)
    for pool in (_NAMES, _PLACES, _ADJECTIVES, _ADVERBS, _TIMES, _WHERES, _PHRASES, CARRIERS, _NUMBERS, more):
        for text in pool:
            found.update(words_of(text))
    return tuple(sorted(found))


def compose_sentence(generator: np.random.Generator) -> str:
    """A sentence or clause of everyday English, drawn from a small grammar; more odd than wrong."""

    def one(pool: Sequence[str]) -> str:
        return pool[int(generator.integers(len(pool)))]

    def someone() -> str:
        form = generator.integers(5)
        if form == 0:
            return one(_NAMES)
        if form == 1:
            return one(("she", "he", "everybody", "my friend", "the other one", "nobody", "someone"))
        adjective = one(_ADJECTIVES) + " " if generator.random() < 0.4 else ""
        return f"{one(('the', 'my', 'our', 'that', 'his', 'this', 'their'))} {adjective}{one(_PEOPLE + _ANIMALS)}"

    def something() -> str:
        adjective = one(_ADJECTIVES) + " " if generator.random() < 0.5 else ""
        form = generator.integers(4)
        if form == 0:
            return f"{one(_NUMBERS[2:])} {adjective}{third_person(one(_THINGS + _ANIMALS))}"
        return f"{one(('the', 'my', 'her', 'that', 'your', 'every', 'some', 'another'))} {adjective}{one(_THINGS)}"

    def circumstance() -> str:
        form = generator.integers(6)
        return ("", " " + one(_TIMES), " " + one(_WHERES), " " + one(_ADVERBS), " in " + one(_PLACES), "")[int(form)]

    def clause() -> str:
        base, past = one(_DO).split()
        walk, walked = one(_MOVE).split()
        forms = (
            lambda: f"{someone()} {past} {something()}{circumstance()}",
            lambda: f"{someone()} {third_person(base)} {something()}{circumstance()}",
            lambda: f"{someone()} {walked}{circumstance()}",
            lambda: f"{someone()} is {ing(walk)}{circumstance()}",
            lambda: f"{something()} was {one(_ADJECTIVES)} and {one(_ADJECTIVES)}",
            lambda: f"they {one(_MODALS)} {base} {something()}{circumstance()}",
            lambda: f"{one(('we', 'you', 'they', 'I'))} {base} {something()}{circumstance()}",
            lambda: f"there is {one(('a', 'the', 'some', 'another'))} {one(_THINGS)} {one(_WHERES)}",
            lambda: f"why did {someone()} {base} {something()}",
            lambda: f"does {someone()} {walk}{circumstance()}",
            lambda: f"{base} {something()} {one(('with', 'before', 'without', 'after'))} {something()}",
            lambda: one(_PHRASES),
            lambda: f"{one(_NUMBERS)} {one(_NUMBERS)} {one(_NUMBERS)} {one(_NUMBERS)}",
            lambda: f"{something()}, {something()} and {something()}",
        )
        return forms[int(generator.integers(len(forms)))]()

    if generator.random() < 0.25:
        return f"{clause()}{one((', and', ', but', ' because', ' while', ' when', ', so', ' although'))} {clause()}"
    return clause()


def near_misses(keyword: str) -> tuple[str, ...]:
    """Up to 24 spellings that nearly are the keyword: a letter replaced, the start or the end missing."""
    generator = np.random.default_rng(list(keyword.encode()))
    found: set[str] = set()
    if len(keyword) >= 3:
        found |= {keyword[1:], keyword[:-1], keyword[: (len(keyword) + 1) // 2], keyword[len(keyword) // 2 :]}
    for _ in range(60):
        place = int(generator.integers(len(keyword)))
        letters = "aeiou" if keyword[place].lower() in "aeiou" else "bdfgklmnprstvz"
        found.add(keyword[:place] + letters[int(generator.integers(len(letters)))] + keyword[place + 1 :])
    pronounceable = sorted(word for word in found if re.fullmatch(r"[a-z]*[aeiouy][a-z]*", word))
    return tuple(pronounceable[place] for place in generator.permutation(len(pronounceable))[:24])


def unstressed(phonemes: str) -> str:
    """Phonemes of a text without separators, stress and length marks, so that homophones compare equal."""
    return phonemes.translate(_STRESS).replace("_", "").replace(" ", "")


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """How many phonemes must be inserted, deleted or replaced to turn one word into the other (Levenshtein)."""
    previous = list(range(len(other) + 1))
    for row, left in enumerate(one, start=1):
        current = [row]
        for column, right in enumerate(other, start=1):
            current.append(min(previous[column] + 1, current[-1] + 1, previous[column - 1] + (left != right)))
        previous = current
    return previous[-1]


class Lexicon:
    """Which words may be said as negatives for some keywords, and which of them are easily confused with one.

    Attributes:
        allowed: vocabulary words that are no keyword and sound like none in any accent.
        confusable: allowed words near a keyword by sound (see `is_near`).
        invented: words that nobody says, almost a keyword (see `near_misses`): for teaching, never to judge by.
        carriers: sentences around a keyword, which stands for {}, without another keyword.

    Raises:
        UserError: if a keyword cannot be said, or two sound the same.
    """

    def __init__(self, keywords: Sequence[str], synthesiser: Synthesiser) -> None:
        if keywords:
            check_spelling(keywords)
        invented = {word for keyword in keywords for word in near_misses(keyword.lower())}.difference(vocabulary())
        everything = (*vocabulary(), *sorted(invented))
        sounds = []
        self._keyword_sounds = []
        for accent in ACCENTS:
            voice = Voice(accent, _PLAIN_VARIANT)
            phonemes = synthesiser.phonemes_all([*keywords, *everything], voice)
            if accent == ACCENTS[0]:
                keyword_phonemes = [_phonemes(item) for item in phonemes[: len(keywords)]]
                near = [is_near(_phonemes(item), keyword_phonemes) for item in phonemes[len(keywords) :]]
            self._keyword_sounds.append({unstressed(item) for item in phonemes[: len(keywords)]})
            sounds.append([unstressed(item) for item in phonemes[len(keywords) :]])
        check_sounds(keywords, keyword_phonemes, synthesiser)
        self._keyword_words = {tuple(words_of(keyword)) for keyword in keywords}
        self._sounds = {word: tuple(row[place] for row in sounds) for place, word in enumerate(everything)}
        is_harmless = [not self.contains_keyword(word) for word in everything]
        rows = list(zip(everything, is_harmless, near, strict=True))
        self.allowed = tuple(word for word, harmless, _ in rows if harmless and word not in invented)
        self.confusable = tuple(
            word for word, harmless, is_like in rows if harmless and is_like and word not in invented
        )
        self.invented = tuple(word for word, harmless, _ in rows if harmless and word in invented)
        # "{}" alone, so that a keyword as common as "the" still has one.
        self.carriers = ("{}", *(text for text in CARRIERS if not self.contains_keyword(text)))

    def contains_keyword(self, text: str) -> bool:
        """Whether any run of up to four whole words of a text is a keyword, or sounds like one in any accent.

        Raises:
            KeyError: if a word is not in the vocabulary: nobody knows how it sounds.
        """
        spoken = words_of(text)
        sounds = [self._sounds[word] for word in spoken]
        for start in range(len(spoken)):
            for stop in range(start + 1, min(start + 4, len(spoken)) + 1):
                if tuple(spoken[start:stop]) in self._keyword_words:
                    return True
                for accent, keyword_sounds in enumerate(self._keyword_sounds):
                    if "".join(sound[accent] for sound in sounds[start:stop]) in keyword_sounds:
                        return True
        return False

    def sentence(self, generator: np.random.Generator) -> str:
        """A sentence without a keyword; after many vain attempts, a row of allowed words."""
        for _ in range(50):
            sentence = compose_sentence(generator)
            if not self.contains_keyword(sentence):
                return sentence
        return ", ".join(self.word(generator) for _ in range(4))

    def word(self, generator: np.random.Generator) -> str:
        """One allowed word, one in five of them a confusable one: more often than chance has it (one in fifteen)."""
        pool = self.confusable if self.confusable and generator.random() < 0.2 else self.allowed
        return pool[int(generator.integers(len(pool)))]


def check_spelling(keywords: Sequence[str]) -> None:
    """Make sure that keywords are different English words, whatever they sound like.

    Raises:
        UserError: naming the keyword and what is wrong with it.
    """
    if isinstance(keywords, str) or not keywords:
        raise UserError(f"words={keywords!r} must be a list of at least one word, such as [red, green]")
    for place, keyword in enumerate(keywords):
        if not isinstance(keyword, str):
            raise UserError(
                f"words holds {keyword!r}, which is not text; YAML reads a bare yes, no, on, off as a truth value and "
                "digits as a number: put quotes around it, and spell numbers out"
            )
        is_latin = all(ord(letter) < 0x250 for letter in keyword)
        if not is_latin or not keyword or " ".join(_WORD.findall(keyword)) != keyword:
            raise UserError(
                f"the word {keyword!r} cannot be said: it must be English, in Latin letters, without digits or signs; "
                "spell it as it is spoken"
            )
        if keyword.lower() in [earlier.lower() for earlier in keywords[:place]]:
            raise UserError(f"words holds {keyword!r} twice; leave one out")


def check_sounds(keywords: Sequence[str], phonemes: Sequence[Sequence[str]], synthesiser: Synthesiser) -> None:
    """Make sure that the synthesiser says every keyword, and each differently.

    Raises:
        UserError: naming the keyword and what is wrong with it.
    """
    seen: dict[str, str] = {}
    for keyword, sound in zip(keywords, phonemes, strict=True):
        said = synthesiser.say(keyword, Voice(ACCENTS[0], _PLAIN_VARIANT)).samples
        if not sound or len(said) == 0 or float(np.abs(said).max()) < 0.01:
            raise UserError(f"the word {keyword!r} cannot be said: the synthesiser stays silent; spell it differently")
        other = seen.setdefault("".join(sound), keyword)
        if other != keyword:
            raise UserError(f"the words {other!r} and {keyword!r} sound the same; leave one out")


def is_near(sound: Sequence[str], keywords: Sequence[Sequence[str]]) -> bool:
    """Whether a word contains a keyword, begins like one, or is one phoneme away (two, from four phonemes on)."""
    for keyword in keywords:
        length = len(keyword)
        limit = 1 if length <= 3 else 2
        if any(sound[at : at + length] == keyword for at in range(len(sound) - length + 1)):
            return True
        if length > 2 and sound[: length - 1] == keyword[:-1] and len(sound) <= length + 3:
            return True
        if abs(len(sound) - length) <= limit and edit_distance(sound, keyword) <= limit:
            return True
    return False


def _phonemes(separated: str) -> list[str]:
    return [phoneme for phoneme in separated.translate(_STRESS).replace(" ", "_").split("_") if phoneme]
