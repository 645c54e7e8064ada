"""Short forms that end in a full stop, and how they are read. The splitter needs them to know that a stop does not end a
sentence, the normaliser to say them in full.
"""

from __future__ import annotations

TITLES = {  # before a name
    "Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Mx": "Mix", "Dr": "Doctor", "Prof": "Professor", "St": "Saint",
    "Mt": "Mount", "Ft": "Fort", "Gen": "General", "Gov": "Governor", "Sen": "Senator", "Rep": "Representative",
    "Capt": "Captain", "Lt": "Lieutenant", "Col": "Colonel", "Sgt": "Sergeant",
    "Cmdr": "Commander", "Rev": "Reverend", "Hon": "Honorable",
    "Pres": "President", "Supt": "Superintendent", "Cpl": "Corporal", "Maj": "Major", "Adm": "Admiral", "Fr": "Father",
    "Messrs": "Messers", "Sr": "Senior", "Jr": "Junior",
}  # fmt: skip

AFTER_A_NAME = {  # of a street, a person or a firm
    "St": "Street", "Dr": "Drive", "Ave": "Avenue", "Blvd": "Boulevard", "Rd": "Road", "Ln": "Lane", "Hwy": "Highway",
    "Pkwy": "Parkway", "Sq": "Square", "Ct": "Court", "Jr": "Junior", "Sr": "Senior", "Esq": "Esquire", "Inc": "Incorporated",
    "Ltd": "Limited", "Corp": "Corporation", "Co": "Company", "Bros": "Brothers", "Dept": "Department", "Univ": "University",
    "Assn": "Association", "Mt": "Mount",
}  # fmt: skip

BEFORE_A_NUMBER = {
    "No": "number", "no": "number", "Nos": "numbers", "nos": "numbers", "p": "page", "pp": "pages", "vol": "volume",
    "Vol": "Volume", "fig": "figure", "Fig": "Figure", "figs": "figures", "Figs": "Figures", "ch": "chapter", "Ch": "Chapter",
    "sec": "section", "Sec": "Section", "art": "article", "Art": "Article", "eq": "equation", "Eq": "Equation",
    "Apt": "Apartment", "apt": "apartment", "Ste": "Suite", "Bldg": "Building", "ext": "extension", "Ext": "Extension",
    "ca": "circa", "c": "circa",
}  # fmt: skip

MONTHS = {
    "Jan": "January", "Feb": "February", "Mar": "March", "Apr": "April", "Jun": "June", "Jul": "July", "Aug": "August",
    "Sep": "September", "Sept": "September", "Oct": "October", "Nov": "November", "Dec": "December",
}  # fmt: skip

DAYS = {
    "Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday", "Thu": "Thursday", "Thur": "Thursday",
    "Thurs": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday",
}  # fmt: skip

ANYWHERE = {
    "e.g": "for example", "i.e": "that is", "etc": "etc", "vs": "versus", "cf": "compare", "viz": "namely",
    "approx": "approximately", "incl": "including", "excl": "excluding", "dept": "department", "govt": "government",
    "Govt": "Government", "a.k.a": "also known as", "w.r.t": "with respect to",
}  # fmt: skip

NEVER_LAST = frozenset(TITLES) - {"St", "Jr", "Sr", "Col", "Hon"} | {
    "e.g", "i.e", "vs", "cf", "viz", "approx", "a.k.a", "w.r.t"
}  # fmt: skip
"After these a stop never ends a sentence."

PERHAPS_LAST = frozenset({*AFTER_A_NAME, *ANYWHERE, *DAYS, *MONTHS, *TITLES}) - NEVER_LAST
"After these a stop ends a sentence if what follows begins like one."

OPENERS = {
    "A", "After", "All", "Also", "Although", "An", "And", "Another", "Any", "Are", "As", "At", "Because", "Before",
    "Both", "But", "By", "Can", "Did", "Do", "Does", "Each", "Even", "Every", "For", "From", "He", "Hello", "Her", "Here",
    "His", "How", "However", "I", "If", "In", "Instead", "Is", "It", "Its", "Just", "Let", "Many", "Maybe", "Meanwhile",
    "Most", "My", "Next", "No", "Nobody", "Nothing", "Now", "On", "Once", "One", "Only", "Or", "Our", "Perhaps", "Please",
    "She", "Since", "So", "Some", "Somebody", "Someone", "Soon", "Still", "Such", "Thanks", "That", "The", "Their",
    "Then", "There", "Therefore", "These", "They", "This", "Those", "Though", "Thus", "To", "Today", "Together",
    "Tomorrow", "Two", "Until", "We", "Well", "Were", "What", "When", "Where", "While", "Who", "Why", "With", "Yes",
    "Yesterday", "Yet", "You", "Your",
}  # fmt: skip
"Words that begin a sentence far more often than they follow an abbreviation inside one."
