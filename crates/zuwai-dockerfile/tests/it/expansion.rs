//! Variable expansion, case by case. What is doubtful was compared with a real BuildKit.

use std::collections::BTreeMap;

use zuwai_dockerfile::expand::NoVariables;
use zuwai_dockerfile::{ExpandError, Expander};

fn variables() -> BTreeMap<String, String> {
    [
        ("v", "value"),
        ("empty", ""),
        ("path", "/usr/local/lib/libfoo.so.1"),
        ("spaces", "one two  three"),
        ("stars", "a*b*c"),
        ("dots", "1.2.3"),
        ("slashes", "a/b/c"),
        ("braces", "a}b"),
        ("dollar", "$v"),
        ("ünicode", "grüße"),
        ("x_1", "under"),
        ("groups", "$0-$$-$1z-${1}"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

#[test]
fn words_expand_as_in_buildkit() {
    let table = [
        // Plain text and quotes.
        ("", ""),
        ("plain", "plain"),
        ("'single'", "single"),
        ("\"double\"", "double"),
        ("a'b'\"c\"d", "abcd"),
        ("'$v'", "$v"),
        ("\"$v\"", "value"),
        ("\"it's\"", "it's"),
        ("'say \"hi\"'", "say \"hi\""),
        // Escapes.
        ("\\$v", "$v"),
        ("\\\\$v", "\\value"),
        ("\"\\$v\"", "$v"),
        ("\"a\\nb\"", "a\\nb"),
        ("a\\nb", "anb"),
        ("\"\\\"\"", "\""),
        ("'a\\b'", "a\\b"),
        ("trailing\\", "trailing"),
        ("a\\ b", "a b"),
        // Names.
        ("$v", "value"),
        ("$v$v", "valuevalue"),
        ("${v}", "value"),
        ("$v-x", "value-x"),
        ("$v.x", "value.x"),
        ("$vx", ""),
        ("${v}x", "valuex"),
        ("$x_1", "under"),
        ("${x_1}", "under"),
        ("$ünicode", "grüße"),
        ("$unset", ""),
        ("${unset}", ""),
        ("$1", ""),
        ("$12a", "a"),
        ("$@x", "x"),
        ("$$", ""),
        ("$", "$"),
        ("a$", "a$"),
        ("$ x", "$ x"),
        ("$.", "$."),
        ("$dollar", "$v"),
        // Alternatives.
        ("${v:-x}", "value"),
        ("${empty:-x}", "x"),
        ("${unset:-x}", "x"),
        ("${v-x}", "value"),
        ("${empty-x}", ""),
        ("${unset-x}", "x"),
        ("${v:+x}", "x"),
        ("${empty:+x}", ""),
        ("${unset:+x}", ""),
        ("${v+x}", "x"),
        ("${empty+x}", "x"),
        ("${unset+x}", ""),
        ("${v:?m}", "value"),
        ("${v?m}", "value"),
        ("${empty?m}", ""),
        ("${unset:-}", ""),
        ("${unset:-a b}", "a b"),
        ("${unset:-'$v'}", "$v"),
        ("${unset:-\"$v\"}", "value"),
        ("${unset:-\\}}", "}"),
        ("${unset:-$v}", "value"),
        ("${unset:-${v}}", "value"),
        ("${unset:-${unset:-${v}}}", "value"),
        ("${unset:-${empty:-deep}}x", "deepx"),
        ("${v:+${unset:-y}}", "y"),
        ("\"${unset:-\"x\"}\"", "x"),
        // Prefixes and suffixes.
        ("${path#*/}", "usr/local/lib/libfoo.so.1"),
        ("${path##*/}", "libfoo.so.1"),
        ("${path%/*}", "/usr/local/lib"),
        ("${path%%/*}", ""),
        ("${path%.*}", "/usr/local/lib/libfoo.so"),
        ("${path%%.*}", "/usr/local/lib/libfoo"),
        ("${v#va}", "lue"),
        ("${v#x}", "value"),
        ("${v%ue}", "val"),
        ("${v#?}", "alue"),
        ("${v%?}", "valu"),
        ("${v##*}", ""),
        ("${v#*}", "value"),
        ("${v#}", "value"),
        ("${stars#a\\*}", "b*c"),
        ("${stars%\\*c}", "a*b"),
        ("${dots#1.}", "2.3"),
        ("${dots%.?}", "1.2"),
        ("${unset#x}", ""),
        ("${slashes##*\\/}", "c"),
        ("${braces%\\}b}", "a"),
        ("${ünicode#gr?}", "ße"),
        ("${v#$empty}", "value"),
        ("${path##*${unset:-lib}}", "foo.so.1"),
        // Replacement.
        ("${v/a/A}", "vAlue"),
        ("${slashes/\\//-}", "a-b/c"),
        ("${slashes//\\//-}", "a-b-c"),
        ("${dots//./_}", "1_2_3"),
        ("${v//?/x}", "xxxxx"),
        ("${v/l*/X}", "vaX"),
        ("${stars//\\*/}", "abc"),
        ("${v/nothing/x}", "value"),
        ("${v/a/$x_1}", "vunderlue"),
        ("${unset/a/b}", ""),
        ("${v/l/\\/}", "va\\/ue"),
        ("${v/l/\\}}", "va\\}ue"),
        // Through Go's regular expressions: $0 is the match, other groups are empty.
        ("${v//l/$groups}", "val-$--ue"),
        ("${v/l/$groups}", "va$0-$$-$1z-${1}ue"),
        ("${v//*/x}", "x"),
        ("${v//x*/y}", "value"),
        ("${empty//*/x}", "x"),
    ];
    let expander = Expander::new('\\');
    let variables = variables();
    for (text, expected) in table {
        assert_eq!(expander.word(text, &variables).as_deref(), Ok(expected), "word {text:?}");
    }
}

#[test]
fn words_split_at_spaces_that_are_not_quoted() {
    let table: [(&str, &[&str]); 12] = [
        ("a b", &["a", "b"]),
        ("$spaces", &["one", "two", "three"]),
        ("\"$spaces\"", &["one two  three"]),
        ("x$spaces", &["xone", "two", "three"]),
        ("'a b' c", &["a b", "c"]),
        ("a\\ b c", &["a b", "c"]),
        ("$unset", &[]),
        ("${unset:-a b}", &["a", "b"]),
        ("a $unset b", &["a", "b"]),
        ("  a  ", &["a"]),
        ("\"\"", &[]),
        ("a\"b c\"d", &["ab cd"]),
    ];
    let variables = variables();
    for (text, expected) in table {
        assert_eq!(Expander::new('\\').words(text, &variables).unwrap(), expected, "words of {text:?}");
    }
}

#[test]
fn backtick_escapes_where_the_directive_says_so() {
    let table = [("`$v", "$v"), ("C:\\dir", "C:\\dir"), ("\"`\"\"", "\""), ("\\$v", "\\value"), ("``", "`")];
    for (text, expected) in table {
        assert_eq!(Expander::new('`').word(text, &variables()).as_deref(), Ok(expected), "word {text:?}");
    }
}

#[test]
fn mistakes_have_buildkits_words() {
    let table = [
        ("'open", "unexpected end of statement while looking for matching single-quote"),
        ("\"open", "unexpected end of statement while looking for matching double-quote"),
        ("${v", "syntax error: missing '}'"),
        ("${", "syntax error: missing '}'"),
        ("${v:-x", "syntax error: missing '}'"),
        ("${v/x", "syntax error: missing '/' in ${}"),
        ("${v/x/y", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${{v}}", "syntax error: bad substitution"),
        ("${:v}", "syntax error: bad substitution"),
        ("${v=x}", "unsupported modifier (=) in substitution"),
        ("${v:#x}", "unsupported modifier (:#) in substitution"),
        ("${v:=x}", "unsupported modifier (:=) in substitution"),
        ("${unset?}", "unset: is not allowed to be unset"),
        ("${unset:?}", "unset: is not allowed to be unset"),
        ("${empty:?}", "empty: is not allowed to be empty"),
        ("${empty:?say why}", "empty: say why"),
        ("${unset?needs $v}", "unset: needs value"),
        ("${v#a\\b}", "invalid pattern (a\\b) in substitution: invalid escape '\\b'"),
    ];
    let variables = variables();
    for (text, expected) in table {
        let error = Expander::new('\\').word(text, &variables).unwrap_err();
        assert_eq!(error.to_string(), expected, "word {text:?}");
    }
}

#[test]
fn here_documents_keep_their_quotes() {
    let content = "a=\"$v\" b='$v' \\$v ${unset:-d}\n";
    assert_eq!(Expander::heredoc(content, &variables()).as_deref(), Ok("a=\"value\" b='value' $v d\n"));
}

#[test]
fn variables_of_a_word_are_known_without_values() {
    let names = Expander::new('\\').variables("$a ${b:-$c} '$d' ${e:?x} \\$f ${g%$h}").unwrap();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "b", "c", "e", "g", "h"]);
}

#[test]
fn used_and_unset_variables_are_told_apart() {
    let expansion = Expander::new('\\').expand("$v ${unset:-$empty}", &variables()).unwrap();
    assert_eq!(expansion.used.into_iter().collect::<Vec<_>>(), ["empty", "v"]);
    assert_eq!(expansion.unset.into_iter().collect::<Vec<_>>(), ["unset"]);
}

#[test]
fn of_two_values_with_one_name_the_last_counts() {
    let list = vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
    assert_eq!(Expander::new('\\').word("$a", &list).as_deref(), Ok("2"));
}

#[test]
fn hostile_words_meet_limits() {
    let expander = Expander::new('\\');
    let deep = format!("{}x{}", "${a:-".repeat(10_000), "}".repeat(10_000));
    assert!(matches!(expander.word(&deep, &NoVariables), Err(ExpandError::TooDeep(_))));
    let values: BTreeMap<_, _> = [("a".to_owned(), "x".repeat(1 << 20))].into();
    assert!(matches!(expander.word(&"$a".repeat(1000), &values), Err(ExpandError::TooLarge(_))));
    assert!(matches!(expander.word("${a//x/$a}", &values), Err(ExpandError::TooLarge(_))));
    let pattern = format!("${{a#{}}}", "*y".repeat(30_000));
    assert!(matches!(expander.word(&pattern, &values), Err(ExpandError::TooManySteps(_))));
    // Found by fuzzing: each pattern within the limit, all of them together far beyond.
    let many = "${a%****}".repeat(1000);
    assert!(matches!(expander.word(&many, &values), Err(ExpandError::TooManySteps(_))));
}
