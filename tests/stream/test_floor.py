"""Who has the floor: everybody agrees, whatever came first where."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sottovoce.stream.floor import LAPSE_S, RELEASED_S, Floor
from sottovoce.stream.room_messages import Press, Release

NAMES = ("anna", "bert", "carl")


def test_one_takes_it_and_gives_it_back() -> None:
    anna, bert = Floor("anna", lambda: 7), Floor("bert", lambda: 3)
    assert anna.holder(0) is None
    press = anna.press(0)
    assert press == Press(7)
    assert anna.has(0)
    bert.hear("anna", press, 0.1)
    assert bert.press(0.2) is None  # though its ticket would be smaller
    assert bert.holder(0.2) == "anna"
    release = anna.release()
    assert release == Release()
    assert anna.release() is None
    bert.hear("anna", release, 0.3)
    assert bert.press(0.4) == Press(3)


@given(st.lists(st.integers(0, 3), min_size=3, max_size=3), st.data())
def test_of_those_who_press_at_once_all_choose_the_same_whatever_comes_first(
    drawn: list[int], data: st.DataObject
) -> None:
    floors = {name: Floor(name, lambda ticket=ticket: ticket) for name, ticket in zip(NAMES, drawn, strict=True)}  # type: ignore[misc]
    presses = {name: floor.press(0) for name, floor in floors.items()}
    for name, floor in floors.items():
        others = [other for other in NAMES if other != name]
        for other in data.draw(st.sampled_from(list(permutations(others)))):
            press = presses[other]
            assert press is not None
            floor.hear(other, press, 1)
    wanted = min(NAMES, key=lambda name: (drawn[NAMES.index(name)], name))
    assert {floor.holder(2) for floor in floors.values()} == {wanted}


def test_who_was_not_heard_of_for_long_has_lost_it_and_who_talks_keeps_it() -> None:
    floor = Floor("anna")
    floor.hear("bert", Press(1), 0)
    assert floor.talks("bert", LAPSE_S - 1)
    assert floor.holder(LAPSE_S + 1) == "bert"
    assert floor.holder(2 * LAPSE_S) is None


def test_who_talks_though_nobody_pressed_has_it_for_those_who_came_later() -> None:
    floor = Floor("anna", lambda: 0)
    assert floor.talks("bert", 0)
    assert floor.press(1) is None
    assert not floor.talks("carl", 1)
    floor.hear("bert", Release(), 2)
    assert floor.talks("bert", 2.1)  # its last words
    assert floor.press(2.2) == Press(0)
    floor.release()
    assert floor.talks("bert", 2 + RELEASED_S)
    assert floor.press(2.1 + RELEASED_S) is None


def test_who_has_gone_has_nothing() -> None:
    floor = Floor("anna")
    floor.hear("bert", Press(1), 0)
    floor.gone("bert")
    floor.gone("nobody")
    assert floor.holder(0) is None


def test_who_comes_is_told_again() -> None:
    floor = Floor("anna", lambda: 5)
    assert floor.again() is None
    floor.press(0)
    assert floor.again() == Press(5)


@pytest.mark.parametrize("n", [1, 1000])
def test_tickets_are_drawn_from_all_that_fit(n: int) -> None:
    drawn = set()
    for _ in range(n):
        press = Floor("anna").press(0)
        assert press is not None
        drawn.add(press.ticket)
    assert all(0 <= ticket <= 0xFFFF for ticket in drawn)
    assert len(drawn) > 0.9 * n
