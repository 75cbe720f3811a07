//! Trees of whole Dockerfiles, pinned. `tests/dockerfiles/` holds the inputs, `snapshots/` the trees; a new input makes
//! its snapshot with `INSTA_UPDATE=always`.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use zuwai_dockerfile::ast::{
    ArgInstruction, CommandLine, HealthcheckInstruction, OnbuildInstruction, Transfer, TransferSource,
};
use zuwai_dockerfile::heredoc::Heredoc;
use zuwai_dockerfile::{Diagnostics, Dockerfile, Instruction, InstructionKind, Source, Span, Word, parse};

#[test]
fn trees_are_as_pinned() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dockerfiles");
    let mut names: Vec<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() >= 40, "only {} Dockerfiles", names.len());
    for name in names {
        let mut bytes = Vec::new();
        std::fs::File::open(directory.join(&name)).unwrap().read_to_end(&mut bytes).unwrap();
        let tree = match parse(&name, &bytes) {
            Ok(dockerfile) => Tree::of(&dockerfile),
            Err(error) => mistakes(&error),
        };
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, tree);
        });
    }
}

fn mistakes(error: &Diagnostics) -> String {
    error.to_string()
}

/// A tree as indented text: one line a node, each with its place as `line:column-line:column`.
struct Tree<'a> {
    source: &'a Source,
    text: String,
}

impl Tree<'_> {
    fn of(dockerfile: &Dockerfile) -> String {
        let mut tree = Tree { source: &dockerfile.source, text: String::new() };
        let directives = &dockerfile.directives;
        if let Some(syntax) = &directives.syntax {
            tree.word(0, "syntax", syntax);
        }
        if directives.escape != '\\' {
            tree.line(0, &format!("escape {}", directives.escape));
        }
        if directives.check != zuwai_dockerfile::ast::Check::default() {
            tree.line(0, &format!("{:?}", directives.check));
        }
        for arg in &dockerfile.meta_args {
            tree.node(0, "ARG", arg.span);
            tree.arg(1, &arg.arg);
        }
        for stage in &dockerfile.stages {
            tree.node(0, &format!("stage {}", stage.index), stage.from.span);
            tree.word(1, "image", &stage.from.image);
            tree.optional(1, "platform", stage.from.platform.as_ref());
            tree.optional(1, "name", stage.from.name.as_ref());
            for instruction in &stage.instructions {
                tree.instruction(1, instruction);
            }
        }
        tree.text
    }

    fn line(&mut self, depth: usize, text: &str) {
        let _ = writeln!(self.text, "{}{text}", "  ".repeat(depth));
    }

    fn place(&self, span: Span) -> String {
        let (start, end) = (self.source.position(span.start), self.source.position(span.end));
        format!("{}:{}-{}:{}", start.line, start.column, end.line, end.column)
    }

    fn node(&mut self, depth: usize, label: &str, span: Span) {
        let place = self.place(span);
        self.line(depth, &format!("{label} @{place}"));
    }

    fn word(&mut self, depth: usize, label: &str, word: &Word) {
        // A word that is not what stands in the source is shown with both.
        let written = self.source.slice(word.span);
        let written = if written == word.text { String::new() } else { format!(" from {written:?}") };
        let place = self.place(word.span);
        self.line(depth, &format!("{label} {:?}{written} @{place}", word.text));
    }

    fn optional(&mut self, depth: usize, label: &str, word: Option<&Word>) {
        if let Some(word) = word {
            self.word(depth, label, word);
        }
    }

    fn words(&mut self, depth: usize, label: &str, words: &[Word]) {
        for word in words {
            self.word(depth, label, word);
        }
    }

    fn arg(&mut self, depth: usize, arg: &ArgInstruction) {
        for one in &arg.args {
            self.word(depth, "name", &one.key);
            self.optional(depth + 1, "default", one.default.as_ref());
        }
    }

    fn command(&mut self, depth: usize, command: &CommandLine) {
        match command {
            CommandLine::Shell(word) => self.word(depth, "shell", word),
            CommandLine::Exec(words) => {
                self.line(depth, "exec");
                self.words(depth + 1, "word", words);
            }
        }
    }

    fn heredoc(&mut self, depth: usize, heredoc: &Heredoc) {
        let Heredoc { name, content, expand, chomp, file_descriptor, span, content_span } = heredoc;
        let (place, content_place) = (self.place(*span), self.place(*content_span));
        self.line(
            depth,
            &format!(
                "heredoc {name:?} expand={expand} chomp={chomp} descriptor={file_descriptor} @{place} {content:?} @{content_place}"
            ),
        );
    }

    fn transfer(&mut self, depth: usize, transfer: &Transfer) {
        self.optional(depth, "chown", transfer.chown.as_ref());
        self.optional(depth, "chmod", transfer.chmod.as_ref());
        self.words(depth, "exclude", &transfer.exclude);
        if transfer.link_span.is_some() {
            self.line(depth, &format!("link={}", transfer.link));
        }
        if transfer.json {
            self.line(depth, "json");
        }
        for source in &transfer.sources {
            match source {
                TransferSource::Path(word) => self.word(depth, "source", word),
                TransferSource::Heredoc(heredoc) => self.heredoc(depth, heredoc),
            }
        }
        self.word(depth, "destination", &transfer.destination);
    }

    fn instruction(&mut self, depth: usize, instruction: &Instruction) {
        self.node(depth, instruction.kind.keyword(), instruction.span);
        let depth = depth + 1;
        match &instruction.kind {
            InstructionKind::Add(add) => {
                self.optional(depth, "checksum", add.checksum.as_ref());
                if add.keep_git_dir.is_some() || add.unpack.is_some() {
                    self.line(depth, &format!("keep-git-dir={:?} unpack={:?}", add.keep_git_dir, add.unpack));
                }
                self.transfer(depth, &add.transfer);
            }
            InstructionKind::Copy(copy) => {
                self.optional(depth, "from", copy.from.as_ref());
                if copy.parents_span.is_some() {
                    self.line(depth, &format!("parents={}", copy.parents));
                }
                self.transfer(depth, &copy.transfer);
            }
            InstructionKind::Arg(arg) => self.arg(depth, arg),
            InstructionKind::Cmd(command) | InstructionKind::Entrypoint(command) => {
                self.command(depth, command)
            }
            InstructionKind::Env(pairs) | InstructionKind::Label(pairs) => {
                for pair in pairs {
                    self.word(depth, if pair.legacy { "legacy key" } else { "key" }, &pair.key);
                    self.word(depth + 1, "value", &pair.value);
                }
            }
            InstructionKind::Expose(words)
            | InstructionKind::Shell(words)
            | InstructionKind::Volume(words) => {
                self.words(depth, "word", words);
            }
            InstructionKind::Healthcheck(HealthcheckInstruction::None) => self.line(depth, "none"),
            InstructionKind::Healthcheck(HealthcheckInstruction::Command(check)) => {
                self.line(
                    depth,
                    &format!(
                        "interval={:?} timeout={:?} start-period={:?} start-interval={:?} retries={}",
                        check.interval,
                        check.timeout,
                        check.start_period,
                        check.start_interval,
                        check.retries
                    ),
                );
                self.command(depth, &check.command);
            }
            InstructionKind::Maintainer(word)
            | InstructionKind::Stopsignal(word)
            | InstructionKind::User(word)
            | InstructionKind::Workdir(word) => self.word(depth, "word", word),
            InstructionKind::Onbuild(OnbuildInstruction { trigger, instruction }) => {
                self.line(depth, &format!("trigger {trigger:?}"));
                self.instruction(depth, instruction);
            }
            InstructionKind::Run(run) => {
                for mount in &run.mounts {
                    self.node(depth, "mount", mount.span);
                    for field in &mount.fields {
                        self.word(depth + 1, "key", &field.key);
                        self.optional(depth + 2, "value", field.value.as_ref());
                    }
                }
                if let Some((network, span)) = run.network {
                    self.node(depth, &format!("network {network:?}"), span);
                }
                if let Some((security, span)) = run.security {
                    self.node(depth, &format!("security {security:?}"), span);
                }
                for device in &run.devices {
                    self.node(
                        depth,
                        &format!("device {:?} required={}", device.name, device.required),
                        device.span,
                    );
                }
                self.command(depth, &run.command);
                for heredoc in &run.heredocs {
                    self.heredoc(depth, heredoc);
                }
            }
        }
    }
}
