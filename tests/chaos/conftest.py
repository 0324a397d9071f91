"""Faults that take minutes: `make chaos`, not part of `make test`."""

import json
import sys

import pytest


@pytest.fixture
def report(request):
    """Prints one JSON line with what was measured, under the name of the test."""

    def show(**figures):
        name = request.node.name.removeprefix("test_")
        sys.stdout.write("\n" + json.dumps({"fault": name, **figures}) + "\n")

    return show
