//! "Did you mean": the nearest known word.

/// The option nearest to a word, if one is near enough: at most two edits away, and fewer than the word's letters.
pub(crate) fn nearest<'a>(word: &str, options: &[&'a str]) -> Option<&'a str> {
    // A word much longer than any option is none of them; this also bounds the work.
    if word.chars().count() > 32 {
        return None;
    }
    let word = word.to_lowercase();
    options
        .iter()
        .map(|option| (distance(&word, &option.to_lowercase()), *option))
        .filter(|(edits, _)| (1..=2).contains(edits) && *edits < word.chars().count())
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, option)| option)
}

/// A message with the suggestion behind it, in BuildKit's form: in lower case where the word is.
pub(crate) fn with_suggestion(message: String, word: &str, options: &[&str]) -> String {
    match nearest(word, options) {
        Some(option) if word.chars().any(char::is_uppercase) => {
            format!("{message} (did you mean {option}?)")
        }
        Some(option) => format!("{message} (did you mean {}?)", option.to_lowercase()),
        None => message,
    }
}

/// How many insertions, removals, changes and swaps of neighbouring letters lie between two words. (BuildKit counts a swap
/// as two, and so takes RNU for ENV.)
fn distance(first: &str, second: &str) -> usize {
    let first: Vec<char> = first.chars().collect();
    let second: Vec<char> = second.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=second.len()).collect();
    for line in 1..=first.len() {
        let mut row = vec![line];
        for column in 1..=second.len() {
            let changed = above[column - 1] + usize::from(first[line - 1] != second[column - 1]);
            let mut edits = changed.min(above[column] + 1).min(row[column - 1] + 1);
            if line > 1
                && column > 1
                && first[line - 1] == second[column - 2]
                && first[line - 2] == second[column - 1]
            {
                edits = edits.min(before[column - 2] + 1);
            }
            row.push(edits);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[second.len()]
}
