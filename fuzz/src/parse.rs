//! The parser: any bytes give a tree or findings, with every span inside the text; what the tree holds of the text
//! means the same when it is parsed again.

use zuwai_dockerfile::ast::TransferSource;
use zuwai_dockerfile::limits::LINE_BYTES;
use zuwai_dockerfile::{
    Dockerfile, Expander, Instruction, InstructionKind, Stage, lint, parse, parse_onbuild,
};

use crate::input::Variables;
use crate::spans;

/// Checks one Dockerfile.
pub fn check(data: &[u8]) {
    match parse("Dockerfile", data) {
        Ok(dockerfile) => check_tree(&dockerfile),
        Err(errors) => {
            assert!(!errors.list.is_empty());
            errors.list.iter().for_each(|error| spans::check_diagnostic(error, &errors.source));
        }
    }
}

fn check_tree(dockerfile: &Dockerfile) {
    let source = &dockerfile.source;
    spans::check(&(&dockerfile.directives, &dockerfile.meta_args, &dockerfile.stages), source);
    dockerfile.warnings.iter().for_each(|warning| spans::check_diagnostic(warning, source));
    assert_eq!(parse(source.name(), source.text().as_bytes()).as_ref(), Ok(dockerfile));
    check_findings(dockerfile);
    for stage in &dockerfile.stages {
        for instruction in &stage.instructions {
            check_meaning(instruction, dockerfile);
            check_line(instruction, stage, dockerfile);
        }
    }
}

/// The build checks, on all stages and with nothing known of bases.
fn check_findings(dockerfile: &Dockerfile) {
    let inputs = lint::Inputs { all_stages: true, ..lint::Inputs::default() };
    let Ok(report) = lint::check(dockerfile, &inputs) else { return };
    for finding in &report.findings {
        spans::check(finding, &dockerfile.source);
        assert!(!finding.lines(&dockerfile.source).is_empty(), "{finding:?}");
    }
    if let Some(error) = &report.error {
        spans::check_diagnostic(error, &dockerfile.source);
    }
}

/// What an instruction means once variables are known.
fn check_meaning(instruction: &Instruction, dockerfile: &Dockerfile) {
    let expander = Expander::new(dockerfile.directives.escape);
    let variables: Variables = [("a", "1 2"), ("b", ""), ("path", "/x:/y")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    match instruction.resolve(&expander, &variables) {
        Ok(resolved) => spans::check(&resolved, &dockerfile.source),
        Err(error) => spans::check_diagnostic(&error, &dockerfile.source),
    }
    match &instruction.kind {
        InstructionKind::Run(run) => drop(run.script()),
        InstructionKind::Onbuild(onbuild) if dockerfile.directives.escape == '\\' => {
            let again = parse_onbuild("trigger", &onbuild.trigger);
            let again = again.unwrap_or_else(|error| panic!("{:?}: {error}", onbuild.trigger));
            assert_eq!(again.original, onbuild.instruction.original);
        }
        _ => {}
    }
}

/// The instruction's joined line, parsed as the only one between the FROM lines, is the same instruction.
fn check_line(instruction: &Instruction, stage: &Stage, dockerfile: &Dockerfile) {
    let mut lines: Vec<&str> = dockerfile.stages.iter().map(|stage| stage.from.original.as_str()).collect();
    lines.insert(stage.index + 1, &instruction.original);
    // An escape that ends up last by joining would join on; here-documents have their bodies below the line.
    let escape = dockerfile.directives.escape;
    let alone = |line: &&str| !line.ends_with(escape) && line.len() <= LINE_BYTES;
    if has_heredocs(instruction) || !lines.iter().all(alone) {
        return;
    }
    let text = format!("# escape={escape}\n{}\n", lines.join("\n"));
    let again = parse("line", text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let found = &again.stages[stage.index].instructions[0];
    assert_eq!(found.original, instruction.original, "{text:?}");
    assert_eq!(found.kind.keyword(), instruction.kind.keyword(), "{text:?}");
}

fn has_heredocs(instruction: &Instruction) -> bool {
    match &instruction.kind {
        InstructionKind::Run(run) => !run.heredocs.is_empty(),
        InstructionKind::Copy(copy) => any_heredoc(&copy.transfer.sources),
        InstructionKind::Add(add) => any_heredoc(&add.transfer.sources),
        InstructionKind::Onbuild(onbuild) => has_heredocs(&onbuild.instruction),
        _ => false,
    }
}

fn any_heredoc(sources: &[TransferSource]) -> bool {
    sources.iter().any(|source| matches!(source, TransferSource::Heredoc(_)))
}
