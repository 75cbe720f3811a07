//! The argument of `--chmod`.

/// What `--chmod` does to a mode: an octal number replaces it, symbolic clauses (`u=rwX,go=rX`) change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModeChange {
    /// Replaces the whole mode, `0o7777` at most.
    Octal(u32),
    /// Changes parts of it, action by action.
    Symbolic(Vec<Action>),
}

/// One action of a symbolic mode, such as the `g-w` of `g-w+x,o=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    /// The permission bits of whom it is about, `u`, `g` and `o`, as a mask of `0o777`.
    who: u32,
    operator: Operator,
    permissions: Permissions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Set,
}

/// The right side of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permissions {
    /// Letters such as `rwX`.
    Letters(Letters),
    /// `u`, `g` or `o`: what that one has, as the distance of its bits from the lowest.
    Of(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Letters {
    /// `r`, `w`, `x` as the lowest three bits.
    bits: u32,
    /// `X`: execute for directories, and for what somebody may execute already.
    search: bool,
    /// `s`: set-user-ID and set-group-ID, where `u` and `g` are meant.
    set_id: bool,
    /// `t`
    sticky: bool,
}

/// Why text is not a mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid mode {0:?}: it has to be octal, at most 7777, or symbolic such as \"u=rwX,go=rX\"")]
pub struct ModeError(pub String);

const EVERYBODY: u32 = 0o777;

impl ModeChange {
    /// Reads the argument of `--chmod`. Nothing at all changes nothing.
    ///
    /// # Errors
    /// When it is neither an octal number up to 7777 nor a symbolic mode.
    pub fn parse(text: &str) -> Result<Self, ModeError> {
        let error = || ModeError(text.to_owned());
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let octal = text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o7777);
            return mode.map(Self::Octal).ok_or_else(error);
        }
        let mut actions = Vec::new();
        if text.is_empty() {
            return Ok(Self::Symbolic(actions));
        }
        for clause in text.split(',') {
            parse_clause(clause, &mut actions).ok_or_else(error)?;
        }
        Ok(Self::Symbolic(actions))
    }

    /// The new permission bits of something that has `mode`.
    #[must_use]
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Self::Octal(new) => *new,
            Self::Symbolic(actions) => {
                let search = is_directory || mode & 0o111 != 0;
                actions.iter().fold(mode & 0o7777, |mode, action| action.apply(mode, search))
            }
        }
    }

    /// The mode of directories that are made on the way to the destination: a number without its special bits counts
    /// for them too, symbolic changes do not (as BuildKit has it).
    pub(crate) fn for_created_parents(&self) -> u32 {
        match self {
            Self::Octal(mode) => mode & 0o777,
            Self::Symbolic(_) => 0o755,
        }
    }
}

/// Reads one clause: whom, then any number of actions.
fn parse_clause(clause: &str, actions: &mut Vec<Action>) -> Option<()> {
    let start = clause.find(['+', '-', '='])?;
    let mut who = 0;
    for letter in clause[..start].chars() {
        who |= match letter {
            'u' => 0o700,
            'g' => 0o070,
            'o' => 0o007,
            'a' => EVERYBODY,
            _ => return None,
        };
    }
    // No umask here: nobody named is everybody.
    let who = if who == 0 { EVERYBODY } else { who };
    let mut rest = &clause[start..];
    while let Some(sign) = rest.chars().next() {
        let operator = match sign {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            _ => Operator::Set,
        };
        let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |end| end + 1);
        parse_permissions(who, operator, &rest[1..end], actions)?;
        rest = &rest[end..];
    }
    Some(())
}

/// Reads the right side of an operator. A `u`, `g` or `o` in it is an action of its own, as in BSD's `setmode`.
fn parse_permissions(who: u32, operator: Operator, text: &str, actions: &mut Vec<Action>) -> Option<()> {
    let mut letters = Letters::default();
    let mut copies = Vec::new();
    for letter in text.chars() {
        match letter {
            'r' => letters.bits |= 4,
            'w' => letters.bits |= 2,
            'x' => letters.bits |= 1,
            'X' => letters.search = true,
            's' => letters.set_id = true,
            't' => letters.sticky = true,
            'u' => copies.push(6),
            'g' => copies.push(3),
            'o' => copies.push(0),
            _ => return None,
        }
    }
    let mut operator = operator;
    if copies.is_empty() || letters != Letters::default() {
        actions.push(Action { who, operator, permissions: Permissions::Letters(letters) });
        operator = if operator == Operator::Set { Operator::Add } else { operator };
    }
    for shift in copies {
        actions.push(Action { who, operator, permissions: Permissions::Of(shift) });
        operator = if operator == Operator::Set { Operator::Add } else { operator };
    }
    Some(())
}

impl Action {
    /// `search` says whether `X` means anything: for directories, and for what somebody could execute at first.
    fn apply(self, mode: u32, search: bool) -> u32 {
        let (value, cleared) = match self.permissions {
            Permissions::Of(shift) => ((((mode >> shift) & 7) * 0o111) & self.who, self.who),
            Permissions::Letters(letters) => {
                (letters.value(self.who, search), self.who | set_id_bits(self.who))
            }
        };
        match self.operator {
            Operator::Add => mode | value,
            Operator::Remove => mode & !value,
            Operator::Set => (mode & !cleared) | value,
        }
    }
}

impl Letters {
    fn value(self, who: u32, search: bool) -> u32 {
        let execute = u32::from(self.search && search);
        let mut value = ((self.bits | execute) * 0o111) & who;
        if self.set_id {
            value |= set_id_bits(who);
        }
        // The sticky bit is nothing of others' alone.
        if self.sticky && who != 0o007 {
            value |= 0o1000;
        }
        value
    }
}

/// Set-user-ID and set-group-ID, as far as they go with whom an action is about.
fn set_id_bits(who: u32) -> u32 {
    (if who & 0o700 == 0 { 0 } else { 0o4000 }) | (if who & 0o070 == 0 { 0 } else { 0o2000 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a real BuildKit made of a file of mode 4755, one of 0640, and a directory of 0755.
    const TABLE: &[(&str, u32, u32, u32)] = &[
        ("u=rw", 0o0655, 0o0640, 0o0655),
        ("a=r", 0o0444, 0o0444, 0o0444),
        ("g=u", 0o4775, 0o0660, 0o0775),
        ("o=g", 0o4755, 0o0644, 0o0755),
        ("g+s", 0o6755, 0o2640, 0o2755),
        ("o+s", 0o4755, 0o0640, 0o0755),
        ("+s", 0o6755, 0o6640, 0o6755),
        ("=", 0, 0, 0),
        ("u=", 0o0055, 0o0040, 0o0055),
        ("ug+w", 0o4775, 0o0660, 0o0775),
        ("u+x-w", 0o4555, 0o0540, 0o0555),
        ("u=rwX,go=rX", 0o0755, 0o0644, 0o0755),
        ("a=rwxst", 0o7777, 0o7777, 0o7777),
        ("o=u-w", 0o4755, 0o0644, 0o0755),
        ("u=rwx,u-s", 0o0755, 0o0740, 0o0755),
        ("755", 0o0755, 0o0755, 0o0755),
        ("0", 0, 0, 0),
        ("07777", 0o7777, 0o7777, 0o7777),
        ("", 0o4755, 0o0640, 0o0755),
        ("+", 0o4755, 0o0640, 0o0755),
        ("go-", 0o4755, 0o0640, 0o0755),
        ("a-x+X", 0o4755, 0o0640, 0o0755),
        ("o+t", 0o4755, 0o0640, 0o0755),
        ("u+t", 0o5755, 0o1640, 0o1755),
        ("+t", 0o5755, 0o1640, 0o1755),
        ("go=", 0o4700, 0o0600, 0o0700),
        ("g=s", 0o6705, 0o2600, 0o2705),
        ("u-s", 0o0755, 0o0640, 0o0755),
        ("=rwx", 0o0777, 0o0777, 0o0777),
        ("u=g=o", 0o4555, 0o0040, 0o0555),
        ("u=rX,g=", 0o0505, 0o0400, 0o0505),
        ("u+u", 0o4755, 0o0640, 0o0755),
        ("-X", 0o4644, 0o0640, 0o0644),
        ("=X", 0o0111, 0o0000, 0o0111),
        ("u+gx", 0o4755, 0o0740, 0o0755),
    ];

    #[test]
    fn modes_change_as_buildkit_changes_them() {
        for (text, executable, plain, directory) in TABLE {
            let change = ModeChange::parse(text).unwrap();
            assert_eq!(change.apply(0o4755, false), *executable, "{text} on a file of 4755");
            assert_eq!(change.apply(0o0640, false), *plain, "{text} on a file of 0640");
            assert_eq!(change.apply(0o0755, true), *directory, "{text} on a directory");
        }
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for text in ["10000", "8", "0x1", "+z", "u+z", "X", "t", "u", "1u+x", "u+x,", ",", "77 ", "é=x"] {
            assert_eq!(ModeChange::parse(text), Err(ModeError(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn created_parents_take_numbers_only() {
        assert_eq!(ModeChange::parse("4711").unwrap().for_created_parents(), 0o711);
        assert_eq!(ModeChange::parse("a-w").unwrap().for_created_parents(), 0o755);
    }
}
