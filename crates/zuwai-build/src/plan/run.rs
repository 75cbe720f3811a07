//! RUN: what is run, and what it sees.

use std::collections::BTreeMap;

use zuwai_dockerfile::ast::{NetworkMode, RunInstruction, RunScript, SecurityMode};
use zuwai_dockerfile::{Diagnostic, Expander, predefined};
use zuwai_layer::ImagePath;
use zuwai_rootfs::step_mount::StepNetwork;

use super::stage::{Context, StageBuilder};
use super::{Action, RunAction, RunMountKind, Tree, history, mounts};

impl StageBuilder {
    /// RUN: its history row and what it does. `trees` are what its mounts name with `from=`, in order;
    /// `spanned` tells whether spans are about the Dockerfile.
    ///
    /// # Errors
    /// When a mount is wrong, or it asks for what cannot be given.
    pub(super) fn run(
        &mut self,
        run: &RunInstruction,
        expander: &Expander,
        context: &Context<'_>,
        trees: Vec<Tree>,
        spanned: bool,
    ) -> Result<(Option<String>, Action), Diagnostic> {
        refuse(run)?;
        if let Some((NetworkMode::Host, span)) = run.network
            && context.network == StepNetwork::None
        {
            return Err(Diagnostic::error(
                span,
                "RUN --network=host: the build has no network (--network=none)",
            ));
        }
        let workdir = ImagePath::clamped(&self.config.config.working_dir).unwrap_or_default();
        let mut action = RunAction {
            argv: Vec::new(),
            env: Vec::new(),
            user: self.config.config.user.clone(),
            mounts: Vec::new(),
            network: match run.network {
                Some((NetworkMode::None, _)) => StepNetwork::None,
                Some((NetworkMode::Host, _)) => StepNetwork::Host,
                Some((NetworkMode::Default, _)) | None => context.network,
            },
            workdir,
        };
        action.argv = match run.script() {
            RunScript::Exec(words) => words,
            RunScript::Shell(text) => self.with_shell(&text),
            RunScript::File { name, content } => {
                let script = mounts::script(&name, content);
                let argv = self.with_shell(&script.target.to_string());
                action.mounts.push(script);
                argv
            }
        };
        let row = history::run(&self.scope.history_args(), &action.argv);
        let mut env: BTreeMap<String, String> = context.proxy_env.iter().cloned().collect();
        for (name, value) in context.build_args {
            if predefined::is_proxy_arg(name) {
                env.insert(name.clone(), value.clone());
            }
        }
        env.extend(self.scope.variables().map(|(name, value)| (name.to_owned(), value.to_owned())));
        self.mounts(run, expander, trees, &mut action)?;
        if !spanned {
            action.mounts.iter_mut().for_each(|mount| mount.span = None);
        }
        let agent = action.mounts.iter().find(|mount| matches!(mount.kind, RunMountKind::Ssh { .. }));
        if let Some(agent) = agent {
            env.insert("SSH_AUTH_SOCK".to_owned(), agent.target.to_string());
        }
        action.env = env.into_iter().collect();
        Ok((Some(row), Action::Run(action)))
    }

    fn mounts(
        &self,
        run: &RunInstruction,
        expander: &Expander,
        trees: Vec<Tree>,
        action: &mut RunAction,
    ) -> Result<(), Diagnostic> {
        let mut trees = trees.into_iter();
        let mut ssh_agents = 0;
        for flag in &run.mounts {
            let tree = flag.from().and_then(|_| trees.next());
            let mount = flag.resolve(expander, &self.scope)?;
            let planned = mounts::run_mounts(mount, tree, &action.workdir, ssh_agents)?;
            ssh_agents +=
                planned.iter().filter(|mount| matches!(mount.kind, RunMountKind::Ssh { .. })).count();
            action.mounts.extend(planned);
        }
        Ok(())
    }
}

/// What no build gives.
fn refuse(run: &RunInstruction) -> Result<(), Diagnostic> {
    if let Some((SecurityMode::Insecure, span)) = run.security {
        return Err(Diagnostic::error(span, "RUN --security=insecure is not allowed").with_help(
            "there is no privilege to give: the step has what the builder has, less what isolation takes",
        ));
    }
    for device in run.devices.iter().filter(|device| !device.required) {
        tracing::warn!("RUN --device: {:?} is not there, and not required: left out", device.name);
    }
    match run.devices.iter().find(|device| device.required) {
        Some(device) => Err(Diagnostic::error(
            device.span,
            format!("RUN --device: required device {:?} is not there", device.name),
        )
        .with_help("devices of the Container Device Interface are not supported; one that is not required is left out")),
        None => Ok(()),
    }
}
