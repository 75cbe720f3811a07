//! Command-line flags by pflag's rules, which kaniko and docker both follow.
//!
//! One declarative table lists all flags of a command: name, shorthand, type, default, environment variable, help, and
//! what this program does with it. [`parse`] reads arguments by that table into [`Parsed`], the flags as they were
//! typed; what they mean is decided by the command's own module. The rules, of `github.com/spf13/pflag`:
//!
//! - `--flag value`, `--flag=value`, `-f value`, `-fvalue`, `-f=value`; a bool takes a value only after `=`.
//! - Shorthands of bools group (`-qD`). Flags and positional arguments mix; `--` ends the flags.
//! - A flag given twice: lists append, of scalars the last wins.
//! - Error texts are pflag's, since people search for them.

use std::collections::{BTreeMap, VecDeque};

use crate::flag_value::{self, Kind};

/// One flag of a command.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// The name after `--`.
    pub name: &'static str,
    /// The letter after `-`.
    pub short: Option<char>,
    /// What values it takes.
    pub kind: Kind,
    /// The value when it is not given, as one would type it.
    pub default: &'static str,
    /// The environment variable that gives the value when the flag is not given.
    pub environment: Option<&'static str>,
    /// What this program does with it.
    pub support: Support,
    /// One line of help.
    pub help: &'static str,
}

/// What this program does with a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It does what it says.
    Works,
    /// Every build already is as the flag asks, whatever its value; the text says why that is right.
    AlwaysSo(&'static str),
    /// It only changes how another flag works, so that it means nothing while that one is not given.
    OnlyWith(&'static str),
    /// It is refused by name, but for these values, which ask for what happens anyway.
    Later(&'static [&'static str]),
    /// An old spelling of another flag: taken, with a warning.
    Deprecated(&'static str),
}

/// A flag that works, with no shorthand, default or variable.
pub const fn flag(name: &'static str, kind: Kind, help: &'static str) -> Flag {
    let default = match kind {
        Kind::Bool => "false",
        Kind::Int => "0",
        Kind::Duration => "0s",
        _ => "",
    };
    Flag { name, short: None, kind, default, environment: None, support: Support::Works, help }
}

/// Two tables in one; `N` is the sum of their lengths.
pub const fn join<const N: usize>(one: &[Flag], other: &[Flag]) -> [Flag; N] {
    let mut joined = [one[0]; N];
    let mut at = 0;
    while at < N {
        joined[at] = if at < one.len() { one[at] } else { other[at - one.len()] };
        at += 1;
    }
    joined
}

impl Flag {
    /// Gives it a shorthand.
    pub const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }

    /// Gives it a default other than its type's zero value.
    pub const fn default(mut self, value: &'static str) -> Self {
        self.default = value;
        self
    }

    /// Lets an environment variable set it.
    pub const fn environment(mut self, variable: &'static str) -> Self {
        self.environment = Some(variable);
        self
    }

    /// Refuses it by name, but for values that ask for what happens anyway.
    pub const fn later(mut self, harmless: &'static [&'static str]) -> Self {
        self.support = Support::Later(harmless);
        self
    }

    /// Takes it without a word; `why` says why nothing is left to do.
    pub const fn always_so(mut self, why: &'static str) -> Self {
        self.support = Support::AlwaysSo(why);
        self
    }

    /// Takes it without a word; it means nothing while `other` is not given.
    pub const fn only_with(mut self, other: &'static str) -> Self {
        self.support = Support::OnlyWith(other);
        self
    }

    /// Makes it an old spelling of `other`.
    pub const fn deprecated_for(mut self, other: &'static str) -> Self {
        self.support = Support::Deprecated(other);
        self
    }

    /// How pflag's errors about a value name the flag.
    fn spelled(&self) -> String {
        match self.short {
            Some(letter) => format!("-{letter}, --{}", self.name),
            None => format!("--{}", self.name),
        }
    }
}

/// What is wrong with a command line.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FlagError {
    /// No such flag.
    #[error("unknown flag: --{0}")]
    UnknownFlag(String),
    /// No such shorthand.
    #[error("unknown shorthand flag: '{letter}' in -{group}")]
    UnknownShorthand {
        /// The letter nobody knows.
        letter: char,
        /// The group it is in.
        group: String,
    },
    /// A flag that takes a value came last, without one.
    #[error("flag needs an argument: {0}")]
    NeedsArgument(String),
    /// Two dashes and nothing that can be a name.
    #[error("bad flag syntax: {0}")]
    BadSyntax(String),
    /// The value does not fit the flag's type.
    #[error("invalid argument {value:?} for {flag:?} flag: {reason}")]
    InvalidValue {
        /// The value as typed.
        value: String,
        /// The flag as pflag spells it.
        flag: String,
        /// What is wrong with the value.
        reason: String,
    },
    /// The value of an environment variable does not fit its flag's type.
    #[error("invalid value {value:?} for {variable} environment variable: {reason}")]
    InvalidVariable {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An argument is not UTF-8.
    #[error("argument {0:?} is not valid UTF-8")]
    NotUtf8(std::ffi::OsString),
}

/// A command line as it was typed.
#[derive(Debug)]
pub struct Parsed {
    table: &'static [Flag],
    given: BTreeMap<&'static str, Given>,
    /// What is not a flag, in order.
    pub positional: Vec<String>,
    /// Whether help was asked for.
    pub help: bool,
}

#[derive(Debug)]
struct Given {
    values: Vec<String>,
    /// How errors name the place the value came from.
    origin: String,
}

/// Reads arguments by a table of flags.
///
/// # Errors
/// With pflag's text, at the first argument that does not fit.
pub fn parse(
    table: &'static [Flag],
    arguments: impl IntoIterator<Item = String>,
) -> Result<Parsed, FlagError> {
    let mut parsed = Parsed { table, given: BTreeMap::new(), positional: Vec::new(), help: false };
    let mut rest: VecDeque<String> = arguments.into_iter().collect();
    while let Some(argument) = rest.pop_front() {
        if argument == "--" {
            parsed.positional.extend(rest);
            break;
        } else if let Some(long) = argument.strip_prefix("--") {
            parsed.long(long, &argument, &mut rest)?;
        } else if argument.len() > 1 && argument.starts_with('-') {
            parsed.shorthands(&argument[1..], &mut rest)?;
        } else {
            parsed.positional.push(argument);
        }
        if parsed.help {
            break;
        }
    }
    Ok(parsed)
}

impl Parsed {
    fn long(&mut self, text: &str, argument: &str, rest: &mut VecDeque<String>) -> Result<(), FlagError> {
        if text.starts_with(['-', '=']) {
            return Err(FlagError::BadSyntax(argument.to_owned()));
        }
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let Some(flag) = self.table.iter().find(|flag| flag.name == name) else {
            if name == "help" {
                self.help = true;
                return Ok(());
            }
            return Err(FlagError::UnknownFlag(name.to_owned()));
        };
        let value = match value {
            Some(value) => value,
            None if flag.kind == Kind::Bool => "true".to_owned(),
            None => rest.pop_front().ok_or_else(|| FlagError::NeedsArgument(argument.to_owned()))?,
        };
        self.set(flag, value)
    }

    fn shorthands(&mut self, group: &str, rest: &mut VecDeque<String>) -> Result<(), FlagError> {
        let mut letters = group.chars();
        while let Some(letter) = letters.next() {
            let Some(flag) = self.table.iter().find(|flag| flag.short == Some(letter)) else {
                if letter == 'h' {
                    self.help = true;
                    return Ok(());
                }
                return Err(FlagError::UnknownShorthand { letter, group: group.to_owned() });
            };
            let after = letters.as_str();
            if let Some(value) = after.strip_prefix('=').filter(|value| !value.is_empty()) {
                return self.set(flag, value.to_owned());
            }
            if flag.kind == Kind::Bool {
                self.set(flag, "true".to_owned())?;
                continue;
            }
            let value = if after.is_empty() {
                rest.pop_front().ok_or_else(|| FlagError::NeedsArgument(format!("'{letter}' in -{group}")))?
            } else {
                after.to_owned()
            };
            return self.set(flag, value);
        }
        Ok(())
    }

    fn set(&mut self, flag: &'static Flag, value: String) -> Result<(), FlagError> {
        let invalid =
            |reason: String| FlagError::InvalidValue { value: value.clone(), flag: flag.spelled(), reason };
        let values = flag.kind.check(&value).map_err(invalid)?;
        self.put(flag, values, format!("--{}", flag.name));
        Ok(())
    }

    fn put(&mut self, flag: &'static Flag, values: Vec<String>, origin: String) {
        let given = self
            .given
            .entry(flag.name)
            .or_insert_with(|| Given { values: Vec::new(), origin: String::new() });
        if !flag.kind.appends() {
            given.values.clear();
        }
        given.values.extend(values);
        given.origin = origin;
    }

    /// Sets what was not given from environment variables the table names. What was typed wins.
    ///
    /// # Errors
    /// When a variable's value does not fit its flag's type.
    pub fn fill_from_environment(
        &mut self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<(), FlagError> {
        for flag in self.table {
            let Some(name) = flag.environment else { continue };
            if self.given.contains_key(flag.name) {
                continue;
            }
            // An empty variable is how pod specs and CI templates leave one out.
            let Some(value) = variable(name).filter(|value| !value.is_empty()) else { continue };
            let values = flag.kind.check(&value).map_err(|reason| FlagError::InvalidVariable {
                variable: name,
                value: value.clone(),
                reason,
            })?;
            self.put(flag, values, format!("{name} (--{})", flag.name));
        }
        Ok(())
    }

    /// Moves values given under old names to the new ones; returns what to warn of.
    pub fn replace_deprecated(&mut self) -> Vec<String> {
        let mut warnings = Vec::new();
        for flag in self.table {
            let Support::Deprecated(new_name) = flag.support else { continue };
            // kaniko warns only of a value that says something.
            if let Some(given) = self.given.remove(flag.name)
                && given.values.iter().any(|value| !value.is_empty())
            {
                warnings.push(format!("Flag --{} is deprecated. Use: --{new_name}", flag.name));
                self.given.insert(new_name, given);
            }
        }
        warnings
    }

    /// The given flags whose work is not done yet, as errors name them, with the values that ask for it.
    pub fn refused(&self) -> Vec<String> {
        let asks = |flag: &&Flag| match (flag.support, self.given.get(flag.name)) {
            (Support::Later(harmless), Some(given)) => {
                given.values.iter().any(|value| !flag.kind.is_among(value, harmless))
            }
            _ => false,
        };
        self.table.iter().filter(asks).map(|flag| self.given[flag.name].origin.clone()).collect()
    }

    /// Whether the flag was given.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The value of a flag that takes one: as given last, or its default.
    pub fn text(&self, name: &str) -> &str {
        match self.given.get(name) {
            Some(given) => given.values.last().map_or("", String::as_str),
            None => self.table.iter().find(|flag| flag.name == name).map_or("", |flag| flag.default),
        }
    }

    /// The value, if the flag was given one that is not empty.
    pub fn non_empty(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|value| !value.is_empty())
    }

    /// The value of a bool.
    pub fn bool(&self, name: &str) -> bool {
        flag_value::parse_bool(self.text(name)) == Some(true)
    }

    /// The value of an integer.
    pub fn int(&self, name: &str) -> i64 {
        flag_value::parse_int(self.text(name)).unwrap_or_default()
    }

    /// All values of a list, in order.
    pub fn list(&self, name: &str) -> &[String] {
        self.given.get(name).map_or(&[], |given| &given.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Flag] = &[
        flag("destination", Kind::List, "").short('d'),
        flag("context", Kind::Text, "").short('c').default("/workspace/"),
        flag("cache", Kind::Bool, "").later(&["false"]),
        flag("quiet", Kind::Bool, "").short('q'),
        flag("debug", Kind::Bool, "").short('D'),
        flag("push-retry", Kind::Int, "").later(&["0"]),
        flag("cache-ttl", Kind::Duration, "").default("336h0m0s"),
        flag("target", Kind::CommaList, ""),
        flag("registry-mirror", Kind::List, "").environment("KANIKO_REGISTRY_MIRROR").later(&[]),
        flag("no-push", Kind::Bool, "").environment("KANIKO_NO_PUSH"),
        flag("tar-path", Kind::Text, ""),
        flag("tarPath", Kind::Text, "").deprecated_for("tar-path"),
        flag("label", Kind::KeyValues, ""),
    ];

    fn read(arguments: &[&str]) -> Result<Parsed, FlagError> {
        parse(TABLE, arguments.iter().map(|argument| (*argument).to_owned()))
    }

    #[test]
    fn takes_every_way_to_write_a_value() {
        for arguments in [
            &["--destination", "a/b"][..],
            &["--destination=a/b"],
            &["-d", "a/b"],
            &["-da/b"],
            &["-d=a/b"],
            &["-qd=a/b"],
        ] {
            assert_eq!(read(arguments).unwrap().list("destination"), ["a/b"], "{arguments:?}");
        }
        assert_eq!(read(&["--context="]).unwrap().text("context"), "");
        assert_eq!(read(&["--context", "--cache"]).unwrap().text("context"), "--cache");
        assert_eq!(read(&["-c="]).unwrap().text("context"), "=", "pflag wants a letter after -c=");
    }

    #[test]
    fn bools_take_a_value_only_after_an_equals_sign() {
        for (argument, expected) in [
            ("--cache", true),
            ("--cache=true", true),
            ("--cache=TRUE", true),
            ("--cache=t", true),
            ("--cache=1", true),
            ("--cache=f", false),
            ("--cache=0", false),
            ("--cache=False", false),
        ] {
            assert_eq!(read(&[argument]).unwrap().bool("cache"), expected, "{argument}");
        }
        let parsed = read(&["--cache", "false"]).unwrap();
        assert!(parsed.bool("cache"));
        assert_eq!(parsed.positional, ["false"]);
    }

    #[test]
    fn repeated_lists_append_and_of_scalars_the_last_wins() {
        let parsed =
            read(&["-d", "a", "--context=x", "-d", "b,c", "--context", "y", "--target=a,b"]).unwrap();
        assert_eq!(parsed.list("destination"), ["a", "b,c"]);
        assert_eq!(parsed.text("context"), "y");
        assert_eq!(parsed.list("target"), ["a", "b"]);
    }

    #[test]
    fn two_dashes_end_the_flags_and_one_dash_is_an_argument() {
        let parsed = read(&["-", "x", "--quiet", "--", "--cache", "-d"]).unwrap();
        assert_eq!(parsed.positional, ["-", "x", "--cache", "-d"]);
        assert!(parsed.bool("quiet") && !parsed.is_given("cache"));
    }

    #[test]
    fn errors_have_pflags_text() {
        for (arguments, expected) in [
            (&["--nope"][..], "unknown flag: --nope"),
            (&["--nope=1"], "unknown flag: --nope"),
            (&["--destination"], "flag needs an argument: --destination"),
            (&["-qd"], "flag needs an argument: 'd' in -qd"),
            (&["-qx"], "unknown shorthand flag: 'x' in -qx"),
            (&["---x"], "bad flag syntax: ---x"),
            (&["--=x"], "bad flag syntax: --=x"),
            (
                &["--cache=maybe"],
                r#"invalid argument "maybe" for "--cache" flag: strconv.ParseBool: parsing "maybe": invalid syntax"#,
            ),
            (
                &["--push-retry", "x"],
                r#"invalid argument "x" for "--push-retry" flag: strconv.ParseInt: parsing "x": invalid syntax"#,
            ),
            (
                &["--cache-ttl=5"],
                r#"invalid argument "5" for "--cache-ttl" flag: time: missing unit in duration "5""#,
            ),
            (
                &["--label", "novalue"],
                r#"invalid argument "novalue" for "--label" flag: invalid argument value. expect key=value, got novalue"#,
            ),
        ] {
            assert_eq!(read(arguments).unwrap_err().to_string(), expected, "{arguments:?}");
        }
    }

    #[test]
    fn variables_set_what_was_not_typed() {
        let variable = |name: &str| match name {
            "KANIKO_NO_PUSH" => Some("true".to_owned()),
            "KANIKO_REGISTRY_MIRROR" => Some(String::new()),
            _ => None,
        };
        let mut parsed = read(&[]).unwrap();
        parsed.fill_from_environment(variable).unwrap();
        assert!(parsed.bool("no-push"));
        assert!(!parsed.is_given("registry-mirror"), "an empty variable is none");

        let mut parsed = read(&["--no-push=false"]).unwrap();
        parsed.fill_from_environment(variable).unwrap();
        assert!(!parsed.bool("no-push"));

        let error = read(&[]).unwrap().fill_from_environment(|_| Some("perhaps".to_owned())).unwrap_err();
        assert!(error.to_string().contains("for KANIKO_NO_PUSH environment variable"), "{error}");
    }

    #[test]
    fn refuses_by_name_what_is_not_done_yet() {
        for (arguments, refused) in [
            (&[][..], &[][..]),
            (&["--cache=false", "--push-retry=0"], &[]),
            (&["--cache=F"], &[]),
            (&["--cache"], &["--cache"]),
            (&["--push-retry=3", "--cache"], &["--cache", "--push-retry"]),
        ] {
            assert_eq!(read(arguments).unwrap().refused(), refused, "{arguments:?}");
        }
        let mut parsed = read(&[]).unwrap();
        parsed
            .fill_from_environment(|name| (name == "KANIKO_REGISTRY_MIRROR").then(|| "mirror".to_owned()))
            .unwrap();
        assert_eq!(parsed.refused(), ["KANIKO_REGISTRY_MIRROR (--registry-mirror)"]);
    }

    #[test]
    fn old_names_count_as_the_new_ones_with_a_warning() {
        let mut parsed = read(&["--tarPath=/x.tar"]).unwrap();
        assert_eq!(parsed.replace_deprecated(), ["Flag --tarPath is deprecated. Use: --tar-path"]);
        assert_eq!(parsed.text("tar-path"), "/x.tar");
        assert!(read(&["--tarPath="]).unwrap().replace_deprecated().is_empty());
    }

    #[test]
    fn help_wins_over_what_follows() {
        for arguments in [&["--help", "--nope"][..], &["-h"], &["-qh"]] {
            assert!(read(arguments).unwrap().help, "{arguments:?}");
        }
    }
}
