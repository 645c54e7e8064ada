"""People's end: the program, sound files, devices and the terminal. Never imports torch. The life of a frame here:

``soundcard`` fills a ``ring``, ``microphone`` empties it (or ``audio_in`` reads a file: ``mixdown``, ``resample``,
``wav``); then `sottovoce.stream` has it; then ``speaker`` fills the other ring (or ``audio_out`` writes a file).
``ends`` opens the two, ``loopback`` puts the pipeline between them, and ``codec_files`` a ``.sv`` file.

``cli`` reads the command line, hears of ``interrupts``, and calls ``loopback``, ``codec_files``, ``devices``, ``info`` or
``bench``; ``engines`` chooses the models. ``live`` shows the ``instrument`` and reads the ``keys``; ``delay`` tells how
late a listener hears, ``drift`` how far the clocks of the devices are off; ``report``, ``quality`` and ``picture`` tell it
afterwards. ``sound_files``, ``pipes``, ``atomic`` and ``cut_off`` are what files need: progress, waiting for who is slow,
being there whole or not at all, and noticing those that are not. ``quiet`` keeps sound libraries from chattering.
"""
