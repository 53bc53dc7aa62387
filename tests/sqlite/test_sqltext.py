"""The tokenizer agrees with SQLite: on where statements end, on what is a name, and on what is only text."""

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog._sqlite.sqltext import (
    Kind,
    excerpt,
    first_keyword,
    fold,
    has_words,
    quote,
    reserved_name,
    source,
    statements,
    tokens,
    why_impure,
)

PIECES = (
    "CREATE", "TEMP", "TRIGGER", "TABLE", "EXPLAIN", "END", "BEGIN", "SELECT", "x", ";", ";", " ", "\n", "1", "'a;b'",
    '"c;d"', "`e;`", "[f;g]", "-- h;\n", "/* i; */", "(", ")", "->>", "'it''s'", "x'00'", "é",
)  # fmt: skip

scripts = st.lists(st.sampled_from(PIECES), max_size=25).map(" ".join)


def split(script: str) -> list[str]:
    return [source(script, statement) for statement in statements(script)]


@given(st.text())
def test_tokens_cover_any_text_in_order_and_keep_its_characters(sql: str) -> None:
    end = 0
    for token in tokens(sql):
        assert token.start >= end
        assert sql[token.start : token.end] == token.text
        end = token.end


@given(scripts)
def test_every_statement_but_the_last_is_complete_to_sqlite_and_no_shorter_piece_is(script: str) -> None:
    found = statements(script)

    for statement in found[:-1]:
        text = source(script, statement)
        assert apsw.complete(text + ";")
        for at, token in enumerate(statement):
            if token.text == ";":
                assert not apsw.complete(source(script, statement[: at + 1]))


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_a_quoted_name_is_one_token_and_names_what_was_quoted(name: str) -> None:
    [token] = tokens(quote(name))

    assert token.kind is Kind.QUOTED
    assert token.name == name
    assert apsw.Connection(":memory:").execute(f"SELECT 1 AS {quote(name)}").get == 1


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("a$1", Kind.WORD), ("größe", Kind.WORD), ('"a"', Kind.QUOTED), ("[a b]", Kind.QUOTED), ("`a`", Kind.QUOTED),
        ("'a'", Kind.STRING), ("X'00ff'", Kind.BLOB), ("1", Kind.NUMBER), ("1.5e-3", Kind.NUMBER), (".5", Kind.NUMBER),
        ("0xFF", Kind.NUMBER), ("1_000", Kind.NUMBER), ("?12", Kind.VARIABLE), (":n", Kind.VARIABLE), ("@n", Kind.VARIABLE),
        ("||", Kind.OPERATOR), ("->>", Kind.OPERATOR), ("<>", Kind.OPERATOR), ("(", Kind.OPERATOR),
        ("'open", Kind.OPERATOR),
    ],
)  # fmt: skip
def test_each_kind_of_token_is_told(sql: str, kind: Kind) -> None:
    assert next(iter(tokens(sql))).kind is kind


def test_comments_are_not_tokens_even_between_a_function_and_its_parenthesis() -> None:
    assert [token.text for token in tokens("random /* x */ -- y\n ( ) /* open")] == ["random", "(", ")"]


def test_names_are_unquoted_and_a_quoted_keyword_is_no_keyword() -> None:
    found = list(tokens('a "b""c" [d"e] `f``g` \'h\''))

    assert [token.name for token in found] == ["a", 'b"c', 'd"e', "f`g", ""]
    assert [token.word for token in found] == ["A", "", "", "", ""]


def test_a_script_is_split_at_semicolons_that_are_not_inside_strings_comments_or_triggers() -> None:
    trigger = "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT ';'; UPDATE t SET a = CASE WHEN 1 THEN 2 END; END"
    script = f"\ufeff; -- nothing;\nSELECT ';' ; {trigger};\n\nSELECT 2 /* ; */"

    assert split(script) == ["SELECT ';'", trigger, "SELECT 2"]
    assert [first_keyword(statement) for statement in statements(script)] == ["SELECT", "CREATE", "SELECT"]


def test_a_table_named_trigger_does_not_swallow_the_next_statement() -> None:
    assert split('CREATE TABLE "TRIGGER" (a); SELECT 1') == ['CREATE TABLE "TRIGGER" (a)', "SELECT 1"]


def test_nothing_has_no_statement() -> None:
    assert split(" ; -- a\n;") == []
    assert first_keyword(()) == ""
    assert source("", ()) == ""


def test_words_are_found_side_by_side_only_and_never_in_quotes() -> None:
    assert has_words(list(tokens("insert OR /**/ rollback into t")), "OR", "ROLLBACK")
    assert has_words(list(tokens("RAISE(ROLLBACK, 'x')")), "RAISE", "(", "ROLLBACK")
    assert not has_words(list(tokens("a OR b ROLLBACK")), "OR", "ROLLBACK")
    assert not has_words(list(tokens("a OR \"ROLLBACK\" OR 'ROLLBACK'")), "OR", "ROLLBACK")


@pytest.mark.parametrize("name", ["driftlog_log", "DRIFTLOG_LOG", '"driftlog_log"', "[driftlog_x]", "sqlite_master"])
def test_reserved_names_are_found_however_they_are_written(name: str) -> None:
    assert reserved_name(list(tokens(f"SELECT * FROM {name}"))) == name.strip('"[]')


def test_a_string_that_begins_like_a_reserved_name_is_data() -> None:
    assert reserved_name(list(tokens("INSERT INTO t VALUES ('driftlog_is_here')"))) is None


def test_names_are_folded_as_sqlite_folds_them() -> None:
    db = apsw.Connection(":memory:")
    db.execute("CREATE TABLE Ä (a); CREATE TABLE ä (a)")

    assert fold("Ä") != fold("ä")
    assert fold("TodoÄ") == "todoÄ"


def test_an_excerpt_is_one_short_line() -> None:
    assert excerpt("SELECT\n  1") == "SELECT 1"
    assert len(excerpt("x" * 1000)) == 60


def test_functions_that_differ_between_devices_say_why() -> None:
    assert "tx.wall_ms" in (why_impure("DATE") or "")
    assert "tx.random_int" in (why_impure("random") or "")
    assert why_impure("sqlite_source_id") is not None
    assert why_impure("upper") is None
