"""The page of failure modes is complete, and made of tests that exist."""

import pytest

from coalmine.modes import MODES, modes_md, proofs

NUMBERS = [mode.number for modes in MODES.values() for mode in modes]


def test_the_modes_are_those_of_canaries_in_their_order():
    assert list(range(1, 44)) == NUMBERS


@pytest.mark.parametrize("number", range(1, 44))
def test_every_mode_has_a_test(number):
    assert [proof for proof in proofs() if proof.number == number]


def test_a_test_is_found_by_its_name_and_told_as_a_sentence(tmp_path):
    (tmp_path / "test_x.py").write_text("async def test_mode_07_a_full_disk_is_told():\n    ...\n")
    (proof,) = proofs(tmp_path)
    assert (proof.number, proof.sentence, proof.file) == (7, "A full disk is told", "test_x.py")


def test_a_mode_without_a_test_is_an_error(tmp_path):
    (tmp_path / "test_x.py").write_text("def test_mode_01_x():\n    ...\n")
    with pytest.raises(LookupError, match="test_mode_02"):
        modes_md(tmp_path)
    with pytest.raises(FileNotFoundError):
        proofs(tmp_path / "none")


def test_the_page_lists_every_mode_once_and_what_is_declared():
    page = modes_md()
    for number in NUMBERS:
        assert page.count(f"\n| {number} | ") == 1
    assert "| prometheus | duplicates |" in page
