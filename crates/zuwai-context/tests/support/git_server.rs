//! A git server for tests: lighttpd with git's own `git-http-backend`, and repositories made by git.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use zuwai_testkit::command::{must_run, program};
use zuwai_testkit::need::Need;
use zuwai_testkit::server::Server;
use zuwai_testkit::web::lighttpd;

/// What it needs of the machine.
pub const GIT_SERVER: &[Need] = &[Need::Program("git"), Need::Program("lighttpd"), Need::Program("openssl")];

/// The token that `/private/` wants.
pub const TOKEN: &str = "hunter2";

/// A server of all repositories in [`GitServer::repositories`], at `/git/` for everybody, and at `/private/` for who
/// has the token.
pub struct GitServer {
    pub port: u16,
    folder: tempfile::TempDir,
    _server: Server,
}

impl GitServer {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        fs::create_dir(folder.path().join("repositories")).unwrap();
        let hash = must_run(program("openssl").args(["passwd", "-apr1", TOKEN]));
        fs::write(folder.path().join("users"), format!("x-access-token:{hash}")).unwrap();
        let backend = must_run(program("git").arg("--exec-path")).trim().to_owned();
        let place = folder.path().display();
        let configuration = format!(
            r#"
            server.modules = ("mod_auth", "mod_authn_file", "mod_alias", "mod_cgi", "mod_setenv")
            server.document-root = "{place}/repositories"
            server.bind = "127.0.0.1"
            server.port = {port}
            alias.url = ("/git" => "{backend}/git-http-backend", "/private" => "{backend}/git-http-backend")
            cgi.assign = ("" => "")
            setenv.add-environment = (
                "GIT_PROJECT_ROOT" => "{place}/repositories", "GIT_HTTP_EXPORT_ALL" => "1",
                "GIT_CONFIG_COUNT" => "1", "GIT_CONFIG_KEY_0" => "safe.directory", "GIT_CONFIG_VALUE_0" => "*"
            )
            $HTTP["url"] =~ "^/private" {{
                auth.backend = "htpasswd"
                auth.backend.htpasswd.userfile = "{place}/users"
                auth.require = ("" => ("method" => "basic", "realm" => "git", "require" => "valid-user"))
            }}
            "#
        );
        let server = lighttpd(folder.path(), port, &configuration);
        Self { port, folder, _server: server }
    }

    /// Where the repositories are, bare.
    pub fn repositories(&self) -> PathBuf {
        self.folder.path().join("repositories")
    }

    pub fn url(&self, repository: &str) -> String {
        format!("http://127.0.0.1:{}/git/{repository}", self.port)
    }

    pub fn private_url(&self, repository: &str) -> String {
        format!("http://127.0.0.1:{}/private/{repository}", self.port)
    }

    /// A new repository to work in, whose commits [`Work::publish`] makes visible at `name`.
    pub fn work(&self, name: &str) -> Work {
        let directory = self.folder.path().join(format!("work-{name}"));
        let work = Work { directory, published: self.repositories().join(name) };
        fs::create_dir(&work.directory).unwrap();
        work.git(&["init", "--quiet", "--initial-branch=main"]);
        work
    }
}

/// A repository to work in.
pub struct Work {
    pub directory: PathBuf,
    published: PathBuf,
}

impl Work {
    /// Runs git in it; nothing of the machine's configuration counts.
    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.directory, arguments)
    }

    /// Runs a line of shell in it.
    pub fn shell(&self, line: &str) -> String {
        must_run(program("sh").current_dir(&self.directory).args(["-e", "-c", line]))
    }

    /// Writes a file.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Commits everything and gives the commit's name.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Makes what is committed visible to clients.
    pub fn publish(&self) {
        if self.published.exists() {
            fs::remove_dir_all(&self.published).unwrap();
        }
        self.git(&["clone", "--quiet", "--bare", ".", &self.published.display().to_string()]);
    }
}

/// Runs git in a directory.
pub fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut command = program("git");
    command.current_dir(directory).args(["-c", "protocol.file.allow=always", "-c", "safe.directory=*"]);
    command.args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    for name in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{name}_NAME"), "test").env(format!("GIT_{name}_EMAIL"), "test@example.com");
    }
    must_run(&mut command)
}
