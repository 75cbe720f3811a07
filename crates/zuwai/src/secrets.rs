//! `--secret`: from what docker's users write to the secrets of a build, with buildx's rules and error texts.
//!
//! `id=ID[,src=FILE][,env=VARIABLE][,type=file|env]`, in any order, keys in any case, quotes as in CSV:
//!
//! - `env` names a variable and wins over `src` (also `source`), a file. With `type=env` and no `env`, `src` is the
//!   variable. `type=file` changes nothing.
//! - With neither, the ID is the name of a variable if there is such a variable, else of a file.
//! - A file must exist, even where a variable wins. A variable that is not set gives an empty secret; that is warned of.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use zuwai_build::secret::{ReadSecretError, Secret, SecretContent, Secrets};

use crate::csv::{self, CsvError};
use crate::environment::Environment;

/// The secrets that the values of `--secret` name, read now.
///
/// # Errors
/// When a value is wrong, or what it names is not there or too large.
pub fn read(values: &[String], environment: &Environment) -> Result<Secrets, SecretError> {
    // An empty value is none, as with buildx.
    let named = values.iter().filter(|value| !value.is_empty());
    let places = named.map(|value| Place::parse(value)).collect::<Result<Vec<_>, _>>()?;
    places.into_iter().map(|place| place.read(environment)).collect()
}

/// The files that the values of `--secret` name: what commands must not see but as a secret. Wrong values name none.
pub fn files(values: &[String], environment: &Environment) -> Vec<PathBuf> {
    let places = values.iter().filter_map(|value| Place::parse(value).ok());
    places
        .map(|place| place.resolve(environment).file)
        .filter(|file| !file.is_empty())
        .map(Into::into)
        .collect()
}

/// Why there is no such secret. Nothing of its content is in here.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A value that is no line of CSV.
    #[error("failed to parse csv secret")]
    Csv(#[source] CsvError),
    /// A part without `=`.
    #[error("invalid field '{0}' must be a key=value pair")]
    Field(String),
    /// A key that means nothing.
    #[error("unexpected key '{key}' in '{field}'; there are id, src, source, env and type")]
    Key {
        /// The key, in lower case.
        key: String,
        /// The part that it is in.
        field: String,
    },
    /// A type other than `file` and `env`.
    #[error("unsupported secret type {0:?}; there are \"file\" and \"env\"")]
    Type(String),
    /// No `id`.
    #[error("secret missing ID")]
    NoId,
    /// The file is not there or cannot be read.
    #[error("secret {id}: failed to read {path}", path = path.display())]
    File {
        /// The secret's ID.
        id: String,
        /// The file.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// More than a secret may have.
    #[error("secret {id} {source}")]
    TooBig {
        /// The secret's ID.
        id: String,
        /// The limit.
        source: zuwai_build::secret::TooBig,
    },
}

impl SecretError {
    /// Whether the value is wrong in itself, whatever the files and variables.
    pub fn is_about_typing(&self) -> bool {
        !matches!(self, Self::File { .. } | Self::TooBig { .. })
    }
}

/// Where a secret is, as it was typed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Place {
    id: String,
    file: String,
    variable: String,
}

impl Place {
    fn parse(value: &str) -> Result<Self, SecretError> {
        let mut place = Self::default();
        let mut is_variable = false;
        for field in csv::fields(value).map_err(SecretError::Csv)? {
            let Some((key, value)) = field.split_once('=') else { return Err(SecretError::Field(field)) };
            match key.to_lowercase().as_str() {
                "id" => value.clone_into(&mut place.id),
                "src" | "source" => value.clone_into(&mut place.file),
                "env" => value.clone_into(&mut place.variable),
                "type" if ["file", "env"].contains(&value) => is_variable = value == "env",
                "type" => return Err(SecretError::Type(value.to_owned())),
                key => return Err(SecretError::Key { key: key.to_owned(), field: field.clone() }),
            }
        }
        if is_variable && place.variable.is_empty() {
            place.variable = std::mem::take(&mut place.file);
        }
        Ok(place)
    }

    fn read(self, environment: &Environment) -> Result<Secret, SecretError> {
        if self.id.is_empty() {
            return Err(SecretError::NoId);
        }
        let place = self.resolve(environment);
        let of_file = if place.file.is_empty() { None } else { Some(place.read_file()?) };
        let content = match of_file {
            Some(content) if place.variable.is_empty() => content,
            _ => place.read_variable(environment)?,
        };
        Ok(Secret { id: place.id, content })
    }

    /// Where neither file nor variable was named, the ID is the name of one.
    fn resolve(mut self, environment: &Environment) -> Self {
        if self.file.is_empty() && self.variable.is_empty() {
            let is_variable = environment.bytes(&self.id).is_some();
            *(if is_variable { &mut self.variable } else { &mut self.file }) = self.id.clone();
        }
        self
    }

    fn read_file(&self) -> Result<SecretContent, SecretError> {
        let content = File::open(&self.file).map_err(Into::into).and_then(SecretContent::read);
        content.map_err(|error| match error {
            ReadSecretError::TooBig(source) => SecretError::TooBig { id: self.id.clone(), source },
            ReadSecretError::Io(source) => {
                SecretError::File { id: self.id.clone(), path: PathBuf::from(&self.file), source }
            }
        })
    }

    fn read_variable(&self, environment: &Environment) -> Result<SecretContent, SecretError> {
        let value = environment.bytes(&self.variable).unwrap_or_else(|| {
            let Self { id, variable, .. } = self;
            tracing::warn!("secret {id} is empty: the environment variable {variable} is not set");
            &[]
        });
        SecretContent::new(value).map_err(|source| SecretError::TooBig { id: self.id.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content of the secret `x`, or the error with its causes.
    fn content(value: &str) -> Result<String, String> {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(file("f"), "of the file\n").unwrap();
        std::fs::write(file("a,b"), "of a,b").unwrap();
        std::fs::write(file("big"), [0; 512_001]).unwrap();
        let variables = [("x", "of x"), ("VARIABLE", "of the variable"), ("EMPTY", "")];
        let environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter();
        let prefix = file("");
        let value = value.replace("DIR/", &prefix);
        match read(&[value], &environment.collect()) {
            Ok(secrets) => {
                Ok(String::from_utf8_lossy(secrets.get("x").map_or(b"none", SecretContent::reveal)).into())
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                Err(format!("{error}{}", cause.unwrap_or_default()).replace(&prefix, "DIR/"))
            }
        }
    }

    /// Each row is what buildx 0.29 and its BuildKit do.
    #[test]
    fn secrets_are_where_docker_has_them() {
        for (value, expected) in [
            ("", "none"),
            ("id=x", "of x"),
            ("id=x,type=env", "of x"),
            ("id=x,type=file", "of x"),
            ("id=x,type=env,env=", "of x"),
            ("id=x,src=,env=", "of x"),
            ("id=x,src=DIR/f", "of the file\n"),
            ("id=x,source=DIR/f,type=file", "of the file\n"),
            ("ID=x,Src=DIR/f", "of the file\n"),
            ("id=y,id=x,src=DIR/f", "of the file\n"),
            (r#""id=x","src=DIR/a,b""#, "of a,b"),
            ("id=x,env=VARIABLE", "of the variable"),
            ("id=x,env=VARIABLE,src=DIR/f", "of the variable"),
            ("id=x,type=env,src=VARIABLE", "of the variable"),
            ("id=x,type=env,src=DIR/f,env=VARIABLE", "of the variable"),
            ("id=x,env=EMPTY", ""),
            ("id=x,env=UNSET,src=DIR/f", ""),
            ("id=x,type=env,src=UNSET", ""),
            ("id=x,src=/dev/null", ""),
            ("id=DIR/f", "none"),
        ] {
            assert_eq!(content(value).as_deref(), Ok(expected), "{value}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_buildxs_words() {
        for (value, expected) in [
            ("x", "invalid field 'x' must be a key=value pair"),
            ("id=x,", "invalid field '' must be a key=value pair"),
            ("id=x,Foo=bar", "unexpected key 'foo' in 'Foo=bar'; there are id, src, source, env and type"),
            ("id=x, src=f", "unexpected key ' src' in ' src=f'; there are id, src, source, env and type"),
            ("id=x,type=", "unsupported secret type \"\"; there are \"file\" and \"env\""),
            (
                r#"id=x,src="f""#,
                "failed to parse csv secret: parse error on line 1, column 10: bare \" in non-quoted-field",
            ),
            ("src=DIR/f", "secret missing ID"),
            ("id=", "secret missing ID"),
            ("id=x,src=DIR/no", "secret x: failed to read DIR/no: No such file or directory (os error 2)"),
            (
                "id=x,env=VARIABLE,src=DIR/no",
                "secret x: failed to read DIR/no: No such file or directory (os error 2)",
            ),
            ("id=DIR/n", "secret DIR/n: failed to read DIR/n: No such file or directory (os error 2)"),
            ("id=x,src=DIR/", "secret x: failed to read DIR/: Is a directory (os error 21)"),
            ("id=x,src=DIR/big", "secret x too big. max size 500KiB"),
            ("id=x,src=/dev/zero", "secret x too big. max size 500KiB"),
        ] {
            let error = content(value).unwrap_err();
            assert!(error.starts_with(expected), "{value}: {error}");
        }
    }

    #[test]
    fn the_files_of_secrets_are_known() {
        let environment: Environment = [("x".to_owned(), "of x".to_owned())].into_iter().collect();
        let values =
            ["id=x", "id=a,src=/a", "id=b,source=b,env=x", "id=/c", "id=d,type=env,src=x", "wrong", ""];
        let found = files(&values.map(str::to_owned), &environment);
        assert_eq!(found, ["/a", "b", "/c"].map(PathBuf::from));
    }

    #[test]
    fn the_later_of_two_counts_and_any_wrong_value_is_an_error() {
        let environment =
            [("A", "a"), ("B", "b")].map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter();
        let environment: Environment = environment.collect();
        let values = ["id=x,env=A", "id=x,env=B"].map(str::to_owned);
        assert_eq!(read(&values, &environment).unwrap().get("x").unwrap().reveal(), b"b");
        assert!(read(&["id=A".to_owned(), "id".to_owned()], &environment).is_err());
    }
}
