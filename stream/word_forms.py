"""Forms without figures: markup, addresses of the net, abbreviations, Roman numerals, signs, other scripts.

``MARKUP_FORMS`` come before those with figures, ``WORD_FORMS`` behind.
"""

from __future__ import annotations

import re
import unicodedata

from anyascii import anyascii
from hibari.g2p.normalize import ROMAN_CARDINAL, ROMAN_ORDINAL

from .abbreviations import AFTER_A_NAME, ANYWHERE, BEFORE_A_NUMBER, DAYS, MONTHS, OPENERS, TITLES
from .form import Form, after_any_of, any_of, form, spelled
from .numerals import Accent, cardinal, digits, ordinal, roman

NET_SIGNS = {
    ".": "dot", "/": "slash", "-": "dash", "_": "underscore", "?": "question mark", "=": "equals", "&": "and", "#": "hash",
    "%": "percent", ":": "colon", "~": "tilde", "@": "at", "+": "plus",
}  # fmt: skip
ENDINGS = {
    "com", "org", "net", "edu", "gov", "mil", "int", "info", "biz", "io", "co", "uk", "de", "fr", "eu", "us", "ca", "au",
    "tv", "me", "ly", "ai", "app", "dev", "ch", "at", "nl", "se", "jp", "cn", "in", "it", "es",
}  # fmt: skip
READ_AS_WORDS = {"com", "org", "net", "co", "me", "so", "to", "in", "it", "at", "be", "app", "dev"}
FILE_ENDINGS = {
    "pdf", "txt", "py", "js", "html", "css", "md", "json", "csv", "zip", "mp3", "wav", "png", "jpg", "jpeg", "gif", "exe",
    "docx", "xlsx", "xml", "yaml", "toml", "sh", "cpp",
}  # fmt: skip
NET_PATH = r"(?:[/?#:][^\s<>\"]*[^\s<>\".,;:!?)\]}'*_`~])?"

SIGNS = {
    "->": "to", "→": "to", "=>": "to", "⇒": "to", "←": "", "<=": "less than or equal to", ">=": "greater than or equal to",
    "!=": "is not equal to", "==": "equals", "=": "equals", "±": "plus or minus", "×": "times", "÷": "divided by",
    "§": "section", "©": "copyright", "&": "and", "@": "at", "%": "percent", "°": "degrees", "+": "plus",
    "€": "euros", "£": "pounds", "¢": "cents", "~": "", "$": "dollars",
}  # fmt: skip
POWERS = {ord(sign): str(figure) for figure, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")} | {ord("⁻"): "-"}
RESPELLED = {"JSON": "jason", "GUI": "gooey", "SaaS": "sass", "YAML": "yammel", "LaTeX": "laytech", "nginx": "engine X"}
NUMERAL = r"(?=[IVXLC])(?:X[CL]|L?X{0,3})(?:I[XV]|V?I{0,3})\b(?!['’.]\w)"
OBVIOUS_NUMERAL = r"X{0,2}(?:III?|VII|VIII|XI|XII|XIII|XIV|XV|XVI|XVII|XVIII|XIX|XXI)"
BEHIND = r"(?:(?<=[\w)])|(?<=[\w)] ))"  # something that can be compared or multiplied
NAME_BEFORE = re.compile(r"(?:[A-Z][\w'’.-]*,?|\d\w*|&) $")


def _net(match: re.Match[str], accent: Accent) -> str:
    """An address: its letters as words or one by one, its signs by name."""
    address = re.sub(r"^(?:[a-z]+://|mailto:)", "", match[0], flags=re.IGNORECASE).rstrip("/")
    host = re.match(r"[^/?#:]*", address)
    labels = host.group().split(".") if host else []
    words = []
    for part in re.findall(r"[A-Za-z]+|\d+|[^A-Za-z\d]", address):
        if part.isdecimal():
            words.append(cardinal(part, accent) if len(part) <= 2 else digits(part))
        elif not part.isalpha():
            words.append(NET_SIGNS.get(part, ""))
        elif part.lower() == "www" or (part == labels[-1] and len(part) == 2 and part not in READ_AS_WORDS):
            words.append(spelled(part))
        else:
            words.append(part if len(part) > 1 else spelled(part))
    return " ".join(filter(None, words))


def _file(match: re.Match[str], _accent: Accent) -> str:
    ending = match[1]
    return " dot " + (spelled(ending) if len(ending) < 4 and not re.search("[aeiou]", ending) else ending)


def _title(match: re.Match[str], _accent: Accent) -> str | None:
    """St. Paul, but: Elm St. The stop ends a sentence."""
    follower = re.match(r"\W*(\w+)", match.string[match.end() :])
    if follower and follower[1] in OPENERS and NAME_BEFORE.search(match.string[: match.start()]):
        return None
    return match[1] if match[1] in ("Mr", "Mrs", "Dr") else TITLES[match[1]]


def _after_a_name(match: re.Match[str], _accent: Accent) -> str | None:
    word, stop = match.groups()
    named = NAME_BEFORE.search(match.string[: match.start()])
    if named and (stop or word in ("St", "Ave", "Blvd", "Rd", "Hwy", "Inc", "Ltd", "Corp", "Bros", "Jr", "Sr")):
        return AFTER_A_NAME[word]
    if stop and word not in ("St", "Dr", "Sq", "Ct", "Co", "Mt"):
        return AFTER_A_NAME[word]
    return "Doctor" if stop and word == "Dr" else None


def _initials(match: re.Match[str], _accent: Accent) -> str | None:
    """J. K. Rowling, but: vitamin C. The stop ends a sentence."""
    follower = re.match(r"\s?(\w+)", match.string[match.end() :])
    return None if follower and follower[1] in OPENERS else spelled(match[0])


def _letters(match: re.Match[str], _accent: Accent) -> str:
    return spelled(match[0])


def _numeral(match: re.Match[str], accent: Accent) -> str | None:
    return None if _is_pronoun(match) else cardinal(str(roman(match[0])), accent)


def _regnal(match: re.Match[str], accent: Accent) -> str | None:
    return None if _is_pronoun(match) else "the " + ordinal(str(roman(match[0])), accent)


def _is_pronoun(match: re.Match[str]) -> bool:
    """Peter I of Russia, but: as Peter I know."""
    return (
        match[0] == "I" and re.match(r" (?!of\b|and\b|was\b|is\b|in\b)[a-z]", match.string[match.end() :]) is not None
    )


def _power(match: re.Match[str], accent: Accent) -> str:
    figures = match[0].translate(POWERS)
    if figures in ("2", "3"):
        return " squared" if figures == "2" else " cubed"
    minus = "minus " if figures.startswith("-") else ""
    return f" to the power of {minus}{cardinal(figures.strip('-') or '0', accent)}"


def _foreign(match: re.Match[str], _accent: Accent) -> str:
    """Another script in Latin letters, so that it is heard at all; a lone Greek letter by its name."""
    letters = match[0]
    if len(letters) == 1 and "GREEK" in (name := unicodedata.name(letters, "")):
        return name.split(" WITH ")[0].split()[-1].lower()
    latin = re.sub(r"[^A-Za-z]+", " ", anyascii(letters))
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", latin).lower()


MARKUP_FORMS: tuple[Form, ...] = (
    form(r"^[ \t]*(?:`{3,}|~{3,})[ \t]*\w*[ \t]*$", ""),  # fence of a block of code
    form(r"^[ \t]*[-*_=|:+][-*_=|:+ \t]{2,}$", ""),  # rule, or the line below the head of a table
    form(r"^[ \t]*(?:#{1,6}|>+|[-*+•])[ \t]+(?:\[[ xX]\] )?", ""),  # heading, quotation, item of a list
    form(r"!?\[(?=[^\[\]]*\]\()", ""),  # what a link shows stays, where it leads goes
    form(r"\]\([^\s()]*(?:\([^\s()]*\)[^\s()]*)*(?:\s+\"[^\"]*\")?\)", " "),
    form(r"\[\^?\d{1,3}\]", " "),  # note
    form(r"</?[A-Za-z][^<>\n]{0,200}>", " "),
    form(r"(?<!\w)[:;=][-o']?[)(\]\[DPp|\\/](?!\w)|(?<!\w)<3(?!\w)", " "),  # faces
    form(rf"(?<![\w@])(?:(?:https?|ftp)://|www\.|mailto:)(?:[\w-]+\.)*[\w-]+{NET_PATH}", _net),
    form(r"(?<!\w)[\w.+-]*\w@\w(?:[\w-]*\w)?(?:\.[\w-]+)+", _net),
    form(rf"(?<![\w.@])(?:[A-Za-z][\w-]*\.)+(?:{any_of(ENDINGS)})(?!\w|\.\w){NET_PATH}", _net),
    form(rf"(?<=\w)\.({any_of(FILE_ENDINGS)})(?!\w)", _file),
    form(r"(?<![\w&])#(?=\d)", "number "),
    form(r"(?<![\w&])#(?=[A-Za-z])", "hashtag "),
    form(r"(?<=\b[A-Z])#", " sharp"),
    form(r"(?<=\b[A-Z])\+\+", " plus plus"),
)

WORD_FORMS: tuple[Form, ...] = (
    form(rf"{after_any_of(ROMAN_CARDINAL)}{NUMERAL}", _numeral),
    form(rf"{after_any_of(ROMAN_ORDINAL)}{NUMERAL}", _regnal),
    form(rf"\b{OBVIOUS_NUMERAL}\b(?![.'’]\w)", lambda m, accent: cardinal(str(roman(m[0])), accent)),
    form(r"\b(Mrs?|Ms|Mx)\.", _title),
    form(rf"\b({any_of(TITLES.keys() - {'Sr', 'Jr'})})\.(?=\s+[\"'(]?[A-Z])", _title),
    form(r"\b(Mrs?|Ms|Mx|Prof|St|Mt|Ft|Sgt|Capt|Lt)(?= [A-Z])", _title),
    form(rf"\b({any_of(AFTER_A_NAME)})(\.|\b)(?!\w)", _after_a_name),
    form(
        rf"\b({any_of(BEFORE_A_NUMBER)})\.(?=\s?(?:\d|[IVX]{(2,)}\b|[VX]\b))", lambda m, _: BEFORE_A_NUMBER[m[1]] + " "
    ),
    form(
        rf"\b({any_of(DAYS)})(?:\.(?=,? (?:[a-z]|\d|{any_of(MONTHS)}))|(?=,? (?:\d|{any_of(MONTHS)})))",
        lambda m, _: DAYS[m[1]],
    ),
    form(rf"\b({any_of(MONTHS)})\.?(?=,? \d)|(?<=\d )({any_of(MONTHS)})\b\.?", lambda m, _: MONTHS[m[1] or m[2]]),
    form(rf"(?<![\w.])({any_of(ANYWHERE.keys() - {'vs', 'etc'})})\.(?!\w)", lambda m, _: ANYWHERE[m[1]]),
    form(r"(?<![\w.])(vs|etc)\b\.?", lambda m, _: ANYWHERE[m[1]]),
    form(r"\bet al\.", "et al"),
    form(r"(?<!\w)w/o(?!\w)", "without"),
    form(r"(?<!\w)w/(?!o\b)", "with "),
    form(rf"\b(?:{any_of(RESPELLED)})\b", lambda m, _: RESPELLED[m[0]]),
    form(r"\bPh\.\s?D\b\.?", spelled("PhD")),
    form(r"\b(?:[A-Z]\.\s?)+[A-Z]\.(?=\s?[A-Z][a-z])", _initials),
    form(r"\b(?:[A-Z]\.){2,}|\b(?:[a-z]\.){2,}|\b[A-Za-z](?:\.[A-Za-z])+\b", _letters),
    form(r"\b[A-Z](?:/[A-Z])+\b", _letters),
    form(r"\b[A-Z]\.(?= ([A-Z][\w'’]+))", _initials),
    form(r"\b[A-Z]{1,2}(?:&[A-Z]{1,2})+\b", lambda m, _: " and ".join(map(spelled, m[0].split("&")))),
    form(r"\b[A-Za-z]*([A-Za-z])\1{2,}[A-Za-z]*\b", lambda m, _: re.sub(r"([A-Za-z])\1{2,}", r"\1", m[0])),  # sooo
    form(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", _power),
    form(r"[A-Za-zÀ-ſ]*[^\W\d_A-Za-zÀ-ſ⁰¹²³⁴⁵⁶⁷⁸⁹][^\W\d_]*", _foreign),
    form(rf"{BEHIND}\*(?= ?\d)", " times "),
    form(r"(?<=[\w)])\^(?=[\w(-])", " to the power of "),
    form(rf"{BEHIND}<(?=\s?[\w(-])", " less than "),
    form(rf"{BEHIND}>(?=\s?[\w(-])", " greater than "),
    form(r"~ ?(?=[\d$€£])", "about "),
    form(any_of(SIGNS), lambda m, _: f" {SIGNS[m[0]]} "),
    form(r"\s?(?:\.{2,}|…)[.…]*(?=\w)", "… "),
    form(r"\s?(?:\.{2,}|…)[.…]*", "…"),
    form(r"(?<=\w)–(?=\w)|(?<=[^\W\d]):(?=[^\W\d])", " "),
    form(r"[ \t]*(?:—+|–+|--+)[ \t]*|[ \t]+-(?=\s)", " — "),
    form(r"(?<=\w)\(s\)|\(\)", ""),
    form(r"(?<=\w)[\"/(](?=\w)", " "),
    form(r"[^\w\s'.,:;!?…—()\"-]|_", " "),
)
