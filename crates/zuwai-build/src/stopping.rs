//! Work on the network that ends when the build is told to stop.

use std::future::Future;
use std::time::Duration;

use zuwai_rootfs::run_error::RunError;
use zuwai_rootfs::signals::Interrupt;

use crate::error::BuildError;

/// How often it is looked whether the build was told to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Does work to its end, unless the build is told to stop: then it is dropped where it is.
///
/// # Errors
/// [`BuildError::Interrupted`]; what the work gives is within.
pub async fn unless_stopped<T>(
    interrupt: &Interrupt,
    work: impl Future<Output = T>,
) -> Result<T, BuildError> {
    tokio::select! {
        result = work => Ok(result),
        stopped = stopped(interrupt) => Err(BuildError::Interrupted(stopped)),
    }
}

async fn stopped(interrupt: &Interrupt) -> RunError {
    loop {
        if let Err(stopped) = interrupt.check() {
            return stopped;
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_hangs_ends_with_the_build_and_other_work_by_itself() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let interrupt = Interrupt::new();
        let done = runtime.block_on(unless_stopped(&interrupt, async { 7 }));
        assert!(matches!(done, Ok(7)));
        let raiser = interrupt.clone();
        let raising = std::thread::spawn(move || raiser.raise(15));
        let stopped = runtime.block_on(unless_stopped(&interrupt, std::future::pending::<()>()));
        raising.join().unwrap();
        assert!(matches!(stopped, Err(BuildError::Interrupted(RunError::Interrupted { signal: 15 }))));
    }
}
