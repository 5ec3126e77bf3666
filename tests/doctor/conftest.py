from datetime import datetime

import pytest

from tests.doctor.reports import STAMP
from tests.support import stop_clock


@pytest.fixture(autouse=True)
def _fixed_clock(monkeypatch):
    stop_clock(monkeypatch, datetime.fromisoformat(STAMP))
