//! `RUN --mount=`: fields as written, and the typed mount they become once variables are known.

use std::ops::Range;

use crate::ast::Word;
use crate::diagnostic::Diagnostic;
use crate::directive::parse_bool;
use crate::expand::{Expander, Lookup, NoVariables};
use crate::source::Span;
use crate::suggest::with_suggestion;

/// One `--mount=` flag as written: the fields of its comma separated value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountFlag {
    /// The whole flag.
    pub span: Span,
    /// The fields, in order.
    pub fields: Vec<MountField>,
}

/// `key=value` or `key` in a `--mount=` flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountField {
    /// The key in lower case.
    pub key: Word,
    /// The value after `=`, unexpanded.
    pub value: Option<Word>,
}

/// A mount with all its values known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The flag it comes from.
    pub span: Span,
    /// Where it appears: as written, relative to WORKDIR where not absolute. Empty means WORKDIR itself, but for
    /// secrets and SSH agents, which have a place of their own then.
    pub target: String,
    /// What it is.
    pub kind: MountKind,
}

/// Types of mounts with their own options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the context, a stage, an image or a named context.
    Bind {
        /// Stage, image or named context; the build context without it.
        from: Option<String>,
        /// The path inside it; empty means its root.
        source: String,
        /// Writes are refused (the default) or thrown away after the step.
        read_only: bool,
    },
    /// A directory that persists between builds.
    Cache {
        /// Its name; the cleaned target without it.
        id: Option<String>,
        /// What it starts with.
        from: Option<String>,
        /// The path inside `from`.
        source: String,
        /// Writes are refused.
        read_only: bool,
        /// Who may use it at the same time.
        sharing: Sharing,
        /// Mode of the directory when it is made; 0755 without it.
        mode: Option<u32>,
        /// Owner of the directory when it is made.
        uid: Option<u32>,
        /// Group of the directory when it is made.
        gid: Option<u32>,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// Upper bound in bytes; zero means none.
        size: u64,
    },
    /// A secret of the build, as a file, a variable or both.
    Secret {
        /// Its name: `id`, else `source`, else the last component of the target.
        id: String,
        /// The variable that takes it.
        env: Option<String>,
        /// A secret that is not there is an error.
        required: bool,
        /// Mode of the file; 0400 without it.
        mode: Option<u32>,
        /// Owner of the file.
        uid: Option<u32>,
        /// Group of the file.
        gid: Option<u32>,
    },
    /// An SSH agent's socket.
    Ssh {
        /// Its name; `default` without it.
        id: Option<String>,
        /// An agent that is not there is an error.
        required: bool,
        /// Mode of the socket; 0600 without it.
        mode: Option<u32>,
        /// Owner of the socket.
        uid: Option<u32>,
        /// Group of the socket.
        gid: Option<u32>,
    },
}

/// `sharing=` of a cache mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Any number of writers.
    #[default]
    Shared,
    /// Every writer has its own.
    Private,
    /// One writer at a time.
    Locked,
}

/// Everything a mount may be called with, before its type decides what of it counts.
#[derive(Default)]
struct Options {
    kind: Option<Kind>,
    from: Option<String>,
    source: Option<String>,
    target: String,
    read_only: Option<bool>,
    required: bool,
    size: u64,
    id: Option<String>,
    sharing: Option<Sharing>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    env: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bind,
    Cache,
    Secret,
    Ssh,
    Tmpfs,
}

impl Kind {
    const ALL: [(&'static str, Kind); 5] = [
        ("bind", Kind::Bind),
        ("cache", Kind::Cache),
        ("secret", Kind::Secret),
        ("ssh", Kind::Ssh),
        ("tmpfs", Kind::Tmpfs),
    ];

    fn name(self) -> &'static str {
        Kind::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

const SHARING: [(&str, Sharing); 3] =
    [("shared", Sharing::Shared), ("private", Sharing::Private), ("locked", Sharing::Locked)];

const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

impl MountFlag {
    /// Reads a flag's value. What can be said without knowing variables is checked at once.
    pub(crate) fn read(value: &Word, span: Span) -> Result<MountFlag, Diagnostic> {
        let fields = if value.text.is_empty() { Err("EOF".to_owned()) } else { csv_fields(&value.text) };
        let fields = fields.map_err(|error| {
            Diagnostic::error(value.span, format!("failed to parse csv mounts: {error}"))
                .with_help("write --mount=type=TYPE,key=value,...")
        })?;
        // A value without quotes and continuations stands in the source as it is.
        let exact = (value.span.end - value.span.start) as usize == value.text.len();
        let place = |start: usize, end: usize| {
            if exact {
                Span::new(value.span.start as usize + start, value.span.start as usize + end)
            } else {
                value.span
            }
        };
        let mut flag = MountFlag { span, fields: Vec::with_capacity(fields.len()) };
        for (field, range) in fields {
            let (key, field_value) = match field.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (field.as_str(), None),
            };
            let exact_field = range.len() == field.len();
            let key_end = if exact_field { range.start + key.len() } else { range.end };
            let value_start = if exact_field { (key_end + 1).min(range.end) } else { range.start };
            flag.fields.push(MountField {
                key: Word { text: key.to_ascii_lowercase(), span: place(range.start, key_end) },
                value: field_value
                    .map(|text| Word { text: text.to_owned(), span: place(value_start, range.end) }),
            });
        }
        if let Some(from) = flag.from()
            && from.text.find('$').is_some_and(|at| at + 1 < from.text.len())
        {
            return Err(Diagnostic::error(
                from.span,
                "'from' doesn't support variable expansion, define alias stage instead",
            )
            .with_help("before this stage: FROM ${NAME} AS source; then write from=source"));
        }
        let variables = flag.fields.iter().filter_map(|field| field.value.as_ref());
        if !variables.clone().any(|value| value.text.contains(['$', '"', '\'', '\\', '`'])) {
            flag.resolve(&Expander::new('\\'), &NoVariables)?;
        }
        Ok(flag)
    }

    /// The value of `from=`, which takes no variables and is known without expansion.
    pub fn from(&self) -> Option<&Word> {
        self.fields
            .iter()
            .rev()
            .find(|field| field.key.text == "from")
            .and_then(|field| field.value.as_ref())
            .filter(|value| !value.text.is_empty())
    }

    /// The typed mount, with variables of its values expanded.
    pub fn resolve(&self, expander: &Expander, lookup: &dyn Lookup) -> Result<Mount, Diagnostic> {
        let mut options = Options::default();
        for field in &self.fields {
            match &field.value {
                None => options.set_switch(&field.key)?,
                Some(value) => {
                    let expanded = expander
                        .word(&value.text, lookup)
                        .map_err(|error| Diagnostic::error(value.span, error.to_string()))?;
                    options.set(&field.key, &Word { text: expanded, span: value.span })?;
                }
            }
        }
        options.into_mount(self.span)
    }
}

impl Options {
    fn kind(&self) -> Kind {
        self.kind.unwrap_or(Kind::Bind)
    }

    fn set_switch(&mut self, key: &Word) -> Result<(), Diagnostic> {
        match key.text.as_str() {
            "readonly" | "ro" => self.read_only = Some(true),
            "readwrite" | "rw" => self.read_only = Some(false),
            "required" => {
                self.only_for(key, &[Kind::Secret, Kind::Ssh])?;
                self.required = true;
            }
            _ => {
                return Err(Diagnostic::error(
                    key.span,
                    format!("invalid field '{}' must be a key=value pair", key.text),
                )
                .with_help("only readonly, readwrite and required may stand alone"));
            }
        }
        Ok(())
    }

    /// Refuses an option that another type has. The type counts as far as it is known when the option comes.
    fn only_for(&self, key: &Word, kinds: &[Kind]) -> Result<(), Diagnostic> {
        if kinds.contains(&self.kind()) {
            return Ok(());
        }
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        Err(Diagnostic::error(
            key.span,
            format!("unexpected key '{}' for mount type '{}'", key.text, self.kind().name()),
        )
        .with_help(format!("write type={} before it", names.join(" or type="))))
    }

    fn set(&mut self, key: &Word, value: &Word) -> Result<(), Diagnostic> {
        let text = value.text.as_str();
        let wrong = |message: String| Diagnostic::error(value.span, message);
        let boolean =
            || parse_bool(text).ok_or_else(|| wrong(format!("invalid value for {}: {text}", key.text)));
        let number = || {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u32>()
                .ok()
                .filter(|_| digits)
                .ok_or_else(|| wrong(format!("invalid value {text} for {}", key.text)))
        };
        match key.text.as_str() {
            "type" => {
                let names = Kind::ALL.map(|(name, _)| name);
                let found = Kind::ALL.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
                self.kind = Some(found.map(|(_, kind)| *kind).ok_or_else(|| {
                    wrong(with_suggestion(format!("unsupported mount type {text:?}"), text, &names))
                        .with_help(format!("one of: {}", names.join(", ")))
                })?);
            }
            "from" => self.from = Some(text.to_owned()).filter(|from| !from.is_empty()),
            "source" | "src" => self.source = Some(text.to_owned()),
            "target" | "dst" | "destination" => text.clone_into(&mut self.target),
            "readonly" | "ro" => self.read_only = Some(boolean()?),
            "readwrite" | "rw" => self.read_only = Some(!boolean()?),
            "required" => {
                self.only_for(key, &[Kind::Secret, Kind::Ssh])?;
                self.required = boolean()?;
            }
            "size" => {
                self.only_for(key, &[Kind::Tmpfs])?;
                self.size = ram_in_bytes(text).ok_or_else(|| {
                    wrong(format!("invalid value for {}: {text}", key.text))
                        .with_help("write bytes, or a number with k, m or g")
                })?;
            }
            "id" => self.id = Some(text.to_owned()).filter(|id| !id.is_empty()),
            "sharing" => {
                let names = SHARING.map(|(name, _)| name);
                let found = SHARING.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
                self.sharing = Some(found.map(|(_, sharing)| *sharing).ok_or_else(|| {
                    wrong(with_suggestion(format!("unsupported sharing value {text:?}"), text, &names))
                        .with_help(format!("one of: {}", names.join(", ")))
                })?);
            }
            "mode" => {
                let octal = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
                let mode = u32::from_str_radix(text, 8).ok().filter(|_| octal).ok_or_else(|| {
                    wrong(format!("invalid value {text} for mode")).with_help("write an octal number")
                })?;
                self.mode = Some(mode);
            }
            "uid" => self.uid = Some(number()?),
            "gid" => self.gid = Some(number()?),
            "env" => self.env = Some(text.to_owned()),
            other => {
                let message =
                    with_suggestion(format!("unexpected key '{other}' in '{other}={text}'"), other, &KEYS);
                return Err(
                    Diagnostic::error(key.span, message).with_help(format!("one of: {}", KEYS.join(", ")))
                );
            }
        }
        Ok(())
    }

    fn into_mount(self, span: Span) -> Result<Mount, Diagnostic> {
        let kind = self.kind();
        let wrong = |message: String| Err(Diagnostic::error(span, message));
        if !matches!(kind, Kind::Secret | Kind::Ssh | Kind::Cache) {
            let given = [("mode", self.mode), ("uid", self.uid), ("gid", self.gid)];
            if let Some((name, _)) = given.iter().find(|(_, value)| value.is_some()) {
                return wrong(format!("{name} not allowed for {:?} type mounts", kind.name()));
            }
        }
        if self.sharing.is_some() && kind != Kind::Cache {
            return wrong(format!("invalid cache sharing set for {} mount", kind.name()));
        }
        if kind == Kind::Secret {
            if self.from.is_some() {
                return wrong("secret mount should not have a from".to_owned());
            }
            if self.source.is_none() && self.target.is_empty() && self.id.is_none() {
                return wrong("invalid secret mount. one of source, target required".to_owned());
            }
            if self.source.is_some() && self.id.is_some() {
                return wrong("both source and id can't be set".to_owned());
            }
        }
        let root =
            self.target.starts_with('/') && self.target.split('/').all(|part| matches!(part, "" | "."));
        if root {
            return Err(Diagnostic::error(span, "invalid mount target \"/\"")
                .with_help("mount it on a directory below the root"));
        }
        let source = self.source.clone().unwrap_or_default();
        let (mode, uid, gid) = (self.mode, self.uid, self.gid);
        let kind = match kind {
            Kind::Bind => {
                MountKind::Bind { from: self.from, source, read_only: self.read_only.unwrap_or(true) }
            }
            Kind::Cache => MountKind::Cache {
                id: self.id,
                from: self.from,
                source,
                read_only: self.read_only.unwrap_or(false),
                sharing: self.sharing.unwrap_or_default(),
                mode,
                uid,
                gid,
            },
            Kind::Tmpfs => MountKind::Tmpfs { size: self.size },
            Kind::Secret => {
                let base =
                    self.target.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
                let id = self.id.or(self.source).unwrap_or(base);
                MountKind::Secret { id, env: self.env, required: self.required, mode, uid, gid }
            }
            Kind::Ssh => MountKind::Ssh { id: self.id, required: self.required, mode, uid, gid },
        };
        Ok(Mount { span, target: self.target, kind })
    }
}

/// A size as Go's `units.RAMInBytes` reads it: a number, perhaps with a fraction, and a unit of powers of 1024.
fn ram_in_bytes(text: &str) -> Option<u64> {
    let digits = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let letter = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let shift = match letter {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    // Whole bytes; a float beyond the range saturates, and is refused then.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let bytes = (number * (1_u64 << shift) as f64) as u64;
    i64::try_from(bytes).ok().map(|_| bytes)
}

/// The fields of one line of comma separated values, each with its range in the text.
pub(crate) fn csv_fields(text: &str) -> Result<Vec<(String, Range<usize>)>, String> {
    let mut fields = Vec::new();
    let mut place = 0;
    loop {
        let rest = &text[place..];
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut field = String::new();
            let mut from = 0;
            let end = loop {
                let at = quoted[from..]
                    .find('"')
                    .map(|at| from + at)
                    .ok_or_else(|| "extraneous or missing \" in quoted-field".to_owned())?;
                field.push_str(&quoted[from..at]);
                if !quoted[at + 1..].starts_with('"') {
                    break at;
                }
                field.push('"');
                from = at + 2;
            };
            let after = place + 1 + end + 1;
            fields.push((field, place..after));
            match text[after..].chars().next() {
                None => return Ok(fields),
                Some(',') => place = after + 1,
                Some(_) => return Err("extraneous or missing \" in quoted-field".to_owned()),
            }
        } else {
            let length = rest.find(',').unwrap_or(rest.len());
            let field = &rest[..length];
            if field.contains('"') {
                return Err("bare \" in non-quoted-field".to_owned());
            }
            fields.push((field.to_owned(), place..place + length));
            if length == rest.len() {
                return Ok(fields);
            }
            place += length + 1;
        }
    }
}
