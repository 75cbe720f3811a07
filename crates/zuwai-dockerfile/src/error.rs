//! What can be wrong with the expansion of a word.

/// Why a word could not be expanded. The texts are BuildKit's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A quote is opened and not closed; the field names the quote.
    #[error("unexpected end of statement while looking for matching {0}")]
    Unterminated(&'static str),
    /// `${` without its `}`.
    #[error("syntax error: missing '}}'")]
    MissingBrace,
    /// `${v/pattern` without the second `/`.
    #[error("syntax error: missing '/' in ${{}}")]
    MissingSlash,
    /// `${}`, `${{`, `${:`.
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    /// `${v=...}` and other modifiers that the language does not have.
    #[error("unsupported modifier ({0}) in substitution")]
    UnsupportedModifier(String),
    /// A pattern with an escape that means nothing.
    #[error("invalid pattern ({pattern}) in substitution: {reason}")]
    InvalidPattern {
        /// The pattern as written.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `${v:?message}` of a variable that is not set or empty.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The message of the Dockerfile's author, or the default one.
        message: String,
    },
    /// Substitutions inside substitutions beyond the limit.
    #[error("substitution nested more than {0} deep")]
    TooDeep(usize),
    /// A result beyond the limit.
    #[error("expansion grows beyond {0} bytes")]
    TooLarge(usize),
    /// Patterns and values that are too long to be matched in sensible time.
    #[error("patterns of the expansion take more than {0} steps to match")]
    TooManySteps(usize),
}
