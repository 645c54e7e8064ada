"""What a talker is measured on: sixty texts. Forty-two Harvard sentences (IEEE Recommended Practice for Speech Quality
Measurements, 1969, phonetically balanced), and eighteen that are hard: numbers, names, abbreviations, tongue twisters, one
word, 300 words.

``text`` is what is given to the talker, ``said`` what a listener should hear, where that is written otherwise.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prompt:
    """One text."""

    kind: str
    text: str
    said: str = ""

    @property
    def words(self) -> str:
        """What is compared with what was recognised."""
        return self.said or self.text


HARVARD = """
The birch canoe slid on the smooth planks.
Glue the sheet to the dark blue background.
It's easy to tell the depth of a well.
These days a chicken leg is a rare dish.
Rice is often served in round bowls.
The juice of lemons makes fine punch.
The box was thrown beside the parked truck.
The hogs were fed chopped corn and garbage.
Four hours of steady work faced us.
A large size in stockings is hard to sell.
The boy was there when the sun rose.
A rod is used to catch pink salmon.
The source of the huge river is the clear spring.
Kick the ball straight and follow through.
Help the woman get back to her feet.
A pot of tea helps to pass the evening.
Smoky fires lack flame and heat.
The soft cushion broke the man's fall.
The salt breeze came across from the sea.
The girl at the booth sold fifty bonds.
The small pup gnawed a hole in the sock.
The fish twisted and turned on the bent hook.
Press the pants and sew a button on the vest.
The swan dive was far short of perfect.
The beauty of the view stunned the young boy.
Two blue fish swam in the tank.
Her purse was full of useless trash.
The colt reared and threw the tall rider.
It snowed, rained, and hailed the same morning.
Read verse out loud for pleasure.
Hoist the load to your left shoulder.
Take the winding path to reach the lake.
Note closely the size of the gas tank.
Wipe the grease off his dirty face.
Mend the coat before you go out.
The wrist was badly strained and hung limp.
The stray cat gave birth to kittens.
The young girl gave no clear response.
The meal was cooked before the bell rang.
What joy there is in living.
A king ruled the state in the early days.
The ship was torn apart on the sharp reef.
"""

LONG = """
The lighthouse at the end of the bay had not been lit for thirty years when Anna came to look after it. She brought
two boxes of books, a kettle, and a grey cat that had never seen the sea. On the first morning the fog was so thick
that she could not find the steps to the beach, and she sat by the window with her hands around a cup of tea,
listening to the bells of the fishing boats. By noon the sun had burned a hole in the clouds. The water turned from
lead to silver, and then to a green that she had no word for.

In the afternoon a man from the village walked up the hill with a basket of bread and eggs. His name was Thomas, and
he had built the last wooden boat on this coast. He asked whether she was afraid of the winter. She said that she had
lived in a city for twenty years and had been afraid of almost everything there, but never of the weather. He laughed
at that, and showed her how the old lamp was turned by a weight on a chain, like a clock. Together they cleaned the
glass until it was dark.

When evening came they tried the lamp for the first time. It creaked, stopped, and began to move. A slow white beam
went out over the rocks, over the empty harbour, and far across the water to where the ships pass in the night. Nobody
had asked them to do it, and nobody would pay them for the oil. But before an hour had gone by, a horn answered from
somewhere in the dark: one long note, and then a short one. Thomas took off his hat. Anna opened the window, and
although she knew that no one could hear her, she said good night.
"""

DIFFICULT = (
    Prompt("number", "There are 1,284,907 people in the city, 37% of them under 30."),
    Prompt("number", "The flight took 11.5 hours and covered 9,600 kilometres."),
    Prompt("date", "She was born on March 3, 1987, and moved here in 2004."),
    Prompt("time", "The meeting is at 7:45 in the morning, not at 8:15."),
    Prompt("money", "That comes to $42.50, or £33 if you pay today."),
    Prompt("name", "Professor Elizabeth Thompson met Michael O'Connor in Edinburgh."),
    Prompt("name", "Yesterday Priya and Alexander flew from Chicago to Stockholm."),
    Prompt("abbreviation", "Dr. Miller lives on Park St. near the U.S. embassy.",
           "Doctor Miller lives on Park Street near the U.S. embassy."),
    Prompt("abbreviation", "NASA and the FBI asked for a PDF, not a CD."),
    Prompt("twister", "She sells sea shells by the sea shore."),
    Prompt("twister", "Peter Piper picked a peck of pickled peppers."),
    Prompt("twister", "The sixth sick sheep sleeps in the thick thistle sticks."),
    Prompt("question", "Would you rather have coffee, tea, or just a glass of water?"),
    Prompt("exclamation", "Watch out! The bridge is broken!"),
    Prompt("dialogue", "“Where have you been?” she asked. “Nowhere special,” he said."),
    Prompt("word", "Yes."),
    Prompt("word", "Tomorrow."),
    Prompt("long", " ".join(LONG.split())),
)  # fmt: skip

PROMPTS: tuple[Prompt, ...] = (*(Prompt("harvard", line) for line in HARVARD.strip().splitlines()), *DIFFICULT)
