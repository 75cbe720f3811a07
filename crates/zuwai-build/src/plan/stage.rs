//! One stage: its instructions become steps, and its configuration what they make of the base's.

use std::collections::BTreeMap;
use std::sync::Arc;

use zuwai_dockerfile::ast::{ArgInstruction, CommandLine, HealthcheckInstruction};
use zuwai_dockerfile::predefined;
use zuwai_dockerfile::{
    Diagnostic, ExpandError, Expander, Instruction, InstructionKind, Lookup, Source, Span, Word,
};
use zuwai_layer::ImagePath;
use zuwai_oci::config::{Created, Empty, Healthcheck, History, ImageConfig};
use zuwai_rootfs::step_mount::StepNetwork;

use super::globals::Globals;
use super::scope::{Scope, set_image_env, split_variable};
use super::{Action, Step, Tree, WorkdirAction, history, ports, signals};
use crate::error::BuildError;

/// The PATH of an image whose configuration has none, as BuildKit sets it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The shell of RUN, CMD and ENTRYPOINT where SHELL sets no other.
const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// What all stages of a Dockerfile share.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Arguments from before the first FROM.
    pub globals: &'a Globals,
    /// Build arguments.
    pub build_args: &'a BTreeMap<String, String>,
    /// Proxy variables for every RUN.
    pub proxy_env: &'a [(String, String)],
    /// The time of new history rows.
    pub created: &'a Created,
    /// The network of a RUN that asks for none of its own.
    pub network: StepNetwork,
}

impl Lookup for Scope {
    fn get(&self, name: &str) -> Option<std::borrow::Cow<'_, str>> {
        Scope::get(self, name).map(Into::into)
    }
}

/// An expansion that failed, as a diagnostic at its word.
pub fn expansion_error(span: Span, error: &ExpandError) -> Diagnostic {
    Diagnostic::error(span, format!("failed to process this word: {error}"))
}

/// Takes one instruction after the other.
#[derive(Debug)]
pub struct StageBuilder {
    pub(super) config: ImageConfig,
    pub(super) scope: Scope,
    steps: Vec<Step>,
    /// CMD stands in this stage, so that ENTRYPOINT leaves it.
    cmd_is_own: bool,
}

impl StageBuilder {
    /// A stage on an image, or on nothing (`from_image` false).
    pub fn new(mut config: ImageConfig, from_image: bool) -> Self {
        if from_image {
            config.drop_leftovers();
        } else {
            config.config.working_dir = "/".to_owned();
        }
        if !config.config.env.iter().any(|variable| split_variable(variable).0 == "PATH") {
            config.config.env.push(format!("PATH={DEFAULT_PATH}"));
        }
        let scope = Scope::from_image(&config.config.env);
        Self { config, scope, steps: Vec::new(), cmd_is_own: false }
    }

    /// A stage on another stage: its configuration and variables go on.
    pub fn on_stage(config: ImageConfig, scope: Scope) -> Self {
        Self { config, scope, steps: Vec::new(), cmd_is_own: false }
    }

    /// The base's ONBUILD triggers, parsed; they are in the configuration no more.
    ///
    /// # Errors
    /// When a trigger is not an instruction.
    pub fn take_triggers(&mut self, base_name: &str) -> Result<Vec<(Instruction, Arc<Source>)>, BuildError> {
        let name = format!("ONBUILD of {base_name}");
        std::mem::take(&mut self.config.config.on_build)
            .iter()
            .map(|trigger| {
                let instruction = zuwai_dockerfile::parse_onbuild(&name, trigger)?;
                Ok((instruction, Arc::new(Source::new(name.as_str(), trigger.as_str()))))
            })
            .collect()
    }

    /// The steps, the configuration and the variables at the end.
    pub fn finish(self) -> (Vec<Step>, ImageConfig, Scope) {
        (self.steps, self.config, self.scope)
    }

    /// Takes the next instruction. `trees` are what it names with `from=`, in order; `spanned` tells whether its span is
    /// about the Dockerfile.
    ///
    /// # Errors
    /// When the instruction is wrong, or asks for what is not supported yet.
    pub fn instruction(
        &mut self,
        instruction: &Instruction,
        expander: &Expander,
        context: &Context<'_>,
        mut trees: Vec<Tree>,
        spanned: bool,
    ) -> Result<(), Diagnostic> {
        let resolved;
        let kind = if let InstructionKind::Arg(_) = instruction.kind {
            // Each argument's default sees those before it, so ARG resolves its words itself.
            &instruction.kind
        } else {
            resolved = instruction.resolve(expander, &self.scope)?;
            &resolved.kind
        };
        let (row, action) = match kind {
            InstructionKind::Add(add) => self.add(add, instruction.span)?,
            InstructionKind::Arg(arg) => (Some(self.arg(arg, expander, context)?), Action::Config),
            InstructionKind::Cmd(command) => (Some(self.cmd(command)), Action::Config),
            InstructionKind::Copy(copy) => {
                self.copy(copy, trees.pop().unwrap_or(Tree::Context), instruction.span)?
            }
            InstructionKind::Entrypoint(command) => (Some(self.entrypoint(command)), Action::Config),
            InstructionKind::Env(pairs) => {
                let mut row = "ENV".to_owned();
                for pair in pairs {
                    let (name, value) = (&pair.key.text, &pair.value.text);
                    set_image_env(&mut self.config.config.env, name, value);
                    self.scope.set_env(name, value);
                    row.push_str(&format!(" {name}={value}"));
                }
                (Some(row), Action::Config)
            }
            InstructionKind::Expose(ports) => (Some(self.expose(ports)?), Action::Config),
            InstructionKind::Healthcheck(check) => (Some(self.healthcheck(check)), Action::Config),
            InstructionKind::Label(pairs) => {
                let mut row = "LABEL".to_owned();
                for pair in pairs {
                    let (name, value) = (&pair.key.text, &pair.value.text);
                    self.config.config.labels.insert(name.clone(), value.clone());
                    row.push_str(&format!(" {name}={value}"));
                }
                (Some(row), Action::Config)
            }
            InstructionKind::Maintainer(name) => {
                self.config.author.clone_from(&name.text);
                (Some(format!("MAINTAINER {}", name.text)), Action::Config)
            }
            InstructionKind::Onbuild(onbuild) => {
                self.config.config.on_build.push(onbuild.trigger.clone());
                (None, Action::Config)
            }
            InstructionKind::Run(run) => self.run(run, expander, context, trees, spanned)?,
            InstructionKind::Shell(words) => {
                let words = texts(words);
                let row = format!("SHELL {}", history::plain_list(&words));
                self.config.config.shell = words;
                (Some(row), Action::Config)
            }
            InstructionKind::Stopsignal(signal) => {
                signals::check(signal)?;
                self.config.config.stop_signal.clone_from(&signal.text);
                (Some(format!("STOPSIGNAL {}", signal.text)), Action::Config)
            }
            InstructionKind::User(user) => {
                self.config.config.user.clone_from(&user.text);
                (Some(format!("USER {}", user.text)), Action::Config)
            }
            InstructionKind::Volume(paths) => (Some(self.volume(paths)?), Action::Config),
            InstructionKind::Workdir(path) => self.workdir(path)?,
        };
        if let Some(created_by) = row {
            self.config.history.push(History {
                created: Some(context.created.clone()),
                created_by,
                comment: history::COMMENT.to_owned(),
                empty_layer: !action.makes_layer(),
                ..History::default()
            });
        }
        let span = spanned.then_some(instruction.span);
        self.steps.push(Step { text: instruction.original.clone(), span, action });
        Ok(())
    }

    fn arg(
        &mut self,
        arg: &ArgInstruction,
        expander: &Expander,
        context: &Context<'_>,
    ) -> Result<String, Diagnostic> {
        let mut row = "ARG".to_owned();
        for declaration in &arg.args {
            let expand = |word: &Word, scope: &Scope| {
                expander.word(&word.text, scope).map_err(|error| expansion_error(word.span, &error))
            };
            // Names are never expanded.
            let name = declaration.key.text.clone();
            let value = match (context.build_args.get(&name), &declaration.default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(expand(default, &self.scope)?),
                (None, None) => context.globals.get(&name).cloned(),
            };
            row.push_str(&format!(" {name}"));
            if let Some(value) = &value {
                row.push_str(&format!("={value}"));
            }
            if predefined::is_builder_arg(&name) {
                continue;
            }
            self.scope.declare_arg(&name, value);
        }
        Ok(row)
    }

    /// The words of a command: the shell's and the text, or the exec form's own.
    fn command_words(&self, command: &CommandLine) -> Vec<String> {
        match command {
            CommandLine::Exec(words) => texts(words),
            CommandLine::Shell(text) => self.with_shell(&text.text),
        }
    }

    pub(super) fn with_shell(&self, text: &str) -> Vec<String> {
        let mut words = self.config.config.shell.clone();
        if words.is_empty() {
            words.extend(DEFAULT_SHELL.map(str::to_owned));
        }
        words.push(text.to_owned());
        words
    }

    fn cmd(&mut self, command: &CommandLine) -> String {
        let words = self.command_words(command);
        let row = format!("CMD {}", history::quoted_list(&words));
        self.config.config.cmd = words;
        self.config.config.args_escaped = true;
        self.cmd_is_own = true;
        row
    }

    fn entrypoint(&mut self, command: &CommandLine) -> String {
        let words = self.command_words(command);
        let row = format!("ENTRYPOINT {}", history::quoted_list(&words));
        self.config.config.entrypoint = words;
        if !self.cmd_is_own {
            self.config.config.cmd.clear();
        }
        row
    }

    fn expose(&mut self, ports: &[Word]) -> Result<String, Diagnostic> {
        let mut shown = Vec::new();
        for word in ports {
            for port in ports::parse(&word.text).map_err(|problem| Diagnostic::error(word.span, problem))? {
                self.config.config.exposed_ports.insert(port.clone(), Empty {});
                shown.push(port);
            }
        }
        Ok(format!("EXPOSE {}", history::plain_list(&shown)))
    }

    fn healthcheck(&mut self, check: &HealthcheckInstruction) -> String {
        let nanoseconds =
            |duration: std::time::Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        let check = match check {
            HealthcheckInstruction::None => {
                Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() }
            }
            HealthcheckInstruction::Command(check) => {
                let mut test;
                match &check.command {
                    CommandLine::Exec(words) => {
                        test = vec!["CMD".to_owned()];
                        test.extend(texts(words));
                    }
                    CommandLine::Shell(text) => test = vec!["CMD-SHELL".to_owned(), text.text.clone()],
                }
                Healthcheck {
                    test,
                    interval: nanoseconds(check.interval),
                    timeout: nanoseconds(check.timeout),
                    start_period: nanoseconds(check.start_period),
                    start_interval: nanoseconds(check.start_interval),
                    retries: i64::from(check.retries),
                    ..Healthcheck::default()
                }
            }
        };
        let times = [check.interval, check.timeout, check.start_period, check.start_interval];
        let row = history::healthcheck(&check.test, times, check.retries);
        self.config.config.healthcheck = Some(check);
        row
    }

    fn volume(&mut self, paths: &[Word]) -> Result<String, Diagnostic> {
        if let Some(empty) = paths.iter().find(|path| path.text.is_empty()) {
            return Err(Diagnostic::error(empty.span, "VOLUME specified can not be an empty string"));
        }
        let paths = texts(paths);
        self.config.config.volumes.extend(paths.iter().map(|path| (path.clone(), Empty {})));
        Ok(format!("VOLUME {}", history::plain_list(&paths)))
    }

    /// The working directory in force.
    pub(super) fn working_directory(&self, span: Span) -> Result<ImagePath, Diagnostic> {
        ImagePath::clamped(&self.config.config.working_dir)
            .map_err(|error| Diagnostic::error(span, error.to_string()))
    }

    fn workdir(&mut self, path: &Word) -> Result<(Option<String>, Action), Diagnostic> {
        // An absolute path stays as it is written, a relative one is cleaned (BuildKit's `NormalizeWorkdir`).
        let joined = self.working_directory(path.span)?.join(&path.text);
        let joined = joined.map_err(|error| Diagnostic::error(path.span, error.to_string()))?;
        let written = if path.text.starts_with('/') { path.text.clone() } else { joined.to_string() };
        let row = format!("WORKDIR {written}");
        let action = if written == "/" {
            Action::Config
        } else {
            Action::Workdir(WorkdirAction { path: joined, user: self.config.config.user.clone() })
        };
        self.config.config.working_dir = written;
        Ok((Some(row), action))
    }
}

fn texts(words: &[Word]) -> Vec<String> {
    words.iter().map(|word| word.text.clone()).collect()
}
