//! The program: `zuwai`, and as kaniko's drop-in `executor` and `warmer`.
//!
//! This crate knows flags, environment variables, the clock, log lines and exit codes, and nothing below it does. It
//! turns what the user typed into a [`zuwai_build::request::BuildRequest`], in two stages: flags as typed
//! ([`pflag::Parsed`]), then as meant (the `request` modules). It builds nothing itself.
//!
//! In reading order:
//! - [`face`]: which program this is, by the name it was started under.
//! - [`environment`]: the environment, read once.
//! - [`pflag`], [`flag_value`], [`usage`]: flags by kaniko's and docker's rules, from one table for each command.
//! - [`executor`]: kaniko's flags (`executor/flags.rs`) and what they mean (`executor/request.rs`).
//! - [`zuwai`], [`build_command`]: our own command; docker's flags, `-o`, and what they mean.
//! - [`check_command`]: `zuwai check`, and what it says to people and programs.
//! - [`push_command`], [`pull_command`], [`copy_command`], [`inspect_command`]: images that are there already, by way of
//!   [`moving`], which all four share; [`image_place`]: where images are, as they type it.
//! - [`context_command`]: `zuwai context ls`, what a build would get of a context.
//! - [`doctor_command`]: `zuwai doctor`, what the place it runs in allows.
//! - [`login_command`]: `login` and `logout`.
//! - [`source`], [`pairs`], [`registries`]: contexts and Dockerfiles, `NAME=value` flags, how registries are reached.
//! - [`credentials`]: who we are to registries.
//! - [`build_contexts`]: `--build-context`, what stands in place of images and stages.
//! - [`secrets`], [`ssh`], [`csv`]: `--secret` and `--ssh`, read at the start.
//! - [`surroundings`]: what the machine looks like before anything is unpacked.
//! - [`building`]: the one place that starts a build, and what comes before: signals, an ordinary user's namespace.
//! - [`certificates`]: the bundled certificate authorities.
//! - [`logging`], [`terminal`]: log lines in logrus' forms; standard output and error.
//! - [`error`], [`failure`]: what goes wrong, how it is said, and the exit code.

mod build_command;
mod build_contexts;
mod building;
mod certificates;
mod check_command;
mod clouds;
mod context_command;
mod copy_command;
mod credentials;
mod csv;
mod doctor_command;
mod environment;
mod error;
mod executor;
mod face;
mod failure;
mod flag_value;
mod image_place;
mod inspect_command;
mod logging;
mod login_command;
mod moving;
mod pairs;
mod pflag;
mod pull_command;
mod push_command;
mod registries;
mod secrets;
mod source;
mod ssh;
mod surroundings;
mod terminal;
mod usage;
mod zuwai;

use std::process::ExitCode;

use environment::Environment;
use face::Face;
use failure::Failure;
use pflag::FlagError;
use zuwai_rootfs::signals::{self, Side};

fn main() -> ExitCode {
    // Steps are started through this binary; such a call must not get as far as anything else, a thread least of all.
    zuwai_rootfs::sandbox::main_if_helper();
    // As a container's first process, leave burying the dead to a process of its own.
    if let Ok(Side::Watcher(code)) = signals::reap_if_first() {
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            terminal::print_error(&failure.text());
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run() -> Result<u8, Failure> {
    let environment = Environment::read();
    let mut typed = std::env::args_os();
    let program = typed.next().unwrap_or_default();
    let utf8 = |argument: std::ffi::OsString| argument.into_string().map_err(FlagError::NotUtf8);
    let mut arguments =
        typed.map(utf8).collect::<Result<Vec<String>, _>>().map_err(error::ProgramError::from)?;
    let (face, named_by_argument) =
        Face::of(&program.to_string_lossy(), arguments.first().map(String::as_str));
    if named_by_argument {
        arguments.remove(0);
    }
    match face {
        Face::Executor => executor::run(arguments, &environment),
        Face::Warmer => executor::warmer(arguments),
        Face::Zuwai => zuwai::run(arguments, &environment),
    }
}
