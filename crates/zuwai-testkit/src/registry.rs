//! Debian's `docker-registry` (distribution 2.8) on a free port of 127.0.0.1.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::certificates::{Certificates, Kind};
use crate::command::{must, must_run, program};
use crate::object_store::{ACCESS_KEY, BUCKET, SECRET_KEY};
use crate::server::Server;
use crate::token::TokenServer;

/// How a registry is to be.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    tls: Option<Kind>,
    client_certificates: bool,
    authentication: Authentication,
    read_only: bool,
    mirror_of: Option<String>,
    blobs_at: Option<String>,
}

#[derive(Debug, Clone, Default)]
enum Authentication {
    #[default]
    None,
    Basic,
    Token,
}

/// The user that registries with authentication know.
pub const USER: &str = "user";
/// The password of [`USER`].
pub const PASSWORD: &str = "pass word:with/odd+characters";

impl RegistryOptions {
    /// Plain HTTP for everybody.
    #[must_use]
    pub fn plain() -> Self {
        Self::default()
    }

    /// HTTPS with an authority of its own ([`Registry::authority`]).
    #[must_use]
    pub fn tls(self) -> Self {
        self.tls_as(Kind::Good)
    }

    /// HTTPS with a certificate of this kind.
    #[must_use]
    pub fn tls_as(mut self, kind: Kind) -> Self {
        self.tls = Some(kind);
        self
    }

    /// HTTPS, with nobody let in who has no certificate of the same authority ([`Registry::certificates`]).
    #[must_use]
    pub fn client_certificates(mut self) -> Self {
        self.client_certificates = true;
        self.tls()
    }

    /// Basic authentication of [`USER`] with [`PASSWORD`]; nothing for anybody else.
    #[must_use]
    pub fn basic(mut self) -> Self {
        self.authentication = Authentication::Basic;
        self
    }

    /// Bearer tokens from a [`TokenServer`]: anybody may pull, [`USER`] with [`PASSWORD`] may push.
    #[must_use]
    pub fn token(mut self) -> Self {
        self.authentication = Authentication::Token;
        self
    }

    /// Uploads are refused.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// A pull-through cache of the registry at this URL.
    #[must_use]
    pub fn mirror_of(mut self, url: &str) -> Self {
        self.mirror_of = Some(url.to_owned());
        self
    }

    /// Blobs are kept in an [`ObjectStore`](crate::object_store::ObjectStore) and fetched from there by redirects.
    #[must_use]
    pub fn blobs_at(mut self, store: &crate::object_store::ObjectStore) -> Self {
        self.blobs_at = Some(store.url());
        self
    }

    /// Starts it and waits until it answers.
    ///
    /// # Panics
    /// If `docker-registry` does not start, with what it said.
    #[must_use]
    pub fn start(self) -> Registry {
        Registry::start(&self)
    }
}

/// A running registry; it and all that was pushed to it are gone when it is dropped.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    certificates: Option<Certificates>,
    token: Option<TokenServer>,
    // Before the folder, so that the server ends before its files go.
    server: Server,
    dir: TempDir,
}

impl Registry {
    /// A registry that speaks plain HTTP and lets everybody in.
    #[must_use]
    pub fn plain() -> Self {
        RegistryOptions::plain().start()
    }

    fn start(options: &RegistryOptions) -> Self {
        let dir = crate::cache::scratch("registry");
        let certificates = options.tls.map(|kind| Certificates::make_as(kind, dir.path()));
        let token = matches!(options.authentication, Authentication::Token).then(TokenServer::start);
        let file = dir.path().join("registry.yml");
        let text = configuration(options, dir.path(), certificates.as_ref(), token.as_ref());
        std::fs::write(&file, text).unwrap();
        let arguments = ["serve".to_owned(), file.display().to_string()];
        let mut server = Server::start("docker-registry", &arguments, dir.path(), |command| {
            command.env("OTEL_TRACES_EXPORTER", "none").env_remove("AWS_CA_BUNDLE");
        });
        // It is told port 0 and says in its log which one it got: no other process can take it in between.
        let address = server.wait_until(Duration::from_secs(20), |server| listening(&server.stderr()));
        Self { address, certificates, token, server, dir }
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `http://127.0.0.1:PORT`, or `https://` with TLS.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// `127.0.0.1:PORT/NAME`.
    #[must_use]
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// The certificate of the authority that signed this registry's, if it speaks TLS.
    #[must_use]
    pub fn authority(&self) -> Option<&Path> {
        self.certificates.as_ref().map(|certificates| certificates.authority.as_path())
    }

    /// Its certificates, if it speaks TLS.
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// The token server in front of it, if it has one.
    #[must_use]
    pub fn token_server(&self) -> Option<&TokenServer> {
        self.token.as_ref()
    }

    /// The requests so far, one line each, as in a web server's combined log.
    #[must_use]
    pub fn access_log(&self) -> String {
        self.server.stdout()
    }

    /// The requests so far as `METHOD PATH STATUS`, without the query.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.access_log().lines().filter_map(request).collect()
    }

    /// The registry's own log.
    #[must_use]
    pub fn log(&self) -> String {
        self.server.stderr()
    }

    /// A `DOCKER_CONFIG` folder whose `config.json` holds credentials for this registry.
    #[must_use]
    pub fn docker_config(&self, user: &str, password: &str) -> TempDir {
        use base64::Engine as _;
        let dir = crate::cache::scratch("docker-config");
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let text = serde_json::json!({"auths": {self.address(): {"auth": auth}}}).to_string();
        std::fs::write(dir.path().join("config.json"), text).unwrap();
        dir
    }

    /// Where its storage is: blobs are at `docker/registry/v2/blobs/sha256/XX/HEX/data`.
    #[must_use]
    pub fn storage(&self) -> PathBuf {
        self.dir.path().join("storage")
    }

    /// Pushes an image that skopeo can read (`oci:DIR:TAG`, `dir:DIR`, `docker-archive:FILE`, ...) as `name`.
    ///
    /// # Panics
    /// If skopeo fails.
    pub fn push(&self, source: &str, name: &str) {
        self.push_with(&[], source, name);
    }

    /// As [`Registry::push`], with further flags of `skopeo copy`.
    ///
    /// # Panics
    /// If skopeo fails.
    pub fn push_with(&self, flags: &[&str], source: &str, name: &str) {
        let mut arguments =
            vec!["copy".to_owned(), "--quiet".to_owned(), "--dest-tls-verify=false".to_owned()];
        if self.token.is_some() || self.has_basic() {
            arguments.push(format!("--dest-creds={USER}:{PASSWORD}"));
        }
        arguments.extend(flags.iter().map(ToString::to_string));
        arguments.extend([source.to_owned(), format!("docker://{}", self.reference(name))]);
        must("skopeo", &arguments);
    }

    /// Makes `repository:tag` an index of two platforms, in which this machine's is the image `repository:image`. The other's
    /// comes first.
    ///
    /// # Panics
    /// If the registry refuses it.
    pub fn push_index(&self, repository: &str, image: &str, tag: &str) {
        let url = |reference: &str| format!("{}/v2/{repository}/manifests/{reference}", self.url());
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let dir = crate::cache::scratch("index");
        let file = dir.path().join("manifest");
        let accept = format!("Accept: {media_type}");
        must_run(program("curl").args(["-sf", "-H", &accept, &url(image), "-o"]).arg(&file));
        let size = std::fs::metadata(&file).unwrap().len();
        let digest = must_run(program("sha256sum").arg(&file));
        let digest = format!("sha256:{}", &digest[..64]);
        let text = std::fs::read_to_string(&file).unwrap();
        let other = text.replacen('{', "{\"annotations\":{\"of\":\"another machine\"},", 1);
        let put = |content: &str, media_type: &str, reference: &str| {
            std::fs::write(&file, content).unwrap();
            let header = format!("Content-Type: {media_type}");
            let data = format!("@{}", file.display());
            must_run(program("curl").args([
                "-sf",
                "-X",
                "PUT",
                "-H",
                &header,
                "--data-binary",
                &data,
                &url(reference),
            ]));
        };
        put(&other, media_type, "other");
        let other_digest = must_run(program("sha256sum").arg(&file));
        let entry = |digest: &str, size: u64, architecture: &str| {
            serde_json::json!({"mediaType": media_type, "digest": digest, "size": size,
                "platform": {"architecture": architecture, "os": "linux"}})
        };
        let index = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [
                entry(&format!("sha256:{}", &other_digest[..64]), other.len() as u64, "s390x"),
                entry(&digest, size, crate::base::architecture()),
            ],
        });
        put(&index.to_string(), "application/vnd.oci.image.index.v1+json", tag);
    }

    /// Fetches the image `name` as it is, byte by byte, into a folder in skopeo's `dir:` format.
    ///
    /// # Panics
    /// If skopeo fails.
    pub fn fetch(&self, name: &str, dir: &Path) {
        let mut arguments =
            vec!["copy".to_owned(), "--quiet".to_owned(), "--src-tls-verify=false".to_owned()];
        if self.has_basic() {
            arguments.push(format!("--src-creds={USER}:{PASSWORD}"));
        }
        arguments.extend([format!("docker://{}", self.reference(name)), format!("dir:{}", dir.display())]);
        must("skopeo", &arguments);
    }

    fn has_basic(&self) -> bool {
        self.dir.path().join("htpasswd").exists()
    }
}

fn configuration(
    options: &RegistryOptions,
    dir: &Path,
    certificates: Option<&Certificates>,
    token: Option<&TokenServer>,
) -> String {
    let mut text = String::from("version: 0.1\nlog: {level: info}\n");
    let read_only = if options.read_only { ", readonly: {enabled: true}" } else { "" };
    let driver = match &options.blobs_at {
        Some(url) => format!(
            "s3: {{accesskey: {ACCESS_KEY}, secretkey: {SECRET_KEY}, region: us-east-1, regionendpoint: \"{url}\", bucket: {BUCKET}, secure: false, v4auth: true}}"
        ),
        None => format!("filesystem: {{rootdirectory: \"{}\"}}", dir.join("storage").display()),
    };
    text += &format!(
        "storage:\n  {driver}\n  delete: {{enabled: true}}\n  maintenance: {{uploadpurging: {{enabled: false}}{read_only}}}\n"
    );
    text += "http:\n  addr: 127.0.0.1:0\n";
    if let Some(Certificates { certificate, key, authority, .. }) = certificates {
        let clients = match options.client_certificates {
            true => format!(", clientcas: [\"{}\"]", authority.display()),
            false => String::new(),
        };
        text += &format!(
            "  tls: {{certificate: \"{}\", key: \"{}\"{clients}}}\n",
            certificate.display(),
            key.display()
        );
    }
    match options.authentication {
        Authentication::None => {}
        Authentication::Basic => {
            let file = dir.join("htpasswd");
            std::fs::write(&file, must("htpasswd", ["-Bbn", "-C", "4", USER, PASSWORD])).unwrap();
            text += &format!("auth:\n  htpasswd: {{realm: test, path: \"{}\"}}\n", file.display());
        }
        Authentication::Token => {
            let token = token.expect("a token server for token authentication");
            text += &format!(
                "auth:\n  token: {{realm: \"{}\", service: {}, issuer: {}, rootcertbundle: \"{}\"}}\n",
                token.realm(),
                crate::token::SERVICE,
                crate::token::ISSUER,
                token.certificate().display()
            );
        }
    }
    if let Some(url) = &options.mirror_of {
        text += &format!("proxy: {{remoteurl: \"{url}\"}}\n");
    }
    text
}

/// The address in `msg="listening on 127.0.0.1:40123, tls"`.
fn listening(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("listening on ")?;
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))?;
    rest[..end].parse().ok()
}

/// `METHOD PATH STATUS` of a line of the combined log.
fn request(line: &str) -> Option<String> {
    let mut parts = line.split('"');
    let mut words = parts.nth(1)?.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let status = parts.next()?.split_whitespace().next()?;
    let path = path.split('?').next()?;
    Some(format!("{method} {path} {status}"))
}
