//! RUN and WORKDIR: what each does to a tree.

use std::ffi::OsString;

use zuwai_rootfs::Root;
use zuwai_rootfs::change_set::ChangeSet;
use zuwai_rootfs::command::{Command, hosts};
use zuwai_rootfs::copy;
use zuwai_rootfs::isolation::Mode;
use zuwai_rootfs::passwd::Accounts;
use zuwai_rootfs::run::{Outcome, run_step};
use zuwai_rootfs::run_error::RunError;
use zuwai_rootfs::signals::Interrupt;

use super::run_mounts::Prepared;
use super::stage_tree::StageTree;
use super::step_output::StepOutput;
use super::trees::Trees;
use crate::error::StepError;
use crate::plan::{RunAction, WorkdirAction};
use crate::request::Surroundings;

/// What a command sees of the machine.
pub struct Host<'a> {
    /// The host's name.
    pub name: &'a str,
    /// Where the program finds itself.
    pub surroundings: &'a Surroundings,
    /// What tells the command's output from that of others, where others run beside it.
    pub label: Option<String>,
    /// Ends the command when the build is told to stop.
    pub interrupt: &'a Interrupt,
}

/// Runs a command and finds what it changed.
///
/// # Errors
/// When the command cannot be run or fails.
pub fn run_command(
    trees: &Trees,
    tree: &mut StageTree,
    action: &RunAction,
    mut prepared: Prepared,
    host: &Host<'_>,
) -> Result<ChangeSet, StepError> {
    let new_root = || trees.new_root().map_err(|error| StepError::Build(Box::new(error)));
    let scratch = (!prepared.mounts.is_empty()).then(new_root).transpose()?;
    if let Some((program, arguments)) = action.argv.split_first() {
        tracing::info!("Cmd: {program}");
        tracing::info!("Args: [{}]", arguments.join(" "));
    }
    tracing::info!("Running: [{}]", action.argv.join(" "));
    let changes = tree.run(|root, overlay| {
        let mut command = command(root, trees.mode(), action, &mut prepared, host);
        command.overlay = overlay;
        command.scratch = scratch.as_ref().map(|scratch| scratch.host_path().to_owned());
        let to = host.surroundings.command_output;
        let (output, written) = match &host.label {
            Some(label) => StepOutput::labelled(to, label),
            None => StepOutput::direct(to),
        }
        .map_err(StepError::Output)?;
        let ran = run_step(root, &command, trees.mode(), output, host.interrupt);
        let written = written.finish(host.interrupt);
        let ran = ran?;
        written.map_err(StepError::Output)?;
        match ran.outcome {
            Outcome::Exited(0) => tracing::info!("Taking snapshot of full filesystem..."),
            Outcome::Exited(exit_code) => return Err(StepError::Failed { exit_code, signal: None }),
            Outcome::Signaled(signal) => {
                return Err(StepError::Failed { exit_code: 128 + signal, signal: Some(signal) });
            }
        }
        Ok(ran)
    })?;
    if let Some(scratch) = scratch {
        trees.discard(scratch);
    }
    Ok(changes)
}

/// The command of a step, with all that it sees.
fn command(root: &Root, mode: Mode, action: &RunAction, prepared: &mut Prepared, host: &Host<'_>) -> Command {
    let mut volumes = host.surroundings.volumes.clone();
    volumes.retain(|volume| {
        let gives_way = mode == Mode::Namespaces && volume.gives_way_to(root, &action.workdir);
        if gives_way {
            tracing::info!(
                "RUN sees the image's files at {0}, not the volume that is mounted there",
                volume.path.display()
            );
        }
        !gives_way
    });
    let mut env: Vec<_> =
        action.env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
    // A secret that is a variable hides one of its name.
    env.retain(|(name, _)| prepared.env.iter().all(|(secret, _)| secret != name));
    env.append(&mut prepared.env);
    Command {
        argv: action.argv.iter().map(OsString::from).collect(),
        env,
        user: action.user.clone(),
        workdir: action.workdir.clone(),
        hostname: host.name.to_owned(),
        resolv_conf: host.surroundings.resolv_conf.clone(),
        hosts: hosts(host.name),
        overlay: None,
        volumes,
        mounts: std::mem::take(&mut prepared.mounts),
        network: action.network,
        scratch: None,
    }
}

/// Makes WORKDIR's directory and those above it that are missing.
///
/// # Errors
/// When the user is unknown or a directory cannot be made.
pub fn make_directory(root: &Root, action: &WorkdirAction) -> Result<ChangeSet, StepError> {
    let owner = if action.user.is_empty() { None } else { Some(resolve_owner(root, &action.user)?) };
    Ok(copy::directory::make_directories(root, &action.path, owner)?)
}

/// `--chown`, and the owner of WORKDIR's directories.
pub(super) fn resolve_owner(root: &Root, text: &str) -> Result<(u32, u32), StepError> {
    let owner = Accounts::load(root)?.owner(text).map_err(RunError::from)?;
    for unknown in &owner.unknown {
        tracing::warn!("{unknown}: taken as root, as BuildKit does");
    }
    Ok((owner.uid, owner.gid))
}
