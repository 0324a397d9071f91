"""Nearly valid payloads, for property tests: what agents get wrong, and what Python makes odd."""

from hypothesis import strategies as st

from tracer.events import KINDS
from tracer.fields import Amount, Choice, Count, Json, Text, Timestamp

ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=30) | st.sampled_from(
    [
        "\ud83d",
        "a\x00b",
        "😀" * 9,
        "\udc00\ud800",
        "nan",
        "Infinity",
        "1e400",
        "",
        "null",
        "x" * 9000,
    ]
)
ODD = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | ANY_TEXT
)
ANY_JSON = st.recursive(
    ODD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3)
)
DEEP = st.integers(1, 200).map(lambda n: eval("[" * n + "]" * n))
METADATA = st.dictionaries(ANY_TEXT, ANY_JSON | DEEP, max_size=3)


def _good(field):
    if isinstance(field, Choice):
        return st.sampled_from(field.words)
    if isinstance(field, Count):
        return st.integers(0, 10**12) | st.integers(0, 10**12).map(str)
    if isinstance(field, Amount):
        return st.floats(0, 1e12) | st.integers(0, 10**12)
    if isinstance(field, Timestamp):
        return st.integers(0, 2 * 10**12)
    if isinstance(field, Json):
        return METADATA
    assert isinstance(field, Text)
    return ANY_TEXT


def payloads(kind):
    """Mostly good values under the right names, some odd ones, some names nobody knows."""
    required = {f.wire_name: _good(f) | ODD for f in kind.wire_fields() if f.required}
    optional = {f.wire_name: _good(f) | ANY_JSON for f in kind.wire_fields() if not f.required}
    aliases = {alias: ODD for f in kind.wire_fields() for alias in f.aliases}
    unknown = {"foo": ANY_JSON, "event.foo": ODD, "truncated": ODD, "received_at": ODD, "id": ODD}
    return st.fixed_dictionaries(required, optional=optional | aliases | unknown)


KIND_AND_PAYLOAD = st.sampled_from([kind for kind in KINDS if kind.route is not None]).flatmap(
    lambda kind: st.tuples(st.just(kind), payloads(kind))
)
