//! The helper that shows the builder overlays: the builder's side.

use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};

use super::channel::Channel;
use super::spec::Report;
use super::{VIEWER_NAME, parent};
use crate::overlay::OverlayMount;
use crate::run::Output;
use crate::run_error::RunError;

/// A helper that is alive, because starting one takes longer than what it does.
#[derive(Debug)]
pub(crate) struct Viewer {
    helper: Child,
    channel: Channel,
}

impl Viewer {
    /// Starts one.
    pub(crate) fn start() -> Result<Self, RunError> {
        let output = Output { stdout: Stdio::null(), stderr: Stdio::inherit() };
        let (helper, channel) = parent::start(VIEWER_NAME, output)?;
        let mut viewer = Self { helper, channel };
        match viewer.channel.receive().map_err(failed("read from"))? {
            Some(Report::WantsMaps) => parent::map_ids(&viewer.channel, &viewer.helper)?,
            other => return Err(viewer.refusal(other)),
        }
        Ok(viewer)
    }

    /// Has an overlay mounted, and gives its root directory.
    pub(crate) fn view(&mut self, overlay: &OverlayMount) -> Result<OwnedFd, RunError> {
        if let Err(error) = self.channel.send(overlay)
            && error.kind() != std::io::ErrorKind::BrokenPipe
        {
            return Err(failed("write to")(error));
        }
        match self.channel.receive_with_descriptor().map_err(failed("read from"))? {
            Some((Report::Viewed, Some(directory))) => Ok(directory),
            Some((report, _)) => Err(self.refusal(Some(report))),
            None => Err(self.refusal(None)),
        }
    }

    /// Why there is no view.
    fn refusal(&mut self, report: Option<Report>) -> RunError {
        match report {
            Some(Report::Failed { step, error }) => RunError::Sandbox { step, error },
            Some(other) => {
                let error = format!("unexpected report {other:?}");
                RunError::Sandbox { step: "open an overlay".into(), error }
            }
            None => match self.helper.wait() {
                Ok(status) => RunError::HelperGone { status },
                Err(error) => failed("wait for")(error),
            },
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.channel.close();
        let _ = self.helper.wait();
    }
}

fn failed(doing: &'static str) -> impl FnOnce(std::io::Error) -> RunError {
    move |source| RunError::Helper { doing, source }
}
