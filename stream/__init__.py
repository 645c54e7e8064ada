"""From sound to packets and back, in real time. The files in the order that a frame meets them:

``pipeline`` joins the ``stages`` by a ``channel`` where one side may have to wait for the other. A block of sound
is cut into ``frames``, has its turn at the ``engine`` through the ``loop`` that owns it (``onnx_engine`` and
``torch_engine`` are made of models), leaves by the ``packer`` as a ``packet``, crosses a wire with ``loss`` or lies
in a ``codefile``, is received by ``conceal``, has its turn again, and goes to the sink, cut back in line by
``align``. ``pacing`` lets files speak at the rate of speech.

A client elsewhere talks to the same chain over a WebSocket. ``server`` has the addresses (``hosting`` puts them
on a port, ``guard`` says who may come in); each connection is a ``call``: the socket, the rules in ``protocol``
with their ``outbox`` and ``session_events``, and one of the ``modes`` between ``incoming`` and ``outgoing``. Its
bytes are in ``wire``, its words in ``messages`` (``client_messages``, ``server_messages``, read by ``schema``);
``meter``, ``metrics`` and ``telling`` tell how it went, ``continuity`` and ``first_audio`` whether it came in time.

A text takes another way: it is cut into ``clauses``, read by ``reader``, and spoken by ``talk`` on a ``talk_engine``
(what it takes is in ``talk_work``), no further ahead than ``lead`` allows; ``speech`` joins these. ``thinker`` lets a
language model write it, and ``checkup`` looks at weights.

In a room many talk over codes alone. A ``peer`` says through ``room_sender`` what ``voice_activity`` lets pass, cut
as ``profiles`` and ``adaptation`` have it, and hears each other one (``remote_peer``) through a ``room_receiver``:
a ``jitter`` buffer on a ``timeline`` with a ``playout_delay``, ``peer_drift``, ``comfort_sound`` for the pauses.
``room_messages`` are what they tell each other, ``floor`` says who may speak, ``room_key`` seals it all (``replay``
keeps what comes twice out). ``room_link`` and its ``room_outbox`` hold a line up over a carrier of
``room_transport``: ``mqtt_room``, or ``ws_room`` to the relay of a server (``room_mode``, ``rooms``,
``room_relay``). A ``bridge`` joins two rooms; ``budget`` counts the bytes.

Many machines are one server in ``cluster``, of ``replica``s. ``law`` and ``clicks`` verify an engine,
``onnx_files`` gives its models away.

Beside the way stand ``descriptor`` (what a stream is), ``generation`` (what is still wanted), ``statistics``
(what was seen), ``clock`` and ``errors``. The bytes are in PROTOCOL.md.
"""
