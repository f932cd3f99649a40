"""Looking paths up takes bounded work, whatever templates and paths are."""

from itertools import product

import pytest

from imgateway.adapters.grpc.routing import PathTemplate
from imgateway.adapters.grpc.routing.trie import MAX_PATH_SEGMENTS, PathTrie, _Node


def trie_of(*texts: str) -> PathTrie[str]:
    """The templates by their own text."""
    trie: PathTrie[str] = PathTrie()
    for text in texts:
        assert trie.add(PathTemplate.parse(text), text) is None
    return trie


def test_a_literal_beats_one_segment_and_that_beats_the_rest_with_a_way_back() -> None:
    trie = trie_of("/a/b/c", "/a/*/d", "/*/b/e", "/a/**", "/**", "/a/{x}")
    assert trie.find("/a/b/c") == ("/a/b/c", ())
    assert trie.find("/a/b/d") == ("/a/*/d", ())
    assert trie.find("/a/b/e") == ("/a/**", ())
    assert trie.find("/x/b/e") == ("/*/b/e", ())
    assert trie.find("/a/b/f") == ("/a/**", ())
    assert trie.find("/a") == ("/a/**", ())
    assert trie.find("/a/b") == ("/a/{x}", ("b",))
    assert trie.find("/") == ("/**", ())


def test_templates_for_the_same_paths_are_found_out() -> None:
    trie = trie_of("/v1/{name=shelves/*}:go")
    assert trie.add(PathTemplate.parse("/v1/shelves/{id}:go"), "again") == "/v1/{name=shelves/*}:go"
    assert trie.add(PathTemplate.parse("/v1/shelves/{id}"), "no verb") is None
    assert trie.add(PathTemplate.parse("/v1/shelves/{id}:stop"), "other verb") is None
    assert trie.find("/v1/shelves/1:go") == ("/v1/{name=shelves/*}:go", ("shelves/1",))
    assert trie.find("/v1/shelves/1:gone") == ("no verb", ("1:gone",))


def test_the_work_is_bounded_by_the_templates_not_by_their_combinations(monkeypatch: pytest.MonkeyPatch) -> None:
    depth = 10
    texts = ["/" + "/".join(parts) + "/end" for parts in product("a*", repeat=depth)]
    trie = trie_of(*texts)
    visits = 0
    find = _Node.find

    def counting(self: _Node[str], names: list[str | None], at: int, verb: str) -> object:
        nonlocal visits
        visits += 1
        return find(self, names, at, verb)

    monkeypatch.setattr(_Node, "find", counting)
    assert trie.find("/a" * depth + "/other") is None
    assert visits <= 2 ** (depth + 1)  # one for each node of the trie, whose size is the operator's
    visits = 0
    assert trie.find("/a" * MAX_PATH_SEGMENTS) is None
    assert visits <= 2 ** (depth + 1)
    visits = 0
    assert trie.find("/a" * 10_000) is None
    assert visits == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must begin with '/'"),
        ("v1", "must begin with '/'"),
        ("/", "has an empty segment"),
        ("/v1/", "has an empty segment"),
        ("/v1//x", "has an empty segment"),
        ("/{a", "'{' without '}'"),
        ("/a}", "a character"),
        ("/{a}b", "right behind '}'"),
        ("/x{a}", "a character"),
        ("/{}", "proper field name"),
        ("/{=*}", "proper field name"),
        ("/{1a}", "proper field name"),
        ("/{a..b}", "proper field name"),
        ("/{a.}", "proper field name"),
        ("/{a=}", "has an empty segment"),
        ("/{a=/x}", "has an empty segment"),
        ("/{a=x/{b}}", "behind '}'"),
        ("/{a=x/{b/*}", "a character"),
        ("/{a=**}/x", "before its last segment"),
        ("/{a=**/x}", "before its last segment"),
        ("/***", "a character"),
        ("/a*", "a character"),
        ("/a:", "has an empty verb after ':'"),
        ("/a:*", "has a verb after ':' with a character that"),
        ("/{a}:x/y", "behind its verb"),
        ("/{a}:x:y", "behind its verb"),
        ("/:x", "has an empty segment"),
        ("/a?b", "a character"),
        ("/a#b", "a character"),
        ("/a b", "has a segment with a character that does not belong there"),
        ("/%", "has a segment that has a broken %-escape"),
        ("/%ff", "has a segment that is not UTF-8"),
        ("/{a}/{a}", "twice"),
        ("/a" * 65, "more than 64 segments"),
    ],
)
def test_templates_that_break_the_grammar(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace("*", r"\*").replace("{", r"\{")):
        PathTemplate.parse(text)
