//! A directory with keys, and OpenSSH's programs on an agent's socket.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use zuwai_build::ssh::{Serving, SshAgent, serve};
use zuwai_testkit::command::{Finished, must_run, program, run};
use zuwai_testkit::need::{Need, needs};

/// What every test here needs.
pub fn has_openssh() -> bool {
    needs(&[Need::Program("ssh-agent"), Need::Program("ssh-add"), Need::Program("ssh-keygen")])
}

pub struct Scene {
    directory: TempDir,
}

impl Scene {
    pub fn new() -> Self {
        // Sockets' paths are short; the cache's need not be.
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a key with `ssh-keygen`.
    pub fn key(&self, name: &str, arguments: &[&str]) -> PathBuf {
        let path = self.path(name);
        let mut command = program("ssh-keygen");
        command.args(["-q", "-C", "a comment", "-f"]).arg(&path).args(arguments);
        if !arguments.contains(&"-N") {
            command.args(["-N", ""]);
        }
        must_run(&mut command);
        path
    }

    /// Serves an agent at a socket that only this user may use.
    pub fn serve(&self, agent: &SshAgent) -> (Serving, PathBuf) {
        let socket = self.path("socket");
        (serve(agent, &socket, 0o600, own_id("-u"), own_id("-g")).unwrap(), socket)
    }

    /// Has the agent at `socket` sign a file with `key`, of which it is given the public half, and checks the signature.
    pub fn sign(&self, socket: &Path, key: &Path) {
        let file = self.path("signed");
        std::fs::write(&file, "what is signed").unwrap();
        let signature = self.path("signed.sig");
        let _ = std::fs::remove_file(&signature);
        let mut sign = program("ssh-keygen");
        sign.env("SSH_AUTH_SOCK", socket).args(["-Y", "sign", "-U", "-n", "file", "-f"]);
        must_run(sign.arg(public(key)).arg(&file));

        let signers = self.path("signers");
        std::fs::write(&signers, format!("me {}", std::fs::read_to_string(public(key)).unwrap())).unwrap();
        let mut verify = program("ssh-keygen");
        verify.args(["-Y", "verify", "-I", "me", "-n", "file", "-f"]).arg(&signers).arg("-s").arg(&signature);
        must_run(verify.stdin(std::fs::File::open(&file).unwrap()));
    }
}

/// The public half of a key.
pub fn public(key: &Path) -> PathBuf {
    let mut path = key.as_os_str().to_owned();
    path.push(".pub");
    path.into()
}

/// Runs `ssh-add` on the agent at `socket`.
pub fn ssh_add(socket: &Path, arguments: &[&str]) -> Finished {
    run(program("ssh-add").env("SSH_AUTH_SOCK", socket).args(arguments))
}

/// The fingerprints that `ssh-add -l` prints for the agent at `socket`.
pub fn listed(socket: &Path) -> Vec<String> {
    let finished = ssh_add(socket, &["-l"]);
    assert!(finished.code == 0, "{}", finished.all());
    finished.stdout.lines().map(fingerprint).collect()
}

/// The fingerprint of a key, as `ssh-keygen` has it.
pub fn fingerprint_of(key: &Path) -> String {
    fingerprint(&must_run(program("ssh-keygen").arg("-lf").arg(public(key))))
}

/// The bits and the hash of a line such as `256 SHA256:... comment (ED25519)`.
fn fingerprint(line: &str) -> String {
    line.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// This user's number (`-u`) or group (`-g`).
pub fn own_id(which: &str) -> u32 {
    must_run(program("id").arg(which)).trim().parse().unwrap()
}
