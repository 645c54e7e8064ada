"""From sound to packets and back, in real time. The files in the order that a frame meets them:

``pipeline`` joins the ``stages`` by a ``channel`` each. A block of sound is cut into ``frames``, has its turn
at the ``engine`` through the ``loop`` that owns it (``onnx_engine`` and ``torch_engine`` are made of models), leaves by
the ``packer`` as a ``packet``, crosses a wire with ``loss`` or lies in a ``codefile``, is received by
``conceal``, has its turn again, and goes to the sink, cut back in line by ``align``. ``pacing`` lets files
speak at the rate of speech.

A client elsewhere talks to the same chain over a WebSocket. ``server`` has the addresses (``hosting`` puts them
on a port, ``guard`` says who may come in); each connection is a ``call``: the socket, the rules in ``protocol``
with their ``outbox`` and ``session_events``, and one of the ``modes`` between ``incoming`` and ``outgoing``. Its
bytes are in ``wire``, its words in ``messages`` (``client_messages``, ``server_messages``, read by ``schema``);
``meter``, ``metrics`` and ``telling`` tell how it went, ``continuity`` and ``first_audio`` whether it came in time.

A text takes another way: it is cut into ``clauses``, read by ``reader``, and spoken by ``talk`` on a ``talk_engine``
(what it takes is in ``talk_work``), no further ahead than ``lead`` allows; ``speech`` joins these. ``thinker`` lets a
language model write it, and ``checkup`` looks at weights.

Beside the way stand ``descriptor`` (what a stream is), ``generation`` (what is still wanted), ``statistics``
(what was seen), ``clock`` and ``errors``. The bytes are in PROTOCOL.md.
"""
