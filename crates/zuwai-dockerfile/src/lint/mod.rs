//! BuildKit's build checks, under its names and in its words.
//!
//! [`check`] takes a Dockerfile and what is known of the build, and gives what it finds. Some checks look at the text, some
//! at FROM lines of all stages, some go through the instructions of each stage that is looked at with its variables at
//! hand, as the build itself would. Where a base image's environment is not known, a variable that nobody sets may be the
//! image's: it is reported only where a name that is set is nearly the same.
//!
//! - [`rule`], [`finding`]: names, texts, places
//! - [`config`]: `# check=` and the build argument that stands in for it
//! - [`inputs`]: what a check may know of a build
//! - `text`, `casing`, `names`: checks of the text and of all stages together
//! - `from`: checks of FROM lines
//! - `reach`: which stages are looked at
//! - `stage`, `scope`: a stage's instructions one after the other, and the variables they see
//! - `variables`, `commands`, `secrets`, `expose`, `transfer`: checks of one instruction

mod casing;
mod commands;
pub mod config;
mod expose;
pub mod finding;
mod from;
pub mod inputs;
mod names;
mod reach;
pub mod rule;
mod scope;
mod secrets;
mod stage;
mod text;
mod transfer;
mod variables;

pub use config::CONFIG_ARG;
pub use finding::Finding;
pub use inputs::{BaseImage, Inputs, PlatformMismatch};
pub use rule::Rule;

use crate::ast::{Check, Dockerfile};
use crate::diagnostic::Diagnostic;
use crate::source::Span;

/// What checking a Dockerfile gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What was found, in the order of BuildKit's checks.
    pub findings: Vec<Finding>,
    /// The mistake that would stop the build, and that stopped the checks.
    pub error: Option<Diagnostic>,
    /// Findings fail the build.
    pub fails: bool,
}

impl Report {
    /// Why the build fails, if `error=true` was asked for and there are findings. (BuildKit names the rules in no
    /// particular order; here it is that of their first findings.)
    pub fn violation(&self) -> Option<String> {
        if !self.fails || self.findings.is_empty() {
            return None;
        }
        let mut names: Vec<&str> = Vec::new();
        for finding in &self.findings {
            if !names.contains(&finding.rule.name()) {
                names.push(finding.rule.name());
            }
        }
        Some(format!("lint violation found for rules: {}", names.join(", ")))
    }

    /// The findings as warnings, in the order of their places.
    pub fn warnings(&self) -> Vec<Diagnostic> {
        let mut warnings: Vec<Diagnostic> = self.findings.iter().map(Finding::diagnostic).collect();
        warnings.sort_by_key(|warning| warning.span.start);
        warnings
    }
}

/// Checks a Dockerfile.
///
/// # Errors
/// When the build argument `BUILDKIT_DOCKERFILE_CHECK` cannot be read; the text says why.
pub fn check(dockerfile: &Dockerfile, inputs: &Inputs<'_>) -> Result<Report, String> {
    let given = inputs.build_args.get(CONFIG_ARG);
    let config = given.map(|text| config::from_build_arg(text)).transpose()?;
    let config = config.unwrap_or_else(|| dockerfile.directives.check.clone());
    let mut linter = Linter { config: &config, findings: Vec::new() };
    text::check(dockerfile, &mut linter);
    casing::names(dockerfile, &mut linter);
    names::check(dockerfile, &mut linter);
    casing::keywords(dockerfile, &mut linter);
    let error = from::check(dockerfile, inputs, &mut linter)
        .and_then(|lines| stage::check(dockerfile, inputs, &lines, &mut linter))
        .err();
    Ok(Report { findings: linter.findings, error, fails: config.error })
}

/// Takes findings and leaves out those of checks that are not wanted.
struct Linter<'a> {
    config: &'a Check,
    findings: Vec<Finding>,
}

impl Linter<'_> {
    /// As BuildKit: what is skipped is skipped by the exact name, and experimental checks only know whether they were
    /// asked for.
    fn wants(&self, rule: Rule) -> bool {
        let named = |names: &[String]| names.iter().any(|name| name == rule.name());
        if rule.is_experimental() {
            self.config.experimental_all || named(&self.config.experimental)
        } else {
            !self.config.skip_all && !named(&self.config.skip)
        }
    }

    fn found(&mut self, rule: Rule, span: Span, instruction: Span, detail: String) {
        if self.wants(rule) {
            self.findings.push(Finding { rule, detail, span, instruction });
        }
    }
}
