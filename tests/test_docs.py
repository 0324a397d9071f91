import re

from tests import docs


def test_the_tables_of_the_readme_are_those_of_the_code():
    """Otherwise: `make docs`."""
    text = docs.README.read_text()
    assert docs.with_tables(text) == text
    assert docs.ENV_EXAMPLE.read_text() == docs.env_example()


def test_no_path_of_a_developers_machine_is_in_the_documentation():
    for path in [docs.README, *docs.PROJECT.glob("config/*"), *docs.PROJECT.glob("*.md")]:
        if path.is_file():
            assert not re.search(r"/(root|work|farm)/", path.read_text()), path
