//! The word expander: any word with any variables gives a result of bounded size or an error, the same each time.

use zuwai_dockerfile::Expander;
use zuwai_dockerfile::limits::EXPANSION_BYTES;

use crate::input::{Variables, text_and_variables};

/// Checks one word with its variables, under both escape characters.
pub fn check(data: &[u8]) {
    let Some((word, variables)) = text_and_variables(data) else { return };
    for escape in ['\\', '`'] {
        check_word(&Expander::new(escape), word, &variables);
    }
    if let Ok(text) = Expander::heredoc(word, &variables) {
        check_size(&text, &variables);
        // Without anything to replace or to escape, content stays as it is.
        if !word.contains(['$', '\\']) {
            assert_eq!(text, word);
        }
    }
}

fn check_word(expander: &Expander, word: &str, variables: &Variables) {
    let result = expander.expand(word, variables);
    assert_eq!(result, expander.expand(word, variables));
    let asked = expander.variables(word);
    let Ok(expansion) = result else { return };
    check_size(&expansion.text, variables);
    let of_words: usize = expansion.words.iter().map(String::len).sum();
    assert!(of_words <= expansion.text.len(), "{:?} of {:?}", expansion.words, expansion.text);
    assert!(expansion.used.iter().all(|name| variables.contains_key(name)));
    assert!(!expansion.unset.iter().any(|name| variables.contains_key(name)));
    if let Ok(asked) = asked {
        // An alternative that is not taken asks too.
        let named = expansion.used.iter().chain(&expansion.unset);
        assert!(named.into_iter().all(|name| asked.contains(name)), "{expansion:?}, {asked:?}");
    }
    if !word.contains(['$', '\'', '"', expander.escape()]) {
        assert_eq!(expansion.text, word);
    }
}

/// A result ends with the piece that goes beyond the limit, which is a whole value or result itself.
fn check_size(text: &str, variables: &Variables) {
    let longest = variables.values().map(String::len).max().unwrap_or(0);
    assert!(text.len() <= 2 * EXPANSION_BYTES + longest, "{} bytes", text.len());
}
