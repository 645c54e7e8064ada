"""What is said for what is written, where each word stood, and that no text whatever breaks it."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.models.symbols import CONSONANTS, MARKS, PUNCTUATION, VOWELS, ids
from sottovoce.stream import phonemizer
from sottovoce.stream.errors import UsageError
from sottovoce.stream.form import SPELL
from sottovoce.stream.lexicon import ALPHABET, read_lexicon
from sottovoce.stream.numerals import Accent
from sottovoce.stream.phonemizer import Phonemizer, Spoken, joined
from sottovoce.stream.text_normal import normalise


@pytest.fixture(scope="module")
def american() -> Phonemizer:
    return Phonemizer()


@pytest.fixture(scope="module")
def british() -> Phonemizer:
    return Phonemizer(accent="gb")


def said(text: str, accent: Accent = "us") -> str:
    """The words for ``text``; letters that are read one by one behind a ``*``."""
    chunks = normalise(text, accent)
    return " ".join(chunk.before + chunk.word + chunk.after for chunk in chunks).replace(SPELL, "*")


READINGS = {
    "numbers": [
        ("I have 42 apples.", "I have forty two apples."),
        ("1,234,567 of 100", "one million two hundred thirty four thousand five hundred sixty seven of one hundred"),
        ("3456 items", "three thousand four hundred fifty six items"),
        ("3.14, 0.5 and .75", "three point one four, zero point five and point seven five"),
        ("3.50 m", "three point five zero meters"),
        ("-5 or −5", "minus five or minus five"),
        ("007", "zero zero seven"),
        ("1234567890123456", "one two three four five six seven eight nine zero one two three four five six"),
        ("1.000.000 and 10,5", "one million and ten comma five"),
        ("the 1st, 2nd, 23rd and 100th", "the first, second, twenty third and one hundredth"),
        ("2 1/2 cups, 3/4, ½, 1½, 3/8", "two and a half cups, three quarters, one half, one and a half, three eighths"),
        ("50% of 3.5 %", "fifty percent of three point five percent"),
        ("10-20, 3–5%", "ten to twenty, three to five percent"),
        ("4.5/5, 1/6th", "four point five out of five, one sixth"),
        ("24/7, 9/11", "twenty four seven, nine eleven"),
        ("5 + 3 = 8, 7 - 2, 2 * 3", "five plus three equals eight, seven minus two, two times three"),
        ("10³, x⁴, 10^6", "ten cubed, x to the power of four, ten to the power of six"),
        ("16:9 and 1920x1080", "sixteen to nine and nineteen twenty by ten eighty"),
        ("No. 5, #1, p. 7, pp. 8-9", "number five, number one, page seven, pages eight to nine"),
        ("version 2.0.1, v3", "version two point zero point one, version three"),
        ("192.168.1.1", "one hundred ninety two dot one hundred sixty eight dot one dot one"),
        ("٣ or ３", "three or three"),
    ],
    "dates and times": [
        ("In 1999, 2024, 1905, 1066 and 2005.", "In nineteen ninety nine, twenty twenty four, nineteen oh five, ten sixty six "
         "and two thousand five."),
        ("the 1990s and the '80s", "the nineteen nineties and the eighties"),
        ("1990-1995", "nineteen ninety to nineteen ninety five"),
        ("2024-03-04", "March fourth, twenty twenty four"),
        ("03/04/2024", "March fourth, twenty twenty four"),
        ("25/12/99", "December twenty fifth, nineteen ninety nine"),
        ("March 3, 2024", "March third, twenty twenty four"),
        ("3 March 2024", "the third of March twenty twenty four"),
        ("the 21st of May", "the twenty first of May"),
        ("Sat. Jan. 5th", "Saturday January fifth"),
        ("at 7:30 pm", "at seven thirty *PM"),
        ("at 10:05, 12:00 or 14:00", "at ten oh five, twelve o'clock or fourteen hundred"),
        ("9 a.m. or 5pm.", "nine *AM or five *PM."),
        ("10:30-11:45", "ten thirty to eleven forty five"),
    ],
    "money": [
        ("$3.50", "three dollars and fifty cents"),
        ("$1,000.00, $0.99, $1", "one thousand dollars, ninety nine cents, one dollar"),
        ("£1, £5.01, €20, ¥500, ₹100", "one pound, five pounds and one penny, twenty euros, five hundred yen, "
         "one hundred rupees"),
        ("$1.5 million, £2bn, $20k", "one point five million dollars, two billion pounds, twenty thousand dollars"),
        ("US$5, 20 USD, 30€, CHF 7", "five US dollars, twenty US dollars, thirty euros, seven Swiss francs"),
        ("$5-10 a day, $5/month", "five to ten dollars a day, five dollars per month"),
    ],
    "measures": [
        ("5 km, 10kg, 1 ft, 100 mph", "five kilometers, ten kilograms, one foot, one hundred miles per hour"),
        ("20°C, -3.5 °F, 90°", "twenty degrees Celsius, minus three point five degrees Fahrenheit, ninety degrees"),
        ("10 m², 3 m/s, a 5-km run", "ten square meters, three meters per second, a five kilometer run"),
        ("6'2\" tall, 12 in. wide", "six feet two inches tall, twelve inches wide"),
    ],
    "telephones and codes": [
        ("Call 555-1234.", "Call five five five, one two three four."),
        ("(212) 555-0199", "two one two, five five five, zero one nine nine"),
        ("+1 212-555-0199", "plus one, two one two, five five five, zero one nine nine"),
        ("0800 123 456", "zero eight zero zero, one two three, four five six"),
        ("dial 911, zip 90210", "dial nine one one, zip nine zero two one zero"),
        ("MP3, CO2, 4K, GPT-4, iOS17", "*MP three, *CO two, four *K, GPT four, iOS seventeen"),
    ],
    "abbreviations": [
        ("Dr. Smith lives on Elm Dr. near St. John St.", "Dr Smith lives on Elm Drive near Saint John Street."),
        ("on Elm St. Then St. Paul", "on Elm Street. Then Saint Paul"),
        ("Mr. and Mrs. Jones vs. Prof. Lee", "Mr and Mrs Jones versus Professor Lee"),
        ("e.g. this, i.e. that, etc.", "for example this, that is that, etc."),
        ("He said no.", "He said no."),
        ("a fig. The fig. 3", "a fig. The figure three"),
        ("the U.S. Army. In the U.S.", "the *US Army. In the *US."),
        ("Acme Inc. The end.", "Acme Incorporated. The end."),
        ("J. K. Rowling, Plan B. The end.", "*JK Rowling, Plan B. The end."),
        ("a Ph.D. in A.I.", "a *PHD in *AI."),
        ("R&D w/ AT&T w/o me", "*R and *D with *AT and *T without me"),
        ("Chapter IV, Henry VIII, World War II", "Chapter four, Henry the eighth, World War two"),
        ("I know, as Peter I know", "I know, as Peter I know"),
    ],
    "addresses": [
        ("https://www.example.com/a/b?x=1.", "*WWW dot example dot com slash *A slash *B question mark *X equals one."),
        ("(see example.co.uk)", "(see example dot co dot *UK)"),
        ("john.doe@example.com", "john dot doe at example dot com"),
        ("@user #tag main.py", "at user hashtag tag main dot *PY"),
    ],
    "markup and signs": [
        ("**bold** _it_ `code` ~~no~~", "bold it code no"),
        ("# Title\n- one\n* two\n> three", "Title one two three"),
        ("```python\nprint\n```\n---\n", "print"),
        ("[text, 5 km](http://x.com/(a)) ![a cat](cat.png)", "text, five kilometers a cat"),
        ("a<br>b &  c, and/or", "a b and c, and or"),
        ("Hello 😀 world 👍🏽 :-) <3 1️⃣", "Hello world one"),
        ("C++ and C#", "C plus plus and C sharp"),
        ("user_name | x = y, a > b → c", "user name x equals y, a greater than b to c"),
        ("Wait—what?! Wait -- no... yes…\"", "Wait — what?! Wait — no… yes…\""),
        ("word(s) [1]", "word"),
        ("sooo, well...then", "so, well… then"),
    ],
    "scripts": [
        ("Привет, 你好!", "privet, ni hao!"),
        ("π and Ω", "pi and omega"),
        ("Ｈｅｌｌｏ 𝐰𝐨𝐫𝐥𝐝 ﬁne cafe\u0301", "Hello world fine café"),
        ("so\u00adft hel\u200dlo\u200bworld", "soft hello world"),
        ("a\0b\x07c\u2028d", "a b c d"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("written", "spoken"), [case for cases in READINGS.values() for case in cases])
def test_what_is_said_for_what_is_written(written: str, spoken: str) -> None:
    assert said(written) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("03/04/2024", "April the third, twenty twenty four"),
        ("March 3", "March the third"),
        ("105", "one hundred and five"),
        ("in 2005", "in two thousand and five"),
    ],
)
def test_the_british_read_dates_and_numbers_otherwise(written: str, spoken: str) -> None:
    assert said(written, "gb") == spoken


@pytest.mark.parametrize(
    ("text", "us", "gb"),
    [
        ("Hello there.", "həlˈO ðˈɛɹ.", "həlˈQ ðˈɛː."),
        ("water", "wˈɔTəɹ", "wˈɔːtə"),
        ("I will read it.", "ˌI wɪl ɹˈid ɪt.", "ˌI wɪl ɹˈiːd ɪt."),
        ("I have read it.", "ˌI hæv ɹˈɛd ɪt.", "ˌI hav ɹˈɛd ɪt."),
        ("I live here.", "ˌI lˈɪv hˈɪɹ.", "ˌI lˈɪv hˈɪə."),
        ("a live show", "ɐ lˈIv ʃˈO", "ɐ lˈIv ʃˈQ"),
        ("tears fell", "tˈɪɹz fˈɛl", "tˈɪəz fˈɛl"),
        ("close the door, stay close", "klˈOz ðə dˈɔɹ, stˈA klˈOs", "klˈQz ðə dˈɔː, stˈA klˈQs"),
        ("a record, to record", "ɐ ɹˈɛkəɹd, tə ɹəkˈɔɹd", "ɐ ɹˈɛkɔːd, tə ɹɪkˈɔːd"),
        ("the apple, the pear", "ði ˈæpᵊl, ðə pˈɛɹ", "ði ˈapᵊl, ðə pˈɛː"),
        ("the 8th", "ði ˈAθ", "ði ˈAtθ"),
        ("the FBI and NASA", "ði ˌɛfbˌiˈI ænd nˈæsə", "ði ˌɛfbˌiːˈI and nˈasə"),
        ("don't, they've", "dˈOnt, ðAv", "dˈQnt, ðAv"),
        ("rock 'n' roll", "ɹˈɑk ən ɹˈOl", "ɹˈɒk ən ɹˈQl"),
        ("‘Hello’ \"world\"", "həlˈO “wˈɜɹld”", "həlˈQ “wˈɜːld”"),
        ("state-of-the-art", "stˈAtʌvðiˈɑɹt", "stˈAtɒvðiˈɑːt"),
        ("naïve", "nɑˈiv", "nIˈiːv"),
    ],
)  # fmt: skip
def test_how_it_sounds(text: str, us: str, gb: str, american: Phonemizer, british: Phonemizer) -> None:
    assert joined(american.words(text))[0] == us
    assert joined(british.words(text))[0] == gb


def test_every_word_keeps_its_place_and_its_spelling(american: Phonemizer) -> None:
    text = 'Dr. Smith paid  $3.50, "at 7:30 p.m."\nto the U.S. — and/or 10-20% [of it](http://x.y)…'
    words = american.words(text)
    assert [word.text for word in words] == [
        "Dr.", "Smith", "paid", "$3.50", "at", "7:30 p.m.", "to", "the", "U.S.", "and", "or", "10-20%", "of", "it",
    ]  # fmt: skip
    assert all(text[word.start_char : word.end_char] == word.text for word in words)
    assert [(word.before, word.after) for word in words if word.before or word.after] == [
        ("", ","), ("“", ""), ("", "”"), ("", " —"), ("", "…")
    ]  # fmt: skip


def test_the_line_and_the_places_of_words_in_it(american: Phonemizer) -> None:
    words = american.words('"Hello," she said (twice) — at 7:30.')
    line, places = joined(words)
    assert line == "“hˈɛlO,” ʃi sˈɛd (twˈIs) — æt sˈɛvən θˈɜɹTi."
    assert [line[place.start : place.stop] for place in places] == [word.phonemes for word in words]
    assert joined([]) == ("", [])


@pytest.mark.parametrize(
    "text", ["", " \n\t", "...", "?!", "— — —", "(((", "🙂 👍🏽", "\0\x1b", "***", "```", "'", '"', "\ud800"]
)
def test_where_nothing_is_to_be_said_there_are_no_words(text: str, american: Phonemizer) -> None:
    assert american.words(text) == []


def test_words_longer_than_the_rules_can_hear_are_read_to_their_end(american: Phonemizer) -> None:
    (one,) = american.words("bananarama" * 12)
    assert one.text == "bananarama" * 12
    assert len(one.phonemes) > 100
    compound = "-".join(["bananarama"] * 30)
    (one,) = american.words(compound)
    assert one.phonemes.count("ɹ") >= 30


texts = st.one_of(
    st.text(max_size=60),
    st.text(st.sampled_from("aAbI013 .,:;-/'\"()[]<>&#@$£%°½²é你π🙂\u0301\u200d\ud800\n*_`|=+~^"), max_size=60),
    st.lists(st.sampled_from(["Dr. ", "$3.50", "10:30", "1/2", " km", "U.S.", "St.", "p.m.", "x@y.z", "IV ", "—", "1st", "'s"]))
    .map("".join),
)  # fmt: skip


@settings(max_examples=150)
@given(text=texts)
def test_any_text_whatever_can_be_read(text: str, american: Phonemizer, british: Phonemizer) -> None:
    for reader in (american, british):
        words = reader.words(text)
        line, places = joined(words)
        assert len(ids(line)) == len(line)
        end = 0
        for word, place in zip(words, places, strict=True):
            assert end <= word.start_char < word.end_char <= len(text)
            assert text[word.start_char : word.end_char] == word.text
            assert line[place.start : place.stop] == word.phonemes != ""
            end = word.end_char
        assert not any(char.isnumeric() for chunk in normalise(text, reader.accent) for char in chunk.word)


WINTER = ["the", "old", "man", "reads", "some", "books", "about", "ships", "and", "live", "captains", "in", "winter"]


@settings(max_examples=60)
@given(words=st.lists(st.sampled_from(WINTER), min_size=1))
def test_plain_words_sound_as_the_library_reads_them(words: list[str], american: Phonemizer) -> None:
    text = " ".join(words) + "."
    assert joined(american.words(text))[0] == american._g2p(text)


def test_the_alphabet_is_the_talkers() -> None:
    assert set(" " + MARKS + CONSONANTS + VOWELS) == ALPHABET
    assert set(PUNCTUATION) >= phonemizer.MARKS | {"“", "”"}


def lexicon(folder: Path, text: str) -> Path:
    path = folder / "names.tsv"
    path.write_bytes(text.encode())
    return path


def test_a_lexicon_comes_first(tmp_path: Path) -> None:
    path = lexicon(
        tmp_path, "\ufeff# names\n\nsottovoce\tsˌɑTOvˈOʧA\r\nACME\tˈAkmi\nhello\thˈA\nhello\thˈO\tgb\nco-op\tkˈOˌɑp\n"
    )
    reader = Phonemizer(path)
    assert joined(reader.words("Sottovoce's SOTTOVOCE, hello!"))[0] == "sˌɑTOvˈOʧAz sˌɑTOvˈOʧA, hˈA!"
    assert joined(reader.words("the ACME co-op"))[0] == "ði ˈAkmi kˈOˌɑp"
    assert reader.words("Acme")[0].phonemes == "ˈækmi"
    british = read_lexicon(path, "gb")
    assert british.get("Hello") == "hˈO"
    assert british.get("hello's") == "hˈOz"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("word", "expected a word, a tab and its phonemes"),
        ("word wɜɹd", "expected a word"),
        ("\twɜɹd", "'' is not one word"),
        ("two words\ttˈu", "'two words' is not one word"),
        ("word\t", "'word' has no phonemes"),
        ("word\twq", "'q' in 'wq' is not a phoneme"),
        ("word\tˈa.", "'.' in 'ˈa.' is not a phoneme"),
        ("word\tˈa\tfr", "'fr' is not an accent; choose us or gb"),
        ("word\tˈa\tus\tgb", "expected a word"),
    ],
)
def test_a_wrong_line_of_a_lexicon_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = lexicon(tmp_path, f"# comment\ngood\tɡˈʊd\n{line}\n")
    with pytest.raises(UsageError) as raised:
        read_lexicon(path, "us")
    assert str(raised.value).startswith(f"{path}, line 3: {message}")


def test_a_lexicon_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the lexicon .*missing"):
        Phonemizer(tmp_path / "missing")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"cannot read the lexicon .*binary"):
        read_lexicon(binary, "us")


def test_there_are_two_accents() -> None:
    with pytest.raises(ValueError, match="us or gb, not 'fr'"):
        Phonemizer(accent="fr")  # type: ignore[arg-type]


def test_a_word_is_frozen(american: Phonemizer) -> None:
    (word,) = american.words("42")
    assert word == Spoken("42", "fˈɔɹTi tˈu", 0, 2)
    with pytest.raises(AttributeError):
        word.text = "43"  # type: ignore[misc]
