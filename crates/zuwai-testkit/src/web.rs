//! A web server of the files and git repositories that differential cases fetch.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::command::{must_run, program};
use crate::need::Need;
use crate::server::Server;

/// What it needs of the machine.
pub const WEB: &[Need] = &[Need::Program("lighttpd"), Need::Program("git")];

/// lighttpd, with git's own `git-http-backend` at `/git/`.
#[derive(Debug)]
pub struct Web {
    port: u16,
    _folder: tempfile::TempDir,
    _server: Server,
}

impl Web {
    /// Serves everything below `root`.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn start(root: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let backend = must_run(program("git").arg("--exec-path")).trim().to_owned();
        let root = root.display();
        let configuration = format!(
            r#"
            server.modules = ("mod_alias", "mod_cgi", "mod_setenv")
            server.document-root = "{root}"
            server.bind = "127.0.0.1"
            server.port = {port}
            mimetype.assign = ("" => "application/octet-stream")
            alias.url = ("/git" => "{backend}/git-http-backend")
            cgi.assign = ("git-http-backend" => "")
            setenv.add-environment = (
                "GIT_PROJECT_ROOT" => "{root}", "GIT_HTTP_EXPORT_ALL" => "1",
                "GIT_CONFIG_COUNT" => "2", "GIT_CONFIG_KEY_0" => "safe.directory", "GIT_CONFIG_VALUE_0" => "*",
                "GIT_CONFIG_KEY_1" => "uploadpack.allowAnySHA1InWant", "GIT_CONFIG_VALUE_1" => "true"
            )
            "#
        );
        let server = lighttpd(folder.path(), port, &configuration);
        Self { port, _folder: folder, _server: server }
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// Starts lighttpd with this configuration, which names the port, and waits until it listens.
///
/// # Panics
/// If it does not come up.
#[must_use]
pub fn lighttpd(folder: &Path, port: u16, configuration: &str) -> Server {
    let file = folder.join("lighttpd.conf");
    fs::write(&file, configuration).unwrap();
    let arguments = ["-D".to_owned(), "-f".to_owned(), file.display().to_string()];
    let mut server = Server::start("lighttpd", &arguments, folder, |_| ());
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    server.wait_until(Duration::from_secs(30), |_| {
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()
    });
    server
}
