from dataclasses import dataclass

import pytest

pytest.register_assert_rewrite("tests.proof.machine")


@dataclass(frozen=True)
class Proof:
    long: bool
    seed: int

    def pick(self, *, quick, long):
        return long if self.long else quick


@pytest.fixture
def proof(request):
    option = request.config.getoption
    return Proof(option("--proof") == "long", option("--proof-seed"))
