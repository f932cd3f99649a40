"""Path templates against regular expressions, and what is encoded against what is decoded."""

import re
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imgateway.adapters.grpc.routing import PathTemplate, Variable, Wildcard
from imgateway.adapters.grpc.routing.percent import decoded, decoded_but_slashes, decoded_parameter, encoded
from imgateway.adapters.grpc.routing.trie import PathTrie

PATHS = st.lists(
    st.sampled_from(["a", "b", "c", "%61", "a:x", "b:y", ":x", "", "a:b:x", "%C3%A9", "a%20b", "a:z"]), max_size=5
).map(lambda segments: "/" + "/".join(segments))


@st.composite
def templates(draw: st.DrawFn) -> PathTemplate:
    """Any template over a few literals, with any parts of it in variables."""
    one = st.sampled_from(["a", "b", "a:x", "é", "a b"]) | st.just(Wildcard.ONE)
    segments: list[str | Wildcard] = draw(st.lists(one, max_size=4))
    if not segments or draw(st.booleans()):
        segments.append(Wildcard.REST)
    variables: list[Variable] = []
    start = 0
    while start < len(segments):
        pattern = tuple(segments[start : start + draw(st.integers(1, 2))])
        if draw(st.booleans()):
            end = None if pattern[-1] is Wildcard.REST else start + len(pattern)
            name = f"v{len(variables)}"
            variables.append(Variable(("outer", name) if end else (name,), start, end, pattern))
        start += len(pattern)
    return PathTemplate(tuple(segments), tuple(variables), draw(st.sampled_from(["", "", "x", "y"])))


def expression(template: PathTemplate) -> re.Pattern[str]:
    """What the template means without its verb, a group for each segment."""
    pieces = {Wildcard.ONE: "/([^/]+)", Wildcard.REST: "(?:/(.*))?"}
    return re.compile(
        "".join(pieces[s] if isinstance(s, Wildcard) else f"/({re.escape(s)})" for s in template.segments)
    )


def preference(template: PathTemplate) -> tuple[int, ...]:
    """Lower is better among templates that fit the same path: literal, `*`, the end, `**`."""
    ranks = [{Wildcard.ONE: 1, Wildcard.REST: 3}.get(s, 0) if isinstance(s, Wildcard) else 0 for s in template.segments]
    return (*ranks, 2)


def expected(among: list[PathTemplate], path: str) -> tuple[PathTemplate, list[str]] | None:
    """The best template for a path by regular expressions, and the decoded captures."""
    bare, colon, verb = path.rpartition(":")
    attempts = [(unquote(bare), verb)] if colon and "/" not in verb and verb else []
    for text, wanted in (*attempts, (unquote(path), "")):
        fitting = [t for t in among if t.verb == wanted and expression(t).fullmatch(text)]
        if fitting:
            best = min(fitting, key=preference)
            match = expression(best).fullmatch(text)
            assert match is not None
            groups = match.groups()
            captures = ["/".join(g for g in groups[v.start : v.end] if g is not None) for v in best.variables]
            return best, captures
    return None


@given(templates())
def test_a_template_written_out_reads_as_itself(template: PathTemplate) -> None:
    assert PathTemplate.parse(str(template)) == template


@given(templates(), st.lists(st.sampled_from(["a", "api", "v 1"]), max_size=2))
def test_a_prefix_goes_in_front_once(template: PathTemplate, prefix: list[str]) -> None:
    once = template.under(prefix)
    assert once.under(prefix) == once
    assert once.segments[: len(prefix)] == tuple(prefix)
    assert PathTemplate.parse(str(once)) == once


@given(st.text(alphabet="/{}=*:.ab%2", max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        template = PathTemplate.parse(text)
    except ValueError:
        return
    assert PathTemplate.parse(str(template)) == template


@given(st.lists(templates(), max_size=8), st.lists(PATHS, min_size=1, max_size=10))
@example([PathTemplate(("a", Wildcard.ONE, "b")), PathTemplate((Wildcard.ONE, "c", "c"))], ["/a/c/c", "/a/c/b"])
def test_the_trie_finds_what_regular_expressions_find(offered: list[PathTemplate], paths: list[str]) -> None:
    trie: PathTrie[PathTemplate] = PathTrie()
    kept = [template for template in offered if trie.add(template, template) is None]
    assert len({(t.segments, t.verb) for t in kept}) == len(kept) == len({(t.segments, t.verb) for t in offered})
    for path in paths:
        found = trie.find(path)
        decoded_found = None if found is None else (found[0], [decoded(text) for text in found[1]])
        assert decoded_found == expected(kept, path)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_decoding_undoes_encoding(text: str) -> None:
    assert decoded(quote(text, safe="")) == text
    assert decoded_parameter(quote(text, safe="").replace("%20", "+")) == text
    assert decoded_but_slashes(quote(text, safe="")) == text.replace("/", "%2F")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1))
def test_literals_survive_being_written(text: str) -> None:
    assert PathTemplate.parse(f"/{quote(text, safe='')}").segments == (text,)
    assert "/" not in encoded(text)
    assert PathTemplate.parse(str(PathTemplate((text, "end")))).segments == (text, "end")


@given(st.binary())
def test_bytes_decode_as_utf_8_or_not_at_all(raw: bytes) -> None:
    escaped = "".join(f"%{byte:02x}" for byte in raw)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        with pytest.raises(ValueError, match="is not UTF-8"):
            decoded(escaped)
        with pytest.raises(ValueError, match="is not UTF-8"):
            decoded(raw.decode("latin-1").replace("%", "%25"))
    else:
        assert decoded(escaped) == text


@pytest.mark.parametrize("text", ["%", "a%", "%2", "%G0", "%%20", "%u0041", "%0x", "% 1", "%-1", "%²0"])
def test_broken_escapes_are_refused(text: str) -> None:
    for decode in (decoded, decoded_but_slashes, decoded_parameter):
        with pytest.raises(ValueError, match=r"%-escape|percent-encoded"):
            decode(text)
