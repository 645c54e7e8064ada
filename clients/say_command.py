"""The commands ``say`` and ``doctor`` on the command line."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from typing import Any

from sottovoce.stream.errors import UsageError, WeightsError

from .options import add_engine, engine_options, file_name, path

_HERE = {
    "seed": 0, "temperature": 0.8, "lexicon": None, "preset": "base", "backend": None, "vocoder": None, "weights": None,
    "threads": 1,
}  # fmt: skip
"""Options of the talker on this machine, as they are where nobody says anything."""


def add_say(commands: Any) -> None:
    """To the subparsers ``commands``."""
    say: ArgumentParser = commands.add_parser("say", help="speak a text, or what a language model writes")
    say.set_defaults(command=_say)
    say.add_argument("text", nargs="?", help="default, or -: standard input, spoken while it comes")
    say.add_argument("--voice", metavar="NAME", help="default: the first that there is")
    say.add_argument("--voices", action="store_true", help="list the voices and end")
    say.add_argument("--speed", type=float, default=1.0, metavar="X", help="times the pace")
    say.add_argument("--seed", type=int, default=0, metavar="N", help="the same one says the same text the same way")
    say.add_argument("--temperature", type=float, default=0.8, metavar="T",
                     help="0: the likeliest sound; default %(default)s")  # fmt: skip
    say.add_argument(
        "--output", type=file_name, metavar="FILE", help="sound file, or - for a pipe; default: the speaker"
    )
    say.add_argument("--play", action="store_true", help="to the speaker as well as into a file")
    say.add_argument("--output-device", metavar="NAME", help="speaker: number or part of its name")
    say.add_argument("--words", action="store_true", help="print when each word is spoken, in seconds")
    say.add_argument("--lexicon", type=path, metavar="FILE", help="words that are pronounced otherwise")
    say.add_argument("--books", type=int, metavar="N", help="codebooks to decode; default: all")
    say.add_argument("--chat", metavar="URL", help="ask a language model there, as http://localhost:11434/v1, and speak "
                     "its answer; its key is SOTTOVOCE_CHAT_KEY of the environment")  # fmt: skip
    say.add_argument("--model", default="default", metavar="NAME", help="of the language model")
    say.add_argument("--system", metavar="TEXT", help="what the language model is told to be like")
    say.add_argument("--server", metavar="URL", help="let a server speak, as ws://127.0.0.1:8765")
    say.add_argument("--token", help="of the server; default: SOTTOVOCE_TOKEN of the environment")
    add_engine(say)


def add_doctor(commands: Any) -> None:
    """To the subparsers ``commands``."""
    doctor = commands.add_parser("doctor", help="what is wrong with weight files")
    doctor.set_defaults(command=_doctor)
    doctor.add_argument("weights", nargs="?", type=path, metavar="DIR", help="folder; default: our own")


def _say(arguments: Namespace) -> None:
    if arguments.server is not None:
        return _say_remote(arguments)
    try:
        import onnxruntime  # noqa: F401  # words need it, whatever runs the models

        from .say import SayOptions, print_voices, say_text
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        raise UsageError(f"{package} must be installed to speak: pip install 'sottovoce[engine,talk]'") from error
    except ImportError as error:
        raise WeightsError(f"what runs the models is installed but does not load: {error}") from error
    from sottovoce.stream.talk_work import Manner

    engine = engine_options(arguments)
    if arguments.voices:
        return print_voices(engine)
    say_text(
        SayOptions(
            engine=engine,
            text=arguments.text,
            manner=Manner(speed=arguments.speed, temperature=arguments.temperature, seed=arguments.seed),
            voice=arguments.voice,
            output=arguments.output,
            play=arguments.play,
            output_device=arguments.output_device,
            words=arguments.words,
            lexicon=arguments.lexicon,
            books=arguments.books,
            chat=arguments.chat,
            model=arguments.model,
            system=arguments.system,
        )
    )


def _say_remote(arguments: Namespace) -> None:
    from . import say_remote as remote

    for name, default in _HERE.items():
        if getattr(arguments, name) != default:
            raise UsageError(f"--{name} is for a talker on this machine, not for --server")
    token = arguments.token or os.environ.get("SOTTOVOCE_TOKEN") or None
    if arguments.voices:
        return remote.print_voices(arguments.server, token)
    remote.say_remote(
        remote.RemoteSay(
            server=arguments.server,
            token=token,
            text=arguments.text,
            voice=arguments.voice,
            speed=arguments.speed,
            output=arguments.output,
            play=arguments.play,
            output_device=arguments.output_device,
            words=arguments.words,
            books=arguments.books,
            chat=arguments.chat,
            model=arguments.model,
            system=arguments.system,
        )
    )


def _doctor(arguments: Namespace) -> None:
    from .doctor import examine

    examine(arguments.weights)
