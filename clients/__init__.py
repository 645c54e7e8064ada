"""People's end: the program, sound files, devices and the terminal. Never imports torch. The life of a frame here:

``soundcard`` fills a ``ring``, ``microphone`` empties it (or ``audio_in`` reads a file: ``mixdown``, ``resample``,
``wav``); then `sottovoce.stream` has it; then ``speaker`` fills the other ring (or ``audio_out`` writes a file).
``ends`` opens the two, ``loopback`` puts the pipeline between them, and ``codec_files`` a ``.sv`` file.

``cli`` reads the command line and calls ``loopback``, ``codec_files``, ``devices``, ``info`` or ``bench``; ``engines``
chooses the models. ``live`` shows the ``instrument`` and reads the ``keys``; ``delay`` tells how late a listener
hears; ``report``, ``quality`` and ``picture`` tell it afterwards. ``sound_files``, ``pipes`` and ``atomic`` are what
files need: progress, waiting, and being there whole or not at all. ``quiet`` keeps sound libraries from chattering.
"""
