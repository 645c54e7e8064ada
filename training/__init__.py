"""From a folder of speech to weights, in the order one runs it.

``prepare`` judges and packs audio, ``codec`` trains mel to codes and back, ``vocoder`` sound from mel, ``chain`` both
together; ``evaluate`` measures, beside known codecs, ``room_evaluate`` calls in rooms (``room_talk``, ``room_sim``,
``room_scene``, over a ``link``). ``rvq_table`` compares the quantiser with a known one. Imports ``models``, and of
``stream`` what evaluation needs to send and lose packets as the product does.
"""
