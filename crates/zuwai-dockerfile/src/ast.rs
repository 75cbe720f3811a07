//! The tree. Values are as written: variables unexpanded, quotes in place, until [`crate::resolve`] makes them values.

use std::sync::Arc;
use std::time::Duration;

use crate::diagnostic::Diagnostic;
use crate::heredoc::Heredoc;
use crate::mount::MountFlag;
use crate::source::{Source, Span};

/// A piece of text with its place. After joined continuation lines the text is not the same as the source under the
/// span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The text.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// A whole Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The text that all spans are about.
    pub source: Arc<Source>,
    /// Parser directives at the top.
    pub directives: Directives,
    /// ARG instructions before the first FROM.
    pub meta_args: Vec<MetaArg>,
    /// The stages, at least one.
    pub stages: Vec<Stage>,
    /// What only the reader of the lines sees: blank lines inside instructions, each with what follows of its instruction.
    /// [`crate::lint::check`] gives these and all other warnings.
    pub warnings: Vec<Diagnostic>,
}

/// Parser directives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`: the frontend image asked for; this crate is always the frontend.
    pub syntax: Option<Word>,
    /// `# escape=`: a backslash unless set.
    pub escape: char,
    /// `# check=`.
    pub check: Check,
}

/// `# check=skip=...;error=true;experimental=...`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// Skip all checks.
    pub skip_all: bool,
    /// Checks to skip, by BuildKit's names.
    pub skip: Vec<String>,
    /// Warnings stop the build.
    pub error: bool,
    /// Experimental checks to run, by name.
    pub experimental: Vec<String>,
    /// All experimental checks.
    pub experimental_all: bool,
}

/// ARG before the first FROM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaArg {
    /// The whole instruction.
    pub span: Span,
    /// Its arguments.
    pub arg: ArgInstruction,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its number, from zero.
    pub index: usize,
    /// The FROM line.
    pub from: StageFrom,
    /// The instructions after it.
    pub instructions: Vec<Instruction>,
}

/// FROM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageFrom {
    /// The whole instruction.
    pub span: Span,
    /// The line as one, continuations joined, without spaces at the ends.
    pub original: String,
    /// The base: an image, a stage's name or number, `scratch`. Unexpanded.
    pub image: Word,
    /// `--platform=`, unexpanded.
    pub platform: Option<Word>,
    /// The name after AS, in lower case (names are compared without case).
    pub name: Option<Word>,
}

/// One instruction inside a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The whole instruction, here-documents included.
    pub span: Span,
    /// The keyword.
    pub keyword_span: Span,
    /// The line as one: continuations joined, comments inside them removed, without spaces at the ends,
    /// without here-document bodies. What BuildKit calls the instruction's code.
    pub original: String,
    /// What it is.
    pub kind: InstructionKind,
}

/// Instructions by keyword.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstructionKind {
    /// ADD
    Add(AddInstruction),
    /// ARG
    Arg(ArgInstruction),
    /// CMD; an empty exec form clears.
    Cmd(CommandLine),
    /// COPY
    Copy(CopyInstruction),
    /// ENTRYPOINT; an empty exec form clears.
    Entrypoint(CommandLine),
    /// ENV
    Env(Vec<KeyValue>),
    /// EXPOSE: each word expands to zero or more ports.
    Expose(Vec<Word>),
    /// HEALTHCHECK
    Healthcheck(HealthcheckInstruction),
    /// LABEL
    Label(Vec<KeyValue>),
    /// MAINTAINER
    Maintainer(Word),
    /// ONBUILD
    Onbuild(OnbuildInstruction),
    /// RUN
    Run(RunInstruction),
    /// SHELL: the words of its JSON array.
    Shell(Vec<Word>),
    /// STOPSIGNAL
    Stopsignal(Word),
    /// USER
    User(Word),
    /// VOLUME
    Volume(Vec<Word>),
    /// WORKDIR
    Workdir(Word),
}

impl InstructionKind {
    /// The keyword in capitals.
    pub fn keyword(&self) -> &'static str {
        match self {
            InstructionKind::Add(_) => "ADD",
            InstructionKind::Arg(_) => "ARG",
            InstructionKind::Cmd(_) => "CMD",
            InstructionKind::Copy(_) => "COPY",
            InstructionKind::Entrypoint(_) => "ENTRYPOINT",
            InstructionKind::Env(_) => "ENV",
            InstructionKind::Expose(_) => "EXPOSE",
            InstructionKind::Healthcheck(_) => "HEALTHCHECK",
            InstructionKind::Label(_) => "LABEL",
            InstructionKind::Maintainer(_) => "MAINTAINER",
            InstructionKind::Onbuild(_) => "ONBUILD",
            InstructionKind::Run(_) => "RUN",
            InstructionKind::Shell(_) => "SHELL",
            InstructionKind::Stopsignal(_) => "STOPSIGNAL",
            InstructionKind::User(_) => "USER",
            InstructionKind::Volume(_) => "VOLUME",
            InstructionKind::Workdir(_) => "WORKDIR",
        }
    }
}

/// A command in one of its two forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandLine {
    /// Text for the shell; variables are the shell's to expand.
    Shell(Word),
    /// A JSON array: the words of the command, never expanded.
    Exec(Vec<Word>),
}

/// `key=value` of ENV and LABEL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Word,
    /// The value.
    pub value: Word,
    /// Written in the legacy form `KEY value`, without `=`.
    pub legacy: bool,
}

/// ARG: one or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgInstruction {
    /// The arguments, in order.
    pub args: Vec<ArgDeclaration>,
}

/// One argument of ARG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgDeclaration {
    /// The name.
    pub key: Word,
    /// The default after `=`.
    pub default: Option<Word>,
}

/// What COPY and ADD have in common: sources, destination, owner, mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The sources, in order.
    pub sources: Vec<TransferSource>,
    /// The destination.
    pub destination: Word,
    /// `--chown=`
    pub chown: Option<Word>,
    /// `--chmod=`
    pub chmod: Option<Word>,
    /// `--link`
    pub link: bool,
    /// `--exclude=`, in order.
    pub exclude: Vec<Word>,
    /// Written as a JSON array.
    pub json: bool,
    /// Where the `--link` flag stands, if it is given.
    pub link_span: Option<Span>,
}

/// A source of COPY or ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferSource {
    /// A path, pattern or URL.
    Path(Word),
    /// A here-document: a file of that name and content.
    Heredoc(Heredoc),
}

/// COPY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyInstruction {
    /// What it shares with ADD.
    pub transfer: Transfer,
    /// `--from=`: a stage's name or number, a named context, an image. Never expanded.
    pub from: Option<Word>,
    /// `--parents`
    pub parents: bool,
    /// Where the `--parents` flag stands, if it is given.
    pub parents_span: Option<Span>,
}

/// ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddInstruction {
    /// What it shares with COPY.
    pub transfer: Transfer,
    /// `--checksum=`
    pub checksum: Option<Word>,
    /// `--keep-git-dir`, where given.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`, where given.
    pub unpack: Option<bool>,
    /// Where the `--keep-git-dir` flag stands, if it is given.
    pub keep_git_dir_span: Option<Span>,
    /// Where the `--unpack` flag stands, if it is given.
    pub unpack_span: Option<Span>,
}

/// HEALTHCHECK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthcheckInstruction {
    /// `HEALTHCHECK NONE`
    None,
    /// `HEALTHCHECK [options] CMD ...`
    Command(Healthcheck),
}

/// HEALTHCHECK with a command. Zero durations mean "inherit", as in the image's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healthcheck {
    /// What is run.
    pub command: CommandLine,
    /// `--interval=`
    pub interval: Duration,
    /// `--timeout=`
    pub timeout: Duration,
    /// `--start-period=`
    pub start_period: Duration,
    /// `--start-interval=`
    pub start_interval: Duration,
    /// `--retries=`
    pub retries: u32,
}

/// ONBUILD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnbuildInstruction {
    /// The text that goes into the image's configuration, here-document bodies included.
    pub trigger: String,
    /// The same, parsed.
    pub instruction: Box<Instruction>,
}

/// RUN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunInstruction {
    /// What is run, as written; [`RunInstruction::script`] says what that means with here-documents.
    pub command: CommandLine,
    /// Here-documents of the line.
    pub heredocs: Vec<Heredoc>,
    /// `--mount=`, in order.
    pub mounts: Vec<MountFlag>,
    /// `--network=`
    pub network: Option<(NetworkMode, Span)>,
    /// `--security=`
    pub security: Option<(SecurityMode, Span)>,
    /// `--device=`, in order.
    pub devices: Vec<DeviceFlag>,
}

/// What a RUN really runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunScript {
    /// These words.
    Exec(Vec<String>),
    /// This text as one argument after the words of SHELL.
    Shell(String),
    /// A here-document that starts with `#!`: a read-only file of mode 0755 in `/dev/pipes`, whose path is the one
    /// argument after the words of SHELL.
    File {
        /// The file's name in `/dev/pipes`.
        name: String,
        /// The file's content.
        content: String,
    },
}

/// `RUN --network=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NetworkMode {
    /// The build's own.
    #[default]
    Default,
    /// None but loopback.
    None,
    /// The host's.
    Host,
}

/// `RUN --security=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecurityMode {
    /// Confined.
    #[default]
    Sandbox,
    /// With all capabilities.
    Insecure,
}

/// `RUN --device=name[,required]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFlag {
    /// The whole flag.
    pub span: Span,
    /// The device as CDI names it.
    pub name: String,
    /// A device that is not there is an error.
    pub required: bool,
}
