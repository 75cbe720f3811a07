//! A real sshd on 127.0.0.1, and an agent with the key that it wants.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use zuwai_testkit::command::{must_run, program};
use zuwai_testkit::need::find_program;
use zuwai_testkit::server::Server;

/// The server and the agent; both end with it.
pub struct SshServer {
    pub port: u16,
    /// The agent's socket.
    pub agent: PathBuf,
    _server: Server,
    _agent: Server,
}

impl SshServer {
    /// Starts both with what they need in `folder`, where `known_hosts` then has the server's key.
    pub fn start(folder: &Path) -> Self {
        for name in ["host", "user"] {
            must_run(
                program("ssh-keygen").current_dir(folder).args(["-q", "-t", "ed25519", "-N", "", "-f", name]),
            );
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let key = fs::read_to_string(folder.join("host.pub")).unwrap();
        fs::write(folder.join("known_hosts"), format!("[127.0.0.1]:{port} {key}")).unwrap();
        let place = folder.display();
        let configuration = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {place}/host\nAuthorizedKeysFile {place}/user.pub\n\
             StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nAcceptEnv GIT_PROTOCOL\n"
        );
        fs::write(folder.join("sshd.conf"), configuration).unwrap();
        // Where it gives up its rights.
        fs::create_dir_all("/run/sshd").unwrap();
        // It starts itself anew for every connection, and so wants its whole path.
        let sshd = find_program("sshd").unwrap().display().to_string();
        let line = format!("exec {sshd} -D -e -f {place}/sshd.conf");
        let mut server = Server::start("sh", &["-c".to_owned(), line], folder, |_| ());
        let address = format!("127.0.0.1:{port}").parse().unwrap();
        server.wait_until(Duration::from_secs(30), |_| {
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()
        });
        let socket = folder.join("agent");
        let agent_folder = folder.join("agent-files");
        fs::create_dir(&agent_folder).unwrap();
        let arguments = ["-D".to_owned(), "-a".to_owned(), socket.display().to_string()];
        let mut agent = Server::start("ssh-agent", &arguments, &agent_folder, |_| ());
        agent.wait_until(Duration::from_secs(30), |_| socket.exists().then_some(()));
        must_run(program("ssh-add").env("SSH_AUTH_SOCK", &socket).arg("-q").arg(folder.join("user")));
        Self { port, agent: socket, _server: server, _agent: agent }
    }
}
