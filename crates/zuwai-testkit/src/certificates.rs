//! A certificate authority of a test's own.

use std::path::{Path, PathBuf};

use crate::command::must;

/// What is to be said of a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing bad: for `localhost` and `127.0.0.1`, by the authority.
    Good,
    /// It ended yesterday.
    Expired,
    /// It is for `elsewhere.example`.
    OtherName,
    /// It is its own authority, as `openssl req -x509` makes it.
    SelfSigned,
}

/// A certificate authority and a server certificate, made by `openssl`.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// Certificate of the authority, PEM.
    pub authority: PathBuf,
    /// Certificate of the server, PEM.
    pub certificate: PathBuf,
    /// Key of the server, PEM.
    pub key: PathBuf,
    dir: PathBuf,
}

const CURVE: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
const HERE: &str = "subjectAltName=DNS:localhost,IP:127.0.0.1";

impl Certificates {
    /// Makes all of it in `dir`, for `localhost` and `127.0.0.1`.
    ///
    /// # Panics
    /// If `openssl` fails.
    #[must_use]
    pub fn make(dir: &Path) -> Self {
        Self::make_as(Kind::Good, dir)
    }

    /// Makes all of it in `dir`.
    ///
    /// # Panics
    /// If `openssl` fails.
    #[must_use]
    pub fn make_as(kind: Kind, dir: &Path) -> Self {
        let path = |name: &str| dir.join(name);
        let own = Self {
            authority: path("ca.crt"),
            certificate: path("server.crt"),
            key: path("server.key"),
            dir: dir.to_owned(),
        };
        if kind == Kind::SelfSigned {
            own.openssl(
                &["req", "-x509", "-days", "30", "-subj", "/CN=localhost", "-addext", HERE],
                &[("-keyout", "server.key"), ("-out", "server.crt")],
            );
            return Self { authority: own.certificate.clone(), ..own };
        }
        let authority = ["req", "-x509", "-days", "30", "-subj", "/CN=zuwai test authority"];
        let files = [("-keyout", "ca.key"), ("-out", "ca.crt")];
        own.openssl(&[&authority[..], &["-addext", "basicConstraints=critical,CA:TRUE"]].concat(), &files);
        let (names, days) = match kind {
            Kind::Expired => (HERE, "-1"),
            Kind::OtherName => ("subjectAltName=DNS:elsewhere.example", "30"),
            Kind::Good | Kind::SelfSigned => (HERE, "30"),
        };
        own.sign("server", &format!("{names}\nextendedKeyUsage=serverAuth\n"), days);
        own
    }

    /// A certificate by the same authority for who connects, and its key.
    ///
    /// # Panics
    /// If `openssl` fails, or there is no authority but the server itself.
    #[must_use]
    pub fn client(&self) -> (PathBuf, PathBuf) {
        self.sign("client", "extendedKeyUsage=clientAuth\n", "30");
        (self.dir.join("client.crt"), self.dir.join("client.key"))
    }

    fn sign(&self, name: &str, extensions: &str, days: &str) {
        let [request, key, extension] = ["csr", "key", "ext"].map(|ending| format!("{name}.{ending}"));
        let subject = format!("/CN={name}");
        self.openssl(&["req", "-subj", &subject], &[("-keyout", &key), ("-out", &request)]);
        std::fs::write(self.dir.join(&extension), extensions).unwrap();
        let text = |name: &str| self.dir.join(name).display().to_string();
        let mut arguments = ["x509", "-req", "-CAcreateserial", "-days", days].map(str::to_owned).to_vec();
        for (flag, file) in [
            ("-in", request.as_str()),
            ("-CA", "ca.crt"),
            ("-CAkey", "ca.key"),
            ("-out", &format!("{name}.crt")),
            ("-extfile", &extension),
        ] {
            arguments.extend([flag.to_owned(), text(file)]);
        }
        must("openssl", &arguments);
    }

    /// A request or a self-signed certificate with a new key.
    fn openssl(&self, arguments: &[&str], files: &[(&str, &str)]) {
        let mut all: Vec<String> = arguments.iter().chain(&CURVE).map(ToString::to_string).collect();
        for (flag, file) in files {
            all.extend([(*flag).to_owned(), self.dir.join(file).display().to_string()]);
        }
        must("openssl", &all);
    }
}
