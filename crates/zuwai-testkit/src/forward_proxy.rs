//! Debian's tinyproxy: the proxy between a company's machines and the world.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use tempfile::TempDir;

use crate::need::Need;
use crate::server::Server;

/// What it needs of the machine.
pub const FORWARD_PROXY: &[Need] = &[Need::Program("tinyproxy")];

/// The user that it lets in.
pub const USER: &str = "proxyuser";
/// The password of [`USER`].
pub const PASSWORD: &str = "proxypassword";

/// A running forward proxy on a free port of 127.0.0.1, which lets [`USER`] in alone.
#[derive(Debug)]
pub struct ForwardProxy {
    port: u16,
    // Before the folder, so that the server ends before its files go.
    server: Server,
    _dir: TempDir,
}

impl ForwardProxy {
    /// Starts it.
    ///
    /// # Panics
    /// If it does not start, with what it said.
    #[must_use]
    pub fn start() -> Self {
        let dir = crate::cache::scratch("tinyproxy");
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let text = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nLogLevel Connect\nBasicAuth {USER} {PASSWORD}\n"
        );
        let file = dir.path().join("tinyproxy.conf");
        std::fs::write(&file, text).unwrap();
        let arguments = ["-d".to_owned(), "-c".to_owned(), file.display().to_string()];
        let mut server = Server::start("tinyproxy", &arguments, dir.path(), |_| {});
        server.wait_until(Duration::from_secs(20), |_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        Self { port, server, _dir: dir }
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The address with this password of [`USER`].
    #[must_use]
    pub fn url(&self, password: &str) -> String {
        format!("http://{USER}:{password}@{}", self.address())
    }

    /// What it was asked for: method and target of each request.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        let log = self.server.stdout();
        let requests = log.lines().filter(|line| line.contains("Request"));
        requests.filter_map(|line| line.split_once("): ")).map(|(_, request)| request.to_owned()).collect()
    }
}
