//! Variables: which value a name has at one place of a Dockerfile.

use std::collections::BTreeMap;

/// An `ARG` that a stage has declared so far.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DeclaredArg {
    name: String,
    value: Option<String>,
}

/// What a stage's instructions see, in the order BuildKit gives them: whatever was set last, by `ENV` or by `ARG`,
/// is the value. A stage built on another one starts with that stage's scope; siblings share nothing.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    variables: BTreeMap<String, String>,
    args: Vec<DeclaredArg>,
}

impl Scope {
    /// The scope at the start of a stage on an image with this environment (`NAME=value`).
    pub fn from_image(env: &[String]) -> Self {
        let mut scope = Self::default();
        for variable in env {
            let (name, value) = split_variable(variable);
            scope.set_env(name, value);
        }
        scope
    }

    /// Sets a variable as `ENV` does.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// Declares an argument as `ARG` does. Without a value the name is declared and whatever it was stays.
    pub fn declare_arg(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = &value {
            self.variables.insert(name.to_owned(), value.clone());
        }
        self.args.push(DeclaredArg { name: name.to_owned(), value });
    }

    /// The value of a name, if it has one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The names that have a value.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// All variables, which is what `RUN` gets as its environment.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The declared arguments as a history row of `RUN` shows them: in the order of their first declaration, with the
    /// value in force or, where a name has none, the last declared one (BuildKit's `runCommandString`).
    pub fn history_args(&self) -> Vec<String> {
        let mut shown: Vec<(&str, String)> = Vec::new();
        for arg in &self.args {
            let value = self.get(&arg.name).or(arg.value.as_deref()).unwrap_or_default();
            let row = format!("{}={value}", arg.name);
            match shown.iter_mut().find(|(name, _)| *name == arg.name) {
                Some((_, earlier)) => *earlier = row,
                None => shown.push((&arg.name, row)),
            }
        }
        shown.into_iter().map(|(_, row)| row).collect()
    }
}

/// `NAME=value` in two; a text without `=` is a name with an empty value.
pub fn split_variable(variable: &str) -> (&str, &str) {
    variable.split_once('=').unwrap_or((variable, ""))
}

/// Sets `name` in an image's environment: in its place if it is there, at the end if not (BuildKit's `addEnv`).
pub fn set_image_env(env: &mut Vec<String>, name: &str, value: &str) {
    let variable = format!("{name}={value}");
    match env.iter_mut().find(|earlier| split_variable(earlier).0 == name) {
        Some(earlier) => *earlier = variable,
        None => env.push(variable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_to_set_a_name_wins() {
        let mut scope = Scope::from_image(&["A=image".to_owned(), "P=a=b".to_owned()]);
        assert_eq!((scope.get("A"), scope.get("P"), scope.get("B")), (Some("image"), Some("a=b"), None));
        scope.declare_arg("A", Some("arg".to_owned()));
        assert_eq!(scope.get("A"), Some("arg"));
        scope.set_env("A", "env");
        assert_eq!(scope.get("A"), Some("env"));
        scope.declare_arg("A", None);
        assert_eq!(scope.get("A"), Some("env"));
    }

    #[test]
    fn history_shows_each_argument_once_with_the_value_in_force() {
        let mut scope = Scope::default();
        scope.declare_arg("NOVAL", None);
        scope.declare_arg("A", Some("1".to_owned()));
        scope.declare_arg("B", Some(String::new()));
        scope.declare_arg("A", None);
        scope.set_env("B", "env");
        assert_eq!(scope.history_args(), ["NOVAL=", "A=1", "B=env"]);
    }

    #[test]
    fn an_image_variable_keeps_its_place() {
        let mut env = vec!["A=1".to_owned(), "B=2".to_owned()];
        set_image_env(&mut env, "A", "3");
        set_image_env(&mut env, "C", "4");
        assert_eq!(env, ["A=3", "B=2", "C=4"]);
    }
}
