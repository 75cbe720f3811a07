//! Which program this is: one binary under several names.

/// A name the binary goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// kaniko's builder.
    Executor,
    /// kaniko's fetcher of base images.
    Warmer,
    /// Our own command.
    Zuwai,
}

impl Face {
    /// The face for a name in `argv[0]`, and where that is `zuwai`, a first argument that names another.
    /// The second value says whether the first argument is used up by that.
    pub fn of(program: &str, first: Option<&str>) -> (Self, bool) {
        let name = program.rsplit('/').next().unwrap_or(program);
        match (name, first) {
            ("executor", _) => (Self::Executor, false),
            ("warmer", _) => (Self::Warmer, false),
            // So that the faces can be had without links.
            (_, Some("executor" | "/kaniko/executor")) => (Self::Executor, true),
            (_, Some("warmer" | "/kaniko/warmer")) => (Self::Warmer, true),
            _ => (Self::Zuwai, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_and_then_the_first_argument() {
        for (program, first, expected) in [
            ("/kaniko/executor", None, (Face::Executor, false)),
            ("executor", Some("warmer"), (Face::Executor, false)),
            ("./warmer", Some("--image=x"), (Face::Warmer, false)),
            ("zuwai", Some("executor"), (Face::Executor, true)),
            ("zuwai", Some("warmer"), (Face::Warmer, true)),
            ("/usr/bin/zuwai", Some("build"), (Face::Zuwai, false)),
            ("anything", None, (Face::Zuwai, false)),
            ("", None, (Face::Zuwai, false)),
        ] {
            assert_eq!(Face::of(program, first), expected, "{program} {first:?}");
        }
    }
}
