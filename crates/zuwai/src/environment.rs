//! The environment variables this program reads, read once at its start.
//!
//! After the start nothing looks at the environment again: building in place may put another system's files around
//! us, and crates below get what they need as parameters.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// A copy of the process's environment. Variables whose names are not UTF-8 are left out: none that is read here has
/// such a name.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
}

impl Environment {
    /// Reads the process's environment.
    pub fn read() -> Self {
        let variables = std::env::vars_os();
        let variables = variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self { variables: variables.collect() }
    }

    /// The value of a variable, even an empty one; none where it is not UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name)?.to_str()
    }

    /// The bytes of a variable's value, even of an empty one.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.variables.get(name).map(|value| value.as_bytes())
    }

    /// The value of a variable that is not empty.
    pub fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All variables, for programs that are started with what this one was started with.
    pub fn all(&self) -> impl Iterator<Item = (OsString, OsString)> {
        self.variables.iter().map(|(name, value)| (name.into(), value.clone()))
    }

    /// All variables whose values are UTF-8.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str()?)))
    }

    /// The directory with registry credentials: `DOCKER_CONFIG`, else what the face's users expect.
    pub fn docker_config(&self, otherwise: impl FnOnce() -> PathBuf) -> PathBuf {
        self.non_empty("DOCKER_CONFIG").map_or_else(otherwise, PathBuf::from)
    }

    /// The home directory.
    pub fn home(&self) -> Option<PathBuf> {
        self.non_empty("HOME").map(PathBuf::from)
    }

    /// Where this user's programs keep data, by the XDG base directory specification; relative paths there are
    /// invalid and ignored, as it demands.
    pub fn data_home(&self) -> Option<PathBuf> {
        let given = self.non_empty("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        given.or_else(|| self.home().map(|home| home.join(".local/share")))
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self { variables: variables.into_iter().map(|(name, value)| (name, value.into())).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn data_home_follows_xdg() {
        for (variables, expected) in [
            (&[("XDG_DATA_HOME", "/d"), ("HOME", "/h")][..], Some("/d")),
            (&[("XDG_DATA_HOME", "relative"), ("HOME", "/h")], Some("/h/.local/share")),
            (&[("XDG_DATA_HOME", ""), ("HOME", "/h")], Some("/h/.local/share")),
            (&[], None),
        ] {
            assert_eq!(environment(variables).data_home(), expected.map(PathBuf::from), "{variables:?}");
        }
    }

    #[test]
    fn an_empty_docker_config_is_none() {
        let fallback = || PathBuf::from("/kaniko/.docker");
        assert_eq!(environment(&[("DOCKER_CONFIG", "")]).docker_config(fallback), fallback());
        assert_eq!(environment(&[("DOCKER_CONFIG", "/x")]).docker_config(fallback), PathBuf::from("/x"));
    }
}
