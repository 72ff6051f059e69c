"""What is said besides the keywords: never a keyword or its homophone, often something like it."""

import numpy as np
import pytest

from pipelines.corpora.espeak import ACCENTS, Synthesiser, Voice
from pipelines.corpora.texts import Lexicon, edit_distance, ing, near_misses, third_person, vocabulary
from pipelines.errors import UserError

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def plain(phonemes: str) -> list[str]:
    """Phonemes of each word, as one string without stress and length."""
    return ["".join(letter for letter in word if letter not in "_ˈˌː") for word in phonemes.split()]


@pytest.mark.parametrize("digits", [False, True], ids=["commands", "digits"])
def test_negative_sentences_hold_no_keyword_by_phonemes(
    digits: bool, lexicon: Lexicon, synthesiser: Synthesiser
) -> None:
    words = DIGITS if digits else ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
    lexicon = Lexicon(DIGITS, synthesiser) if digits else lexicon
    generator = np.random.default_rng(3)
    texts = [lexicon.sentence(generator) for _ in range(250)] + [lexicon.word(generator) for _ in range(250)]
    for accent in ACCENTS[::3]:
        voice = Voice(accent, "m1")
        keywords = {"".join(plain(phonemes)) for phonemes in synthesiser.phonemes_all(words, voice)}
        for text, phonemes in zip(texts, synthesiser.phonemes_all(texts, voice), strict=True):
            assert not keywords & set(plain(phonemes)), text
            assert not set(words) & set(text.lower().replace(",", "").split()), text


def test_homophones_of_keywords_are_never_said(lexicon: Lexicon, synthesiser: Synthesiser) -> None:
    for text in ("I know him", "please write soon", "what a right", "no", "Go home"):
        assert lexicon.contains_keyword(text), text
    digits = Lexicon(DIGITS, synthesiser)
    for text in ("to go", "too late", "she won", "he ate", "for her", "twenty two"):
        assert digits.contains_keyword(text), text
    for text in ("none of them", "seventy", "leave it", "the oven"):
        assert not digits.contains_keyword(text), text


def test_words_that_contain_or_resemble_keywords_are_confusable(lexicon: Lexicon) -> None:
    assert {"going", "upper", "stopped", "offer", "leftovers", "known", "yet", "step", "gold"} <= set(
        lexicon.confusable
    )
    assert not {"elephant", "beautiful", "michael"} & set(lexicon.confusable)
    generator = np.random.default_rng(0)
    said = [lexicon.word(generator) for _ in range(2000)]
    assert 0.2 < np.mean([word in set(lexicon.confusable) for word in said]) < 0.35


def test_any_keyword_has_confusable_words(synthesiser: Synthesiser) -> None:
    lexicon = Lexicon(["computer", "good night", "the"], synthesiser)
    assert "computers" in lexicon.confusable
    assert {"compute", "omputer"} <= set(lexicon.invented)
    assert not set(lexicon.invented) & {*lexicon.confusable, *lexicon.allowed}
    assert "the" not in lexicon.allowed
    generator = np.random.default_rng(0)
    for _ in range(100):
        assert not lexicon.contains_keyword(lexicon.sentence(generator))
    assert lexicon.contains_keyword("I said good night Alice")
    assert not lexicon.contains_keyword("a good idea last night")


def test_near_misses_are_one_change_away_or_part_of_the_word() -> None:
    for word in ("stop", "seven", "computer"):
        misses = near_misses(word)
        assert len(set(misses)) == len(misses) >= 8
        for miss in misses:
            assert miss in word or (len(miss) == len(word) and edit_distance(miss, word) <= 1)


def test_vocabulary_is_large_and_sentences_vary(lexicon: Lexicon) -> None:
    assert len(vocabulary()) >= 2500
    generator = np.random.default_rng(1)
    assert len({lexicon.sentence(generator) for _ in range(500)}) > 450


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("yes", "must be a list of at least one word"),
        ([""], "the word '' cannot be said"),
        (["###"], "the word '###' cannot be said"),
        (["привет"], "the word 'привет' cannot be said"),
        (["route 66"], "the word 'route 66' cannot be said"),
        ([True], "words holds True, which is not text; YAML reads a bare yes, no, on, off as a truth value"),
        ([1], "words holds 1, which is not text"),
        (["go", "Go"], "words holds 'Go' twice"),
        (["two", "too"], "the words 'two' and 'too' sound the same"),
    ],
)
def test_word_that_cannot_be_said_or_told_apart_is_named(
    words: list[str], message: str, synthesiser: Synthesiser
) -> None:
    with pytest.raises(UserError, match=message):
        Lexicon(words, synthesiser)


def test_edit_distance_of_textbook_cases() -> None:
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("flaw", "lawn") == 2
    assert edit_distance("", "abc") == edit_distance("abc", "") == 3
    assert edit_distance("same", "same") == 0


def test_inflections_of_common_verbs() -> None:
    assert [third_person(verb) for verb in ("watch", "carry", "play", "go", "make")] == [
        "watches", "carries", "plays", "goes", "makes",
    ]  # fmt: skip
    assert [ing(verb) for verb in ("make", "stop", "tie", "see", "play", "open")] == [
        "making", "stopping", "tying", "seeing", "playing", "opening",
    ]  # fmt: skip
