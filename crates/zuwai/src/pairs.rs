//! `NAME=value` flags: build arguments and labels.

use crate::environment::Environment;
use crate::error::ProgramError;

/// `--build-arg` values. A name alone takes its value from the environment; without one there it is left out, so that
/// the Dockerfile's default stays (docker's rule; kaniko made it empty).
///
/// # Errors
/// When a name is missing.
pub fn build_arguments(
    values: &[String],
    environment: &Environment,
) -> Result<Vec<(String, String)>, ProgramError> {
    let mut arguments = Vec::with_capacity(values.len());
    for value in values {
        let pair = match value.split_once('=') {
            Some((name, value)) => Some((name, value)),
            None => environment.get(value).map(|found| (value.as_str(), found)),
        };
        if value.is_empty() || value.starts_with('=') {
            return Err(ProgramError::BuildArgument(value.clone()));
        }
        arguments.extend(pair.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    Ok(arguments)
}

/// `--label` values. A name alone is a label with an empty value.
///
/// # Errors
/// When a name is missing.
pub fn labels(values: &[String]) -> Result<Vec<(String, String)>, ProgramError> {
    let pair = |value: &String| {
        let (name, text) = value.split_once('=').unwrap_or((value, ""));
        if name.is_empty() {
            return Err(ProgramError::Label(value.clone()));
        }
        Ok((name.to_owned(), text.to_owned()))
    };
    values.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_build_argument_without_value_is_the_environments() {
        let environment = Environment::from_iter([pair("FOUND", "here"), pair("EMPTY", "")]);
        let values = strings(&["A=1=2", "B=", "FOUND", "EMPTY", "MISSING"]);
        assert_eq!(
            build_arguments(&values, &environment).unwrap(),
            [pair("A", "1=2"), pair("B", ""), pair("FOUND", "here"), pair("EMPTY", "")]
        );
        for bad in ["", "=x"] {
            assert!(build_arguments(&strings(&[bad]), &environment).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn labels_may_lack_a_value_but_not_a_name() {
        assert_eq!(labels(&strings(&["a=b=c", "d"])).unwrap(), [pair("a", "b=c"), pair("d", "")]);
        assert!(labels(&strings(&["=x"])).is_err());
    }
}
