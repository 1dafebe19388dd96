"""The marker that ties a test to the rules of the call contract."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "rule(*ids): the rules of the call contract that are tested")
