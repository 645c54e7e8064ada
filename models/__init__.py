"""Pure tensors: the codec, its vocoder and the talker as streaming modules. No asyncio, no devices, nothing of ours above it.

Shapes in every docstring: B batch rows, T time (samples at ``rate_hz``, or frames where said), C channels, M mel bands,
D width of a latent, Q codebooks, V codes of a book, P symbols of a clause, S slots (mel frames) of a code frame. Audio is
float32 in [-1, 1], mel is natural-log magnitude.
"""
