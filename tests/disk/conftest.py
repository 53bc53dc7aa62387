"""What tests of rot begin with."""

import pytest

from tests.disk.rot import Base, make_base, prepare


@pytest.fixture(scope="package")
def base() -> Base:
    return prepare(make_base(1))
