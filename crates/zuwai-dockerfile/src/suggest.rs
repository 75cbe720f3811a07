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

/// A message with the suggestion behind it, in BuildKit's form.
pub(crate) fn with_suggestion(message: String, word: &str, options: &[&str]) -> String {
    match nearest(word, options) {
        Some(option) => format!("{message} (did you mean {option}?)"),
        None => message,
    }
}

/// How many insertions, removals and changes of letters lie between two words.
fn distance(first: &str, second: &str) -> usize {
    let second: Vec<char> = second.chars().collect();
    let mut row: Vec<usize> = (0..=second.len()).collect();
    for (line, from) in first.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, to) in second.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[second.len()]
}
