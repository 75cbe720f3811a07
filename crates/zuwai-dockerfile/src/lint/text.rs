//! What the text alone shows: blank lines inside instructions, MAINTAINER, and comments that describe.

use super::{Linter, Rule};
use crate::ast::{ArgInstruction, Dockerfile, Instruction, InstructionKind};
use crate::directive;
use crate::source::{Source, Span};

pub(super) fn check(dockerfile: &Dockerfile, linter: &mut Linter<'_>) {
    empty_continuations(dockerfile, linter);
    let comments = Comments { source: &dockerfile.source, after: directive::lines(&dockerfile.source) };
    for arg in &dockerfile.meta_args {
        argument(&comments, &arg.arg, arg.span, linter);
    }
    for stage in &dockerfile.stages {
        if let Some(name) = &stage.from.name {
            description(&comments, "FROM", &[name.text.as_str()], stage.from.span, linter);
        }
        for instruction in &stage.instructions {
            match &instruction.kind {
                InstructionKind::Maintainer(_) => maintainer(instruction, linter),
                InstructionKind::Arg(arg) => argument(&comments, arg, instruction.span, linter),
                _ => {}
            }
        }
    }
}

/// The reader remembers from the first blank line to the instruction's last line, which is the one BuildKit names.
fn empty_continuations(dockerfile: &Dockerfile, linter: &mut Linter<'_>) {
    let source = &dockerfile.source;
    for found in &dockerfile.warnings {
        let blank = source.line_range(source.start(found.span).line);
        let last = source.line_range(source.position(found.span.end).line);
        let blank = Span::new(blank.start, blank.end.saturating_sub(1).max(blank.start));
        let last = Span::new(last.start, found.span.end as usize);
        linter.found(Rule::NoEmptyContinuation, blank, last, found.message.clone());
    }
}

fn maintainer(instruction: &Instruction, linter: &mut Linter<'_>) {
    let detail = "Maintainer instruction is deprecated in favor of using label".to_owned();
    linter.found(Rule::MaintainerDeprecated, instruction.keyword_span, instruction.span, detail);
}

fn argument(comments: &Comments<'_>, arg: &ArgInstruction, span: Span, linter: &mut Linter<'_>) {
    let names: Vec<&str> = arg.args.iter().map(|arg| arg.key.text.as_str()).collect();
    description(comments, "ARG", &names, span, linter);
}

/// A comment above a name begins with the name, so that `--call=outline` can show the rest as its description.
fn description(
    comments: &Comments<'_>,
    keyword: &str,
    names: &[&str],
    instruction: Span,
    linter: &mut Linter<'_>,
) {
    if !linter.wants(Rule::InvalidDefinitionDescription) {
        return;
    }
    let Some((comment, span)) = comments.before(instruction) else { return };
    if names.contains(&comment.split(' ').next().unwrap_or_default()) {
        return;
    }
    let name = match names {
        [name] => name,
        _ => "<arg_key>",
    };
    let detail = format!("Comment for {keyword} should follow the format: `# {name} <description>`");
    linter.found(Rule::InvalidDefinitionDescription, span, instruction, detail);
}

struct Comments<'a> {
    source: &'a Source,
    /// The number of the last line with a parser directive; those are no comments.
    after: usize,
}

impl<'a> Comments<'a> {
    /// The last comment before an instruction; blank lines between do not matter.
    fn before(&self, instruction: Span) -> Option<(&'a str, Span)> {
        let first = self.source.start(instruction).line;
        let mut above = (self.after + 1..first).rev();
        let number = above.find(|number| !self.source.line(*number).trim().is_empty())?;
        let line = self.source.line(number);
        let comment = line.trim_start().strip_prefix('#')?;
        let end = self.source.line_range(number).start + line.len();
        let start = end - comment.len() - 1;
        Some((comment.trim(), Span::new(start, end)))
    }
}
