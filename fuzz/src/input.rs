//! How one input gives several values: a text, a NUL, and `NAME=value` variables, each behind a NUL.

use std::collections::BTreeMap;

/// Variables as a build has them.
pub type Variables = BTreeMap<String, String>;

/// The text and the variables. What is not UTF-8 gives nothing: no Dockerfile gets that far with it.
pub fn text_and_variables(data: &[u8]) -> Option<(&str, Variables)> {
    let mut fields = std::str::from_utf8(data).ok()?.split('\0');
    let text = fields.next()?;
    let pairs = fields.filter_map(|field| field.split_once('='));
    Some((text, pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
}
