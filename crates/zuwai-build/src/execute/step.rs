//! RUN, COPY, ADD and WORKDIR: what each does to a tree, and the layer it leaves.

use std::ffi::OsString;
use std::os::fd::AsFd as _;
use std::process::Stdio;

use zuwai_context::Context;
use zuwai_rootfs::Root;
use zuwai_rootfs::change_set::{Change, ChangeSet};
use zuwai_rootfs::command::{Command, HOSTNAME, hosts};
use zuwai_rootfs::copy::{self, CopyOptions, ModeChange, SourceTree};
use zuwai_rootfs::isolation::Mode;
use zuwai_rootfs::mounts;
use zuwai_rootfs::passwd::Accounts;
use zuwai_rootfs::run::{Outcome, Output, run};
use zuwai_rootfs::run_error::RunError;
use zuwai_rootfs::step_mount::StepNetwork;

use super::trees::Trees;
use crate::error::StepError;
use crate::plan::{CopyAction, RunAction, Tree, WorkdirAction};
use crate::request::{CommandOutput, Surroundings};

/// Runs a command and finds what it changed.
///
/// # Errors
/// When the command cannot be run or fails.
pub fn run_command(
    trees: &mut Trees,
    position: usize,
    action: &RunAction,
    threads: usize,
    surroundings: &Surroundings,
) -> Result<ChangeSet, StepError> {
    let mode = trees.mode();
    let Some(tree) = trees.stage_mut(position) else { return Err(StepError::NoTree) };
    tree.prepare_index(threads)?;
    if let Some((program, arguments)) = action.argv.split_first() {
        tracing::info!("Cmd: {program}");
        tracing::info!("Args: [{}]", arguments.join(" "));
    }
    tracing::info!("Running: [{}]", action.argv.join(" "));
    let mut volumes = surroundings.volumes.clone();
    volumes.retain(|volume| {
        let gives_way = mode == Mode::Namespaces && volume.gives_way_to(&tree.root, &action.workdir);
        if gives_way {
            tracing::info!(
                "RUN sees the image's files at {0}, not the volume that is mounted there",
                volume.path.display()
            );
        }
        !gives_way
    });
    let command = Command {
        argv: action.argv.iter().map(OsString::from).collect(),
        env: action.env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        user: action.user.clone(),
        workdir: action.workdir.clone(),
        hostname: HOSTNAME.to_owned(),
        resolv_conf: surroundings.resolv_conf.clone(),
        hosts: hosts(HOSTNAME),
        volumes,
        mounts: Vec::new(),
        network: StepNetwork::default(),
        scratch: None,
    };
    match run(&tree.root, &command, mode, output(surroundings)?, &surroundings.interrupt)? {
        Outcome::Exited(0) => {}
        Outcome::Exited(exit_code) => return Err(StepError::Failed { exit_code, signal: None }),
        Outcome::Signaled(signal) => {
            return Err(StepError::Failed { exit_code: 128 + signal, signal: Some(signal) });
        }
    }
    tracing::info!("Taking snapshot of full filesystem...");
    let mut changes = tree.rescan(threads)?;
    if mode == Mode::InPlace {
        // The container has mounts where BuildKit's runtime leaves directories in an image that lacks them.
        for path in mounts::standard_mount_points() {
            if tree.add_mount_point(&path) {
                changes.mount_point(path, 0o755, (0, 0));
            }
        }
    }
    Ok(changes)
}

/// Where a command's output goes.
fn output(surroundings: &Surroundings) -> Result<Output, StepError> {
    match surroundings.command_output {
        CommandOutput::Stdout => Ok(Output::inherit()),
        CommandOutput::Stderr => {
            let stderr = std::io::stderr().as_fd().try_clone_to_owned().map_err(StepError::Output)?;
            Ok(Output { stdout: stderr.into(), stderr: Stdio::inherit() })
        }
    }
}

/// Copies files, and unpacks archives for ADD.
///
/// # Errors
/// When a source is not there or something cannot be read or written.
pub fn copy_files(
    trees: &mut Trees,
    position: usize,
    action: &CopyAction,
    context: Option<&Context>,
) -> Result<ChangeSet, StepError> {
    let Some(target) = trees.stage(position) else { return Err(StepError::NoTree) };
    let source = match &action.from {
        Tree::Context => context.ok_or(StepError::NoContext)?.source(),
        Tree::Stage(stage) => whole(&trees.stage(*stage).ok_or(StepError::NoTree)?.root),
        Tree::Image(image) => whole(trees.image(image).ok_or(StepError::NoTree)?),
    };
    // Without --chown the source tree says who owns files; archives keep their own owners then.
    let owner = action.chown.as_ref().map(|chown| resolve_owner(&target.root, chown)).transpose()?;
    let mode = action.chmod.as_deref().map(ModeChange::parse).transpose();
    let mode = mode.map_err(|error| StepError::Invalid(error.to_string()))?;
    let options =
        CopyOptions { owner, mode: mode.as_ref(), extract: action.unpack_archives, ..CopyOptions::default() };
    let sources: Vec<Vec<u8>> = action.sources.iter().map(|path| path.clone().into_bytes()).collect();
    let changes = copy::copy(&target.root, source, &sources, action.destination.as_bytes(), &options)?;
    remember(trees, position, &changes)?;
    if let Some(tree) = trees.stage_mut(position) {
        for (path, change) in changes.iter() {
            if let Change::MountPoint { mode, uid, gid } = change {
                tree.set_mount_point(path, mode, (uid, gid));
            }
        }
    }
    Ok(changes)
}

/// Makes WORKDIR's directory and those above it that are missing.
///
/// # Errors
/// When the user is unknown or a directory cannot be made.
pub fn make_directory(
    trees: &mut Trees,
    position: usize,
    action: &WorkdirAction,
) -> Result<ChangeSet, StepError> {
    let Some(tree) = trees.stage(position) else { return Err(StepError::NoTree) };
    let owner = if action.user.is_empty() { (0, 0) } else { resolve_owner(&tree.root, &action.user)? };
    let changes = copy::directory::make_directories(&tree.root, &action.path, owner)?;
    remember(trees, position, &changes)?;
    Ok(changes)
}

/// What a copy wrote is known; the next scan must not find it again.
fn remember(trees: &mut Trees, position: usize, changes: &ChangeSet) -> Result<(), StepError> {
    let Some(tree) = trees.stage_mut(position) else { return Err(StepError::NoTree) };
    if let Some(index) = &mut tree.index {
        index.refresh(&tree.root, changes)?;
    }
    Ok(())
}

fn whole(root: &Root) -> SourceTree<'_> {
    SourceTree::stage(root)
}

/// `--chown`, and the owner of WORKDIR's directories.
fn resolve_owner(root: &Root, text: &str) -> Result<(u32, u32), StepError> {
    let owner = Accounts::load(root)?.owner(text).map_err(RunError::from)?;
    for unknown in &owner.unknown {
        tracing::warn!("{unknown}: taken as root, as BuildKit does");
    }
    Ok((owner.uid, owner.gid))
}
