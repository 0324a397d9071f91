import re

from tests import docs, report


def test_the_tables_of_the_readme_are_those_of_the_code():
    """Otherwise: `make docs`."""
    text = docs.README.read_text()
    assert docs.with_tables(text) == text
    assert docs.ENV_EXAMPLE.read_text() == docs.env_example()


def test_the_report_of_the_readme_has_what_reports_have():
    """Otherwise: `make report`."""
    shown = report.PATTERN.search(report.README.read_text())[0]
    for words in ("Models", "Days", "Dearest sessions", "Errors", "Host and gateway", "restarts"):
        assert words in shown


def test_no_path_of_a_developers_machine_is_in_the_documentation():
    for path in [docs.README, *docs.PROJECT.glob("config/*"), *docs.PROJECT.glob("*.md")]:
        if path.is_file():
            assert not re.search(r"/(root|work|farm)/", path.read_text()), path
