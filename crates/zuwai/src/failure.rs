//! How the program ends when it did not do its work: what is printed, and the exit code.
//!
//! First the place in the Dockerfile, if there is one, with its lines; then what failed and its causes; then what the
//! user can do. An error that is explained by its cause does not repeat it, so the whole chain is printed.

use std::error::Error;
use std::fmt::Write as _;

use zuwai_build::BuildError;
use zuwai_build::hint::RootDir;

use crate::error::ProgramError;

/// The end of a run that failed.
#[derive(Debug)]
pub struct Failure {
    error: Box<dyn Error + Send + Sync>,
    doing: Option<&'static str>,
    hint: Option<String>,
    exit_code: u8,
}

impl Failure {
    /// What came of a command line; `hint` says where to read how it is typed right, and is given where it was typed
    /// wrong.
    pub fn usage(error: ProgramError, hint: String) -> Self {
        let hint = error.hint().or(error.is_about_typing().then_some(hint));
        Self { hint, ..error.into() }
    }

    /// Says what was being done.
    pub fn during(mut self, doing: &'static str) -> Self {
        self.doing = Some(doing);
        self
    }

    /// What came of a build that kept its files in `root_dir`.
    pub fn of_build(error: BuildError, root_dir: RootDir<'_>) -> Self {
        let exit_code = u8::try_from(error.exit_code()).ok().filter(|code| *code != 0).unwrap_or(1);
        let hint = error.hint(root_dir);
        Self { error: Box::new(error), doing: None, hint, exit_code }
    }

    /// Whether a stage could not be built.
    pub fn is_of_stage(&self) -> bool {
        let error = self.error.downcast_ref();
        matches!(
            error,
            Some(BuildError::Step { .. } | BuildError::Trigger { .. } | BuildError::Unpack { .. })
        )
    }

    /// Ends the program with another code.
    pub fn with_exit_code(mut self, code: u8) -> Self {
        self.exit_code = code;
        self
    }

    /// The exit code: that of a RUN that failed, else 1.
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// What standard error gets.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut chain = Vec::new();
        let mut next: Option<&dyn Error> = Some(&*self.error);
        while let Some(error) = next {
            let message = error.to_string();
            next = error.source();
            // A message of several lines shows a place in the Dockerfile. It comes first, as it is; below it stands
            // what happened there.
            if message.trim_end().contains('\n') {
                let _ = writeln!(text, "{}\n", message.trim_end());
                if next.is_some() {
                    continue;
                }
                chain.extend(message.lines().next().map(str::to_owned));
            } else if !chain.last().is_some_and(|last| last.ends_with(&message)) {
                // Some errors of libraries have their cause in their message already.
                chain.push(message);
            }
        }
        // In one line with its causes, as kaniko wrote it and people search for it.
        let _ = writeln!(text, "{}: {}", self.doing.unwrap_or("error"), chain.join(": "));
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "hint: {hint}");
        }
        text
    }
}

impl From<ProgramError> for Failure {
    fn from(error: ProgramError) -> Self {
        let hint = error.hint();
        Self { error: Box::new(error), doing: None, hint, exit_code: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_chain_is_printed_and_then_the_hint() {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        let error = ProgramError::Context { path: "/nowhere".into(), source };
        let failure = Failure::from(error).during("error building image");
        assert_eq!(
            failure.text(),
            "error building image: cannot use /nowhere as the build context: entity not found\n\
             hint: mount or copy the context there, or give another directory\n"
        );
        assert_eq!(failure.exit_code(), 1);
    }

    #[test]
    fn a_place_in_the_dockerfile_comes_first() {
        #[derive(Debug, thiserror::Error)]
        #[error("Dockerfile:2:1: error: RUN failed\n 2 | RUN false\n   | ^^^^^^^^^")]
        struct Place(#[source] std::io::Error);
        let failure = |error: Box<dyn Error + Send + Sync>| Failure {
            error,
            doing: Some("error building image"),
            hint: None,
            exit_code: 3,
        };
        assert_eq!(
            failure(Box::new(Place(std::io::Error::other("exit status 3")))).text(),
            "Dockerfile:2:1: error: RUN failed\n 2 | RUN false\n   | ^^^^^^^^^\n\n\
             error building image: exit status 3\n"
        );
        assert_eq!(
            failure("Dockerfile:1:1: unknown instruction\n 1 | FOO".into()).text(),
            "Dockerfile:1:1: unknown instruction\n 1 | FOO\n\n\
             error building image: Dockerfile:1:1: unknown instruction\n"
        );
    }

    #[test]
    fn a_command_typed_wrong_says_where_to_read_on() {
        let error = ProgramError::Flag(crate::pflag::FlagError::UnknownFlag("x".to_owned()));
        let failure = Failure::usage(error, "Run 'executor --help' for usage.".to_owned());
        assert_eq!(failure.text(), "error: unknown flag: --x\nhint: Run 'executor --help' for usage.\n");
    }
}
