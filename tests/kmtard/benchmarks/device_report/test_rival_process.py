"""A rival that cannot start says why."""

import dataclasses

import pytest

from kmtard.benchmarks.device_report.rival_process import Rival
from kmtard.benchmarks.device_report.scale import MINIATURE

pytestmark = pytest.mark.once("torch")


def test_last_words_of_its_process_are_shown():
    case = dataclasses.replace(MINIATURE.rivals[0], student="resnet1")
    with pytest.raises(RuntimeError, match=r"exit code 1\.(.|\n)*KeyError: 'resnet1'"):
        Rival(MINIATURE, case)
