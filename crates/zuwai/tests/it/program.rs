//! Running the program under one of its names.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// What a run left.
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The program under a name, with no environment but what is given.
pub fn run(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    let output = Command::new(env!("CARGO_BIN_EXE_zuwai"))
        .arg0(name)
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
