//! A server that a test starts, and that ends with it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::command::program;

/// A running server. Ended by its process id when dropped, and by the kernel when the test process ends in any other way.
#[derive(Debug)]
pub struct Server {
    child: Child,
    name: String,
    stdout: PathBuf,
    stderr: PathBuf,
    signal: &'static str,
}

impl Server {
    /// Starts `name arguments` with its output in `dir/NAME.out` and `dir/NAME.err`; of a path, its last part is the name. `configure` may set environment and folder.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(name: &str, arguments: &[String], dir: &Path, configure: impl FnOnce(&mut Command)) -> Self {
        Self::start_with(name, arguments, dir, "TERM", configure)
    }

    /// As [`Server::start`], for a server that does not end when it is asked to.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start_to_be_killed(name: &str, arguments: &[String], dir: &Path) -> Self {
        Self::start_with(name, arguments, dir, "KILL", |_| {})
    }

    fn start_with(
        name: &str,
        arguments: &[String],
        dir: &Path,
        signal: &'static str,
        configure: impl FnOnce(&mut Command),
    ) -> Self {
        let file = Path::new(name).file_name().unwrap_or_default().to_string_lossy();
        let stdout = dir.join(format!("{file}.out"));
        let stderr = dir.join(format!("{file}.err"));
        // setpriv asks the kernel to send the signal when the thread that started the child is gone; that thread lives as
        // long as the process (see `keeper`).
        let mut command = program("setpriv");
        command.args(["--pdeathsig", signal, "--", name]).args(arguments);
        command
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            .stdin(Stdio::null());
        configure(&mut command);
        let child = keeper(command);
        Self { child, name: name.to_owned(), stdout, stderr, signal }
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stdout).unwrap_or_default()).into_owned()
    }

    /// What it wrote to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    /// Asks `ready` every few milliseconds until it has an answer.
    ///
    /// # Panics
    /// If the server ends, or is not ready in `limit`.
    pub fn wait_until<T>(&mut self, limit: Duration, mut ready: impl FnMut(&Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(answer) = ready(self) {
                return answer;
            }
            let ended = self.child.try_wait().ok().flatten();
            assert!(ended.is_none(), "{} ended ({ended:?}):\n{}", self.name, self.stderr());
            assert!(start.elapsed() < limit, "{} was not ready in {limit:?}:\n{}", self.name, self.stderr());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops it now.
    pub fn stop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let _ = program("kill")
            .args(["-s", self.signal])
            .arg(self.child.id().to_string())
            .stderr(Stdio::null())
            .status();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts a command from a thread that lives until the process ends.
///
/// A test's own thread ends with the test, and with it would end every server that tests share.
fn keeper(command: Command) -> Child {
    type Job = (Command, Sender<std::io::Result<Child>>);
    static KEEPER: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    let sender = KEEPER.get_or_init(|| {
        let (sender, receiver) = channel::<Job>();
        std::thread::Builder::new()
            .name("server keeper".to_owned())
            .spawn(move || {
                for (mut command, answer) in receiver {
                    let _ = answer.send(command.spawn());
                }
            })
            .unwrap();
        Mutex::new(sender)
    });
    let (answer, started) = channel();
    let description = format!("{command:?}");
    sender.lock().unwrap_or_else(std::sync::PoisonError::into_inner).send((command, answer)).unwrap();
    started.recv().unwrap().unwrap_or_else(|error| panic!("cannot start {description}: {error}"))
}
