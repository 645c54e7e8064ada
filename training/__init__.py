"""From a folder of speech to weights, in the order one runs it.

``data`` packs audio, ``codec`` trains mel to codes and back, ``vocoder`` trains sound from mel, ``evaluate`` measures,
``rvq_table`` compares the quantiser with a known one. Imports ``models`` only.
"""
