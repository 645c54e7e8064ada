"""Sentences of our own making for a teacher to speak: what read books lack. Numbers, dates, times, money, names, letters,
questions, exclamations, lists, dialogue, and answers of one word.

Every kind is a function of a ``random.Random``; the same seed gives the same sentences. Words are common English, names are
made of lists of ours, and no sentence is anybody's.
"""

from collections.abc import Callable
from random import Random


def _parts(text: str, at: str | None = None) -> list[str]:
    return [part.strip() for part in " ".join(text.split()).split(at)]


FIRST = _parts("""
Anna Ben Carla David Emma Felix Grace Henry Isla Jack Karen Liam Maya Noah Olivia Paul Quinn Rosa Samuel Tara Umar Vera
William Xenia Yusuf Zoe Aisha Bjorn Chloe Dmitri Elena Fatima George Hannah Ivan Julia Kofi Lucia Miguel Nadia Oscar
Priya Rahul Sofia Thomas Ursula Victor Wendy Yuki Zachary Abigail Brandon Charlotte Dylan Eleanor Francis Gabriel
""")
LAST = _parts("""
Adams Baker Carter Dixon Edwards Fischer Gonzalez Hughes Ivanov Jackson Kowalski Lopez Murphy Nguyen O'Brien Patel
Quincy Robinson Schmidt Thompson Underwood Vasquez Whitfield Young Zimmerman Andersson Bianchi Chowdhury Dubois Egan
Fitzgerald Grant Hernandez Ibrahim Jones Khan Larsson MacDonald Novak Okafor Petrov Rossi Singh Takahashi Wright
""")
PLACES = _parts("""
London Boston Chicago Dublin Edinburgh Toronto Sydney Paris Berlin Madrid Oslo Prague Vienna Lisbon Athens Cairo Nairobi
Mumbai Tokyo Seoul Beijing Lima Houston Phoenix Seattle Denver Oxford Leeds Glasgow Bristol Melbourne Auckland
""")
THINGS = _parts("""
apple bottle camera door engine feather garden hammer island jacket kettle letter mirror needle orange pencil question
river shovel table umbrella violin window yogurt zipper basket candle dinner envelope flower guitar hedge insect jewel
kitchen ladder machine notebook oyster pillow quilt rope sandwich thumb uniform village whistle yard bridge cheese judge
measure treasure garage vision length month width breath cloth smooth bathe church watch joy boy voice cow house mouth
""")
PLENTY = _parts("""
apples books chairs dogs eggs forks glasses horses ideas jobs keys lamps maps nails oranges pages roses shoes tickets
""")
QUALITIES = _parts("""
able bright calm dark early famous gentle huge idle jolly kind loud modern narrow odd proud quiet rough smooth tiny
usual vague warm young zealous awkward beautiful curious dangerous enormous fragile generous honest impossible joyful
""")
DEEDS = _parts("""
asked brought carried dropped examined followed gathered heard imagined joined kept lifted measured noticed opened
painted questioned repaired searched touched used visited watched wrapped yelled chose drew pushed thanked judged
bathed
""")
MONTHS = _parts("""
January February March April May June July August September October November December
""")
DAYS = _parts("""
Monday Tuesday Wednesday Thursday Friday Saturday Sunday
""")
LETTERS = _parts("""
A B C D E F G H I J K L M N O P Q R S T U V W X Y Z
""")
SHORT = _parts(
    """
Yes. | No. | Maybe. | Sure. | Thanks. | Please. | Hello. | Goodbye. | Sorry. | Right. | Okay. | Stop! | Wait! | Help! |
Why? | Who? | When? | Where? | How? | Really? | Never. | Always. | Perhaps. | Of course. | Not yet. | Not at all. | I
see. | Me too. | Good morning. | Good night. | Thank you. | No, thank you. | Yes, please. | You're welcome. | Excuse me.
| I don't know. | I think so. | That's right. | Come in. | Come here! | Just a moment. | One moment, please. | It
depends. | Very well. | Never mind. | Let's go. | Watch out! | Well done! | Be careful. | Go on. | What? | Oh. | Oh, no!
| Ah, yes. | Hm. | Well. | Exactly. | Absolutely. | Certainly not. | Hurry up! | See you soon.
""",
    "|",
)
TWISTERS = _parts(
    """
The sixth sick sheikh's sixth sheep is sick. | She sells sea shells by the sea shore. | Red lorry, yellow lorry. | Peter
Piper picked a peck of pickled peppers. | How much wood would a woodchuck chuck? | Unique New York, you need New York. |
Fuzzy Wuzzy was a bear. | Six slippery snails slid slowly seaward. | A proper copper coffee pot. | Eleven benevolent
elephants. | Thirty-three thieves thought that they thrilled the throne throughout Thursday. | Which wristwatches are
Swiss wristwatches? | Toy boat, toy boat, toy boat. | Greek grapes, great grey geese. | The great Greek grape growers
grow great Greek grapes.
""",
    "|",
)
INITIALS = _parts("""
USA UK EU TV CD PDF FBI NASA UNESCO GPS HTML CPU USB BBC DNA ATM CEO FAQ DIY VIP
""")

Kind = Callable[[Random], str]


def _name(r: Random) -> str:
    title = r.choice(["", "", "", "Mr. ", "Mrs. ", "Ms. ", "Dr. ", "Professor "])
    return f"{title}{r.choice(FIRST)} {r.choice(LAST)}" if not title or r.random() < 0.4 else f"{title}{r.choice(LAST)}"


def _number(r: Random) -> str:
    size = 10 ** r.randint(1, 7)
    n = r.randrange(size)
    return r.choice([f"{n}", f"{n:,}", f"{n:,}", f"{n % 1000}.{r.randrange(1, 100)}", f"{n % 100}%"])


def _ordinal(n: int) -> str:
    return f"{n}th" if 10 <= n % 100 <= 20 else f"{n}{({1: 'st', 2: 'nd', 3: 'rd'}).get(n % 10, 'th')}"


def numbers(r: Random) -> str:
    """Cardinals, ordinals, decimals and percentages."""
    n, thing = _number(r), r.choice(PLENTY)
    return r.choice([
        f"There were {n} of them, not {_number(r)}.", f"We counted {r.randrange(2, 10_000):,} {thing}.",
        f"The answer is {n}.", f"It was the {_ordinal(r.randrange(1, 120))} time that {r.choice(FIRST)} {r.choice(DEEDS)} it.",
        f"Room {r.randrange(1, 900)}, please.", f"About {r.randrange(1, 100)}% of the {thing} were {r.choice(QUALITIES)}.",
        f"Call {r.randrange(100, 999)} {r.randrange(100, 999)} {r.randrange(1000, 9999)}.",
        f"{r.randrange(2, 20)} times {r.randrange(2, 20)} makes {n}?", f"Turn to page {r.randrange(2, 800)}.",
    ])  # fmt: skip


def dates(r: Random) -> str:
    """Days, dates and years."""
    day, month, year = r.randrange(1, 29), r.choice(MONTHS), r.randrange(1066, 2050)
    return r.choice([
        f"{r.choice(FIRST)} was born on {month} {day}, {year}.",
        f"On the {_ordinal(day)} of {month} we leave for {r.choice(PLACES)}.",
        f"See you on {r.choice(DAYS)}, {month} {day}.", f"In {year}, {r.choice(PLACES)} was a {r.choice(QUALITIES)} place.",
        f"It closed in {month} {year}.", f"Was it {r.choice(DAYS)} or {r.choice(DAYS)}?", f"The {year // 10 * 10}s were over.",
    ])  # fmt: skip


def times(r: Random) -> str:
    """Hours and durations."""
    hour, minute = r.randrange(1, 13), r.choice(["00", "05", "10", "15", "20", "30", "42", "45", "59"])
    return r.choice([
        f"The train to {r.choice(PLACES)} leaves at {hour}:{minute}.", f"It is {hour}:{minute} p.m.",
        f"Wake me at {hour} o'clock, please.", f"We waited {r.randrange(2, 59)} minutes and {r.randrange(2, 59)} seconds.",
        f"From {hour}:{minute} to {hour % 12 + 1}:{minute}, on {r.choice(DAYS)}s only.", f"Half past {hour}? No, a quarter to.",
    ])  # fmt: skip


def money(r: Random) -> str:
    """Prices."""
    price, sign = r.randrange(1, 900), r.choice("$£€$")
    return r.choice([
        f"That will be {sign}{price}.{r.randrange(10, 99)}.", f"A {r.choice(THINGS)} for {sign}{price}?",
        f"They paid {sign}{r.randrange(2, 900)} million for it.", f"{sign}{price}, and not a penny more!",
        f"The {r.choice(THINGS)} costs {sign}{price:,}, the {r.choice(THINGS)} {sign}{r.randrange(1, 90)}.",
    ])  # fmt: skip


def names(r: Random) -> str:
    """People and places."""
    return r.choice([
        f"{_name(r)} lives in {r.choice(PLACES)}.", f"May I introduce {_name(r)} and {_name(r)}?",
        f"{_name(r)} flew from {r.choice(PLACES)} to {r.choice(PLACES)} with {r.choice(FIRST)}.",
        f"Have you met {_name(r)}?", f"This is {r.choice(FIRST)} from {r.choice(PLACES)}.", f"{_name(r)}!",
        f"{r.choice(FIRST)}'s {r.choice(THINGS)} belongs to {_name(r)}.",
    ])  # fmt: skip


def letters(r: Random) -> str:
    """Letters one by one and initialisms."""
    some = [r.choice(LETTERS) for _ in range(r.randint(2, 4))]
    known = r.choice(INITIALS)
    return r.choice([
        f"It is spelled {', '.join(some)}.", f"The {known} called the {''.join(some)}.", f"Press {some[0]}, then {some[1]}.",
        f"{known}, that is how they write it.", f"Row {some[0]}, seat {r.randrange(1, 60)}.",
        f"One {known} in every {r.choice(THINGS)}.",
    ])  # fmt: skip


def questions(r: Random) -> str:
    """Of both melodies."""
    thing, quality, name = r.choice(THINGS), r.choice(QUALITIES), r.choice(FIRST)
    return r.choice([
        f"Where did you put the {quality} {thing}?", f"Is the {thing} {quality}?", f"Why was {name} so {quality}?",
        f"Would you like the {thing} or the {r.choice(THINGS)}?", f"Who {r.choice(DEEDS)} my {thing}?",
        f"You have never seen a {quality} {thing}, have you?", f"What is a {thing}, {name}?", f"Did {name} say which {thing}?",
        f"How {quality} can a {thing} be?", f"Can't you hear the {thing}?", f"Shall we go to {r.choice(PLACES)}, {name}?",
    ])  # fmt: skip


def exclamations(r: Random) -> str:
    """Loud ones."""
    thing, quality = r.choice(THINGS), r.choice(QUALITIES)
    return r.choice([
        f"What a {quality} {thing}!", f"Look at that {thing}!", f"Don't touch the {thing}, {r.choice(FIRST)}!",
        f"How {quality}!", f"{r.choice(FIRST)}, wait for me!", f"I told you the {thing} was {quality}!", f"Oh, the {thing}!",
    ])  # fmt: skip


def lists(r: Random) -> str:
    """Three to six things in a row."""
    some = r.sample(THINGS, r.randint(3, 6))
    return r.choice([
        f"We need {', '.join(some[:-1])} and {some[-1]}.", f"First the {some[0]}, then the {some[1]}, and last the {some[2]}.",
        f"{some[0].capitalize()}, {', '.join(some[1:])}: that is all.",
        f"Not the {some[0]}; not the {some[1]}; only the {some[2]}.",
        f"{', '.join(r.sample(FIRST, 3))} and {r.choice(FIRST)} were there.", f"Neither {some[0]} nor {some[1]}.",
    ])  # fmt: skip


def dialogue(r: Random) -> str:
    """Who says what to whom."""
    a, b, thing = r.choice(FIRST), r.choice(FIRST), r.choice(THINGS)
    return r.choice([
        f"“Where is the {thing}?” asked {a}. “In {r.choice(PLACES)},” said {b}.", f"“I {r.choice(DEEDS)} it,” {a} said.",
        f"“{r.choice(SHORT)}” {b} answered, and {r.choice(DEEDS)} the {thing}.", f"{a} said: “Take the {thing}.”",
        f"“No,” said {a}, “the {r.choice(QUALITIES)} one.”", f"{a} laughed. {b} did not... {b} {r.choice(DEEDS)} the {thing}.",
    ])  # fmt: skip


def statements(r: Random) -> str:
    """Plain ones, short and longer."""
    a, thing, other = r.choice(FIRST), r.choice(THINGS), r.choice(THINGS)
    return r.choice([
        f"The {r.choice(QUALITIES)} {thing} {r.choice(DEEDS)} nothing.", f"{a} {r.choice(DEEDS)} the {thing}.",
        f"{a} {r.choice(DEEDS)} the {r.choice(QUALITIES)} {thing}, because the {other} was {r.choice(QUALITIES)}.",
        f"If the {thing} is {r.choice(QUALITIES)}, the {other} (that of {a}) is not.", f"A {thing} — a {other}, even.",
        f"{r.choice(QUALITIES).capitalize()} as it was, nobody {r.choice(DEEDS)} the {thing} of {r.choice(PLACES)}.",
    ])  # fmt: skip


def short(r: Random) -> str:
    """Answers of a word or three."""
    return r.choice(
        [
            *SHORT,
            f"{r.choice(THINGS).capitalize()}.",
            f"{r.choice(FIRST)}?",
            f"{r.randrange(100)}.",
            f"Yes, {r.choice(FIRST)}.",
        ]
    )


def twisters(r: Random) -> str:
    """Hard to say: known ones, and words that begin alike."""
    if r.random() < 0.3:
        return r.choice(TWISTERS)
    letter = r.choice("bcdfghjklmnprstw")
    words = [word for word in (*THINGS, *QUALITIES, *DEEDS) if word.startswith(letter)]
    some = [r.choice(words) for _ in range(r.randint(3, 5))]
    return f"{' '.join(some).capitalize()}."


KINDS: dict[str, Kind] = {
    kind.__name__: kind
    for kind in (
        numbers, dates, times, money, names, letters, questions, exclamations, lists, dialogue, statements, short, twisters,
    )
}  # fmt: skip


def made(kind: str, count: int, seed: int = 0) -> list[str]:
    """``count`` different sentences of a kind, fewer where it has no more."""
    random, found = Random(f"{kind} {seed}"), dict[str, None]()
    for _ in range(20 * count):
        if len(found) == count:
            break
        found[KINDS[kind](random)] = None
    return list(found)
