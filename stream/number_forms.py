"""Forms with figures: dates, times, money, telephone numbers, measures, fractions, ranges, plain numbers. The order counts:
of two forms that begin at the same place the earlier one is taken.
"""

from __future__ import annotations

import re
import unicodedata

from hibari.g2p.normalize import UNITS as HIBARI_UNITS

from .abbreviations import MONTHS
from .form import Form, after_any_of, any_of, form, spelled
from .numerals import Accent, cardinal, decimal, digits, fraction, number, ordinal, plural, year

MONTH_NAMES = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
DATE_WORDS = tuple(
    f"{word} " for word in ("on", "On", "by", "By", "since", "Since", "until", "Until", "before", "after")
)
BEFORE_FIGURES = ("call", "Call", "dial", "Dial", "zip", "ZIP", "PIN", "code", "Code")  # which are read one by one
FIXED_PAIRS = {"24/7", "9/11", "7/7", "50/50", "20/20", "60/40", "80/20"}  # read as two numbers

N = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.\d+|\.\d+|\d+)"
CLEAR = r"(?<![\w/])(?<!\d[.,])"  # a number begins here
MERIDIEM = r"(?:([AaPp])\.[Mm]\.?|([AaPp])[Mm])(?!\w)"

CURRENCIES = {  # one, many, one hundredth, many hundredths
    "$": ("dollar", "dollars", "cent", "cents"), "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"), "¥": ("yen", "yen", "", ""), "₹": ("rupee", "rupees", "paisa", "paise"),
    "₩": ("won", "won", "", ""), "₽": ("ruble", "rubles", "kopek", "kopeks"), "₺": ("lira", "lira", "", ""),
    "₴": ("hryvnia", "hryvnias", "", ""), "₦": ("naira", "naira", "", ""), "₫": ("dong", "dong", "", ""),
    "฿": ("baht", "baht", "", ""), "₪": ("shekel", "shekels", "", ""), "¢": ("cent", "cents", "", ""),
    "USD": ("US dollar", "US dollars", "cent", "cents"), "EUR": ("euro", "euros", "cent", "cents"),
    "GBP": ("pound", "pounds", "penny", "pence"), "JPY": ("yen", "yen", "", ""), "CNY": ("yuan", "yuan", "", ""),
    "CHF": ("Swiss franc", "Swiss francs", "", ""), "CAD": ("Canadian dollar", "Canadian dollars", "cent", "cents"),
    "AUD": ("Australian dollar", "Australian dollars", "cent", "cents"), "INR": ("rupee", "rupees", "paisa", "paise"),
    "Rs": ("rupee", "rupees", "", ""), "Rs.": ("rupee", "rupees", "", ""),
}  # fmt: skip
DOLLARS = {"US": "US", "C": "Canadian", "CA": "Canadian", "A": "Australian", "AU": "Australian", "NZ": "New Zealand",
           "HK": "Hong Kong", "S": "Singapore"}  # fmt: skip
MONEY = rf"(?:{any_of(DOLLARS)})?\$|{any_of(CURRENCIES)}"
SCALES = {"k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion", "tn": "trillion"}
SCALE = r"hundred|thousand|million|billion|trillion|mn|bn|tn|[kKmMbB]"

UNITS = {unicodedata.normalize("NFKC", unit): words for unit, words in HIBARI_UNITS.items()} | {
    "m": ["meter", "meters"], "g": ["gram", "grams"], "l": ["liter", "liters"], "L": ["liter", "liters"],
    "cl": ["centiliter", "centiliters"], "dl": ["deciliter", "deciliters"], "h": ["hour", "hours"], "in": ["inch", "inches"],
    "V": ["volt", "volts"], "W": ["watt", "watts"], "Wh": ["watt hour", "watt hours"], "kV": ["kilovolt", "kilovolts"],
    "mA": ["milliampere", "milliamperes"], "dB": ["decibel", "decibels"], "kcal": ["kilocalorie", "kilocalories"],
    "cal": ["calorie", "calories"], "hPa": ["hectopascal", "hectopascals"], "Pa": ["pascal", "pascals"],
    "kbps": ["kilobits per second"] * 2, "rpm": ["revolutions per minute"] * 2, "bpm": ["beats per minute"] * 2,
    "px": ["pixel", "pixels"], "gal": ["gallon", "gallons"], "tsp": ["teaspoon", "teaspoons"],
    "tbsp": ["tablespoon", "tablespoons"], "ha": ["hectare", "hectares"], "wk": ["week", "weeks"], "wks": ["weeks", "weeks"],
    "yr": ["year", "years"], "yrs": ["years", "years"], "s": ["second", "seconds"], "ns": ["nanosecond", "nanoseconds"],
    "μs": ["microsecond", "microseconds"],
}  # fmt: skip
LONE_UNITS = ("km/h", "m/s", "mph", "kph", "km", "kg", "cm", "mm", "lbs", "kHz", "MHz", "GHz", "kWh", "Mbps", "Gbps")
PER = {"h": "hour", "s": "second", "d": "day", "hr": "hour", "min": "minute"}


def _date(accent: Accent, month: int, day: str, year_text: str = "") -> str | None:
    if not (1 <= month <= 12 and 1 <= int(day) <= 31):
        return None
    the = "the " if accent == "gb" else ""
    words = f"{MONTH_NAMES[month - 1]} {the}{ordinal(day, accent)}"
    if len(year_text) == 2:
        year_text = ("19" if year_text > "50" else "20") + year_text
    return f"{words}, {year(year_text, accent)}" if year_text else words


def _slash_date(match: re.Match[str], accent: Accent) -> str | None:
    """Month first for Americans, day first for others; the other way round where only that is a date."""
    first, second, year_text = match[1], match[3], match[4]
    pairs = [(first, second), (second, first)]
    for month, day in pairs if accent == "us" else pairs[::-1]:
        if words := _date(accent, int(month), day, year_text):
            return words
    return None


def _day_after_month(match: re.Match[str], accent: Accent) -> str | None:
    if not 1 <= int(match[1]) <= 31:
        return None
    return ("the " if accent == "gb" else "") + ordinal(match[1], accent)


def _day_before_month(match: re.Match[str], accent: Accent) -> str | None:
    if not 1 <= int(match[1]) <= 31:
        return None
    the = "" if match.string[: match.start()].lower().endswith("the ") else "the "
    return the + ordinal(match[1], accent) + ("" if match.string.startswith(" of ", match.end()) else " of")


def _clock(match: re.Match[str], accent: Accent) -> str | None:
    hour, minute, second, dotted, plain = match.groups()
    if int(hour) > 24 or int(minute) > 59 or int(second or 0) > 59:
        return None
    words = number(str(int(hour)), accent)
    if minute != "00":
        words += (" oh " if minute[0] == "0" else " ") + cardinal(str(int(minute)), accent)
    elif not (dotted or plain or second):
        words += " o'clock" if int(hour) <= 12 else " hundred"
    if second:
        words += f" and {cardinal(str(int(second)), accent)} second" + ("" if int(second) == 1 else "s")
    return words + _meridiem(dotted or plain)


def _meridiem(letter: str | None) -> str:
    return " " + spelled(letter + "m") if letter else ""


def _hour(match: re.Match[str], accent: Accent) -> str | None:
    if not 1 <= int(match[1]) <= 24:
        return None
    return cardinal(str(int(match[1])), accent) + _meridiem(match[2] or match[3])


def _currency(sign: str) -> tuple[str, str, str, str]:
    if sign.endswith("$") and len(sign) > 1:
        country = DOLLARS[sign[:-1]]
        return f"{country} dollar", f"{country} dollars", "cent", "cents"
    return CURRENCIES[sign]


def _money(match: re.Match[str], accent: Accent) -> str:
    """Sign, amount, another amount of a range, scale."""
    sign, amount, upto, scale = match.groups()
    if upto:
        return f"{decimal(amount, accent)} to {_amount(sign, upto, scale, accent)}"
    return _amount(sign, amount, scale, accent)


def _money_behind(match: re.Match[str], accent: Accent) -> str:
    return _amount(match[2], match[1], None, accent)


def _amount(sign: str, amount: str, scale: str | None, accent: Accent) -> str:
    one, many, one_part, many_parts = _currency(sign)
    if scale:
        return f"{decimal(amount, accent)} {SCALES.get(scale.lower(), scale)} {many}"
    whole, _, part = amount.replace(",", "").partition(".")
    if len(part) == 2 and one_part:
        parts = f"{cardinal(str(int(part)), accent)} {one_part if int(part) == 1 else many_parts}"
        if not int(whole or 0):
            return parts
        units = f"{cardinal(whole, accent)} {one if int(whole) == 1 else many}"
        return f"{units} and {parts}" if int(part) else units
    return f"{decimal(amount, accent)} {one if amount == '1' else many}"


def _groups(match: re.Match[str], _accent: Accent) -> str:
    """A telephone number or the like: figure by figure, with a breath between the groups."""
    plus = "plus " if match[0].startswith("+") else ""
    return plus + ", ".join(digits(group) for group in re.findall(r"\d+", match[0]))


def _short_phone(match: re.Match[str], accent: Accent) -> str | None:
    return None if match[0].endswith("00") else _groups(match, accent)  # 500-1000 is a range


def _measure(match: re.Match[str], accent: Accent) -> str | None:
    """Number, what joins it, unit, power, unit below the stroke."""
    amount, joint, unit, power, below = match.groups()
    if unit == "s" and not joint:
        return None  # the 90s
    one = amount in ("1", "1.0") or joint == "-"
    words = UNITS[unit][0 if one else 1]
    if power:
        words = ("square " if power in ("²", "^2", "2") else "cubic ") + words
    if below:
        words += " per " + (PER.get(below) or UNITS[below][0])
    return f"{decimal(amount, accent)} {words}"


def _lone_unit(match: re.Match[str], _accent: Accent) -> str:
    return {"m/s": "meters per second"}.get(match[0]) or UNITS[match[0]][1]


def _degrees(match: re.Match[str], accent: Accent) -> str:
    scale = {"C": " Celsius", "F": " Fahrenheit", "K": " Kelvin", None: ""}[match[2]]
    return f"{decimal(match[1], accent)} degree{'' if match[1] == '1' else 's'}{scale}"


def _feet_and_inches(match: re.Match[str], accent: Accent) -> str:
    feet, inches = match[1], match[2]
    words = f"{cardinal(feet, accent)} {'foot' if feet == '1' else 'feet'}"
    return f"{words} {cardinal(str(int(inches)), accent)}" + (" inches" if match[3] else "")


def _mixed(match: re.Match[str], accent: Accent) -> str | None:
    whole, upper, lower = match.groups()
    if not 0 < int(upper) < int(lower):
        return None
    part = "a half" if (upper, lower) == ("1", "2") else fraction(upper, lower, accent)
    return f"{cardinal(whole, accent)} and {part}"


def _vulgar(match: re.Match[str], accent: Accent) -> str:
    upper, lower = unicodedata.normalize("NFKC", match[2]).split("⁄")
    if not match[1]:
        return fraction(upper, lower, accent)
    part = "a half" if match[2] == "½" else fraction(upper, lower, accent)
    return f"{cardinal(match[1], accent)} and {part}"


def _fraction(match: re.Match[str], accent: Accent) -> str:
    upper, lower = match.groups()
    if match[0] in FIXED_PAIRS:
        return f"{cardinal(upper, accent)} {cardinal(lower, accent)}"
    if match.string[: match.start()].endswith(DATE_WORDS):
        month, day = (upper, lower) if accent == "us" else (lower, upper)
        if words := _date(accent, int(month), day):
            return words
    if 0 < int(upper) < int(lower):
        return fraction(upper, lower, accent)
    return f"{cardinal(upper, accent)} slash {cardinal(lower, accent)}"


def _decade(match: re.Match[str], accent: Accent) -> str:
    return plural(number(match[1], accent))


def _version(match: re.Match[str], accent: Accent) -> str:
    name, figures = match.groups()
    parts = figures.split(".")
    if len(parts) > 2 and not name and all(len(part) == 3 for part in parts[1:]):
        return cardinal(figures.replace(".", ""), accent)  # thousands as most of Europe writes them
    words = (" dot " if len(parts) == 4 else " point ").join(cardinal(part, accent) for part in parts)
    return ("version " if name else "") + words


def _sizes(match: re.Match[str], accent: Accent) -> str:
    by = " times " if "×" in match[0] else " by "
    return by.join(number(part, accent) for part in re.findall(N, match[0]))


def _code(match: re.Match[str], accent: Accent) -> str:
    """Letters and figures mixed: MP3, B52, iOS17."""
    words = []
    for part in re.findall(r"[A-Za-z]+|\d+", match[0]):
        if part.isdigit():
            words.append(number(part, accent) if len(part) <= 4 else digits(part))
        elif len(part) <= 3 and (part.isupper() or len(part) == 1 or not re.search("[aeiouy]", part.lower())):
            words.append(spelled(part))
        else:
            words.append(part)
    return " ".join(words)


MONTH_WORDS = (*MONTH_NAMES, *MONTHS, *(f"{month}." for month in MONTHS))

NUMBER_FORMS: tuple[Form, ...] = (
    form(r"(?<![\w-])(\d{4})-(\d\d)-(\d\d)(?![\w-])", lambda m, accent: _date(accent, int(m[2]), m[3], m[1])),
    form(r"(?<![\w/.-])(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d\d)(?![\w/-]|\.\d)", _slash_date),
    form(rf"{after_any_of(MONTH_WORDS)}(\d{{1,2}})(?:st|nd|rd|th)?(?![\w:%/]|[.,]\d)", _day_after_month),
    form(rf"{CLEAR}(\d{{1,2}})(?:st|nd|rd|th)?(?= (?:of )?(?:{any_of(MONTH_WORDS)})(?!\w))", _day_before_month),
    form(rf"{CLEAR}(?<!:)(\d{{1,2}}):(\d\d)(?::(\d\d))?(?:\s?{MERIDIEM})?(?![\w:])", _clock),
    form(rf"{CLEAR}(\d{{1,2}})\s?{MERIDIEM}", _hour),
    form(r"(?<=\d):(?=\d)", " to "),
    form(rf"(?<!\w)({MONEY})\s?({N})(?:\s?[-–]\s?(?:{MONEY})?({N}))?(?:\s?({SCALE})(?!\w))?", _money),
    form(rf"{CLEAR}({N})\s?({MONEY})(?![\w$£€])", _money_behind),
    form(r"(?<![\w.])\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,5}(?!\w)", _groups),
    form(r"(?<![\w.])(?:1[-. ])?(?:\(\d{3}\) ?|\d{3}[-.])\d{3}[-. ]\d{4}(?!\w)", _groups),
    form(r"(?<![\w.-])\d{3}-\d{4}(?![\w-])", _short_phone),
    form(r"(?<![\w.])\(?0\d{2,4}\)?[ -]\d{3,4}(?:[ -]?\d{3,4}){0,2}(?!\w)", _groups),
    form(r"(?<![\w-])\d+(?:-\d+){2,}(?![\w-])", _groups),
    form(rf"{after_any_of(BEFORE_FIGURES)}\d{{3,}}(?!\w|[.,]\d)", _groups),
    form(rf"{CLEAR}({N})\s?°\s?([CFK])?(?!\w)", _degrees),
    form(r"(?<![\w.])(\d)'\s?(\d{1,2})(\"|'')?(?!\w)", _feet_and_inches),
    form(
        rf"{CLEAR}({N})(\s?|-)({any_of(set(UNITS) - {'in'})}|in(?=\.)|(?<=\d)in)([²³23]|\^[23])?"
        rf"(?:/({any_of({*PER, *UNITS})}))?(?:\.(?=\s+[a-z]|,|\s*$)|\b)(?![\w'])",
        _measure,
    ),
    form(rf"(?<![\w/])(?:{any_of(LONE_UNITS)})(?![\w/])", _lone_unit),
    form(r"(?<=\d)/(?=(?:second|minute|hour|day|week|month|year|person|user|night|mile)s?\b)", " per "),
    form(r"(?<![\w/.,])(\d+)[ -](\d{1,2})/(\d{1,3})(?![\w/])", _mixed),
    form(rf"(?:{CLEAR}(\d+)\s?)?([½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])", _vulgar),
    form(r"(?<![\w/.,])(\d{1,2})/(\d{1,3})(?:st|nd|rd|ths?)?(?![\w/]|[.,]\d)", _fraction),
    form(r"(?<=\d)/(?=\d)", " out of "),
    form(rf"{CLEAR}({N})\s?%", lambda m, accent: decimal(m[1], accent) + " percent"),
    form(rf"{CLEAR}({N})(?:\s?([x×])\s?{N})+(?!\w)", _sizes),
    form(r"(?<!\w)'?(\d+)'?s(?!\w)", _decade),
    form(r"(?<!\w)(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)(?!\w)", lambda m, accent: ordinal(m[1], accent)),
    form(r"(?<![\w.])(v\.? ?)(\d+(?:\.\d+)*)(?!\w)", _version),
    form(r"(?<![\w.])()(\d+(?:\.\d+){2,})(?!\w)", _version),
    form(r"(?<![\w'])(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z\d]+(?![\w'])", _code),
    form(r"(?:(?<=[\d%°])|(?<=\d[ap]m))(?:[-–]| – )(?=[$£€]?\d)", " to "),
    form(r"(?<=\d) - (?=\d)", " minus "),
    form(r"(?<![\w)\]])-(?=[$£€]?\.?\d)|−", " minus "),
    form(r"(?<=[A-Za-z])-(?=\d)", " "),
    form(r"(?<=\d),(?=\d{1,2}(?!\d))", " comma "),
    form(rf"{CLEAR}{N}|\d+", lambda m, accent: number(m[0], accent)),
)
