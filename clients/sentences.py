"""What listeners of `load_speak` have spoken to them: plain sentences of two to six seconds."""

SENTENCES = (
    "The ferry leaves at seven, and the tide will not wait for us.",
    "She folded the letter twice and put it under the clock.",
    "Did anybody remember to feed the cat this morning?",
    "A warm wind came over the hill and dried the washing in an hour.",
    "He counted the steps to the lighthouse, all two hundred and twelve of them.",
    "Turn left at the bakery, then keep the river on your right.",
    "The piano was older than the house, and harder to move.",
    "Nobody spoke until the last train had gone.",
    "Please put the heavy boxes near the door, and the light ones upstairs.",
    "Three small boats were painted green, and one was not painted at all.",
    "If the soup is too thin, add a handful of rice and wait.",
    "Her answer was short, polite, and entirely wrong.",
    "The radio said rain, but the old man looked up and laughed.",
    "We planted an apple tree on the day that you were born.",
    "Every window on the north side was broken in the storm.",
    "The teacher drew a circle, and asked us where it began.",
)
